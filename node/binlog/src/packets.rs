//! A transaction's events as statements: the text of every packet, built without a server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tasuki_schemas::gtid::{Flavour, Gtid};

use super::Transaction;
use super::event::{Event, SUPPRESS_USE, has_checksums, intact, kind, le32, le64, without_checksums};
use super::gtid::named;
use super::payload::inflate;
use super::query::Query;

/// Row events are gathered up to this many bytes for one BINLOG statement.
const PIECE: usize = 4 << 20;
/// Room in a packet for the statements around the row events.
const AROUND: usize = 16 << 10;
/// In a row event's flags: the statement's last.
const STATEMENT_END: u8 = 1;

/// The packet that prepares a session for events of a file: it must come before any transaction of that file.
pub(super) fn format_packet(format: &[u8]) -> Result<Vec<u8>, String> {
    let sound =
        Event::parse(format, true).filter(|event| event.kind == kind::FORMAT_DESCRIPTION && intact(event.bytes));
    let plain = sound.and_then(|_| without_checksums(format)).ok_or("the format description is malformed")?;
    Ok(format!("BINLOG '{}'", STANDARD.encode(plain)).into_bytes())
}

/// The packets that carry out one transaction, in order. `packet` is the server's `max_allowed_packet` in bytes.
pub(super) fn packets(flavour: Flavour, transaction: &Transaction, packet: usize) -> Result<Vec<Vec<u8>>, String> {
    let checksum = has_checksums(&transaction.format).ok_or("the format description is malformed")?;
    let mut packets = Packets::new(flavour, packet);
    let mut events = transaction.events.iter();
    let first = events.next().ok_or("there is no event")?;
    packets.begin(&parse(first, checksum)?, &transaction.gtid)?;
    for event in events {
        packets.take(&parse(event, checksum)?)?;
    }
    packets.finish()
}

fn parse(bytes: &[u8], checksum: bool) -> Result<Event<'_>, String> {
    let event = Event::parse(bytes, checksum).ok_or("an event is shorter than its frame")?;
    if checksum && !intact(bytes) {
        return Err("an event's checksum is wrong".to_owned());
    }
    Ok(event)
}

struct Packets {
    flavour: Flavour,
    /// The most bytes of row events that one packet can carry.
    room: usize,
    done: Vec<Vec<u8>>,
    /// Statements that go into the next packet. Nothing may follow BINLOG in its packet: it ends the whole packet.
    pending: Vec<u8>,
    tables: Vec<u8>,
    rows: Vec<u8>,
    /// Where the last row event in `rows` begins.
    last_row: usize,
    ended: bool,
    /// Inside BEGIN or XA START; MariaDB's events leave BEGIN out.
    open: bool,
}

impl Packets {
    const fn new(flavour: Flavour, packet: usize) -> Self {
        Self {
            flavour,
            room: packet.saturating_sub(AROUND) / 4 * 3,
            done: Vec::new(),
            pending: Vec::new(),
            tables: Vec::new(),
            rows: Vec::new(),
            last_row: 0,
            ended: false,
            open: false,
        }
    }

