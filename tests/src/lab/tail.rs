//! A tail: transactions that nobody has but the primary of an asynchronous cluster.

use std::time::Duration;

use anyhow::Result;
use tasuki_schemas::gtid::Flavour;

use super::Lab;
use super::sql::Sql;
use super::writer::Writers;

/// A long one, about 100 MB.
pub const TRANSACTIONS: u64 = 50_000;
/// The bytes of each: random digits, as hard to compress as data may be that is text.
const BYTES: u64 = 2_000;
/// Connections that load them.
const CLIENTS: u64 = 10;
/// Statements in one packet.
const PACKET: u64 = 250;

/// What they are loaded into.
pub const TABLE: &str =
    "CREATE DATABASE long_tail; CREATE TABLE long_tail.t (id BIGINT PRIMARY KEY, v VARBINARY(2000))";
/// What a killed process leaves to the kernel is kept: with 0 an engine would lack what its binlog has.
pub const UNSYNCED: &str = "SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 2";
/// Count, sum of ids and checksum of the rows.
pub const ROWS: &str =
    "SELECT CONCAT(COUNT(*), ' ', SUM(id), ' ', BIT_XOR(CRC32(CONCAT(id, ':', v)))) FROM long_tail.t";

/// Inserts so many rows, each a transaction of its own.
///
/// # Errors
/// The server's.
pub async fn load(sql: &Sql, transactions: u64) -> Result<()> {
    let clients = (0..CLIENTS).map(|client| {
        let sql = sql.clone();
        tokio::spawn(async move {
            let own = transactions / CLIENTS;
            for packet in 0..own.div_ceil(PACKET) {
                let ids = packet * PACKET..own.min((packet + 1) * PACKET);
                let row = |id: u64| {
                    format!("INSERT INTO long_tail.t VALUES ({}, HEX(RANDOM_BYTES({})))", client * own + id, BYTES / 2)
                };
                sql.run(&ids.map(row).collect::<Vec<_>>().join(";")).await?;
            }
            Ok::<_, anyhow::Error>(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    Ok(())
}

/// The answer to [`ROWS`].
///
/// # Errors
/// The server's.
pub async fn rows(sql: &Sql) -> Result<String> {
    sql.value(ROWS).await
}

/// Makes the primary of the first cluster the only one to have what comes now, and returns its name: the receivers are
/// stopped, and whoever would start them rests. A new file of the binlog has begun, the table is there, and nobody writes.
///
/// # Errors
/// When a server or a coordinator does not do what it should.
pub async fn until_alone(lab: &Lab, writers: &[&Writers]) -> Result<String> {
    let [cluster, ..] = lab.clusters.as_slice() else { anyhow::bail!("no cluster") };
    let old = cluster.primary().await?;
    let sql = cluster.server(&old)?.sql();
    sql.run(TABLE).await?;
    for server in &cluster.servers {
        server.sql().run(UNSYNCED).await?;
        if cluster.flavour == Flavour::Mariadb && server.name() != old {
            server.sql().run("STOP SLAVE; SET GLOBAL slave_parallel_threads = 4; START SLAVE").await?;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for coordinator in &lab.coordinators {
        coordinator.freeze()?;
    }
    for server in cluster.servers.iter().filter(|server| server.name() != old) {
        let stop = if cluster.flavour == Flavour::Mysql { "STOP REPLICA IO_THREAD" } else { "STOP SLAVE IO_THREAD" };
        server.sql().run(stop).await?;
    }
    for writers in writers {
        writers.pause(true);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    sql.run("FLUSH BINARY LOGS").await?;
    Ok(old)
}
