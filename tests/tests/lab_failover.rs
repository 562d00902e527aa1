//! Primaries die by kill -9, and writing goes on: nothing lost, nothing doubled, the old primary back as a replica.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::server::relayed;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::writer::Writers;
use tasuki_tests::lab::{Cluster, Lab, Options, drill};

async fn kill_primary(cluster: &mut Cluster) -> (String, Instant) {
    let old = cluster.primary().await.unwrap();
    let fault = cluster.server_mut(&old).unwrap().kill9().unwrap();
    (old, fault)
}

async fn heal(cluster: &mut Cluster, writers: &Writers, old: &str, fault: Instant) {
    let new = drill::taken_over(cluster, writers, old, fault).await.unwrap();
    drill::acknowledged(writers, 200).await.unwrap();
    let gap = drill::gap(writers, fault).unwrap();
    drill::brought_back(cluster, old).await.unwrap();
    drill::all_there(cluster, &[writers]).await.unwrap();
    eprintln!("{}: {old} to {new}, {gap:?} without an acknowledgement", cluster.flavour);
    assert!(gap < drill::crash_limit(cluster.flavour), "{gap:?} without an acknowledgement");
}

async fn twice(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let writers = cluster.write(8, 400).unwrap();
    // The second time, the server that came back is one of those that must hold everything.
    for _ in 0..2 {
        drill::acknowledged(&writers, 200).await.unwrap();
        let (old, fault) = kill_primary(cluster).await;
        heal(cluster, &writers, &old, fault).await;
    }
}

