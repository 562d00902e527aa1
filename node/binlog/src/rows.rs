//! Row events as statements that people can read, and mostly run.

use std::collections::BTreeMap;

use super::event::{Event, le16};
use super::table::{Stored, Table, length_encoded, stored, table_id, take};
use super::value::{Show, literal};

/// A column as the server has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type without lengths, e.g. `varchar`.
    pub data_type: String,
    /// Numbers have no sign.
    pub unsigned: bool,
    /// Text is in UTF-8.
    pub utf8: bool,
    /// The server computes it.
    pub generated: bool,
}

impl Column {
    /// Reads a row of `Dialect::columns`.
    #[must_use]
    pub fn read(row: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| row.get(name).cloned().unwrap_or_default();
        let extra = get("extra").to_ascii_uppercase();
        Self {
            name: get("name"),
            data_type: get("data_type").to_ascii_lowercase(),
            unsigned: get("column_type").contains("unsigned"),
            utf8: get("character_set").starts_with("utf8"),
            generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
        }
    }
}

/// What is known of one column, for showing it.
struct Known {
    name: String,
    show: Show,
    generated: bool,
    /// Its literal is equal to its value: not so where a number was rounded, or bytes at the end are left out.
    compares: bool,
    /// MariaDB keeps the parts of a UUID in another order than it is written in.
    is_uuid: bool,
}

/// Where the names come from, for people.
pub(super) fn source_of_names(table: &Table, columns: &[Column]) -> &'static str {
    if table.columns.iter().all(|column| column.name.is_some()) {
        "columns as the event names them"
    } else if fit(table, columns) {
        "columns as the server has them now"
    } else {
        "columns by number: the server has no such table any more, or in another shape"
    }
}

/// Writes one statement for each row. `take_statement` gets one after another.
///
/// # Errors
/// A sentence, if a row cannot be read; those before it were given.
pub(super) fn statements(
    event: &Event<'_>,
    table: &Table,
    columns: &[Column],
    mut take_statement: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let short = || "the event is cut short".to_owned();
    let act = match event.kind {
        23 | 30 => Act::Insert,
        24 | 31 => Act::Update,
        25 | 32 => Act::Delete,
        _ => return Err("parts of JSON values were changed (binlog_row_value_options)".to_owned()),
    };
    let known = known(table, columns);
    let mut rest = event.body.get(8..).ok_or_else(short)?;
    if event.kind >= 30 {
        let extra = le16(rest).map(usize::from).ok_or_else(short)?;
        take(&mut rest, extra.max(2)).ok_or_else(short)?;
    }
    let count = length_encoded(&mut rest).ok_or_else(short)?;
    if usize::try_from(count) != Ok(table.columns.len()) {
        return Err("the event has another number of columns than its table".to_owned());
    }
    let bitmap = table.columns.len().div_ceil(8);
    let first = take(&mut rest, bitmap).ok_or_else(short)?;
    let second = if act == Act::Update { take(&mut rest, bitmap).ok_or_else(short)? } else { first };
    while !rest.is_empty() {
        let before = image(&mut rest, table, &known, first)?;
        let after = if act == Act::Update { image(&mut rest, table, &known, second)? } else { Vec::new() };
        take_statement(&statement(act, table, &known, &before, &after))?;
    }
    Ok(())
}

/// Which table a row event belongs to.
pub(super) fn table_of(event: &Event<'_>) -> Option<u64> {
    table_id(event.body)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Insert,
    Update,
    Delete,
}

/// The values of a row by the column's place; `None` inside is NULL.
type Image = Vec<(usize, Option<String>)>;

fn known(table: &Table, columns: &[Column]) -> Vec<Known> {
    let fits = fit(table, columns);
    let one = |(at, stored): (usize, &Stored)| {
        let column = columns.get(at).filter(|_| fits);
        let named = stored.name.clone().or_else(|| column.map(|column| column.name.clone()));
        Known {
            name: named.map_or_else(|| format!("@{}", at + 1), |name| quoted(&name)),
            show: Show {
                unsigned: stored.unsigned.or_else(|| column.map(|column| column.unsigned)),
                utf8: column.is_some_and(|column| column.utf8),
            },
            generated: column.is_some_and(|column| column.generated),
            compares: !matches!(stored.kind, stored::FLOAT | stored::JSON | stored::GEOMETRY | stored::VECTOR)
                && column.is_none_or(|column| column.data_type != "binary"),
            is_uuid: column.is_some_and(|column| column.data_type == "uuid"),
        }
    };
    table.columns.iter().enumerate().map(one).collect()
}

