//! All SQL of the project, one file per flavour. Pure text: nothing here talks to a server.

pub mod events;
pub mod mariadb;
pub mod mysql;
mod reclone;

use std::net::SocketAddr;

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::gtid::Flavour;

/// How a replica logs in at its source.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where the source listens.
    pub address: SocketAddr,
    /// The replication account.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
}

/// The statements of one flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect(pub Flavour);

/// The replication channel through which a rescued tail is applied. It exists for that time only, follows nobody, and is
/// shown nowhere.
pub const RESCUE: &str = "tasuki_rescue";

/// Both servers sync the relay log once an event, that is five times for a transaction of one row. Without that, replicas
/// that are behind caught up 2.6 (MariaDB) and 3 times (MySQL) as fast, and each of its syncs is one that the servers on the
/// same disk wait for. 10000 is the default of both. A relay file whose end a power cut tore or zeroed stops neither
/// (measured, MariaDB 10.11 and MySQL 9.7 with `relay_log_recovery = OFF`): the rest is received again. Whoever acknowledges
/// later makes up for it: the first sync that an event brings about covers its whole relay file, and every file before that
/// was synced when it was closed.
const RELAXED: &str = "SET GLOBAL sync_relay_log = 10000";

/// A text as an SQL string literal.
#[must_use]
pub fn quote(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    format!("'{escaped}'")
}

