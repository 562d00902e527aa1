//! Asynchronous clusters (k = 0) with a lease: what is cut off falls silent by itself, and writing goes on elsewhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Cluster, Lab, Options, drill, history};

const LEASE: Duration = Duration::from_millis(2000);
/// What a failover may take beyond the lease.
const BEYOND: Duration = Duration::from_millis(1500);

async fn leased(kind: Kind, flavour: Flavour) -> Lab {
    let lease_ms = u64::try_from(LEASE.as_millis()).ok();
    let options = Options { asynchronous: true, lease_ms, ..Options::default() };
    let lab = Lab::start(kind, &[flavour], &options).await.unwrap();
    until("the record to rest on the lease", Duration::from_secs(10), async || {
        let cluster = &lab.clusters[0];
        for node in &cluster.nodes {
            let record = cluster.record(node.name()).await?;
            let leased = record.group().is_some_and(|group| group.acks == 0 && group.leased);
            anyhow::ensure!(leased, "not at {}", node.name());
        }
        Ok(())
    })
    .await
    .unwrap();
    lab
}

/// No write stands twice, and what is missing was acknowledged by the old primary shortly before the fault, or by it
/// alone after it was cut off: a leased cluster says that it may lose that.
async fn only_the_last_moments_may_be_lost(
    cluster: &Cluster,
    log: &[tasuki_tests::lab::writer::Attempt],
    fault: Instant,
) {
    let primary = cluster.primary().await.unwrap();
    let found = history::check(&cluster.server(&primary).unwrap().sql(), log, 0).await.unwrap();
    assert!(found.doubled.is_empty(), "doubled {:?}", found.doubled);
    let early = fault.checked_sub(Duration::from_millis(500)).unwrap();
    let old: Vec<u64> = log.iter().filter(|it| it.acknowledged && it.end < early).map(|it| it.id).collect();
    let lost: Vec<&u64> = found.lost.iter().filter(|id| old.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged long before the fault, and lost: {lost:?}");
}

async fn cut_off(flavour: Flavour) {
    let lab = leased(Kind::Namespaces, flavour).await;
    let cluster = &lab.clusters[0];
    let writers = cluster.write(8, 300).unwrap();
    let old = cluster.primary().await.unwrap();
    let locals = cluster.write_on(&old, 2, 50).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    cluster.nodes.iter().find(|node| node.name() == old).unwrap().freeze().unwrap();
    let fault = Instant::now();
    lab.net().namespaces().unwrap().unplug(&old).unwrap();
    let isolated = Instant::now();
    drill::acknowledged(&writers, 200).await.unwrap();
    let fresh = |it: &&tasuki_tests::lab::writer::Attempt| it.acknowledged && it.start > isolated;
    let opened = writers.since(fault).iter().filter(fresh).map(|it| it.end).min().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = locals.since(opened).iter().filter(|it| it.acknowledged).count();
    let alone = locals.since(isolated).iter().filter(|it| it.acknowledged).map(|it| it.end).max();
    let alone = alone.map_or(Duration::ZERO, |last| last - isolated);
    eprintln!("{flavour}: cut off, it wrote on for {alone:?}; the new primary after {:?}", opened - fault);
    assert_eq!(late, 0, "the old primary acknowledged after the new one had opened");
    assert!(opened - fault < LEASE + BEYOND, "{:?}", opened - fault);
    let mut log = writers.log();
    log.extend(locals.log());
    only_the_last_moments_may_be_lost(cluster, &log, fault).await;
}

#[tokio::test]
async fn lab_a_leased_mariadb_that_is_cut_off_falls_silent_before_another_opens() {
    cut_off(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_leased_mysql_that_is_cut_off_falls_silent_before_another_opens() {
    cut_off(Flavour::Mysql).await;
}

async fn without_sidecar(flavour: Flavour) {
    let mut lab = leased(Kind::Loopback, flavour).await;
    let cluster = &mut lab.clusters[0];
    let writers = cluster.write(8, 300).unwrap();
    let old = cluster.primary().await.unwrap();
    let locals = cluster.write_on(&old, 2, 50).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    let fault = cluster.node_mut(&old).unwrap().kill9().unwrap();
    let new = drill::taken_over(cluster, &writers, &old, fault).await.unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    let gap = drill::gap(&writers, fault).unwrap();
    eprintln!("{flavour}: sidecar of {old} killed for good, {new} after {gap:?}");
    assert!(gap < LEASE + BEYOND, "{gap:?}");
    let opened = writers.since(fault).iter().filter(|it| it.acknowledged).map(|it| it.end).min().unwrap();
    let late = locals.since(opened).iter().filter(|it| it.acknowledged && it.end > opened + LEASE).count();
    assert_eq!(late, 0, "the server without a sidecar goes on acknowledging");
    let mut log = writers.log();
    log.extend(locals.log());
    only_the_last_moments_may_be_lost(cluster, &log, fault).await;
}

#[tokio::test]
async fn lab_a_leased_primary_whose_sidecar_does_not_come_back_is_replaced() {
    without_sidecar(Flavour::Mariadb).await;
    without_sidecar(Flavour::Mysql).await;
}

async fn restarted_in_turn(flavour: Flavour) {
    let mut lab = leased(Kind::Loopback, flavour).await;
    let cluster = &mut lab.clusters[0];
    let primary = cluster.primary().await.unwrap();
    let locals = cluster.write_on(&primary, 4, 100).unwrap();
    drill::acknowledged(&locals, 100).await.unwrap();
    let began = Instant::now();
    for name in ["db1", "db2", "db3"] {
        let node = cluster.node_mut(name).unwrap();
        node.kill9().unwrap();
        node.start().unwrap();
        drill::acknowledged(&locals, 150).await.unwrap();
    }
    let failed = locals.since(began).iter().filter(|it| !it.acknowledged).count();
    let gap = history::gap(&locals.since(began), began, Instant::now()).unwrap();
    eprintln!("{flavour}: all sidecars restarted in turn, longest wait {gap:?}");
    assert_eq!(failed, 0, "writes failed because sidecars were restarted");
    assert!(gap < Duration::from_millis(700), "{gap:?}");
    drill::all_there(cluster, &[&locals]).await.unwrap();
}

#[tokio::test]
async fn lab_sidecars_of_a_leased_cluster_are_restarted_in_turn_and_no_write_fails() {
    restarted_in_turn(Flavour::Mariadb).await;
    restarted_in_turn(Flavour::Mysql).await;
}
