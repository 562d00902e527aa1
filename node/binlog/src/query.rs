//! Query events: a statement's text and the session in which it ran.

use super::event::{Event, le16};

/// A statement as it was logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// The default database; may be empty.
    pub(super) database: &'a [u8],
    /// The statement, in the character set of its client.
    pub(super) text: &'a [u8],
    /// The error with which it ended on its server; 0 for none.
    pub(super) error: u16,
    session: &'a [u8],
}

impl<'a> Query<'a> {
    /// Takes a query event apart; `None` if it is malformed.
    pub(super) fn parse(event: &Event<'a>) -> Option<Self> {
        let body = event.body;
        let database_length = usize::from(*body.get(8)?);
        let error = le16(body.get(9..)?)?;
        let session_length = usize::from(le16(body.get(11..)?)?);
        let (session, rest) = body.get(13..)?.split_at_checked(session_length)?;
        let (database, rest) = rest.split_at_checked(database_length)?;
        Some(Self { database, text: rest.strip_prefix(&[0])?, error, session })
    }

    /// The assignments that bring a session into the state in which the statement ran, e.g. `@@sql_mode=0`.
    ///
    /// # Errors
    /// A sentence, if the event holds a variable that is not known here: running the statement without it could
    /// give another result.
    pub(super) fn assignments(&self, timestamp: u32) -> Result<Vec<String>, String> {
        let mut session = Session { bytes: self.session, microseconds: 0, assignments: Vec::new() };
        while let Some((key, rest)) = session.bytes.split_first() {
            session.bytes = rest;
            session
                .take(*key)
                .ok_or_else(|| format!("a statement carries the session variable {key}, which is unknown here"))?;
        }
        let Session { microseconds, mut assignments, .. } = session;
        assignments.push(format!("@@timestamp={timestamp}.{microseconds:06}"));
        Ok(assignments)
    }
}

struct Session<'a> {
    bytes: &'a [u8],
    microseconds: u64,
    assignments: Vec<String>,
}

impl<'a> Session<'a> {
    /// One variable, by its number in the servers' sources (`Q_FLAGS2_CODE` and so on). `None` if it is unknown.
    fn take(&mut self, key: u8) -> Option<()> {
        match key {
            0 => self.flags()?,
            1 => self.assign("sql_mode", 8)?,
            3 => {
                self.assign("auto_increment_increment", 2)?;
                self.assign("auto_increment_offset", 2)?;
            }
            4 => {
                self.assign("character_set_client", 2)?;
                self.assign("collation_connection", 2)?;
                self.assign("collation_server", 2)?;
            }
            5 => self.time_zone()?,
            7 => self.assign("lc_time_names", 2)?,
            8 => self.assign("collation_database", 2)?,
            13 | 128 => self.microseconds = self.number(3)?,
            16 => self.assign("explicit_defaults_for_timestamp", 1)?,
            18 => self.assign("default_collation_for_utf8mb4", 2)?,
            19 => self.assign("sql_require_primary_key", 1)?,
            20 => self.assign("default_table_encryption", 1)?,
            21 => self.assign("enable_cascade_triggers", 1)?,
            // Catalogs, table maps, lengths, the invoker, the databases touched and DDL's own numbers change no result.
            2 => {
                self.text()?;
                self.number(1)?;
            }
            6 => drop(self.text()?),
            9 | 17 | 129 => drop(self.number(8)?),
            10 => drop(self.number(4)?),
            11 => {
                self.text()?;
                self.text()?;
            }
            12 => self.skip_databases()?,
            _ => return None,
        }
        Some(())
    }

    fn assign(&mut self, name: &str, length: usize) -> Option<()> {
        let number = self.number(length)?;
        self.assignments.push(format!("@@{name}={number}"));
        Some(())
    }

    /// Bits as in the servers' `OPTION_…`. Autocommit is left out: switching it would end the transaction.
    fn flags(&mut self) -> Option<()> {
        let flags = self.number(4)?;
        let bit = |at: u32| flags >> at & 1;
        self.assignments.push(format!("@@sql_auto_is_null={}", bit(14)));
        self.assignments.push(format!("@@foreign_key_checks={}", 1 - bit(26)));
        self.assignments.push(format!("@@unique_checks={}", 1 - bit(27)));
        Some(())
    }

    fn time_zone(&mut self) -> Option<()> {
        let zone = std::str::from_utf8(self.text()?).ok()?;
        let harmless = zone.chars().all(|c| c.is_ascii_alphanumeric() || "+-:/_".contains(c));
        harmless.then(|| self.assignments.push(format!("@@time_zone='{zone}'")))
    }

    /// A count and names that end in zero; the count 254 stands for "too many to name".
    fn skip_databases(&mut self) -> Option<()> {
        let count = self.number(1)?;
        for _ in 0..if count == 254 { 0 } else { count } {
            let end = self.bytes.iter().position(|byte| *byte == 0)?;
            self.bytes = self.bytes.get(end + 1..)?;
        }
        Some(())
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number(1)?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(text)
    }

    fn number(&mut self, length: usize) -> Option<u64> {
        let (raw, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(raw.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::HEADER;
    use super::*;

    fn event(session: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + 13];
        bytes[HEADER + 8] = 2;
        bytes[HEADER + 11] = u8::try_from(session.len()).unwrap();
        bytes.extend_from_slice(session);
        bytes.extend_from_slice(b"db\0DROP TABLE t");
        bytes
    }

    fn assignments(session: &[u8]) -> Result<Vec<String>, String> {
        let bytes = event(session);
        Query::parse(&Event::parse(&bytes, false).unwrap()).unwrap().assignments(77)
    }

    #[test]
    fn a_statement_is_read_with_its_database_and_its_session() {
        let bytes = event(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 5, 2, b'U', b'T']);
        let query = Query::parse(&Event::parse(&bytes, false).unwrap()).unwrap();
        assert_eq!((query.database, query.text, query.error), (&b"db"[..], &b"DROP TABLE t"[..], 0));
        assert_eq!(query.assignments(77).unwrap(), ["@@sql_mode=3", "@@time_zone='UT'", "@@timestamp=77.000000"]);
    }

    #[test]
    fn checks_that_were_off_are_switched_off() {
        let expected = ["@@sql_auto_is_null=0", "@@foreign_key_checks=0", "@@unique_checks=1", "@@timestamp=77.000258"];
        assert_eq!(assignments(&[0, 0, 0, 0, 4, 13, 2, 1, 0]).unwrap(), expected);
    }

    #[test]
    fn an_unknown_or_cut_variable_is_refused_and_never_skipped() {
        assert!(assignments(&[99]).unwrap_err().contains("variable 99"));
        assert!(assignments(&[1, 0]).unwrap_err().contains("variable 1,"));
        assert!(assignments(&[5, 3, b'\'', b'x', b'y']).unwrap_err().contains("variable 5,"));
    }

    #[test]
    fn variables_that_change_nothing_are_stepped_over() {
        let session = [6, 3, b's', b't', b'd', 12, 2, b'a', 0, b'b', 0, 12, 254, 11, 1, b'u', 1, b'h', 10, 1, 2, 3, 4];
        assert_eq!(assignments(&session).unwrap(), ["@@timestamp=77.000000"]);
    }
}
