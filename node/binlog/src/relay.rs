//! What relay files hold that was never applied.
//!
//! They differ from a binlog: each begins with the replica's own format description, the source's follows after a
//! rotation, also in the middle of a transaction when the receiver connected anew, and a transaction may go on in the next
//! file. On MySQL one that was cut off is followed by the same one, whole.

use std::fmt;
use std::fs;
use std::path::Path;

use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet};

use super::event::{Event, kind};
use super::frame::Frames;
use super::gtid::named;
use super::history::files;
use super::reader::{Shape, after};
use super::{BinlogError, Transaction};

/// Whole transactions in relay files that a server has not executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unapplied {
    /// How many there are.
    pub count: usize,
    /// The first and the last of them.
    pub ends: Option<(String, String)>,
    /// In order. Fewer than `count` if they do not fit.
    pub transactions: Vec<Transaction>,
}

impl Unapplied {
    /// Everything whole was executed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Unapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ends {
            Some((first, last)) => write!(f, "{} transactions, {first} to {last}", self.count),
            None => f.write_str("nothing"),
        }
    }
}

/// Reads the relay files that `index` names, for whole transactions that are not in `executed`. At most `limit_bytes` are
/// collected. Blocks.
///
/// A server that has no relay files has no index of them either.
///
/// # Errors
/// [`BinlogError`] names the file and the offset; also where something stands that this reader does not know.
pub fn unapplied(
    index: &Path,
    flavour: Flavour,
    executed: &GtidSet,
    limit_bytes: usize,
) -> Result<Unapplied, BinlogError> {
    if !index.exists() {
        no_files_without_index(index)?;
        return Ok(Unapplied::default());
    }
    let mut reading = Reading {
        mariadb: flavour == Flavour::Mariadb,
        executed,
        left: limit_bytes,
        format: Vec::new(),
        open: None,
        found: Unapplied::default(),
    };
    for path in files(index)? {
        let mut frames = Frames::open(&path)?;
        while frames.advance()? {
            reading.take(&frames, &path)?;
        }
    }
    Ok(reading.found)
}

/// Files whose list is not there could hold anything.
fn no_files_without_index(index: &Path) -> Result<(), BinlogError> {
    let failed = |source| BinlogError::Io { path: index.to_owned(), source };
    let (Some(folder), Some(stem)) = (index.parent(), index.file_stem().and_then(|stem| stem.to_str())) else {
        return Ok(());
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
        if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{name} is not listed in it"),
            )));
        }
    }
    Ok(())
}

struct Reading<'a> {
    mariadb: bool,
    executed: &'a GtidSet,
    left: usize,
    /// The format description in force.
    format: Vec<u8>,
    open: Option<Open>,
    found: Unapplied,
}

struct Open {
    gtid: Gtid,
    shape: Shape,
    /// `None` once it is known that they are not wanted, or do not fit.
    events: Option<Vec<Vec<u8>>>,
    size: usize,
}

impl Reading<'_> {
    fn take(&mut self, frames: &Frames, path: &Path) -> Result<(), BinlogError> {
        let event = frames.event()?;
        match event.kind {
            kind::FORMAT_DESCRIPTION => {
                self.format = event.bytes.to_vec();
                Ok(())
            }
            kind::MARIADB_START_ENCRYPTION => Err(BinlogError::Encrypted { path: path.to_owned() }),
            kind::ROTATE | kind::STOP | kind::PREVIOUS_GTIDS | kind::MARIADB_GTID_LIST | kind::MARIADB_CHECKPOINT => {
                Ok(())
            }
            // Whatever was open has no end: it was fetched again.
            kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID => self.begin(frames, &event),
            _ => self.go_on(frames, &event),
        }
    }

    fn begin(&mut self, frames: &Frames, event: &Event<'_>) -> Result<(), BinlogError> {
        let named = named(event).ok_or_else(|| frames.damaged("a GTID event is malformed"))?;
        let wanted = !self.executed.contains_gtid(&named.gtid);
        let shape = if self.mariadb && !named.standalone { Shape::Open } else { Shape::Undecided };
        let mut open = Open { gtid: named.gtid, shape, events: wanted.then(Vec::new), size: self.format.len() };
        open.push(event, self.left);
        self.open = Some(open);
        Ok(())
    }

    fn go_on(&mut self, frames: &Frames, event: &Event<'_>) -> Result<(), BinlogError> {
        let Some(open) = &mut self.open else {
            if event.is_ignorable() {
                return Ok(());
            }
            return Err(frames.unsupported(format!("event {} stands outside of any GTID", event.kind)));
        };
        open.shape = after(frames, open.shape, event, self.mariadb)?;
        open.push(event, self.left);
        if open.shape == Shape::Ended
            && let Some(open) = self.open.take()
        {
            self.end(open);
        }
        Ok(())
    }

    fn end(&mut self, open: Open) {
        if self.executed.contains_gtid(&open.gtid) {
            return;
        }
        let gtid = open.gtid.to_string();
        // A receiver that connected anew may have fetched it twice.
        if self.found.ends.as_ref().is_some_and(|(_, last)| *last == gtid) {
            return;
        }
        self.found.count += 1;
        let first = self.found.ends.take().map_or_else(|| gtid.clone(), |(first, _)| first);
        self.found.ends = Some((first, gtid.clone()));
        match open.events {
            Some(events) if self.found.transactions.len() + 1 == self.found.count => {
                self.left = self.left.saturating_sub(open.size);
                self.found.transactions.push(Transaction { gtid, format: self.format.clone(), events });
            }
            Some(_) | None => {}
        }
    }
}

