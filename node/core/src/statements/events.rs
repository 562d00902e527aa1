//! Scheduled events: which of them run on a primary, and how they are enabled on the next one.

use tasuki_schemas::gtid::Flavour;

use super::{Dialect, quote};

/// A scheduled event as the server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Whose privileges it has, as `user@host`.
    pub definer: String,
    /// The SQL mode that it runs in.
    pub sql_mode: String,
    /// Its time zone.
    pub time_zone: String,
    /// The character set that its text is in.
    pub client: String,
    /// The collation of its literals.
    pub collation: String,
}

/// A name between backquotes, whatever is in it.
fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Scheduled {
    /// Whether a statement that names the event can be sent in the event's own character set.
    #[must_use]
    pub fn is_sayable(&self) -> bool {
        let names = [&self.database, &self.name, &self.definer];
        self.client.starts_with("utf8") || names.iter().all(|name| name.is_ascii())
    }
}

impl Dialect {
    /// The scheduler's state, then all events but those that are disabled everywhere.
    #[must_use]
    pub const fn events(self) -> &'static str {
        "SELECT @@global.event_scheduler AS scheduler; \
         SELECT event_schema AS db, event_name AS name, definer AS definer, status AS status, sql_mode AS sql_mode, \
         time_zone AS time_zone, character_set_client AS client, collation_connection AS collation \
         FROM information_schema.events WHERE status <> 'DISABLED' ORDER BY event_schema, event_name"
    }

    /// Makes the table of the record.
    #[must_use]
    pub fn make_events_table(self) -> String {
        self.while_open(
            "CREATE DATABASE IF NOT EXISTS tasuki; CREATE TABLE IF NOT EXISTS tasuki.events \
             (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, scheduler BOOLEAN NOT NULL, \
             enabled LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB",
        )
    }

    /// Statements that have no effect on a server that was closed. MariaDB's `read_only` does not bind the node's account, as
    /// MySQL's `super_read_only` does.
    fn while_open(self, statements: &str) -> String {
        match self.0 {
            Flavour::Mariadb => format!("BEGIN NOT ATOMIC IF @@global.read_only = 0 THEN {statements}; END IF; END"),
            Flavour::Mysql => statements.to_owned(),
        }
    }

    /// What the primary's node has recorded.
    #[must_use]
    pub const fn recorded_events(self) -> &'static str {
        "SELECT scheduler, enabled FROM tasuki.events WHERE id = 1"
    }

    /// Records whether the scheduler runs, and the list of what is enabled. Like a client's write it has no effect on a server
    /// that was closed meanwhile: MariaDB lets the node's account write there, but closing waits for the statements that
    /// began before. Where logging by statement is set, a statement without effect would be logged all the same.
    #[must_use]
    pub fn record_events(self, scheduler: bool, enabled: &str) -> String {
        let by_row = match self.0 {
            Flavour::Mariadb => "SET SESSION binlog_format = 'ROW'; ",
            Flavour::Mysql => "",
        };
        format!(
            "{by_row}REPLACE INTO tasuki.events (id, scheduler, enabled) \
             SELECT 1, {}, {} FROM DUAL WHERE @@global.read_only = 0",
            u8::from(scheduler),
            quote(enabled)
        )
    }

    /// Enables an event, and leaves everything else of it as it is: the server takes definer, SQL mode, time zone, character
    /// set and collation from whoever alters it. The session is of no use for anything else afterwards.
    #[must_use]
    pub fn enable_event(self, event: &Scheduled) -> String {
        let (user, host) = event.definer.rsplit_once('@').unwrap_or((&event.definer, "%"));
        let alter = format!(
            "ALTER DEFINER = {}@{} EVENT {}.{} ENABLE",
            identifier(user),
            identifier(host),
            identifier(&event.database),
            identifier(&event.name)
        );
        let alter = self.while_open(&alter);
        format!(
            "SET SESSION sql_mode = {}, time_zone = {}, character_set_client = {}, collation_connection = {}; {alter}",
            quote(&event.sql_mode),
            quote(&event.time_zone),
            quote(&event.client),
            quote(&event.collation)
        )
    }

    /// Starts the scheduler.
    #[must_use]
    pub const fn start_scheduler(self) -> &'static str {
        "SET GLOBAL event_scheduler = ON"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_enabled_under_its_own_names_and_settings() {
        let event = Scheduled {
            database: "shop".to_owned(),
            name: "a`b".to_owned(),
            definer: "night@shift@10.0.%".to_owned(),
            sql_mode: "ANSI_QUOTES".to_owned(),
            time_zone: "+03:00".to_owned(),
            client: "latin1".to_owned(),
            collation: "latin1_swedish_ci".to_owned(),
        };
        assert_eq!(
            Dialect(Flavour::Mysql).enable_event(&event),
            "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', character_set_client = 'latin1', \
             collation_connection = 'latin1_swedish_ci'; \
             ALTER DEFINER = `night@shift`@`10.0.%` EVENT `shop`.`a``b` ENABLE"
        );
        assert!(
            Dialect(Flavour::Mariadb).enable_event(&event).contains("IF @@global.read_only = 0 THEN ALTER DEFINER")
        );
        assert!(event.is_sayable());
        assert!(!Scheduled { name: "été".to_owned(), ..event.clone() }.is_sayable());
        assert!(Scheduled { name: "été".to_owned(), client: "utf8mb4".to_owned(), ..event }.is_sayable());
    }
}
