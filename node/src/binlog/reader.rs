//! The whole transactions of one binlog file, in commit order.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// Its events in base64, if they were wanted.
    pub(super) events: Option<Vec<String>>,
}

/// Reads one file.
#[derive(Debug)]
pub(super) struct Reader {
    frames: Frames,
    format: Vec<u8>,
    before: Option<GtidSet>,
}

/// Where a transaction stands after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
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
        let mut reader = Self { frames: Frames::open(path)?, format: Vec::new(), before: None };
        if !reader.frames.advance()? {
            return Ok(reader);
        }
        let first = reader.frames.event()?;
        if first.kind != kind::FORMAT_DESCRIPTION {
            return Err(reader.frames.damaged("the format description is missing"));
        }
        reader.format = first.bytes.to_vec();
        if !reader.frames.advance()? {
            return Ok(reader);
        }
        let second = reader.frames.event()?;
        if second.kind == kind::MARIADB_START_ENCRYPTION {
            return Err(BinlogError::Encrypted { path: path.to_owned() });
        }
        let before = before_file(&second, flavour);
        let missing = || reader.frames.unsupported(format!("the list of earlier GTIDs of {flavour} is missing"));
        reader.before = Some(before.ok_or_else(missing)?);
        Ok(reader)
    }

    /// All transactions before the file; `None` if the file is torn before it tells them, and so has none itself.
    pub(super) const fn before(&self) -> Option<&GtidSet> {
        self.before.as_ref()
    }

    /// The file's format description event, with its checksum.
    pub(super) fn format(&self) -> &[u8] {
        &self.format
    }

    /// The next whole transaction, with its events if `wanted` says so; `None` at the end of the file, where a
    /// transaction without an end does not count.
    pub(super) fn next(&mut self, wanted: impl FnOnce(&Gtid) -> bool) -> Result<Option<Whole>, BinlogError> {
        let Some(name) = self.seek()? else { return Ok(None) };
        let gtid_event = self.frames.event()?;
        let mut events = wanted(&name.gtid).then(|| vec![STANDARD.encode(gtid_event.bytes)]);
        let mariadb = gtid_event.kind == kind::MARIADB_GTID;
        let mut shape = if mariadb && !name.standalone { Shape::Open } else { Shape::Undecided };
        while shape != Shape::Ended {
            if !self.frames.advance()? {
                return Ok(None);
            }
            let event = self.frames.event()?;
            shape = self.after(shape, &event, mariadb)?;
            if let Some(events) = &mut events {
                events.push(STANDARD.encode(event.bytes));
            }
        }
        Ok(Some(Whole { gtid: name.gtid, events }))
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
                _ if event.is_ignorable() => {}
                kind => return Err(self.frames.unsupported(format!("event {kind} stands outside of any GTID"))),
            }
        }
        Ok(None)
    }

    fn after(&self, shape: Shape, event: &Event<'_>, mariadb: bool) -> Result<Shape, BinlogError> {
        match event.kind {
            kind::QUERY => {
                let query = Query::parse(event).ok_or_else(|| self.frames.damaged("a query event is malformed"))?;
                Ok(after_statement(shape, query.text, mariadb))
            }
            kind::MARIADB_COMPRESSED_QUERY if shape == Shape::Undecided => Ok(Shape::Ended),
            kind::XID | kind::XA_PREPARE | kind::PAYLOAD => Ok(Shape::Ended),
            kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID | kind::STOP | kind::ROTATE => {
                Err(self.frames.damaged("a transaction has no end"))
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
            kind => Err(self.frames.unsupported(format!("event {kind} is unknown in a transaction"))),
        }
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