macro_rules! each {
    ($(#[$doc:meta] $name:ident ( $($arg:ident : $type:ty),* );)*) => {
        impl Dialect {
            $(
                #[$doc]
                #[must_use]
                pub fn $name(self $(, $arg: $type)*) -> String {
                    match self.0 {
                        Flavour::Mariadb => mariadb::$name($($arg),*),
                        Flavour::Mysql => mysql::$name($($arg),*),
                    }
                }
            )*
        }
    };
}

each! {
    /// Version and identifiers of the server.
    identity();
    /// The fast facts, asked several times a second: closed or open, then the replication channels.
    probe();
    /// All settings that facts and gates rest on.
    variables();
    /// Counters of semi-sync.
    counters();
    /// GTID sets, then the replication channels. Answered at once, also while commits wait for acknowledgements.
    sets();
    /// The end of the binlog. While commits wait for acknowledgements it waits with them, and no KILL ends that.
    binlog_end();
    /// Stops the receiver alone.
    stop_receiver();
    /// Starts the receiver alone.
    start_receiver();
    /// Starts the applier alone.
    start_applier();
    /// Stops both threads.
    stop_replication();
    /// Starts both threads.
    start_replication();
    /// Forgets the source.
    forget_source();
    /// Sets source, account and auto-positioning of a server that follows nobody yet.
    set_source(source: Source<'_>);
    /// Changes the source of a replica.
    change_source(source: Source<'_>);
    /// Switches the semi-sync replica side; what is acknowledged is on disk first.
    acknowledge(on: bool);
    /// Lets the relay log be synced now and then, for a receiver that does not acknowledge.
    relax_relay_log();
    /// Arms the semi-sync source side: endless patience, so many acknowledgements; 0 releases waiting commits.
    arm(acks: u32);
    /// Whether commits wait for acknowledgements here.
    armed();
    /// Switches the semi-sync source side off.
    disarm();
    /// Opens the server to clients.
    open();
    /// Closes it.
    close();
    /// Opens it to privileged sessions only, for a rescue.
    half_open();
    /// After transactions were applied by SQL: replication goes on behind them.
    continue_behind_own_writes();
    /// Where relay files and their index are, and the server's number.
    relay_places();
    /// Makes the channel of a rescue, on MariaDB only with its two empty files.
    make_rescue();
    /// Has the rescue's applier read this file; on MariaDB no other applier must run.
    start_rescue(file: &str);
    /// How far the rescue's applier is.
    rescue_progress();
    /// Ends the rescue's applier, and removes its channel with its files.
    end_rescue();
    /// Sets the number of appliers back to what it was before the rescue, as `relay_places` told it.
    restore_appliers(threads: u32);
    /// Who reads the binlog: connections, then on MySQL the servers behind them.
    readers();
    /// Everybody's connections but the replication's own.
    connections();
    /// Makes the barrier table.
    make_epoch_table();
    /// Makes the local table of the write probe, outside the binlog.
    make_probe_table();
}

impl Dialect {
    /// Ends a connection. Never KILL QUERY: on MariaDB it releases a blocked commit as successful. Never one whose commit may
    /// wait for an acknowledgement: MariaDB then releases the others of its group so.
    #[must_use]
    pub fn kill(self, connection: u64) -> String {
        format!("KILL {connection}")
    }

    /// Nothing, to see whether a connection works.
    #[must_use]
    pub const fn ping(self) -> &'static str {
        "SELECT 1"
    }

    /// Whether a connection still exists.
    #[must_use]
    pub fn is_connected(self, connection: u64) -> String {
        format!("SELECT COUNT(*) AS n FROM information_schema.processlist WHERE id = {connection}")
    }

    /// The first transaction of an epoch.
    #[must_use]
    pub fn barrier(self, epoch: &Epoch, node: &str) -> String {
        let ballot = &epoch.0;
        format!(
            "REPLACE INTO tasuki.epoch (counter, coordinator, boot, node) VALUES ({}, {}, {}, {})",
            ballot.counter,
            quote(ballot.coordinator.as_str()),
            quote(&ballot.boot.to_string()),
            quote(node)
        )
    }

    /// How many barrier rows are being written.
    #[must_use]
    pub const fn barriers_under_way(self) -> &'static str {
        "SELECT COUNT(*) AS n FROM information_schema.processlist \
         WHERE id <> CONNECTION_ID() AND info LIKE 'REPLACE INTO tasuki.epoch %'"
    }

    /// Applier threads that hold a transaction. A receiver that stopped within one leaves such a thread waiting for the
    /// rest for ever, with the transaction's GTID and locks; stopping MySQL's applier then takes 60 s. MariaDB's gives
    /// the group up by itself.
    #[must_use]
    pub const fn holders(self) -> Option<&'static str> {
        match self.0 {
            Flavour::Mysql => Some(mysql::HOLDERS),
            Flavour::Mariadb => None,
        }
    }

    /// Who else manages the server: accounts, program names, and the locks by which managers keep each other out.
    #[must_use]
    pub fn managers(self) -> String {
        "SELECT DISTINCT user AS name FROM information_schema.processlist; \
         SELECT DISTINCT attr_value AS name FROM performance_schema.session_connect_attrs WHERE attr_name = 'program_name'; \
         SELECT IS_USED_LOCK('MHA_Master_High_Availability_Monitor') AS mha, \
         IS_USED_LOCK('maxscale_mariadbmonitor') AS maxscale"
            .to_owned()
    }

    /// Whether the server is closed, under every version.
    #[must_use]
    pub fn closed(self) -> String {
        "SELECT @@global.read_only AS read_only".to_owned()
    }

    /// The client that has been writing in one transaction for longest, if that is more than a second.
    #[must_use]
    pub fn long_writers(self) -> String {
        "SELECT trx.trx_mysql_thread_id AS id, own.user AS user, \
         TIMESTAMPDIFF(SECOND, trx.trx_started, NOW()) AS seconds \
         FROM information_schema.innodb_trx AS trx \
         JOIN information_schema.processlist AS own ON own.id = trx.trx_mysql_thread_id \
         WHERE trx.trx_rows_modified > 0 AND trx.trx_started < NOW() - INTERVAL 1 SECOND \
         AND own.user <> 'system user' AND own.id <> CONNECTION_ID() ORDER BY trx.trx_started LIMIT 1"
            .to_owned()
    }

    /// Transactions that are prepared and wait for their coordinator's word (`xid` in `data`).
    #[must_use]
    pub fn prepared(self) -> String {
        "XA RECOVER".to_owned()
    }

    /// Clients whose commits wait for an acknowledgement.
    #[must_use]
    pub fn blocked(self) -> String {
        format!("{} AND state LIKE 'Waiting for semi-sync ACK%'", self.connections())
    }

    /// Where the relay files are, without their numbers, and their list.
    #[must_use]
    pub fn relay_log_basename(self) -> String {
        "SELECT @@global.relay_log_basename AS basename, @@global.relay_log_index AS index_file".to_owned()
    }

    /// The columns of a table, in order. Names are given as bytes: they may hold anything.
    #[must_use]
    pub fn columns(self, database: &str, table: &str) -> String {
        let literal = |name: &str| {
            let bytes: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("CONVERT(X'{bytes}' USING utf8mb4)")
        };
        let (database, table) = (literal(database), literal(table));
        format!(
            "SELECT column_name AS name, data_type AS data_type, column_type AS column_type, \
             character_set_name AS character_set, extra AS extra FROM information_schema.columns \
             WHERE table_schema = {database} AND table_name = {table} ORDER BY ordinal_position"
        )
    }

    /// A commit that stays out of the binlog.
    #[must_use]
    pub fn write_probe(self) -> String {
        "SET SESSION sql_log_bin = 0; REPLACE INTO tasuki_local.probe (id, beat) VALUES (1, UNIX_TIMESTAMP(NOW(6)))"
            .to_owned()
    }
}

const EPOCH_TABLE: &str = "CREATE DATABASE IF NOT EXISTS tasuki; CREATE TABLE IF NOT EXISTS tasuki.epoch (\
    counter BIGINT UNSIGNED NOT NULL, coordinator VARCHAR(63) NOT NULL, boot CHAR(16) NOT NULL, node VARCHAR(63) NOT NULL, \
    at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (counter, coordinator, boot)) ENGINE=InnoDB";

const PROBE_TABLE: &str = "SET SESSION sql_log_bin = 0; CREATE DATABASE IF NOT EXISTS tasuki_local; \
    CREATE TABLE IF NOT EXISTS tasuki_local.probe (id INT NOT NULL PRIMARY KEY, beat DOUBLE NOT NULL) ENGINE=InnoDB";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_end_its_literal() {
        assert_eq!(quote(r"it's \ done"), r"'it''s \\ done'");
        let source = Source { address: "10.0.0.1:3306".parse().unwrap(), user: "repl", password: "a'b" };
        for flavour in [Flavour::Mariadb, Flavour::Mysql] {
            assert!(Dialect(flavour).set_source(source).contains("'a''b'"));
        }
    }
}
