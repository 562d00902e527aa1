//! Transactions as text for people: statements as they were, rows as statements, and what cannot be shown named in its
//! place. What can be replayed exactly are the events themselves, which are kept beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use super::BinlogError;
use super::event::{Event, kind, le32, le64};
use super::extract::Bounds;
use super::frame::Frames;
use super::gtid::named;
use super::packets::xid;
use super::payload::inflate;
use super::query::Query;
use super::rows::{Column, quoted, source_of_names, statements, table_of};
use super::table::Table;

/// The columns that the server has, by database and table.
pub type Shapes = BTreeMap<(String, String), Vec<Column>>;

/// Readable text ends after this many bytes; the events go on.
const LONGEST: usize = 256 << 20;

/// Writes the transactions of a binlog file as text. Blocks. Returns how many events could not be shown.
///
/// # Errors
/// [`BinlogError`] names the file and the offset, or the text that cannot be written.
pub fn describe(path: &Path, shapes: &Shapes, bounds: &mut Bounds, out: &mut dyn Write) -> Result<u64, BinlogError> {
    let mut text = Text {
        out,
        bounds,
        shapes,
        tables: BTreeMap::new(),
        database: String::new(),
        open: false,
        written: 0,
        unshown: 0,
    };
    let failed = |source| BinlogError::Io { path: path.to_owned(), source };
    walk(path, &mut |event| text.event(event).map_err(failed))?;
    if text.written > LONGEST {
        let end = format!("-- The readable text ends here, after {} MiB.\n", LONGEST >> 20);
        text.out.write_all(end.as_bytes()).map_err(failed)?;
        text.unshown += 1;
    }
    Ok(text.unshown)
}

/// Every event of a file in order, with those inside compressed ones in their place.
pub(super) fn walk(
    path: &Path,
    take: &mut dyn FnMut(&Event<'_>) -> Result<(), BinlogError>,
) -> Result<(), BinlogError> {
    let mut frames = Frames::open(path)?;
    while frames.advance()? {
        let event = frames.event()?;
        take(&event)?;
        if event.kind != kind::PAYLOAD {
            continue;
        }
        let content = inflate(event.body).map_err(|what| frames.unsupported(what))?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let torn = || frames.damaged("a compressed event is torn");
            let size = rest.get(9..).and_then(le32).and_then(|size| usize::try_from(size).ok()).ok_or_else(torn)?;
            let (inner, after) = rest.split_at_checked(size.max(1)).ok_or_else(torn)?;
            take(&Event::parse(inner, false).ok_or_else(torn)?)?;
            rest = after;
        }
    }
    Ok(())
}

struct Text<'a> {
    out: &'a mut dyn Write,
    bounds: &'a mut Bounds,
    shapes: &'a Shapes,
    tables: BTreeMap<u64, Table>,
    database: String,
    open: bool,
    written: usize,
    unshown: u64,
}

