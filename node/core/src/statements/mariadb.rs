//! MariaDB 10.5 and newer.

use super::{EPOCH_TABLE, PROBE_TABLE, RELAXED, RESCUE, Source, quote};

pub(super) fn identity() -> String {
    "SELECT @@global.version AS version, @@global.server_id AS server_id".to_owned()
}

pub(super) fn probe() -> String {
    "SELECT @@global.read_only AS read_only, @@global.rpl_semi_sync_master_enabled AS source_enabled, \
     @@global.rpl_semi_sync_slave_enabled AS replica_enabled; SHOW ALL SLAVES STATUS"
        .to_owned()
}

pub(super) fn variables() -> String {
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('sync_binlog', 'innodb_flush_log_at_trx_commit', 'sync_relay_log', \
     'log_slave_updates', 'gtid_strict_mode', 'log_bin', 'log_bin_index', 'relay_log_basename', 'relay_log_index', 'datadir', 'rpl_semi_sync_master_timeout', \
     'rpl_semi_sync_master_wait_point', 'rpl_semi_sync_slave_enabled', 'wsrep_on', 'init_rpl_role', 'replicate_do_db', 'replicate_ignore_db', \
     'replicate_do_table', 'replicate_ignore_table', 'replicate_wild_do_table', 'replicate_wild_ignore_table', \
     'binlog_do_db', 'binlog_ignore_db')"
        .to_owned()
}

pub(super) fn counters() -> String {
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_wait_sessions', \
     'Rpl_semi_sync_slave_status')"
        .to_owned()
}

pub(super) fn sets() -> String {
    "SELECT @@global.gtid_binlog_state AS executed, @@global.gtid_slave_pos AS applied; SHOW ALL SLAVES STATUS"
        .to_owned()
}

pub(super) fn binlog_end() -> String {
    "SHOW MASTER STATUS".to_owned()
}

pub(super) fn stop_receiver() -> String {
    "STOP SLAVE IO_THREAD".to_owned()
}

pub(super) fn start_receiver() -> String {
    "START SLAVE IO_THREAD".to_owned()
}

pub(super) fn start_applier() -> String {
    "START SLAVE SQL_THREAD".to_owned()
}

pub(super) fn stop_replication() -> String {
    "STOP SLAVE".to_owned()
}

pub(super) fn start_replication() -> String {
    "START SLAVE".to_owned()
}

pub(super) fn forget_source() -> String {
    "STOP SLAVE; RESET SLAVE ALL".to_owned()
}

pub(super) fn set_source(source: Source<'_>) -> String {
    // A former primary's position is what it wrote itself.
    format!("SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos; {}", change_source(source))
}

pub(super) fn continue_behind_own_writes() -> String {
    "SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos".to_owned()
}

pub(super) fn change_source(source: Source<'_>) -> String {
    format!(
        "CHANGE MASTER TO MASTER_HOST = {}, MASTER_PORT = {}, MASTER_USER = {}, MASTER_PASSWORD = {}, \
         MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.2",
        quote(&source.address.ip().to_string()),
        source.address.port(),
        quote(source.user),
        quote(source.password)
    )
}

pub(super) fn acknowledge(on: bool) -> String {
    match on {
        true => "SET GLOBAL sync_relay_log = 1, GLOBAL rpl_semi_sync_slave_enabled = 1".to_owned(),
        false => "SET GLOBAL rpl_semi_sync_slave_enabled = 0".to_owned(),
    }
}

pub(super) fn relax_relay_log() -> String {
    RELAXED.to_owned()
}

pub(super) fn arm(acks: u32) -> String {
    if acks == 0 {
        return "SET GLOBAL rpl_semi_sync_slave_enabled = 0, GLOBAL rpl_semi_sync_master_enabled = 0".to_owned();
    }
    // MariaDB waits for one acknowledgement, always.
    "SET GLOBAL rpl_semi_sync_master_timeout = 1000000000000, GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC', \
     GLOBAL rpl_semi_sync_master_wait_no_slave = 1, GLOBAL rpl_semi_sync_slave_enabled = 0, \
     GLOBAL rpl_semi_sync_master_enabled = 1"
        .to_owned()
}

pub(super) fn armed() -> String {
    "SELECT @@global.rpl_semi_sync_master_enabled AS armed".to_owned()
}

pub(super) fn disarm() -> String {
    "SET GLOBAL rpl_semi_sync_master_enabled = 0".to_owned()
}

pub(super) fn open() -> String {
    "SET GLOBAL read_only = 0".to_owned()
}

pub(super) fn close() -> String {
    // Events of privileged definers write on a closed server as well. Whether the account may stop the scheduler, or it never
    // ran, is no reason not to close.
    "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; \
     IF @@global.event_scheduler = 'ON' THEN SET GLOBAL event_scheduler = OFF; END IF; END; SET GLOBAL read_only = 1"
        .to_owned()
}

pub(super) fn half_open() -> String {
    "SET GLOBAL read_only = 1".to_owned()
}

pub(super) fn relay_places() -> String {
    "SELECT @@global.relay_log_basename AS basename, @@global.relay_log_index AS relay_index, \
     @@global.server_id AS server_id, @@global.slave_parallel_threads AS threads"
        .to_owned()
}

pub(super) fn make_rescue() -> String {
    // Without the flush the applier would remember that the file is empty.
    format!(
        "CHANGE MASTER '{RESCUE}' TO MASTER_HOST = 'rescue.invalid', MASTER_USE_GTID = no; FLUSH RELAY LOGS '{RESCUE}'"
    )
}

pub(super) fn start_rescue(file: &str) -> String {
    // Parallel appliers crash over a file that names no source's file (seen on 10.11): they are put aside.
    format!(
        "SET GLOBAL slave_parallel_threads = 0; \
         CHANGE MASTER '{RESCUE}' TO RELAY_LOG_FILE = {}, RELAY_LOG_POS = 4; START SLAVE '{RESCUE}' SQL_THREAD",
        quote(file)
    )
}

pub(super) fn rescue_progress() -> String {
    format!("SHOW SLAVE '{RESCUE}' STATUS")
}

pub(super) fn end_rescue() -> String {
    format!("STOP SLAVE '{RESCUE}'; RESET SLAVE '{RESCUE}' ALL")
}

pub(super) fn restore_appliers(threads: u32) -> String {
    format!("SET GLOBAL slave_parallel_threads = {threads}")
}

pub(super) fn readers() -> String {
    "SELECT id, user, host FROM information_schema.processlist WHERE command = 'Binlog Dump'".to_owned()
}

pub(super) fn connections() -> String {
    "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user <> 'system user' \
     AND command NOT IN ('Binlog Dump', 'Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')"
        .to_owned()
}

pub(super) fn make_epoch_table() -> String {
    EPOCH_TABLE.to_owned()
}

pub(super) fn make_probe_table() -> String {
    PROBE_TABLE.to_owned()
}
