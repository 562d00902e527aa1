//! The whole transactions of one binlog file, in commit order.

use std::path::Path;

use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet};

use super::BinlogError;
use super::event::{Event, kind};
use super::frame::Frames;
use super::gtid::{Named, before_file, named};
use super::query::Query;

/// A transaction that reached its end in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Its name.
    pub(super) gtid: Gtid,
    /// Where it begins in the file.
    pub(super) from: u64,
    /// Where it ends.
    pub(super) to: u64,
}

/// Reads one file.
#[derive(Debug)]
pub(super) struct Reader {
    frames: Frames,
    format: Vec<u8>,
    list: Vec<u8>,
    before: Option<GtidSet>,
    /// The file is a tail taken from several: a format description may stand between transactions.
    gathered: bool,
}

/// Where a transaction stands after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The next statement is either all of it or its beginning (MySQL), or all of it (MariaDB, standalone).
    Undecided,
    /// It goes on until it is committed, rolled back or prepared.
    Open,
    /// The event was its last.
    Ended,
}

impl Reader {
    /// Opens a file and reads its head.
    pub(super) fn open(path: &Path, flavour: Flavour) -> Result<Self, BinlogError> {
        let mut reader = Self::head(path)?;
        if !reader.frames.advance()? {
            return Ok(reader);
        }
        let second = reader.frames.event()?;
        if second.kind == kind::MARIADB_START_ENCRYPTION {
            return Err(BinlogError::Encrypted { path: path.to_owned() });
        }
        let before = before_file(&second, flavour);
        let missing = || reader.frames.unsupported(format!("the list of earlier GTIDs of {flavour} is missing"));
        let list = second.bytes.to_vec();
        reader.before = Some(before.ok_or_else(missing)?);
        reader.list = list;
        Ok(reader)
    }

    /// Opens a tail as it was delivered: without a list of earlier GTIDs.
    pub(super) fn gathered(path: &Path) -> Result<Self, BinlogError> {
        Ok(Self { gathered: true, ..Self::head(path)? })
    }

    fn head(path: &Path) -> Result<Self, BinlogError> {
        let mut reader =
            Self { frames: Frames::open(path)?, format: Vec::new(), list: Vec::new(), before: None, gathered: false };
        if reader.frames.advance()? {
            let first = reader.frames.event()?;
            if first.kind != kind::FORMAT_DESCRIPTION {
                return Err(reader.frames.damaged("the format description is missing"));
            }
            reader.format = first.bytes.to_vec();
        }
        Ok(reader)
    }

    /// All transactions before the file; `None` if the file is torn before it tells them, and so has none itself.
    pub(super) const fn before(&self) -> Option<&GtidSet> {
        self.before.as_ref()
    }

    /// The event that tells what came before the file, as it stands there.
    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// The file's format description event, with its checksum.
    pub(super) fn format(&self) -> &[u8] {
        &self.format
    }

    /// The next whole transaction; `None` at the end of the file, where a transaction without an end does not count.
    /// Its events are shown one after the other, before it is known whether they have an end.
    pub(super) fn next(&mut self, mut show: impl FnMut(&Gtid, &[u8])) -> Result<Option<Whole>, BinlogError> {
        self.copy_next(|gtid, bytes| {
            show(gtid, bytes);
            Ok(())
        })
    }

    /// The same, where what is done with an event can fail.
    pub(super) fn copy_next(
        &mut self,
        mut show: impl FnMut(&Gtid, &[u8]) -> Result<(), BinlogError>,
    ) -> Result<Option<Whole>, BinlogError> {
        let Some(name) = self.seek()? else { return Ok(None) };
        let from = self.frames.offset();
        let gtid_event = self.frames.event()?;
        show(&name.gtid, gtid_event.bytes)?;
        let mariadb = gtid_event.kind == kind::MARIADB_GTID;
        let mut shape = if mariadb && !name.standalone { Shape::Open } else { Shape::Undecided };
        while shape != Shape::Ended {
            if !self.frames.advance()? {
                return Ok(None);
            }
            let event = self.frames.event()?;
            shape = after(&self.frames, shape, &event, mariadb)?;
            show(&name.gtid, event.bytes)?;
        }
        Ok(Some(Whole { gtid: name.gtid, from, to: self.frames.end() }))
    }

    /// Goes on to the next GTID event.
    fn seek(&mut self) -> Result<Option<Named>, BinlogError> {
        while self.frames.advance()? {
            let event = self.frames.event()?;
            match event.kind {
                kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID => {
                    return named(&event).map(Some).ok_or_else(|| self.frames.damaged("a GTID event is malformed"));
                }
                kind::STOP | kind::ROTATE | kind::MARIADB_CHECKPOINT => {}
                kind::FORMAT_DESCRIPTION if self.gathered => self.format = event.bytes.to_vec(),
                _ if event.is_ignorable() => {}
                kind => return Err(self.frames.unsupported(format!("event {kind} stands outside of any GTID"))),
            }
        }
        Ok(None)
    }
}