#[tokio::test]
async fn lab_a_killed_mariadb_primary_is_replaced_and_comes_back_as_a_replica() {
    twice(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_killed_mysql_primary_is_replaced_and_comes_back_as_a_replica() {
    twice(Flavour::Mysql).await;
}

#[tokio::test]
async fn lab_two_clusters_under_one_pair_lose_their_primaries_in_the_same_second() {
    let flavours = [Flavour::Mariadb, Flavour::Mysql];
    let mut lab = Lab::start(Kind::Loopback, &flavours, &Options::default()).await.unwrap();
    let [one, other] = &mut lab.clusters[..] else { panic!("two clusters") };
    let (first, second) = (one.write(8, 250).unwrap(), other.write(8, 250).unwrap());
    drill::acknowledged(&first, 150).await.unwrap();
    drill::acknowledged(&second, 150).await.unwrap();
    let (old_one, fault_one) = kill_primary(one).await;
    let (old_other, fault_other) = kill_primary(other).await;
    tokio::join!(heal(one, &first, &old_one, fault_one), heal(other, &second, &old_other, fault_other));
}

/// The replica that may win has received everything and has it still to apply; the other one, which may not, is done. It asks
/// the winner for what comes after, which that does not have yet and refuses (MariaDB), until it has caught up.
async fn follower_ahead(flavour: Flavour) {
    let options = Options { never: Some("db3"), ..Options::default() };
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let make = "CREATE TABLE lab.held (id INT PRIMARY KEY, n INT) ENGINE=InnoDB; INSERT INTO lab.held VALUES (1, 0)";
    let primary = cluster.server("db1").unwrap().sql();
    primary.run(make).await.unwrap();
    let winner = cluster.server("db2").unwrap().sql();
    until("the row at the replica", Duration::from_secs(10), async || {
        ensure!(winner.value("SELECT COUNT(*) FROM lab.held").await? == "1", "it is not there");
        Ok(())
    })
    .await
    .unwrap();
    let writers = cluster.write(8, 400).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let lock = tokio::spawn(async move {
        winner.run("LOCK TABLES lab.held READ; DO SLEEP(2); UNLOCK TABLES").await.unwrap();
        Instant::now()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    primary.run("UPDATE lab.held SET n = 1").await.unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let (old, fault) = kill_primary(cluster).await;
    let released = lock.await.unwrap();
    assert_eq!(drill::taken_over(cluster, &writers, &old, fault).await.unwrap(), "db2");
    let after = (fault + drill::gap(&writers, fault).unwrap()).saturating_duration_since(released);
    eprintln!("{flavour}: writing went on {after:?} after the winner could apply what it had received");
    // It was 1.4 s and more when the follower was not served at once.
    assert!(after < Duration::from_millis(1200), "{after:?}");
    drill::brought_back(cluster, &old).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_a_mariadb_replica_ahead_of_the_new_primary_acknowledges_once_that_caught_up() {
    follower_ahead(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_replica_ahead_of_the_new_primary_acknowledges_once_that_caught_up() {
    follower_ahead(Flavour::Mysql).await;
}

/// What the primary dies in while it sends it: its replicas hold so much of it, and nothing that could be applied.
struct Half {
    /// Run on the primary before.
    before: &'static str,
    statement: String,
    /// The bytes that every replica holds at least.
    part: u64,
}

impl Half {
    /// The GTID of a statement of 12 MB, and no more: MySQL's coordinating thread alone has it.
    fn statement() -> Self {
        let body = "x".repeat(12 << 20);
        Self { before: "DO 1", statement: format!("CREATE PROCEDURE lab.large() BEGIN /* {body} */ END"), part: 1 }
    }

    /// Some rows of 24 MB of them: the coordinating thread and a worker have them.
    fn transaction() -> Self {
        let rows: Vec<String> = (0..24).map(|id| format!("({id}, REPEAT('x', 1000000))")).collect();
        Self {
            before: "CREATE TABLE lab.large (id INT PRIMARY KEY, body LONGTEXT) ENGINE=InnoDB",
            statement: format!("INSERT INTO lab.large VALUES {}", rows.join(", ")),
            part: 2 << 20,
        }
    }
}

/// MySQL's applier would wait a minute for the rest before it stops.
async fn dies_in(half: Half, flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let old = cluster.primary().await.unwrap();
    let replicas: Vec<_> = cluster.servers.iter().filter(|server| server.name() != old).collect();
    let folders: Vec<_> = replicas.iter().map(|server| server.folder().to_owned()).collect();
    let sql = cluster.server(&old).unwrap().sql();
    sql.run(half.before).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before: Vec<u64> = folders.iter().map(|folder| relayed(folder)).collect();
    let large = tokio::spawn(async move { sql.run(&half.statement).await });
    let begun = tokio::task::spawn_blocking(move || {
        let since = Instant::now();
        let grown = || folders.iter().zip(&before).all(|(folder, before)| relayed(folder) >= *before + half.part);
        while !grown() && since.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(200));
        }
        folders.iter().zip(&before).map(|(folder, before)| relayed(folder) - before).collect::<Vec<_>>()
    });
    let begun = begun.await.unwrap();
    let fault = cluster.server_mut(&old).unwrap().kill9().unwrap();
    assert!(begun.iter().all(|bytes| (half.part..12 << 20).contains(bytes)), "the replicas hold {begun:?} bytes of it");
    assert!(large.await.unwrap().is_err());
    let writers = cluster.write(8, 400).unwrap();
    let new = drill::taken_over(cluster, &writers, &old, fault).await.unwrap();
    let sql = cluster.server(&new).unwrap().sql();
    until("no source", Duration::from_secs(2), async || {
        let status = match flavour {
            Flavour::Mariadb => "SHOW ALL SLAVES STATUS",
            Flavour::Mysql => "SHOW REPLICA STATUS",
        };
        ensure!(sql.named(status).await?.is_empty(), "{new} has not forgotten its source");
        Ok(())
    })
    .await
    .unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let logs = lab.logs(100);
    assert!(!logs.contains("an effect failed"), "{logs}");
}

#[tokio::test]
async fn lab_a_mariadb_that_dies_in_a_large_statement_leaves_nothing_that_holds_the_next_one_up() {
    dies_in(Half::statement(), Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_that_dies_in_a_large_statement_leaves_nothing_that_holds_the_next_one_up() {
    dies_in(Half::statement(), Flavour::Mysql).await;
}

#[tokio::test]
async fn lab_a_mariadb_that_dies_in_a_large_transaction_leaves_nothing_that_holds_the_next_one_up() {
    dies_in(Half::transaction(), Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_that_dies_in_a_large_transaction_leaves_nothing_that_holds_the_next_one_up() {
    dies_in(Half::transaction(), Flavour::Mysql).await;
}
