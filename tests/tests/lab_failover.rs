//! Primaries die by kill -9, and writing goes on: nothing lost, nothing doubled, the old primary back as a replica.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::event::{Diagnosis, EventBody};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
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

/// A raw SIGTERM on MariaDB: on MySQL it would answer OK to blocked commits, which no manager can mend.
#[tokio::test]
async fn lab_a_stopped_primary_is_told_from_a_crashed_one_and_handed_over() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let listener = lab.listen(&lab.clusters[0]).unwrap();
    let cluster = &mut lab.clusters[0];
    let writers = cluster.write(8, 250).unwrap();
    drill::acknowledged(&writers, 150).await.unwrap();
    let old = cluster.primary().await.unwrap();
    let fault = Instant::now();
    cluster.server_mut(&old).unwrap().stop().await.unwrap();
    drill::taken_over(cluster, &writers, &old, fault).await.unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let told: Vec<Diagnosis> = listener
        .since(fault)
        .into_iter()
        .filter_map(|heard| {
            let EventBody::Diagnosis { diagnosis, .. } = heard.event.body else { return None };
            Some(diagnosis)
        })
        .collect();
    assert!(told.iter().any(|diagnosis| matches!(diagnosis, Diagnosis::PrimaryStopped { .. })), "{told:?}");
    assert!(!told.iter().any(|diagnosis| matches!(diagnosis, Diagnosis::PrimaryCrashed { .. })), "{told:?}");
    drill::brought_back(cluster, &old).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
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

/// The bytes in a server's relay files.
fn relayed(folder: &std::path::Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder.join("data")) else { return 0 };
    let relay = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().contains("relay");
    files.flatten().filter(relay).filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
}

/// A transaction of 40 MB is under way to the replicas when the primary dies: each holds the beginning of it.
async fn dies_in_the_middle(flavour: Flavour) {
    const PART: u64 = 4 << 20;
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let old = cluster.primary().await.unwrap();
    let replica = cluster.server(if old == "db1" { "db2" } else { "db1" }).unwrap().folder().to_owned();
    let sql = cluster.server(&old).unwrap().sql();
    sql.run("CREATE TABLE lab.large (id INT PRIMARY KEY, body LONGTEXT)").await.unwrap();
    let rows: Vec<String> = (0..40).map(|id| format!("({id}, REPEAT('x', 1000000))")).collect();
    let insert = format!("INSERT INTO lab.large VALUES {}", rows.join(", "));
    let before = relayed(&replica);
    let large = tokio::spawn(async move { sql.run(&insert).await });
    while relayed(&replica) < before + PART {
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    let (old, fault) = kill_primary(cluster).await;
    assert!(large.await.unwrap().is_err(), "a transaction was acknowledged that no replica had received");
    let writers = cluster.write(8, 400).unwrap();
    drill::taken_over(cluster, &writers, &old, fault).await.unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let open = fault.elapsed();
    assert!(open < drill::crash_limit(flavour) * 2, "writing went on after {open:?} only");
    drill::all_there(cluster, &[&writers]).await.unwrap();
    // What nobody else received was never acknowledged: its only holder stays out, and closed.
    let server = cluster.server_mut(&old).unwrap();
    server.start().unwrap();
    server.ready().await.unwrap();
    let sql = server.sql();
    until("the quarantine of the old primary", Duration::from_secs(20), async || {
        ensure!(lab.logs(5000).contains("quarantined: it holds transactions"), "nothing was told");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(sql.value("SELECT @@read_only = 1").await.unwrap(), "1");
}

#[tokio::test]
async fn lab_half_a_transaction_at_the_replicas_holds_up_no_mariadb_failover() {
    dies_in_the_middle(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_half_a_transaction_at_the_replicas_holds_up_no_mysql_failover() {
    dies_in_the_middle(Flavour::Mysql).await;
}
