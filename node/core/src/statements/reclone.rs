//! What a re-clone says to its two servers.

use std::net::SocketAddr;

use tasuki_schemas::gtid::Flavour;

use super::{Dialect, Source, quote};

impl Dialect {
    /// Where the server's files are, and whether a copy can be made: its version, and on MySQL its plugin and its uuid.
    #[must_use]
    pub fn places(self) -> String {
        let own = match self.0 {
            Flavour::Mysql => {
                ", @@global.server_uuid AS server_uuid, (SELECT plugin_status FROM information_schema.plugins \
                 WHERE plugin_name = 'clone') AS clone_plugin"
            }
            Flavour::Mariadb => "",
        };
        format!(
            "SELECT @@global.datadir AS datadir, @@global.log_bin_basename AS log_bin_basename, \
             @@global.relay_log_basename AS relay_log_basename, @@global.innodb_data_home_dir AS innodb_data_home_dir, \
             @@global.innodb_log_group_home_dir AS innodb_log_group_home_dir, \
             @@global.innodb_undo_directory AS innodb_undo_directory, @@global.version AS version, \
             @@global.server_id AS server_id, @@global.read_only AS read_only{own}"
        )
    }

    /// Tables that MySQL's clone leaves empty; MariaDB's backup copies every engine.
    #[must_use]
    pub fn uncloned_tables(self) -> Option<&'static str> {
        match self.0 {
            Flavour::Mysql => Some(
                "SELECT COUNT(*) AS n, MIN(CONCAT(table_schema, '.', table_name)) AS first FROM information_schema.tables \
                 WHERE table_type = 'BASE TABLE' AND engine <> 'InnoDB' \
                 AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')",
            ),
            Flavour::Mariadb => None,
        }
    }

    /// Lets MySQL clone from this server alone.
    #[must_use]
    pub fn allow_donor(self, donor: SocketAddr) -> String {
        format!("SET GLOBAL clone_valid_donor_list = {}", quote(&donor.to_string()))
    }

    /// MySQL's clone into a directory that it makes itself.
    #[must_use]
    pub fn clone_from(self, donor: Source<'_>, directory: &str) -> String {
        format!(
            "CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY {} DATA DIRECTORY = {}",
            quote(donor.user),
            quote(&donor.address.ip().to_string()),
            donor.address.port(),
            quote(donor.password),
            quote(directory)
        )
    }

    /// How far MySQL's clone is.
    #[must_use]
    pub const fn clone_progress(self) -> &'static str {
        "SELECT stage, state, estimate, data FROM performance_schema.clone_progress"
    }

    /// Connections in which MySQL clones.
    #[must_use]
    pub const fn clones(self) -> &'static str {
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'CLONE INSTANCE%'"
    }

    /// Every source that came with a copy is forgotten: its donor's, with the names of relay files that are not here.
    #[must_use]
    pub const fn forget_sources(self) -> &'static str {
        match self.0 {
            Flavour::Mysql => "STOP REPLICA; RESET REPLICA ALL",
            Flavour::Mariadb => "STOP ALL SLAVES",
        }
    }

    /// MariaDB's new binlog begins behind `state`, and replication behind `position`; MySQL's copy has both inside. Repeating
    /// it changes nothing as long as nobody wrote.
    #[must_use]
    pub fn continue_behind(self, state: &str, position: &str) -> Option<String> {
        match self.0 {
            Flavour::Mysql => None,
            Flavour::Mariadb => Some(format!(
                "RESET MASTER; SET GLOBAL gtid_binlog_state = {}; SET GLOBAL gtid_slave_pos = {}",
                quote(state),
                quote(position)
            )),
        }
    }
}