    fn begin(&mut self, event: &Event<'_>, name: &str) -> Result<(), String> {
        let named = named(event).filter(|named| named.gtid.to_string() == name);
        let named = named.ok_or("the first event does not name the transaction")?;
        match (&named.gtid, self.flavour) {
            (Gtid::Mysql { .. }, Flavour::Mysql) => self.push(format!("SET @@session.gtid_next='{name}'")),
            (Gtid::Mariadb { .. }, Flavour::Mariadb) if named.xa => {
                return Err("it is a part of an XA transaction, which MariaDB ties to one session".to_owned());
            }
            (Gtid::Mariadb { domain, server, sequence }, Flavour::Mariadb) => {
                // The number is checked against the domain and the server in force before its own statement.
                self.push(format!("SET @@session.gtid_domain_id={domain},@@session.server_id={server}"));
                self.push(format!("SET @@session.gtid_seq_no={sequence}"));
            }
            (Gtid::Mysql { .. } | Gtid::Mariadb { .. }, flavour) => {
                return Err(format!("its GTID is not of the flavour {flavour}"));
            }
        }
        self.push(format!("SET @@timestamp={}", event.timestamp));
        if self.flavour == Flavour::Mariadb && !named.standalone {
            self.open = true;
            self.push("BEGIN");
        }
        Ok(())
    }

    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event.kind {
            kind::QUERY => self.query(event),
            kind::TABLE_MAP => {
                self.tables.extend(event.stripped().ok_or("an event is too long")?);
                Ok(())
            }
            kind::XID => {
                self.end("COMMIT");
                Ok(())
            }
            kind::INTVAR => self.generated_number(event.body),
            kind::RAND => self.seeds(event.body),
            kind::XA_PREPARE => self.prepare(event.body),
            kind::PAYLOAD => {
                let content = inflate(event.body)?;
                let mut rest = content.as_slice();
                while !rest.is_empty() {
                    let size = rest.get(9..).and_then(le32).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
                    let (inner, after) = rest.split_at_checked(size.max(1)).ok_or("a compressed event is torn")?;
                    let inner = parse(inner, false)?;
                    if inner.kind == kind::PAYLOAD {
                        return Err("a compressed event holds another".to_owned());
                    }
                    self.take(&inner)?;
                    rest = after;
                }
                Ok(())
            }
            kind::ROWS_QUERY | kind::MARIADB_ANNOTATE_ROWS | kind::MARIADB_CHECKPOINT => Ok(()),
            kind::MARIADB_COMPRESSED_QUERY..=kind::MARIADB_COMPRESSED_ROWS_LAST => {
                Err("its events are compressed (log_bin_compress), which MariaDB cannot take back by SQL".to_owned())
            }
            kind::USER_VAR => Err("it uses a user variable in statement format; set binlog_format=ROW".to_owned()),
            _ if event.is_rows() => self.row(event),
            _ if event.is_ignorable() => Ok(()),
            kind => Err(format!("event {kind} cannot be applied by SQL; set binlog_format=ROW")),
        }
    }

    fn query(&mut self, event: &Event<'_>) -> Result<(), String> {
        let query = Query::parse(event).ok_or("a query event is malformed")?;
        match query.text {
            b"COMMIT" => {
                self.end("COMMIT");
                return Ok(());
            }
            b"ROLLBACK" => {
                self.end("ROLLBACK");
                return Ok(());
            }
            _ => {}
        }
        let text = String::from_utf8_lossy(query.text.get(..query.text.len().min(60)).unwrap_or(query.text));
        if query.error != 0 {
            return Err(format!("the statement {text:?} ended in error {} on its server", query.error));
        }
        let mariadb = self.flavour == Flavour::Mariadb;
        if mariadb && self.open && query.text.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"CREATE")) {
            return Err(format!("{text:?} makes a table and its rows in one transaction"));
        }
        self.flush();
        self.push("SET NAMES utf8mb4");
        if !query.database.is_empty() && event.flags & SUPPRESS_USE == 0 {
            let name: Vec<u8> = query.database.iter().flat_map(|byte| backtick_doubled(*byte)).collect();
            self.push([b"USE `".as_slice(), &name, b"`"].concat());
        }
        self.push(format!("SET {}", query.assignments(event.timestamp)?.join(",")));
        if query.text == b"BEGIN" {
            self.open = true;
            self.push("BEGIN");
            return Ok(());
        }
        self.flush();
        self.done.push(query.text.to_vec());
        self.open |= query.text.starts_with(b"XA START");
        // A statement outside of a transaction is all there is.
        self.ended = !self.open;
        Ok(())
    }

    fn row(&mut self, event: &Event<'_>) -> Result<(), String> {
        let row = event.stripped().ok_or("an event is too long")?;
        let (size, last) = (row.len(), row_flags(&row) & STATEMENT_END != 0);
        if self.tables.len() + size > self.room {
            return Err(format!("a row event of {size} bytes does not fit in max_allowed_packet: raise it"));
        }
        if !self.rows.is_empty() && self.tables.len() + self.rows.len() + size > self.room.min(PIECE) {
            self.flush();
        }
        self.last_row = self.rows.len();
        self.rows.extend(row);
        if last {
            self.flush();
            self.tables.clear();
        }
        Ok(())
    }

    fn generated_number(&mut self, body: &[u8]) -> Result<(), String> {
        let name = match body.first() {
            Some(1) => "last_insert_id",
            Some(2) => "insert_id",
            Some(_) | None => return Err("a generated number's event is malformed".to_owned()),
        };
        let number = body.get(1..).and_then(le64).ok_or("a generated number's event is malformed")?;
        self.push(format!("SET @@{name}={number}"));
        Ok(())
    }

    fn seeds(&mut self, body: &[u8]) -> Result<(), String> {
        let seeds = le64(body).zip(body.get(8..).and_then(le64));
        let (first, second) = seeds.ok_or("a random seed's event is malformed")?;
        self.push(format!("SET @@rand_seed1={first},@@rand_seed2={second}"));
        Ok(())
    }

    fn prepare(&mut self, body: &[u8]) -> Result<(), String> {
        let xid = xid(body).ok_or("an XA event is malformed")?;
        if body.first() == Some(&0) {
            self.end(&format!("XA PREPARE {xid}"));
        } else {
            self.end(&format!("XA COMMIT {xid} ONE PHASE"));
        }
        Ok(())
    }

    fn end(&mut self, statement: &str) {
        self.flush();
        self.push(statement);
        self.ended = true;
    }

    fn finish(mut self) -> Result<Vec<Vec<u8>>, String> {
        if !self.ended || !self.rows.is_empty() {
            return Err("its events have no end".to_owned());
        }
        if self.flavour == Flavour::Mysql {
            self.push("SET @@session.gtid_next='AUTOMATIC'");
        }
        self.flush();
        Ok(self.done)
    }

    fn push(&mut self, statement: impl AsRef<[u8]>) {
        if !self.pending.is_empty() {
            self.pending.push(b';');
        }
        self.pending.extend_from_slice(statement.as_ref());
    }

    /// Closes a packet. Row events go with the table maps of their statement, and their last one is marked as its
    /// end: what follows in the next packet counts as a statement of its own.
    fn flush(&mut self) {
        if !self.rows.is_empty() {
            if let Some(flags) = self.rows.get_mut(self.last_row + ROW_FLAGS) {
                *flags |= STATEMENT_END;
            }
            let events = [self.tables.as_slice(), &self.rows].concat();
            self.push(format!("BINLOG '{}'", STANDARD.encode(events)));
            self.rows.clear();
        }
        if !self.pending.is_empty() {
            self.done.push(std::mem::take(&mut self.pending));
        }
    }
}

