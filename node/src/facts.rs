//! Types the server's answers: two dialects, one meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tasuki_node_core::Reader;
use tasuki_schemas::gtid::{Flavour, GtidSet, InvalidGtidSet, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::observation::{
    BinlogCoordinates, Endpoint, FailingGate, Identity, Position, Received, Replication, SemiSync, Thread,
};

use crate::server::Table;

type Row = BTreeMap<String, String>;

/// An answer that is not what the server's manual promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    /// A column is missing.
    #[error("the server's answer has no column {0}")]
    Missing(&'static str),
    /// A number is none.
    #[error("{column} is {text:?}, not a number")]
    NoNumber {
        /// The column.
        column: &'static str,
        /// What it holds.
        text: String,
    },
    /// A GTID set is none.
    #[error(transparent)]
    Gtid(#[from] InvalidGtidSet),
}

fn text<'a>(row: &'a Row, column: &'static str) -> Result<&'a str, Misread> {
    row.get(column).map(String::as_str).ok_or(Misread::Missing(column))
}

fn number<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, Misread> {
    let text = text(row, column)?;
    text.parse().map_err(|_| Misread::NoNumber { column, text: text.to_owned() })
}

fn on(row: &Row, column: &str) -> bool {
    row.get(column).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("on"))
}

/// Name and value of each row of SHOW VARIABLES or SHOW STATUS.
#[must_use]
pub fn settings(table: &Table) -> Row {
    let pair = |row: &Row| {
        Some((row.get("variable_name")?.to_ascii_lowercase(), row.get("value").cloned().unwrap_or_default()))
    };
    table.iter().filter_map(pair).collect()
}

/// Who the server is.
///
/// # Errors
/// [`Misread`]
pub fn identity(flavour_wanted: Flavour, row: &Row) -> Result<Identity, Misread> {
    let version = text(row, "version")?.to_owned();
    let flavour = if version.to_ascii_lowercase().contains("mariadb") { Flavour::Mariadb } else { Flavour::Mysql };
    let server_id = number(row, "server_id")?;
    let origin = match (flavour_wanted, row.get("server_uuid")) {
        (Flavour::Mysql, Some(uuid)) => Origin::Mysql(uuid.to_ascii_lowercase()),
        (Flavour::Mysql | Flavour::Mariadb, _) => Origin::Mariadb(server_id),
    };
    Ok(Identity { flavour, version, origin, server_id, binlog_index: None })
}

/// True if ordinary clients may write.
///
/// # Errors
/// [`Misread`]
pub fn writable(row: &Row) -> Result<bool, Misread> {
    text(row, "read_only").map(|_| !on(row, "read_only"))
}

fn thread(value: Option<&String>) -> Thread {
    match value.map(String::as_str) {
        Some("Yes") => Thread::Running,
        Some("Connecting" | "Preparing") => Thread::Connecting,
        Some(_) | None => Thread::Stopped,
    }
}

/// Columns of a channel under both flavours' names.
fn either<'a>(row: &'a Row, new: &str, old: &str) -> Option<&'a String> {
    row.get(new).or_else(|| row.get(old))
}

/// A replication channel; the age of its newest event is told by the caller, who compares successive marks.
#[must_use]
pub fn replication(row: &Row, quiet_ms: u64) -> Option<Replication> {
    let host = either(row, "source_host", "master_host")?.clone();
    let port = either(row, "source_port", "master_port")?.parse().ok()?;
    let errors = ["last_io_error", "last_sql_error"].iter().filter_map(|column| row.get(*column));
    let error: Vec<&str> = errors.map(String::as_str).filter(|error| !error.is_empty()).collect();
    let named = |column: &str| row.get(column).is_some_and(|value| !value.is_empty() && value != "0");
    let filters = [
        "replicate_do_db",
        "replicate_ignore_db",
        "replicate_do_table",
        "replicate_ignore_table",
        "replicate_wild_do_table",
        "replicate_wild_ignore_table",
        "replicate_ignore_server_ids",
        "source_ignore_server_ids",
        "replicate_do_domain_ids",
        "replicate_ignore_domain_ids",
        "sql_delay",
    ];
    Some(Replication {
        source: Endpoint { host, port },
        receiver: thread(either(row, "replica_io_running", "slave_io_running")),
        applier: thread(either(row, "replica_sql_running", "slave_sql_running")),
        quiet_ms,
        error: error.join("; "),
        filtered: filters.iter().any(|column| named(column)),
    })
}

