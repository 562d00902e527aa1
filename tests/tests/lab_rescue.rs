//! What only a dead primary's binlog holds is brought to the new one, however much it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tasuki_schemas::event::{EventBody, StageName};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::server::{Extra, Server};
use tasuki_tests::lab::sql::Sql;
use tasuki_tests::lab::tools::{self, Daemon};
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::{Lab, Options, drill};

/// Transactions that nobody has but the primary, and the bytes of each.
const TRANSACTIONS: u64 = 50_000;
const BYTES: u64 = 2_000;
/// Connections that load them.
const CLIENTS: u64 = 10;
/// Statements in one packet.
const PACKET: u64 = 250;
/// What a rescue may take besides applying.
const GAP: Duration = Duration::from_secs(3);
/// The longest that a rescue of this test may take.
const RESCUED: Duration = Duration::from_secs(120);

/// Each flavour's own reader of binlogs. A MySQL that was unpacked beside the system runs with its own libraries.
fn reader(flavour: Flavour) -> Command {
    let Some(base) = Daemon::find(flavour).unwrap().basedir else {
        return Command::new(tools::program("mariadb-binlog").unwrap());
    };
    let libraries = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"].map(|name| base.join(name));
    let own = libraries.iter().find(|folder| folder.join("libc.so.6").exists());
    let loader = own.and_then(|folder| {
        let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        Some((folder, names.find(|path| path.display().to_string().contains("/ld-linux-"))?))
    });
    match loader {
        Some((folder, loader)) => {
            let mut command = Command::new(loader);
            command.arg("--library-path").arg(folder).arg(base.join("bin/mysqlbinlog"));
            command
        }
        None => Command::new(base.join("bin/mysqlbinlog")),
    }
}

