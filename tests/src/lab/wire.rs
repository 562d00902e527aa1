//! Makes fresh servers replicate as an existing cluster would before Tasuki came: the first one open, the others
//! following it with semi-sync. The SQL here is the lab's own, so that it does not share the product's mistakes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tasuki_schemas::gtid::Flavour;

use super::server::Server;
use super::sql::Named;
use super::template::{REPLICATION_PASSWORD, REPLICATION_USER};
use super::waiting::until;

/// The longest that replicas may take to connect.
const CONNECT: Duration = Duration::from_secs(20);

/// Opens the first server, lets the others follow, and makes the writers' table: without any unique key, so that a
/// write done twice shows.
///
/// # Errors
/// When a statement fails or the replicas do not connect in time.
pub async fn replicate(servers: &[Server]) -> Result<()> {
    let (primary, replicas) = servers.split_first().context("no servers")?;
    primary.sql().run(open(primary.flavour())).await?;
    for replica in replicas {
        replica.sql().run(&follow(replica.flavour(), primary)).await?;
    }
    let count = replicas.len();
    until("semi-sync replicas", CONNECT, async || match semi_sync_replicas(primary).await? {
        found if found == count => Ok(()),
        found => bail!("{found} of {count} are connected"),
    })
    .await?;
    primary
        .sql()
        .run("CREATE TABLE lab.writes (id BIGINT UNSIGNED NOT NULL, writer INT UNSIGNED NOT NULL, KEY (id)) ENGINE=InnoDB")
        .await?;
    for replica in replicas {
        until("the table on the replica", CONNECT, async || {
            replica.sql().value("SELECT COUNT(*) FROM lab.writes").await
        })
        .await?;
    }
    Ok(())
}

/// Takes the acknowledgements of a trio away: what an asynchronous cluster looks like.
///
/// # Errors
/// When a statement fails.
pub async fn acknowledge_nothing(servers: &[Server]) -> Result<()> {
    let (primary, replicas) = servers.split_first().context("no servers")?;
    for replica in replicas {
        replica
            .sql()
            .run(match replica.flavour() {
                Flavour::Mariadb => {
                    "SET GLOBAL rpl_semi_sync_slave_enabled=0; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD"
                }
                Flavour::Mysql => {
                    "SET GLOBAL rpl_semi_sync_replica_enabled=0; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD"
                }
            })
            .await?;
    }
    primary
        .sql()
        .run(match primary.flavour() {
            Flavour::Mariadb => "SET GLOBAL rpl_semi_sync_master_enabled=0",
            Flavour::Mysql => "SET GLOBAL rpl_semi_sync_source_enabled=0",
        })
        .await
}

/// The semi-sync replicas that a server has now.
///
/// # Errors
/// When it does not answer.
pub async fn semi_sync_replicas(server: &Server) -> Result<usize> {
    let variable = match server.flavour() {
        Flavour::Mariadb => "Rpl_semi_sync_master_clients",
        Flavour::Mysql => "Rpl_semi_sync_source_clients",
    };
    let rows = server.sql().named(&format!("SHOW GLOBAL STATUS LIKE '{variable}'")).await?;
    let value = rows.first().and_then(|row| row.get("Value")).context("the server knows no semi-sync")?;
    Ok(value.parse()?)
}

/// What a server replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Whom it follows, as `host:port`.
    pub source: String,
    /// Both threads run, and the receiver is connected.
    pub runs: bool,
    /// The server's own words about an error.
    pub error: String,
}

/// What a server replicates; `None` if nothing is configured.
///
/// # Errors
/// When it does not answer.
pub async fn channel(server: &Server) -> Result<Option<Channel>> {
    let (question, names) = match server.flavour() {
        Flavour::Mariadb => {
            ("SHOW ALL SLAVES STATUS", ["Master_Host", "Master_Port", "Slave_IO_Running", "Slave_SQL_Running"])
        }
        Flavour::Mysql => {
            ("SHOW REPLICA STATUS", ["Source_Host", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running"])
        }
    };
    let rows = server.sql().named(question).await?;
    Ok(rows.first().map(|row| {
        let [host, port, receiver, applier] = names.map(|name| field(row, name));
        Channel {
            source: if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
            runs: receiver == "Yes" && applier == "Yes",
            error: format!("{}{}", field(row, "Last_IO_Error"), field(row, "Last_SQL_Error")),
        }
    }))
}

fn field<'a>(row: &'a Named, name: &str) -> &'a str {
    BTreeMap::get(row, name).map_or("", String::as_str)
}

const fn open(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Mariadb => {
            "SET GLOBAL rpl_semi_sync_master_timeout=1000000000000;
             SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_SYNC;
             SET GLOBAL rpl_semi_sync_master_enabled=1;
             SET GLOBAL read_only=0"
        }
        Flavour::Mysql => {
            "SET GLOBAL rpl_semi_sync_source_timeout=4294967295;
             SET GLOBAL rpl_semi_sync_source_wait_point=AFTER_SYNC;
                          SET GLOBAL rpl_semi_sync_source_enabled=1;
             SET GLOBAL super_read_only=0;
             SET GLOBAL read_only=0"
        }
    }
}

/// The statements by which a server follows another one and acknowledges.
#[must_use]
pub fn follow(flavour: Flavour, source: &Server) -> String {
    let (host, port) = (source.address().ip(), source.address().port());
    match flavour {
        Flavour::Mariadb => format!(
            "SET GLOBAL rpl_semi_sync_slave_enabled=1;
             CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, MASTER_USER='{REPLICATION_USER}',
               MASTER_PASSWORD='{REPLICATION_PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_HEARTBEAT_PERIOD=0.2,
               MASTER_CONNECT_RETRY=1;
             START SLAVE"
        ),
        Flavour::Mysql => format!(
            "SET GLOBAL rpl_semi_sync_replica_enabled=1;
             CHANGE REPLICATION SOURCE TO SOURCE_HOST='{host}', SOURCE_PORT={port}, SOURCE_USER='{REPLICATION_USER}',
               SOURCE_PASSWORD='{REPLICATION_PASSWORD}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1,
               SOURCE_HEARTBEAT_PERIOD=0.2, SOURCE_CONNECT_RETRY=1;
             START REPLICA"
        ),
    }
}