/// Whether the receiver knows a file of its source. Changing the source forgets it, and the first event from it tells it.
#[must_use]
pub fn names_file(row: &Row) -> bool {
    either(row, "source_log_file", "master_log_file").is_some_and(|file| !file.is_empty())
}

/// What changes whenever anything arrives from the source, heartbeats included.
#[must_use]
pub fn arrival_mark(row: &Row, heartbeats: Option<&Row>) -> String {
    let columns = [
        either(row, "source_log_file", "master_log_file"),
        either(row, "read_source_log_pos", "read_master_log_pos"),
        either(row, "retrieved_gtid_set", "gtid_io_pos"),
        row.get("slave_received_heartbeats"),
        heartbeats.and_then(|row| row.get("heartbeats")),
    ];
    columns.iter().map(|column| column.map_or("", String::as_str)).collect::<Vec<_>>().join("|")
}

/// Both sides of semi-sync.
#[must_use]
pub fn semi_sync(flavour: Flavour, fast: &Row, variables: &Row, counters: &Row) -> SemiSync {
    let count = |name: &str| counters.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    match flavour {
        Flavour::Mariadb => SemiSync {
            source_enabled: on(fast, "source_enabled"),
            replica_enabled: on(fast, "replica_enabled"),
            wait_count: 1,
            clients: count("rpl_semi_sync_master_clients"),
            waiting: count("rpl_semi_sync_master_wait_sessions"),
        },
        Flavour::Mysql => SemiSync {
            source_enabled: on(variables, "rpl_semi_sync_source_enabled"),
            replica_enabled: on(variables, "rpl_semi_sync_replica_enabled"),
            wait_count: variables
                .get("rpl_semi_sync_source_wait_for_replica_count")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
            clients: count("rpl_semi_sync_source_clients"),
            waiting: count("rpl_semi_sync_source_wait_sessions"),
        },
    }
}

/// Who reads the binlog. A connection whose host is no address is left out: nothing could be done about it.
#[must_use]
pub fn readers(flavour: Flavour, tables: &[Table]) -> Vec<Reader> {
    let rows = |at: usize| tables.get(at).map(Vec::as_slice).unwrap_or_default();
    let port_of = |uuid: &String| {
        let row = rows(1).iter().find(|row| row.get("replica_uuid") == Some(uuid))?;
        row.get("port")?.parse().ok()
    };
    let reader = |row: &Row| {
        let host = row.get("host")?;
        let bare = host.rsplit_once(':').filter(|_| flavour == Flavour::Mariadb).map_or(host.as_str(), |(ip, _)| ip);
        Some(Reader {
            connection: row.get("id")?.parse().ok()?,
            host: bare.trim_matches(['[', ']']).parse().ok()?,
            user: row.get("user").cloned().unwrap_or_default(),
            port: row.get("uuid").and_then(port_of),
            acknowledges: (flavour == Flavour::Mysql).then(|| on(row, "acknowledges")),
        })
    };
    rows(0).iter().filter_map(reader).collect()
}