/// Inserts so many rows, each a transaction of its own.
async fn load(sql: &Sql, transactions: u64) {
    let clients = (0..CLIENTS).map(|client| {
        let sql = sql.clone();
        tokio::spawn(async move {
            let own = transactions / CLIENTS;
            for packet in 0..own.div_ceil(PACKET) {
                let ids = packet * PACKET..own.min((packet + 1) * PACKET);
                let row = |id: u64| {
                    format!(
                        "INSERT INTO long_tail.t VALUES ({}, REPEAT(CHAR(65 + {id} % 26), {BYTES}))",
                        client * own + id
                    )
                };
                sql.run(&ids.map(row).collect::<Vec<_>>().join(";")).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

/// Count, sum of ids and checksum of the rows.
async fn rows(sql: &Sql) -> String {
    sql.value("SELECT CONCAT(COUNT(*), ' ', SUM(id), ' ', BIT_XOR(CRC32(CONCAT(id, ':', v)))) FROM long_tail.t")
        .await
        .unwrap()
}

/// The sizes of the binlogs' files that were begun since `from`.
fn newest_binlog(data: &Path) -> PathBuf {
    let index = fs::read_to_string(data.join("bin.index")).unwrap();
    data.join(index.lines().last().unwrap())
}

/// What `mysqlbinlog | mysql` takes for the same file, on a server of the same settings.
async fn piped(lab: &Lab, flavour: Flavour, file: &Path) -> Duration {
    let daemon = Daemon::find(flavour).unwrap();
    let mut spare = Server::create(lab.run(), lab.net(), "cl1", 90, &daemon, &Extra::default()).unwrap();
    spare.start().unwrap();
    spare.ready().await.unwrap();
    let sql = spare.sql();
    let open = if flavour == Flavour::Mysql { "SET GLOBAL super_read_only = 0; " } else { "" };
    sql.run(&format!("{open}SET GLOBAL read_only = 0; {UNSYNCED}; SET sql_log_bin = 0; {TABLE}")).await.unwrap();
    let began = Instant::now();
    let mut reads = reader(flavour);
    let mut reads = reads.arg("--no-defaults").arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let client = Command::new(tools::program("mysql").unwrap())
        .args(["--no-defaults", "--user=root", "--binary-mode"])
        .arg(format!("--socket={}", spare.socket().display()))
        .stdin(reads.stdout.take().unwrap())
        .spawn();
    let ended = tokio::task::spawn_blocking(move || (client.unwrap().wait().unwrap(), reads.wait().unwrap()));
    let (client, reader) = ended.await.unwrap();
    let took = began.elapsed();
    assert!(client.success() && reader.success());
    let count = sql.value("SELECT COUNT(*) FROM long_tail.t").await.unwrap();
    assert_eq!(count, TRANSACTIONS.to_string());
    took
}

const TABLE: &str = "CREATE DATABASE long_tail; CREATE TABLE long_tail.t (id BIGINT PRIMARY KEY, v VARBINARY(2000))";
const UNSYNCED: &str = "SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0";

async fn a_long_tail(flavour: Flavour) {
    let options = Options { asynchronous: true, coordinators: 1, ..Options::default() };
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    let sql = lab.clusters[0].server(&old).unwrap().sql();
    sql.run(TABLE).await.unwrap();
    for server in &lab.clusters[0].servers {
        server.sql().run(UNSYNCED).await.unwrap();
    }
    let writers = lab.clusters[0].write(4, 100).unwrap();
    drill::acknowledged(&writers, 50).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Nobody but the primary has what comes now: the receivers are stopped, and whoever would start them rests.
    lab.coordinators[0].freeze().unwrap();
    for server in lab.clusters[0].servers.iter().filter(|server| server.name() != old) {
        let stop = if flavour == Flavour::Mysql { "STOP REPLICA IO_THREAD" } else { "STOP SLAVE IO_THREAD" };
        server.sql().run(stop).await.unwrap();
    }
    writers.pause(true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    sql.run("FLUSH BINARY LOGS").await.unwrap();
    let began = Instant::now();
    load(&sql, TRANSACTIONS).await;
    let loaded = began.elapsed();
    let expected = rows(&sql).await;
    let data = lab.clusters[0].server(&old).unwrap().folder().join("data");
    let file = newest_binlog(&data);
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes > 100_000_000, "{bytes}");
    let copy = lab.run().folder().join("tail.binlog");
    fs::copy(&file, &copy).unwrap();
    writers.pause(false);
    drill::acknowledged(&writers, 20).await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    lab.coordinators[0].thaw().unwrap();
    let new = lab.clusters[0].wait_primary_other_than(&old, RESCUED).await.unwrap();
    until_slowly("a write", RESCUED, async || {
        anyhow::ensure!(writers.since(fault).iter().any(|it| it.acknowledged && it.start > fault), "none");
        Ok(())
    })
    .await
    .unwrap();
    let gap = drill::gap(&writers, fault).unwrap();
    let applied = lab.logs(400).lines().find(|line| line.contains("the tail was applied")).unwrap().to_owned();
    let applying = Duration::from_secs_f64(number(&applied, "took_ms=") / 1e3);
    let stages = events.since(fault).into_iter().filter_map(|heard| {
        let EventBody::Stage { stage, after_ms, .. } = heard.event.body else { return None };
        Some((stage, after_ms))
    });
    let stages: Vec<(StageName, f64)> = stages.collect();
    eprintln!(
        "{flavour}: {TRANSACTIONS} transactions, {bytes} bytes, loaded in {loaded:?}; gap {gap:?}; {stages:?}; {applied}"
    );
    let there = lab.clusters[0].server(&new).unwrap().sql();
    assert_eq!(rows(&there).await, expected);
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
    assert!(applied.contains("as a relay file"), "{applied}");
    assert!(gap <= GAP + applying, "{gap:?}");
    no_traces(&lab, &new, flavour).await;
    drop(writers);
    let piped = piped(&lab, flavour, &copy).await;
    eprintln!("{flavour}: applied in {applying:?}, by `mysqlbinlog | mysql` in {piped:?}");
    assert!(applying * 2 <= piped, "{applying:?} is more than half of {piped:?}");
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
    assert_eq!(rows(&lab.clusters[0].server(&old).unwrap().sql()).await, expected);
}

fn number(line: &str, name: &str) -> f64 {
    line.split_once(name).unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

/// The channel of the rescue and its files are gone.
async fn no_traces(lab: &Lab, server: &str, flavour: Flavour) {
    let server = lab.clusters[0].server(server).unwrap();
    let status = if flavour == Flavour::Mysql { "SHOW REPLICA STATUS" } else { "SHOW ALL SLAVES STATUS" };
    let rows = server.sql().named(status).await.unwrap();
    assert!(rows.iter().all(|row| !row.values().any(|value| value.contains("tasuki_rescue"))), "{rows:?}");
    let left: Vec<PathBuf> = fs::read_dir(server.folder().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().contains("tasuki_rescue"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn lab_fifty_thousand_transactions_of_a_dead_mariadb_are_rescued() {
    a_long_tail(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_fifty_thousand_transactions_of_a_dead_mysql_are_rescued() {
    a_long_tail(Flavour::Mysql).await;
}