impl Open {
    fn push(&mut self, event: &Event<'_>, left: usize) {
        let Some(events) = &mut self.events else { return };
        self.size += event.bytes.len();
        if self.size > left {
            self.events = None;
        } else {
            events.push(event.bytes.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::HEADER;
    use super::*;

    fn event(kind: u8, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + body.len() + 4).unwrap();
        let mut bytes = vec![0, 0, 0, 0, kind, 1, 0, 0, 0];
        bytes.extend(size.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(body);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn format() -> Vec<u8> {
        event(kind::FORMAT_DESCRIPTION, &[&[4; 80][..], &[1]].concat())
    }

    fn mariadb(sequence: u8) -> Vec<u8> {
        event(kind::MARIADB_GTID, &[sequence, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn mysql(number: u8) -> Vec<u8> {
        event(kind::GTID, &[&[0; 1][..], &[0x11; 16], &[number, 0, 0, 0, 0, 0, 0, 0], &[0; 17]].concat())
    }

    fn statement(text: &str) -> Vec<u8> {
        event(kind::QUERY, &[&[0; 14], text.as_bytes()].concat())
    }

    fn xid() -> Vec<u8> {
        event(kind::XID, &[0; 8])
    }

    /// Relay files with these events, each with a head of its own, read as a server that executed `have`.
    fn read(name: &str, flavour: Flavour, have: &str, relay: &[Vec<Vec<u8>>]) -> Result<Unapplied, BinlogError> {
        let folder = std::env::temp_dir().join(format!("tasuki-relay-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut index = String::new();
        for (at, events) in relay.iter().enumerate() {
            let content = [b"\xfebin".to_vec(), format(), events.concat()].concat();
            fs::write(folder.join(format!("relay.00000{}", at + 1)), content).unwrap();
            index.push_str(&format!("./relay.00000{}\n", at + 1));
        }
        fs::write(folder.join("relay.index"), index).unwrap();
        let found = unapplied(&folder.join("relay.index"), flavour, &GtidSet::parse(flavour, have).unwrap(), 1 << 20);
        fs::remove_dir_all(folder).unwrap();
        found
    }

    fn names(found: &Unapplied) -> Vec<&str> {
        found.transactions.iter().map(|transaction| transaction.gtid.as_str()).collect()
    }

    #[test]
    fn a_transaction_goes_on_behind_a_new_connection_and_in_the_next_file() {
        let rotate = || event(kind::ROTATE, &[4, 0, 0, 0, 0, 0, 0, 0, b'b']);
        let first = vec![rotate(), format(), mariadb(1), statement("a"), xid(), mariadb(2), statement("b")];
        let second = vec![rotate(), format(), statement("c"), xid(), mariadb(3), statement("d")];
        let found = read("on", Flavour::Mariadb, "0-1-1", &[first, second]).unwrap();
        assert_eq!((names(&found), found.count), (vec!["0-1-2"], 1), "the third has no end");
        assert_eq!(found.transactions[0].events.len(), 4);
        assert_eq!(found.to_string(), "1 transactions, 0-1-2 to 0-1-2");
    }

    #[test]
    fn one_that_was_cut_off_and_fetched_again_counts_once_and_whole() {
        let begun = vec![mysql(7), statement("BEGIN"), statement("a")];
        let again = vec![format(), mysql(7), statement("BEGIN"), statement("a"), statement("b"), xid()];
        let found = read("again", Flavour::Mysql, "", &[[begun, again].concat()]).unwrap();
        assert_eq!(names(&found), ["11111111-1111-1111-1111-111111111111:7"]);
        assert_eq!(found.transactions[0].events.len(), 5);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_ends_what_is_collected() {
        let large = "x".repeat(1 << 20);
        let events = vec![mariadb(1), xid(), mariadb(2), statement(&large), xid(), mariadb(3), xid()];
        let found = read("large", Flavour::Mariadb, "", &[events]).unwrap();
        assert_eq!((names(&found), found.count), (vec!["0-1-1"], 3), "the third is not applied without the second");
        assert_eq!(found.to_string(), "3 transactions, 0-1-1 to 0-1-3");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let outside = read("outside", Flavour::Mariadb, "", &[vec![statement("a")]]);
        assert!(matches!(outside, Err(BinlogError::Unsupported { .. })));
        let encrypted =
            read("encrypted", Flavour::Mariadb, "", &[vec![event(kind::MARIADB_START_ENCRYPTION, &[1; 17])]]);
        assert!(matches!(encrypted, Err(BinlogError::Encrypted { .. })));
    }

    #[test]
    fn a_server_without_relay_files_has_nothing_unapplied_and_unlisted_ones_are_refused() {
        let folder = std::env::temp_dir().join(format!("tasuki-relay-none-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let look = || unapplied(&folder.join("relay.index"), Flavour::Mysql, &GtidSet::empty(Flavour::Mysql), 0);
        assert!(look().unwrap().is_empty());
        fs::write(folder.join("relay.info"), "").unwrap();
        assert!(look().unwrap().is_empty());
        fs::write(folder.join("relay.000001"), "").unwrap();
        assert!(look().unwrap_err().to_string().contains("relay.000001 is not listed"));
        fs::remove_dir_all(folder).unwrap();
    }
}