impl Text<'_> {
    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event.kind {
            kind::GTID | kind::TAGGED_GTID | kind::MARIADB_GTID => self.begin(event),
            kind::QUERY => self.query(event),
            kind::TABLE_MAP => self.table(event),
            kind::XID => self.end("COMMIT"),
            kind::XA_PREPARE => {
                let xid = xid(event.body).unwrap_or_default();
                let one_phase = event.body.first() != Some(&0);
                self.end(&if one_phase { format!("XA COMMIT {xid} ONE PHASE") } else { format!("XA PREPARE {xid}") })
            }
            kind::ROWS_QUERY => self.comment("its statement: ", event.body.get(1..).unwrap_or_default()),
            kind::MARIADB_ANNOTATE_ROWS => self.comment("its statement: ", event.body),
            kind::INTVAR => {
                let name = if event.body.first() == Some(&1) { "last_insert_id" } else { "insert_id" };
                let number = event.body.get(1..).and_then(le64).unwrap_or_default();
                self.line(&format!("SET @@{name}={number};"))
            }
            kind::RAND => {
                let (first, second) = (le64(event.body), event.body.get(8..).and_then(le64));
                let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
                self.line(&format!("SET @@rand_seed1={first}, @@rand_seed2={second};"))
            }
            kind::FORMAT_DESCRIPTION
            | kind::PREVIOUS_GTIDS
            | kind::MARIADB_GTID_LIST
            | kind::MARIADB_CHECKPOINT
            | kind::PAYLOAD
            | kind::ROTATE
            | kind::STOP => Ok(()),
            kind::USER_VAR => self.unshown("a user variable that the next statement uses"),
            kind::MARIADB_COMPRESSED_QUERY => self.unshown("a compressed statement (log_bin_compress)"),
            166..=kind::MARIADB_COMPRESSED_ROWS_LAST => self.unshown("compressed rows (log_bin_compress)"),
            kind::LOAD_BEGIN | kind::LOAD_APPEND | kind::LOAD_EXECUTE => {
                self.unshown("a part of LOAD DATA in statement format")
            }
            _ if event.is_rows() => self.rows(event),
            other => self.unshown(&format!("event {other}")),
        }
    }

    fn begin(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        self.tables.clear();
        self.open = false;
        let Some(named) = named(event) else { return self.unshown("a transaction's name") };
        self.line("")?;
        self.line(&format!(
            "-- {} of server {}, {} (@@timestamp {})",
            named.gtid,
            event.server_id,
            utc(event.timestamp),
            event.timestamp
        ))?;
        if event.kind == kind::MARIADB_GTID && !named.standalone {
            return self.start("BEGIN");
        }
        Ok(())
    }

    fn start(&mut self, statement: &str) -> std::io::Result<()> {
        self.open = true;
        self.line(&format!("{statement};"))
    }

    fn end(&mut self, statement: &str) -> std::io::Result<()> {
        self.open = false;
        self.line(&format!("{statement};"))
    }

    fn query(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let Some(query) = Query::parse(event) else { return self.unshown("a statement that is malformed") };
        let text = String::from_utf8_lossy(query.text).into_owned();
        match text.as_str() {
            "BEGIN" => return self.start("BEGIN"),
            "COMMIT" | "ROLLBACK" => return self.end(&text),
            _ => {}
        }
        if query.error != 0 {
            self.line(&format!("-- The statement ended in error {} on its server.", query.error))?;
        }
        let database = String::from_utf8_lossy(query.database).into_owned();
        if !database.is_empty() && database != self.database && event.flags & super::event::SUPPRESS_USE == 0 {
            self.line(&format!("USE {};", quoted(&database)))?;
            self.database = database;
        }
        if text.contains(';') {
            return self.line(&format!("DELIMITER //\n{text}\n//\nDELIMITER ;"));
        }
        self.line(&format!("{text};"))
    }

    fn table(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let Some(table) = Table::parse(event) else {
            return self.unshown("the shape of a table, which has columns of a kind that is not read here");
        };
        let columns = self.shapes.get(&(table.database.clone(), table.name.clone())).map_or(&[][..], Vec::as_slice);
        let line =
            format!("-- {}.{}, {}", quoted(&table.database), quoted(&table.name), source_of_names(&table, columns));
        self.tables.insert(table.id, table);
        self.line(&line)
    }

    fn rows(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let Some(table) = table_of(event).and_then(|id| self.tables.remove(&id)) else {
            return self.unshown("rows of a table that is not shown either");
        };
        let shapes = self.shapes;
        let columns: &[Column] = shapes.get(&(table.database.clone(), table.name.clone())).map_or(&[], Vec::as_slice);
        let mut broken = None;
        let shown = statements(event, &table, columns, |statement| {
            self.line(statement).map_err(|error| {
                let text = error.to_string();
                broken = Some(error);
                text
            })
        });
        let name = format!("{}.{}", quoted(&table.database), quoted(&table.name));
        self.tables.insert(table.id, table);
        if let Some(error) = broken {
            return Err(error);
        }
        shown.or_else(|reason| self.unshown(&format!("rows of {name}: {reason}")))
    }

    /// Says in its place what is not shown.
    fn unshown(&mut self, what: &str) -> std::io::Result<()> {
        self.unshown += 1;
        self.line(&format!("-- NOT SHOWN: {what}; it is in the binlog file beside this one."))
    }

    fn comment(&mut self, before: &str, text: &[u8]) -> std::io::Result<()> {
        let text = String::from_utf8_lossy(text);
        let mut lines = format!("-- {before}");
        lines.push_str(&text.replace('\n', "\n--   "));
        self.line(&lines)
    }

    /// A line, unless the text is long enough.
    fn line(&mut self, line: &str) -> std::io::Result<()> {
        if self.written > LONGEST {
            return Ok(());
        }
        self.bounds.spend(line.len() + 1)?;
        self.written += line.len() + 1;
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }
}

/// Seconds since 1970 as a date and time in UTC.
#[must_use]
pub fn utc(seconds: u32) -> String {
    let (days, second) = (i64::from(seconds / 86_400), seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days after 1970.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let mut text = String::new();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(text, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC");
    text
}
