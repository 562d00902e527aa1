//! MySQL 8.0.26 and newer.

use super::{EPOCH_TABLE, PROBE_TABLE, RELAXED, RESCUE, Source, quote};

/// The coordinating thread keeps the beginning of a transaction until it knows whose it is: half of one can be with it alone.
pub(super) const HOLDERS: &str = "SELECT threads.processlist_id AS id FROM performance_schema.threads AS threads JOIN \
    (SELECT thread_id FROM performance_schema.replication_applier_status_by_worker WHERE applying_transaction <> '' UNION \
    SELECT thread_id FROM performance_schema.replication_applier_status_by_coordinator WHERE processing_transaction <> '') \
    AS holder ON threads.thread_id = holder.thread_id";

pub(super) fn identity() -> String {
    "SELECT @@global.version AS version, @@global.server_id AS server_id, @@global.server_uuid AS server_uuid"
        .to_owned()
}

pub(super) fn probe() -> String {
    "SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only; SHOW REPLICA STATUS; \
     SELECT channel_name, count_received_heartbeats AS heartbeats FROM performance_schema.replication_connection_status"
        .to_owned()
}

pub(super) fn variables() -> String {
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('sync_binlog', 'innodb_flush_log_at_trx_commit', 'sync_relay_log', \
     'log_replica_updates', 'log_slave_updates', 'gtid_mode', 'enforce_gtid_consistency', 'relay_log_recovery', 'log_bin', \
     'log_bin_index', 'relay_log_basename', 'relay_log_index', 'datadir', 'rpl_semi_sync_source_timeout', 'rpl_semi_sync_source_wait_point', \
     'rpl_semi_sync_source_enabled', 'rpl_semi_sync_replica_enabled', 'rpl_semi_sync_source_wait_for_replica_count', \
     'group_replication_group_name')"
        .to_owned()
}

pub(super) fn counters() -> String {
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_source_clients', 'Rpl_semi_sync_source_wait_sessions', \
     'Rpl_semi_sync_replica_status')"
        .to_owned()
}

pub(super) fn sets() -> String {
    "SELECT @@global.gtid_executed AS executed; SHOW REPLICA STATUS".to_owned()
}

pub(super) fn binlog_end() -> String {
    // The last of the binary logs tells the end under every version; its own status statement was renamed in 8.2.
    "SHOW BINARY LOGS".to_owned()
}

pub(super) fn stop_receiver() -> String {
    "STOP REPLICA IO_THREAD".to_owned()
}

pub(super) fn start_receiver() -> String {
    "START REPLICA IO_THREAD".to_owned()
}

pub(super) fn start_applier() -> String {
    "START REPLICA SQL_THREAD".to_owned()
}

pub(super) fn stop_replication() -> String {
    "STOP REPLICA".to_owned()
}

pub(super) fn start_replication() -> String {
    "START REPLICA".to_owned()
}

pub(super) fn forget_source() -> String {
    "STOP REPLICA; RESET REPLICA ALL".to_owned()
}

pub(super) fn set_source(source: Source<'_>) -> String {
    format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {}, SOURCE_PORT = {}, SOURCE_USER = {}, SOURCE_PASSWORD = {}, \
         SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 864000, \
         SOURCE_HEARTBEAT_PERIOD = 0.2",
        quote(&source.address.ip().to_string()),
        source.address.port(),
        quote(source.user),
        quote(source.password)
    )
}

pub(super) fn continue_behind_own_writes() -> String {
    // Auto-positioning rests on gtid_executed, which knows them already.
    "DO 0".to_owned()
}

pub(super) fn change_source(source: Source<'_>) -> String {
    // Only what belongs to the receiver: the applier keeps running, and its relay files stay.
    format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {}, SOURCE_PORT = {}, SOURCE_USER = {}, SOURCE_PASSWORD = {}, \
         GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 864000, SOURCE_HEARTBEAT_PERIOD = 0.2",
        quote(&source.address.ip().to_string()),
        source.address.port(),
        quote(source.user),
        quote(source.password)
    )
}

