//! What servers answer, typed: two dialects, one meaning.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use tasuki_node::facts;
use tasuki_schemas::gtid::{Flavour, Origin};
use tasuki_schemas::observation::{Received, Thread};

fn row(columns: &[(&str, &str)]) -> BTreeMap<String, String> {
    columns.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mariadb_channel(io_pos: &str, read: &str, applied: &str) -> BTreeMap<String, String> {
    row(&[
        ("master_host", "10.0.0.1"),
        ("master_port", "3306"),
        ("slave_io_running", "No"),
        ("slave_sql_running", "Yes"),
        ("gtid_io_pos", io_pos),
        ("master_log_file", "bin.000001"),
        ("relay_master_log_file", "bin.000001"),
        ("read_master_log_pos", read),
        ("exec_master_log_pos", applied),
    ])
}

fn received(channel: BTreeMap<String, String>) -> Received {
    let sets = row(&[("executed", "0-1-5"), ("applied", "0-1-5")]);
    let tables = [vec![sets], vec![channel], Vec::new()];
    facts::position(&"db2".parse().unwrap(), Flavour::Mariadb, &tables).unwrap().received
}

#[test]
fn received_is_the_binlog_state_merged_with_the_receivers_position() {
    let known = received(mariadb_channel("0-1-9", "900", "500"));
    assert_eq!(known.known().unwrap().to_string(), "0-1-9");
}

#[test]
fn a_restarted_mariadb_with_unread_relay_files_does_not_know_what_it_received() {
    assert!(matches!(received(mariadb_channel("", "900", "500")), Received::Unknown { .. }));
    assert_eq!(received(mariadb_channel("", "500", "500")).known().unwrap().to_string(), "0-1-5");
}

#[test]
fn a_mysql_replica_holds_executed_and_retrieved() {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let channel = row(&[
        ("source_host", "10.0.0.1"),
        ("source_port", "3306"),
        ("replica_io_running", "Connecting"),
        ("replica_sql_running", "Yes"),
        ("retrieved_gtid_set", &format!("{uuid}:4-9")),
        ("last_io_error", "error reconnecting"),
    ]);
    let logs = vec![
        row(&[("log_name", "bin.000001"), ("file_size", "100")]),
        row(&[("log_name", "bin.000002"), ("file_size", "7")]),
    ];
    let tables = [vec![row(&[("executed", &format!("{uuid}:1-5"))])], vec![channel.clone()], logs];
    let position = facts::position(&"db2".parse().unwrap(), Flavour::Mysql, &tables).unwrap();
    assert_eq!(position.received.known().unwrap().to_string(), format!("{uuid}:1-9"));
    assert_eq!(position.binlog.map(|end| (end.file, end.position)), Some(("bin.000002".to_owned(), 7)));
    let replication = facts::replication(&channel, 30).unwrap();
    assert_eq!((replication.receiver, replication.applier), (Thread::Connecting, Thread::Running));
    assert_eq!(replication.error, "error reconnecting");
    assert!(!replication.filtered);
}

#[test]
fn filters_delays_and_ignored_ids_make_acknowledgements_meaningless() {
    for (column, value) in [("sql_delay", "3600"), ("replicate_ignore_domain_ids", "5"), ("replicate_do_db", "shop")] {
        let mut channel = mariadb_channel("0-1-9", "900", "900");
        channel.insert(column.to_owned(), value.to_owned());
        assert!(facts::replication(&channel, 0).unwrap().filtered, "{column}");
    }
}

#[test]
fn every_arrival_changes_the_mark_and_nothing_else_does() {
    let mark = |channel: &BTreeMap<String, String>| facts::arrival_mark(channel, None);
    let before = mariadb_channel("0-1-9", "900", "500");
    let mut applied = before.clone();
    applied.insert("exec_master_log_pos".to_owned(), "900".to_owned());
    assert_eq!(mark(&before), mark(&applied));
    let mut beaten = before.clone();
    beaten.insert("slave_received_heartbeats".to_owned(), "4".to_owned());
    assert_ne!(mark(&before), mark(&beaten));
}

#[test]
fn gates_name_what_is_found_and_the_fix() {
    let good = row(&[
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("sync_relay_log", "10000"),
        ("log_bin", "ON"),
        ("log_replica_updates", "ON"),
        ("gtid_mode", "ON"),
        ("relay_log_recovery", "OFF"),
        ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ("rpl_semi_sync_replica_enabled", "ON"),
    ]);
    let gates = facts::failing_gates(Flavour::Mysql, &good);
    assert_eq!(gates.len(), 1, "{gates:?}");
    let gate = gates.first().unwrap();
    assert_eq!((gate.found.as_str(), gate.fix.as_str()), ("10000", "sync_relay_log = 1"));
    // Whoever acknowledges nothing owes nothing on disk.
    let mut silent = good;
    silent.insert("rpl_semi_sync_replica_enabled".to_owned(), "OFF".to_owned());
    assert_eq!(facts::failing_gates(Flavour::Mysql, &silent), Vec::new());
}

#[test]
fn a_server_is_told_by_its_uuid_or_its_id() {
    let mysql =
        row(&[("version", "9.7.4"), ("server_id", "3"), ("server_uuid", "3E11FA47-71CA-11E1-9E33-C80AA9429562")]);
    let identity = facts::identity(Flavour::Mysql, &mysql).unwrap();
    assert_eq!(identity.origin, Origin::Mysql("3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned()));
    let mariadb = row(&[("version", "10.11.19-MariaDB-log"), ("server_id", "3")]);
    let identity = facts::identity(Flavour::Mariadb, &mariadb).unwrap();
    assert_eq!((identity.flavour, identity.origin), (Flavour::Mariadb, Origin::Mariadb(3)));
    assert!(facts::identity(Flavour::Mariadb, &row(&[("version", "x"), ("server_id", "many")])).is_err());
}