/// What becomes of a transaction by one more event. `frames` is where it was read.
pub(super) fn after(frames: &Frames, shape: Shape, event: &Event<'_>, mariadb: bool) -> Result<Shape, BinlogError> {
    match event.kind {
        kind::QUERY => {
            let query = Query::parse(event).ok_or_else(|| frames.damaged("a query event is malformed"))?;
            Ok(after_statement(shape, query.text, mariadb))
        }
        kind::MARIADB_COMPRESSED_QUERY if shape == Shape::Undecided => Ok(Shape::Ended),
        kind::XID | kind::XA_PREPARE | kind::PAYLOAD => Ok(Shape::Ended),
        kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID | kind::STOP | kind::ROTATE => {
            Err(frames.damaged("a transaction has no end"))
        }
        kind::INTVAR
        | kind::RAND
        | kind::USER_VAR
        | kind::LOAD_APPEND
        | kind::LOAD_BEGIN
        | kind::LOAD_EXECUTE
        | kind::TABLE_MAP
        | kind::ROWS_QUERY
        | kind::MARIADB_ANNOTATE_ROWS..=kind::MARIADB_CHECKPOINT
        | kind::MARIADB_COMPRESSED_QUERY..=kind::MARIADB_COMPRESSED_ROWS_LAST => Ok(shape),
        _ if event.is_rows() || event.is_ignorable() => Ok(shape),
        kind => Err(frames.unsupported(format!("event {kind} is unknown in a transaction"))),
    }
}

fn after_statement(shape: Shape, text: &[u8], mariadb: bool) -> Shape {
    let begins = |prefix: &[u8]| text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    let ends = text == b"COMMIT" || text == b"ROLLBACK" || begins(b"XA COMMIT") || begins(b"XA ROLLBACK");
    match shape {
        Shape::Undecided if !mariadb && (text == b"BEGIN" || begins(b"XA START")) => Shape::Open,
        Shape::Undecided | Shape::Ended => Shape::Ended,
        Shape::Open if ends => Shape::Ended,
        Shape::Open => Shape::Open,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::event::HEADER;
    use super::*;

    fn event(kind: u8, flags: u16, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + body.len() + 4).unwrap();
        let mut bytes = vec![0, 0, 0, 0, kind, 1, 0, 0, 0];
        bytes.extend(size.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(flags.to_le_bytes());
        bytes.extend(body);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn gtid(sequence: u8, flags: u8) -> Vec<u8> {
        event(kind::MARIADB_GTID, 0, &[sequence, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0])
    }

    fn statement(text: &str) -> Vec<u8> {
        event(kind::QUERY, 0, &[&[0; 14], text.as_bytes()].concat())
    }

    /// A file with a head and these events, read to its end.
    fn read(name: &str, events: &[Vec<u8>]) -> Result<Vec<String>, BinlogError> {
        let path: PathBuf = std::env::temp_dir().join(format!("tasuki-reader-{name}-{}", std::process::id()));
        let mut content = b"\xfebin".to_vec();
        content.extend(event(kind::FORMAT_DESCRIPTION, 0, &[&[4; 80][..], &[1]].concat()));
        content.extend(events.concat());
        fs::write(&path, content).unwrap();
        let transactions = || {
            let mut reader = Reader::open(&path, Flavour::Mariadb)?;
            let mut names = Vec::new();
            while let Some(whole) = reader.next(|_, _| {})? {
                names.push(whole.gtid.to_string());
            }
            Ok(names)
        };
        let result = transactions();
        fs::remove_file(&path).unwrap();
        result
    }

    fn list() -> Vec<u8> {
        event(kind::MARIADB_GTID_LIST, 0, &[0; 4])
    }

    #[test]
    fn a_transaction_counts_from_its_end_on() {
        let events = [list(), gtid(1, 1), statement("DROP TABLE t"), gtid(2, 0), statement("SAVEPOINT s")];
        assert_eq!(read("open", &events).unwrap(), ["0-1-1"]);
        let ended = [&events[..], &[statement("COMMIT")]].concat();
        assert_eq!(read("ended", &ended).unwrap(), ["0-1-1", "0-1-2"]);
    }

    #[test]
    fn an_unknown_event_is_refused_at_its_place_unless_it_may_be_ignored() {
        let unknown = |flags| [list(), event(200, flags, &[]), gtid(1, 1), statement("DROP TABLE t")];
        assert_eq!(read("ignorable", &unknown(0x80)).unwrap(), ["0-1-1"]);
        let error = read("unknown", &unknown(0)).unwrap_err().to_string();
        assert!(error.contains("tasuki-reader-unknown") && error.contains("at 135: event 200"), "{error}");
        let inside = [list(), gtid(1, 0), event(200, 0, &[])];
        assert!(matches!(read("inside", &inside), Err(BinlogError::Unsupported { .. })));
    }

    #[test]
    fn an_encrypted_file_and_one_without_gtids_are_refused() {
        let encrypted = [event(kind::MARIADB_START_ENCRYPTION, 0, &[1; 17])];
        assert!(matches!(read("encrypted", &encrypted), Err(BinlogError::Encrypted { .. })));
        let other = [event(kind::PREVIOUS_GTIDS, 0, &[0; 8])];
        assert!(matches!(read("other", &other), Err(BinlogError::Unsupported { .. })));
        let path = std::env::temp_dir().join(format!("tasuki-reader-magic-{}", std::process::id()));
        fs::write(&path, b"\xfdbin and more").unwrap();
        let error = Reader::open(&path, Flavour::Mysql).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert!(matches!(error, BinlogError::Encrypted { .. }), "{error}");
    }

    #[test]
    fn a_transaction_without_an_end_before_the_next_is_damage() {
        let events = [list(), gtid(1, 0), gtid(2, 1), statement("DROP TABLE t")];
        assert!(matches!(read("unended", &events), Err(BinlogError::Damaged { .. })));
        let headless = [event(kind::MARIADB_GTID_LIST, 0, &[255, 255, 255, 255])];
        assert!(matches!(read("headless", &headless), Err(BinlogError::Unsupported { .. })));
    }
}