pub(super) fn acknowledge(on: bool) -> String {
    match on {
        true => "SET GLOBAL sync_relay_log = 1, GLOBAL rpl_semi_sync_replica_enabled = 1".to_owned(),
        false => "SET GLOBAL rpl_semi_sync_replica_enabled = 0".to_owned(),
    }
}

pub(super) fn relax_relay_log() -> String {
    RELAXED.to_owned()
}

pub(super) fn arm(acks: u32) -> String {
    if acks == 0 {
        return "SET GLOBAL rpl_semi_sync_replica_enabled = 0, GLOBAL rpl_semi_sync_source_enabled = 0".to_owned();
    }
    format!(
        "SET GLOBAL rpl_semi_sync_source_timeout = 4294967295, GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC', \
         GLOBAL rpl_semi_sync_source_wait_no_replica = 1, GLOBAL rpl_semi_sync_source_wait_for_replica_count = {acks}, \
         GLOBAL rpl_semi_sync_replica_enabled = 0, GLOBAL rpl_semi_sync_source_enabled = 1"
    )
}

pub(super) fn armed() -> String {
    "SELECT @@global.rpl_semi_sync_source_enabled AS armed".to_owned()
}

pub(super) fn disarm() -> String {
    "SET GLOBAL rpl_semi_sync_source_enabled = 0".to_owned()
}

pub(super) fn open() -> String {
    "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0".to_owned()
}

pub(super) fn close() -> String {
    "SET GLOBAL super_read_only = 1".to_owned()
}

pub(super) fn half_open() -> String {
    "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 1".to_owned()
}

pub(super) fn relay_places() -> String {
    "SELECT @@global.relay_log_basename AS basename, @@global.relay_log_index AS relay_index, \
     @@global.server_id AS server_id"
        .to_owned()
}

pub(super) fn make_rescue() -> String {
    "DO 0".to_owned()
}

pub(super) fn start_rescue(file: &str) -> String {
    format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'rescue.invalid', RELAY_LOG_FILE = {}, RELAY_LOG_POS = 4 \
         FOR CHANNEL '{RESCUE}'; START REPLICA SQL_THREAD FOR CHANNEL '{RESCUE}'",
        quote(file)
    )
}

pub(super) fn rescue_progress() -> String {
    format!("SHOW REPLICA STATUS FOR CHANNEL '{RESCUE}'")
}

pub(super) fn end_rescue() -> String {
    format!("STOP REPLICA FOR CHANNEL '{RESCUE}'; RESET REPLICA ALL FOR CHANNEL '{RESCUE}'")
}

pub(super) fn restore_appliers(_threads: u32) -> String {
    // Nothing was changed.
    "DO 0".to_owned()
}

pub(super) fn readers() -> String {
    // A replica says what it is in variables of its connection: also that it acknowledges.
    let said = |names: &str| {
        format!("MAX(CASE WHEN said.variable_name IN ({names}) THEN CONVERT(said.variable_value USING utf8mb4) END)")
    };
    format!(
        "SELECT thread.processlist_id AS id, thread.processlist_user AS user, thread.processlist_host AS host, \
         {} AS acknowledges, {} AS uuid FROM performance_schema.threads AS thread \
         LEFT JOIN performance_schema.user_variables_by_thread AS said ON said.thread_id = thread.thread_id \
         WHERE thread.processlist_command LIKE 'Binlog Dump%' \
         GROUP BY thread.processlist_id, thread.processlist_user, thread.processlist_host; SHOW REPLICAS",
        said("'rpl_semi_sync_replica', 'rpl_semi_sync_slave'"),
        said("'replica_uuid', 'slave_uuid'")
    )
}

pub(super) fn connections() -> String {
    "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() \
     AND user NOT IN ('system user', 'event_scheduler') AND command NOT LIKE 'Binlog Dump%' AND command <> 'Daemon'"
        .to_owned()
}

pub(super) fn make_epoch_table() -> String {
    EPOCH_TABLE.to_owned()
}

pub(super) fn make_probe_table() -> String {
    PROBE_TABLE.to_owned()
}