/// Whether the columns of the server can be those of the event.
fn fit(table: &Table, columns: &[Column]) -> bool {
    use super::table::stored::{
        BIT, BLOB, DATE, DATETIME, DATETIME2, DOUBLE, FLOAT, INT24, JSON, LONG, LONGLONG, NEWDATE, NEWDECIMAL, SHORT,
        TIME, TIME2, TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VAR_STRING, VARCHAR, YEAR,
    };
    let agree = |(stored, column): (&Stored, &Column)| {
        let names: &[&str] = match stored.kind {
            TINY => &["tinyint"],
            SHORT => &["smallint"],
            INT24 => &["mediumint"],
            LONG => &["int"],
            LONGLONG => &["bigint"],
            FLOAT => &["float"],
            DOUBLE => &["double"],
            NEWDECIMAL => &["decimal"],
            YEAR => &["year"],
            BIT => &["bit"],
            DATE | NEWDATE => &["date"],
            TIME | TIME2 => &["time"],
            TIMESTAMP | TIMESTAMP2 => &["timestamp"],
            DATETIME | DATETIME2 => &["datetime"],
            VARCHAR | VAR_STRING => &["varchar", "varbinary"],
            JSON => &["json"],
            TINY_BLOB..=BLOB => {
                &["tinyblob", "blob", "mediumblob", "longblob", "tinytext", "text", "mediumtext", "longtext", "json"]
            }
            // Many types are stored as strings of a fixed length.
            _ => return true,
        };
        names.iter().any(|name| column.data_type.eq_ignore_ascii_case(name))
    };
    table.columns.len() == columns.len() && table.columns.iter().zip(columns).all(agree)
}

fn image(rest: &mut &[u8], table: &Table, known: &[Known], present: &[u8]) -> Result<Image, String> {
    let is_set = |bits: &[u8], at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let here: Vec<usize> = (0..table.columns.len()).filter(|at| is_set(present, *at)).collect();
    let nulls = take(rest, here.len().div_ceil(8)).ok_or("a row is cut short")?;
    let mut image = Vec::with_capacity(here.len());
    for (nth, at) in here.into_iter().enumerate() {
        let (Some(stored), Some(known)) = (table.columns.get(at), known.get(at)) else { continue };
        let value = if is_set(nulls, nth) {
            None
        } else {
            if known.is_uuid {
                return Err(format!("column {}: a UUID is not read here", known.name));
            }
            let mut text = String::new();
            literal(rest, stored, known.show, &mut text).map_err(|error| format!("column {}: {error}", known.name))?;
            Some(text)
        };
        image.push((at, value));
    }
    Ok(image)
}

fn statement(act: Act, table: &Table, known: &[Known], before: &Image, after: &Image) -> String {
    let name = format!("{}.{}", quoted(&table.database), quoted(&table.name));
    match act {
        Act::Insert => {
            let given = || before.iter().filter(|(at, _)| known.get(*at).is_some_and(|known| !known.generated));
            let names: Vec<&str> = given().filter_map(|(at, _)| Some(known.get(*at)?.name.as_str())).collect();
            let values: Vec<&str> = given().map(|(_, value)| value.as_deref().unwrap_or("NULL")).collect();
            format!("INSERT INTO {name} ({}) VALUES ({});", names.join(", "), values.join(", "))
        }
        Act::Update => {
            let changed = |(at, value): &&(usize, Option<String>)| {
                before.iter().find(|(other, _)| other == at).is_none_or(|(_, old)| old != value)
                    && known.get(*at).is_some_and(|known| !known.generated)
            };
            let set = |(at, value): &(usize, Option<String>)| {
                Some(format!("{} = {}", known.get(*at)?.name, value.as_deref().unwrap_or("NULL")))
            };
            let mut sets: Vec<String> = after.iter().filter(changed).filter_map(set).collect();
            if sets.is_empty() {
                sets = after.iter().filter_map(set).collect();
            }
            format!("UPDATE {name} SET {} WHERE {} LIMIT 1;", sets.join(", "), condition(known, before))
        }
        Act::Delete => format!("DELETE FROM {name} WHERE {} LIMIT 1;", condition(known, before)),
    }
}

fn condition(known: &[Known], image: &Image) -> String {
    let compares = |(at, _): &&(usize, Option<String>)| known.get(*at).is_some_and(|known| known.compares);
    let any = image.iter().any(|pair| compares(&pair));
    let one = |(at, value): &(usize, Option<String>)| {
        let name = &known.get(*at)?.name;
        Some(value.as_ref().map_or_else(|| format!("{name} IS NULL"), |value| format!("{name} = {value}")))
    };
    let all: Vec<String> = image.iter().filter(|pair| !any || compares(pair)).filter_map(one).collect();
    if all.is_empty() { "TRUE".to_owned() } else { all.join(" AND ") }
}