/// The gates of the write group that the settings fail.
#[must_use]
pub fn failing_gates(flavour: Flavour, variables: &Row) -> Vec<FailingGate> {
    let common = [("sync_binlog", "1"), ("innodb_flush_log_at_trx_commit", "1"), ("log_bin", "ON")];
    // The node sets this one together with acknowledging, and only what is acknowledged must be on disk.
    let acknowledges =
        ["rpl_semi_sync_slave_enabled", "rpl_semi_sync_replica_enabled"].iter().any(|name| on(variables, name));
    let relay = acknowledges.then_some(("sync_relay_log", "1"));
    let own: &[(&str, &str)] = match flavour {
        Flavour::Mariadb => &[
            ("log_slave_updates", "ON"),
            ("gtid_strict_mode", "ON"),
            ("rpl_semi_sync_master_wait_point", "AFTER_SYNC"),
            ("replicate_do_db", ""),
            ("replicate_ignore_db", ""),
            ("replicate_do_table", ""),
            ("replicate_ignore_table", ""),
            ("replicate_wild_do_table", ""),
            ("replicate_wild_ignore_table", ""),
        ],
        Flavour::Mysql => &[
            ("log_replica_updates", "ON"),
            ("gtid_mode", "ON"),
            ("relay_log_recovery", "OFF"),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ],
    };
    let mut failing: Vec<FailingGate> = common
        .iter()
        .chain(own)
        .chain(&relay)
        .filter(|(name, wanted)| !variables.get(*name).is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        .map(|(name, wanted)| FailingGate {
            setting: (*name).to_owned(),
            found: variables
                .get(*name)
                .cloned()
                .unwrap_or_else(|| "missing (is the semi-sync plugin loaded?)".to_owned()),
            fix: format!("{name} = {wanted}"),
        })
        .collect();
    failing.sort();
    failing
}

/// The list of a server's relay files, by what it tells of their place; `None` if it tells nothing.
#[must_use]
pub fn relay_index(basename: &str, index_file: &str) -> Option<PathBuf> {
    if index_file.starts_with('/') {
        return Some(PathBuf::from(index_file));
    }
    basename.starts_with('/').then(|| PathBuf::from(format!("{basename}.index")))
}

/// Executed and received sets, with the end of the binlog.
///
/// # Errors
/// [`Misread`]
pub fn position(node: &NodeId, flavour: Flavour, tables: &[Table]) -> Result<Position, Misread> {
    let empty = Row::new();
    let first = |at: usize| tables.get(at).and_then(|table: &Table| table.first());
    let sets = first(0).unwrap_or(&empty);
    let channel = first(1);
    let executed_text = text(sets, "executed")?;
    let mut executed = GtidSet::parse(flavour, executed_text)?;
    if let Some(applied) = sets.get("applied") {
        executed = united(&executed, &GtidSet::parse(flavour, applied)?);
    }
    let received = match channel {
        None => Received::Known { set: executed.clone() },
        Some(channel) => received(flavour, &executed, channel)?,
    };
    let binlog = tables.get(2).and_then(|table| table.last()).and_then(|row| {
        let file = either(row, "file", "log_name")?.clone();
        Some(BinlogCoordinates { file, position: either(row, "position", "file_size")?.parse().ok()? })
    });
    Ok(Position { node: node.clone(), binlog, executed, received })
}

fn received(flavour: Flavour, executed: &GtidSet, channel: &Row) -> Result<Received, Misread> {
    let column = either(channel, "retrieved_gtid_set", "gtid_io_pos").map_or("", String::as_str);
    let applied_all = {
        let read = (
            either(channel, "source_log_file", "master_log_file"),
            either(channel, "read_source_log_pos", "read_master_log_pos"),
        );
        let done = (
            either(channel, "relay_source_log_file", "relay_master_log_file"),
            either(channel, "exec_source_log_pos", "exec_master_log_pos"),
        );
        read == done
    };
    if column.is_empty() && flavour == Flavour::Mariadb && !applied_all {
        // After a restart MariaDB forgets what it received; its relay files may hold more than it executed.
        let reason = "the server restarted, and its relay files were not read since".to_owned();
        return Ok(Received::Unknown { reason });
    }
    Ok(Received::Known { set: united(executed, &GtidSet::parse(flavour, column)?) })
}

/// The union of two sets of one flavour, by construction of the callers.
fn united(one: &GtidSet, other: &GtidSet) -> GtidSet {
    one.union(other).unwrap_or_else(|_| one.clone())
}
