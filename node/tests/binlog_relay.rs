//! A replica is killed with transactions that it received and did not apply: its relay files tell which, and give them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs")]
mod servers;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use servers::tail::applied;
use servers::{Folder, Server, template};
use tasuki_node::binlog::{executed, unapplied};
use tasuki_node::facts::relay_index;
use tasuki_schemas::gtid::{Flavour, GtidSet};

const DEADLINE: Duration = Duration::from_secs(120);
const NO_LIMIT: usize = 1 << 30;

struct Words {
    follow: &'static str,
    stop_applier: &'static str,
    stop_receiver: &'static str,
    start_receiver: &'static str,
    start: &'static str,
    show: &'static str,
    columns: [&'static str; 2],
    own_position: &'static str,
}

const MARIADB: Words = Words {
    follow: "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl', MASTER_PASSWORD='secret', \
             MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
    stop_applier: "STOP SLAVE SQL_THREAD",
    stop_receiver: "STOP SLAVE IO_THREAD",
    start_receiver: "START SLAVE IO_THREAD",
    start: "START SLAVE",
    show: "SHOW SLAVE STATUS",
    columns: ["Master_Log_File", "Read_Master_Log_Pos"],
    own_position: "SHOW MASTER STATUS",
};

const MYSQL: Words = Words {
    follow: "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={}, SOURCE_USER='repl', \
             SOURCE_PASSWORD='secret', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1",
    stop_applier: "STOP REPLICA SQL_THREAD",
    stop_receiver: "STOP REPLICA IO_THREAD",
    start_receiver: "START REPLICA IO_THREAD",
    start: "START REPLICA",
    show: "SHOW REPLICA STATUS",
    columns: ["Source_Log_File", "Read_Source_Log_Pos"],
    own_position: "SHOW BINARY LOG STATUS",
};

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

async fn row(conn: &mut Conn, sql: &str) -> Row {
    conn.query_first(sql).await.unwrap().unwrap_or_else(|| panic!("{sql} has no row"))
}

/// Waits until the replica received all that its source wrote.
async fn received(source: &Server, replica: &Server, words: &Words) {
    let own = row(&mut source.connect().await, words.own_position).await;
    let wanted: (String, u64) = (own.get(0).unwrap(), own.get(1).unwrap());
    let begun = Instant::now();
    loop {
        let shown = row(&mut replica.connect().await, words.show).await;
        let [file, position] = words.columns;
        let reached: (String, u64) = (shown.get(file).unwrap(), shown.get(position).unwrap());
        if reached == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{reached:?} was received of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_executed(replica: &Server, wanted: &GtidSet) {
    let begun = Instant::now();
    while replica.executed().await.contains(wanted) != Ok(true) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{wanted} is not executed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn place(replica: &Server) -> PathBuf {
    let sql = "SELECT @@global.relay_log_basename, @@global.relay_log_index";
    let told = row(&mut replica.connect().await, sql).await;
    let text = |at: usize| told.get::<Option<String>, _>(at).flatten().unwrap_or_default();
    relay_index(&text(0), &text(1)).unwrap()
}

async fn relayed(name: &str, flavour: Flavour, words: &Words) {
    let folder = Folder::new(name);
    let start = folder.join("template");
    template(flavour, &start);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let network = [format!("--port={port}"), "--skip-networking=0".to_owned(), "--bind-address=127.0.0.1".to_owned()];
    let network: Vec<&str> = network.iter().map(String::as_str).collect();
    let source = Server::start(flavour, &start, folder.join("source"), 1, &network).await;
    // Small files: transactions lie in many of them.
    let small = ["--relay-log=relay", "--sync-relay-log=1", "--max-relay-log-size=4096"];
    let mut replica = Server::start(flavour, &start, folder.join("replica"), 2, &small).await;
    let mut conn = source.connect().await;
    let account = "CREATE USER repl IDENTIFIED BY 'secret'";
    run(&mut conn, &["SET sql_log_bin=0", account, "GRANT REPLICATION SLAVE ON *.* TO repl", "SET sql_log_bin=1"])
        .await;
    run(&mut conn, &["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v LONGTEXT)"]).await;
    let mut behind = replica.connect().await;
    run(&mut behind, &[&words.follow.replace("{}", &port.to_string()), words.start]).await;
    until_executed(&replica, &source.executed().await).await;
    let index = place(&replica).await;
    assert!(unapplied(&index, flavour, &replica.executed().await, NO_LIMIT).unwrap().is_empty());

    run(&mut behind, &[words.stop_applier]).await;
    let before = replica.executed().await;
    for id in 0..30 {
        let large = if id == 7 { 200_000 } else { 1000 };
        let insert = format!("INSERT INTO shop.t VALUES ({id}, REPEAT('x', {large}))");
        run(&mut conn, &["BEGIN", &insert, &format!("UPDATE shop.t SET v=CONCAT(v, 'y') WHERE id={id}"), "COMMIT"])
            .await;
        if id == 10 {
            received(&source, &replica, words).await;
            run(&mut behind, &[words.stop_receiver, words.start_receiver]).await;
        }
        if id == 20 {
            run(&mut conn, &["FLUSH BINARY LOGS", "CREATE TABLE shop.u (id INT PRIMARY KEY)"]).await;
        }
    }
    received(&source, &replica, words).await;
    replica.kill();
    assert_eq!(executed(&folder.join("replica").join("bin.index"), flavour).unwrap(), before);
    let found = unapplied(&index, flavour, &before, NO_LIMIT).unwrap();
    assert_eq!((found.count, found.transactions.len()), (31, 31), "{found}");
    let listed = std::fs::read_to_string(&index).unwrap();
    assert!(listed.lines().count() > 5, "{listed}");

    // Applied to the server that came back, nothing is missing.
    let copy = folder.join("replica");
    let back = Server::start(flavour, &copy, folder.join("back"), 2, &["--skip-slave-start"]).await;
    assert_eq!(back.executed().await, before);
    applied(back.connect().await, flavour, &found.transactions).await.unwrap();
    assert_eq!(back.executed().await, source.executed().await);
    assert_eq!(back.checksums("shop").await, source.checksums("shop").await);
    torn(&folder, &listed, &index, flavour, &before);
}

/// Cut anywhere, the newest file gives fewer transactions, or an error, and never more.
fn torn(folder: &Folder, listed: &str, index: &std::path::Path, flavour: Flavour, before: &GtidSet) {
    let last = folder.join("replica").join(listed.lines().last().unwrap());
    let whole = std::fs::read(&last).unwrap();
    let mut counts = Vec::new();
    for length in (0..whole.len()).rev().step_by(7) {
        std::fs::write(&last, whole.get(..length).unwrap()).unwrap();
        counts.push(unapplied(index, flavour, before, 0).unwrap().count);
    }
    assert!(counts.is_sorted_by(|more, fewer| more >= fewer), "{counts:?}");
    assert!(counts.iter().all(|count| (20..=31).contains(count)), "{counts:?}");
}

async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long");
}

#[tokio::test]
async fn mariadb_relay_files_of_a_killed_replica_tell_and_give_what_it_received() {
    bounded(relayed("mariadb-relay", Flavour::Mariadb, &MARIADB)).await;
}

#[tokio::test]
async fn mysql_relay_files_of_a_killed_replica_tell_and_give_what_it_received() {
    bounded(relayed("mysql-relay", Flavour::Mysql, &MYSQL)).await;
}
