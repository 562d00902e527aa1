//! Table map events: which table the rows that follow belong to, and how their values are stored.

use super::event::{Event, le16, le32};

/// How the values of one column are stored, by the numbers of the servers' sources (`MYSQL_TYPE_…`).
pub(super) mod stored {
    pub(in super::super) const TINY: u8 = 1;
    pub(in super::super) const SHORT: u8 = 2;
    pub(in super::super) const LONG: u8 = 3;
    pub(in super::super) const FLOAT: u8 = 4;
    pub(in super::super) const DOUBLE: u8 = 5;
    pub(in super::super) const TIMESTAMP: u8 = 7;
    pub(in super::super) const LONGLONG: u8 = 8;
    pub(in super::super) const INT24: u8 = 9;
    pub(in super::super) const DATE: u8 = 10;
    pub(in super::super) const TIME: u8 = 11;
    pub(in super::super) const DATETIME: u8 = 12;
    pub(in super::super) const YEAR: u8 = 13;
    pub(in super::super) const NEWDATE: u8 = 14;
    pub(in super::super) const VARCHAR: u8 = 15;
    pub(in super::super) const BIT: u8 = 16;
    pub(in super::super) const TIMESTAMP2: u8 = 17;
    pub(in super::super) const DATETIME2: u8 = 18;
    pub(in super::super) const TIME2: u8 = 19;
    pub(in super::super) const MARIADB_BLOB_COMPRESSED: u8 = 140;
    pub(in super::super) const MARIADB_VARCHAR_COMPRESSED: u8 = 141;
    pub(in super::super) const VECTOR: u8 = 242;
    pub(in super::super) const JSON: u8 = 245;
    pub(in super::super) const NEWDECIMAL: u8 = 246;
    pub(in super::super) const ENUM: u8 = 247;
    pub(in super::super) const SET: u8 = 248;
    pub(in super::super) const TINY_BLOB: u8 = 249;
    pub(in super::super) const BLOB: u8 = 252;
    pub(in super::super) const VAR_STRING: u8 = 253;
    pub(in super::super) const STRING: u8 = 254;
    pub(in super::super) const GEOMETRY: u8 = 255;
}

/// One column as the event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// See [`stored`].
    pub(super) kind: u8,
    /// What the kind needs to know beside: lengths, digits.
    pub(super) detail: [u8; 2],
    /// `None` where the event does not tell.
    pub(super) unsigned: Option<bool>,
    /// `None` where the event does not tell (`binlog_row_metadata` is not FULL).
    pub(super) name: Option<String>,
}

/// A table as the event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// How row events name it.
    pub(super) id: u64,
    /// Its database.
    pub(super) database: String,
    /// Its name.
    pub(super) name: String,
    /// Its columns, in order.
    pub(super) columns: Vec<Stored>,
}

impl Table {
    /// Takes a table map event apart; `None` if it is malformed, or has a kind of column that is not known here.
    pub(super) fn parse(event: &Event<'_>) -> Option<Self> {
        let mut rest = event.body;
        let id = table_id(rest)?;
        rest = rest.get(8..)?;
        let database = name(&mut rest)?;
        let table = name(&mut rest)?;
        let count = usize::try_from(length_encoded(&mut rest)?).ok()?;
        let kinds = take(&mut rest, count)?;
        let length = usize::try_from(length_encoded(&mut rest)?).ok()?;
        let mut details = take(&mut rest, length)?;
        let mut columns = Vec::with_capacity(count);
        for kind in kinds {
            let detail = match detail_length(*kind)? {
                0 => [0, 0],
                1 => [*take(&mut details, 1)?.first()?, 0],
                _ => *take(&mut details, 2)?.first_chunk()?,
            };
            columns.push(Stored { kind: *kind, detail, unsigned: None, name: None });
        }
        take(&mut rest, count.div_ceil(8))?;
        let mut table = Self { id, database, name: table, columns };
        table.read_metadata(rest)?;
        Some(table)
    }

    /// What newer servers add. Fields that are not needed here, or not known, are stepped over.
    fn read_metadata(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            let length = usize::try_from(length_encoded(&mut rest)?).ok()?;
            let mut field = take(&mut rest, length)?;
            match kind {
                1 => {
                    for (at, column) in self.columns.iter_mut().filter(|column| is_number(column.kind)).enumerate() {
                        let bits = field.get(at / 8)?;
                        column.unsigned = Some(bits & (0x80 >> (at % 8)) != 0);
                    }
                }
                4 => {
                    for column in &mut self.columns {
                        let length = usize::try_from(length_encoded(&mut field)?).ok()?;
                        column.name = Some(String::from_utf8_lossy(take(&mut field, length)?).into_owned());
                    }
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// The six bytes by which row events name a table.
pub(super) fn table_id(bytes: &[u8]) -> Option<u64> {
    let (low, high) = (le32(bytes)?, le16(bytes.get(4..)?)?);
    Some(u64::from(low) | u64::from(high) << 32)
}

/// Takes a number of bytes off the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A number whose first byte tells its length.
pub(super) fn length_encoded(bytes: &mut &[u8]) -> Option<u64> {
    let first = *take(bytes, 1)?.first()?;
    let length = match first {
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xff | 0xfb => return None,
        small => return Some(u64::from(small)),
    };
    Some(take(bytes, length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A length of one byte, a text, and a zero.
fn name(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::from(*take(bytes, 1)?.first()?);
    let text = take(bytes, length)?;
    take(bytes, 1)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

const fn is_number(kind: u8) -> bool {
    use stored::{DOUBLE, FLOAT, INT24, LONG, LONGLONG, NEWDECIMAL, SHORT, TINY, YEAR};
    matches!(kind, TINY | SHORT | INT24 | LONG | LONGLONG | YEAR | FLOAT | DOUBLE | NEWDECIMAL)
}

/// How many bytes of detail a kind has; `None` for a kind that is not known here.
const fn detail_length(kind: u8) -> Option<usize> {
    use stored::{
        BIT, BLOB, DATE, DATETIME, DATETIME2, DOUBLE, ENUM, FLOAT, GEOMETRY, INT24, JSON, LONG, LONGLONG,
        MARIADB_BLOB_COMPRESSED, MARIADB_VARCHAR_COMPRESSED, NEWDATE, NEWDECIMAL, SET, SHORT, STRING, TIME, TIME2,
        TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VAR_STRING, VARCHAR, VECTOR, YEAR,
    };
    match kind {
        TINY | SHORT | INT24 | LONG | LONGLONG | YEAR | DATE | NEWDATE | TIME | DATETIME | TIMESTAMP => Some(0),
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | TINY_BLOB..=BLOB | GEOMETRY | JSON | VECTOR => Some(1),
        MARIADB_BLOB_COMPRESSED => Some(1),
        VARCHAR | VAR_STRING | STRING | ENUM | SET | BIT | NEWDECIMAL | MARIADB_VARCHAR_COMPRESSED => Some(2),
        _ => None,
    }
}