/// After the header and the table's number of six bytes.
const ROW_FLAGS: usize = super::event::HEADER + 6;

fn row_flags(row: &[u8]) -> u8 {
    row.get(ROW_FLAGS).copied().unwrap_or(0)
}

fn backtick_doubled(byte: u8) -> impl Iterator<Item = u8> {
    std::iter::repeat_n(byte, if byte == b'`' { 2 } else { 1 })
}

/// `X'…',X'…',1` as the XA statements take it.
pub(super) fn xid(body: &[u8]) -> Option<String> {
    let (format, global, branch) = (le32(body.get(1..)?)?, le32(body.get(5..)?)?, le32(body.get(9..)?)?);
    let bytes = body.get(13..)?;
    let (global, rest) = bytes.split_at_checked(usize::try_from(global).ok()?)?;
    let branch = rest.get(..usize::try_from(branch).ok()?)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(format!("X'{}',X'{}',{format}", hex(global), hex(branch)))
}

#[cfg(test)]
mod tests {
    use super::super::event::HEADER;
    use super::*;

    /// An event without checksum.
    fn event(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4] = kind;
        bytes[5] = 1;
        bytes[9..13].copy_from_slice(&u32::try_from(HEADER + body.len()).unwrap().to_le_bytes());
        bytes.extend(body);
        bytes
    }

    fn rows(size: usize, last: u8) -> Vec<u8> {
        event(23, &[&[0; 6][..], &[last, 0], &vec![7; size]].concat())
    }

    fn transaction(events: Vec<Vec<u8>>) -> Transaction {
        let gtid = event(kind::MARIADB_GTID, &[5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]);
        Transaction { gtid: "3-1-5".to_owned(), format: vec![0; 60], events: [vec![gtid], events].concat() }
    }

    fn texts(packets: Vec<Vec<u8>>) -> Vec<String> {
        packets.into_iter().map(|packet| String::from_utf8(packet).unwrap()).collect()
    }

    #[test]
    fn a_large_statement_is_split_and_every_piece_has_its_tables_and_an_end() {
        let events =
            vec![event(kind::TABLE_MAP, &[9; 30]), rows(3 << 20, 0), rows(3 << 20, 1), event(kind::XID, &[0; 8])];
        let sent = texts(packets(Flavour::Mariadb, &transaction(events), 16 << 20).unwrap());
        assert_eq!(sent.len(), 3, "two pieces and COMMIT");
        assert!(sent[0].starts_with(
            "SET @@session.gtid_domain_id=3,@@session.server_id=1;SET @@session.gtid_seq_no=5;SET @@timestamp=0;\
             BEGIN;BINLOG '"
        ));
        for piece in &sent[..2] {
            let base64 = piece.rsplit_once("BINLOG '").unwrap().1.strip_suffix('\'').unwrap();
            let bytes = STANDARD.decode(base64).unwrap();
            assert_eq!((bytes[4], bytes[HEADER + 30 + 4]), (kind::TABLE_MAP, 23));
            assert_eq!(row_flags(&bytes[HEADER + 30..]), STATEMENT_END);
        }
        assert_eq!(sent[2], "COMMIT");
    }

    #[test]
    fn a_row_that_fits_in_no_packet_is_refused_and_names_the_setting() {
        let events = vec![event(kind::TABLE_MAP, &[9; 30]), rows(1 << 20, 1), event(kind::XID, &[0; 8])];
        let error = packets(Flavour::Mariadb, &transaction(events), 1 << 20).unwrap_err();
        assert!(error.contains("max_allowed_packet"), "{error}");
    }

    #[test]
    fn events_that_are_cut_or_belong_to_another_transaction_are_refused() {
        let whole = transaction(vec![event(kind::XID, &[0; 8])]);
        let refused = |transaction: &Transaction| packets(Flavour::Mariadb, transaction, 1 << 20).unwrap_err();
        assert!(packets(Flavour::Mariadb, &whole, 1 << 20).is_ok());
        assert!(refused(&Transaction { gtid: "3-1-6".to_owned(), ..whole.clone() }).contains("name"));
        assert!(refused(&Transaction { events: whole.events[..1].to_vec(), ..whole.clone() }).contains("no end"));
        assert!(refused(&Transaction { events: Vec::new(), ..whole.clone() }).contains("no event"));
        assert!(refused(&Transaction { format: Vec::new(), ..whole.clone() }).contains("format"));
        assert!(packets(Flavour::Mysql, &whole, 1 << 20).unwrap_err().contains("flavour"));
        let payload = transaction(vec![event(kind::PAYLOAD, &[2, 3, 0xfc, 255, 0, 0, 1, 2, 3])]);
        assert!(refused(&payload).contains("frame"));
    }
}