/// A name in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::super::event::{HEADER, kind};
    use super::*;

    fn event(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4] = kind;
        bytes.extend(body);
        bytes
    }

    /// `lab.t (id INT, v VARCHAR(20))`, with the metadata of `binlog_row_metadata = MINIMAL`.
    fn table(metadata: &[u8]) -> Table {
        let head = [&[7, 0, 0, 0, 0, 0, 1, 0, 3][..], b"lab\0\x01t\0", &[2, 3, 15, 2, 20, 0, 0b10]].concat();
        let bytes = event(kind::TABLE_MAP, &[&head, metadata].concat());
        Table::parse(&Event::parse(&bytes, false).unwrap()).unwrap()
    }

    fn columns() -> Vec<Column> {
        let column = |name: &str, data_type: &str| Column {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            unsigned: false,
            utf8: true,
            generated: false,
        };
        vec![column("id", "int"), column("v", "varchar")]
    }

    fn shown(kind: u8, rows: &[u8], table: &Table, columns: &[Column]) -> Result<Vec<String>, String> {
        let extra: &[u8] = if kind >= 30 { &[2, 0] } else { &[] };
        let bytes = event(kind, &[&[7, 0, 0, 0, 0, 0, 1, 0][..], extra, &[2], rows].concat());
        let mut statements = Vec::new();
        super::statements(&Event::parse(&bytes, false).unwrap(), table, columns, |statement| {
            statements.push(statement.to_owned());
            Ok(())
        })?;
        Ok(statements)
    }

    #[test]
    fn rows_become_statements_under_the_names_that_the_server_has() {
        let (table, columns) = (table(&[]), columns());
        let two = [&[3][..], &[0, 1, 0, 0, 0, 1, b'a'], &[2, 2, 0, 0, 0]].concat();
        assert_eq!(
            shown(23, &two, &table, &columns).unwrap(),
            [
                "INSERT INTO `lab`.`t` (`id`, `v`) VALUES (1, 'a');",
                "INSERT INTO `lab`.`t` (`id`, `v`) VALUES (2, NULL);"
            ]
        );
        let update = [&[3, 3][..], &[0, 1, 0, 0, 0, 1, b'a'], &[0, 1, 0, 0, 0, 1, b'b']].concat();
        assert_eq!(
            shown(31, &update, &table, &columns).unwrap(),
            ["UPDATE `lab`.`t` SET `v` = 'b' WHERE `id` = 1 AND `v` = 'a' LIMIT 1;"]
        );
        assert_eq!(
            shown(32, &[3, 2, 2, 0, 0, 0], &table, &columns).unwrap(),
            ["DELETE FROM `lab`.`t` WHERE `id` = 2 AND `v` IS NULL LIMIT 1;"]
        );
        // binlog_row_image = MINIMAL: only the key before, only the change after.
        assert_eq!(
            shown(31, &[1, 2, 0, 9, 0, 0, 0, 0, 1, b'b'], &table, &columns).unwrap(),
            ["UPDATE `lab`.`t` SET `v` = 'b' WHERE `id` = 9 LIMIT 1;"]
        );
    }

    #[test]
    fn names_of_another_shape_are_not_used() {
        let row = [3, 0, 1, 0, 0, 0, 1, b'a'];
        let by_number = ["INSERT INTO `lab`.`t` (@1, @2) VALUES (1, 'a');"];
        assert_eq!(shown(23, &row, &table(&[]), &[]).unwrap(), by_number);
        let mut turned = columns();
        turned.reverse();
        assert_eq!(shown(23, &row, &table(&[]), &turned).unwrap(), by_number);
        assert!(source_of_names(&table(&[]), &turned).starts_with("columns by number"));
        // Signedness (1 byte), then the names.
        let full = table(&[&[1, 1, 0x80, 4, 5, 1, b'k'][..], &[2], b"ww"].concat());
        assert_eq!(
            shown(23, &[3, 0, 255, 255, 255, 255, 1, b'a'], &full, &turned).unwrap(),
            ["INSERT INTO `lab`.`t` (`k`, `ww`) VALUES (4294967295, 'a');"]
        );
    }

    #[test]
    fn what_the_server_computes_is_not_set() {
        let mut columns = columns();
        columns[1].generated = true;
        let row = [3, 0, 1, 0, 0, 0, 1, b'a'];
        assert_eq!(shown(23, &row, &table(&[]), &columns).unwrap(), ["INSERT INTO `lab`.`t` (`id`) VALUES (1);"]);
    }

    #[test]
    fn a_row_that_is_cut_short_is_refused() {
        for rows in [&[3, 0, 1, 0][..], &[3, 0, 1, 0, 0, 0, 9, b'a'], &[3, 0], &[]] {
            assert!(shown(30, rows, &table(&[]), &columns()).is_err(), "{rows:?}");
        }
        assert!(shown(kind::PARTIAL_UPDATE_ROWS, &[3, 3], &table(&[]), &columns()).unwrap_err().contains("JSON"));
        let mut other = table(&[]);
        other.columns.pop();
        assert!(shown(23, &[3, 0, 1, 0, 0, 0, 1, b'a'], &other, &[]).unwrap_err().contains("number of columns"));
    }
}
