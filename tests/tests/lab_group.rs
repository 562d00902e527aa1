//! The write group on real servers, in network namespaces with kernel rules: it gets narrower when a replica is lost, and
//! wider when that is back; and who acknowledges without being in it is cut off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::server::{Extra, Server};
use tasuki_tests::lab::tools::Daemon;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::wire;
use tasuki_tests::lab::{Cluster, Lab, Options, drill, history};

/// Patience of the coordinator, and what a removal or a return takes.
const CHANGE: Duration = Duration::from_secs(40);

async fn until_group(cluster: &Cluster, node: &str, wanted: &[&str]) {
    let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
    until(&format!("the write group {wanted:?}"), CHANGE, async || {
        let record = cluster.record(node).await?;
        let group = record.group().cloned();
        let members = group.iter().flat_map(|group| &group.members).map(|name| name.as_str()).collect::<BTreeSet<_>>();
        ensure!(record.opened && members == wanted, "it is {members:?}, opened: {}", record.opened);
        ensure!(group.is_some_and(|group| group.acks == 1), "it asks for another number of acknowledgements");
        Ok(())
    })
    .await
    .unwrap();
}

async fn a_replica_is_lost_and_returns(flavour: Flavour) {
    // With two witnesses the loss of two of three servers leaves a majority.
    let options = Options { witnesses: 2, ..Options::default() };
    let mut lab = Lab::start(Kind::Namespaces, &[flavour], &options).await.unwrap();
    let cluster = &lab.clusters[0];
    let old = cluster.primary().await.unwrap();
    let replicas: Vec<String> =
        cluster.servers.iter().map(|server| server.name().to_owned()).filter(|name| *name != old).collect();
    let [rest, lost] = replicas.as_slice() else { panic!("three servers") };
    let writers = cluster.write(4, 60).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let unplugged = Instant::now();
    lab.net().namespaces().unwrap().unplug(lost).unwrap();
    until_group(cluster, rest, &[&old, rest]).await;
    let gap = drill::longest_gap(&writers, unplugged).unwrap();
    eprintln!("{flavour}: narrowed {:.1} s after the loss, longest wait {gap:?}", unplugged.elapsed().as_secs_f64());
    assert!(gap < Duration::from_secs(1), "writing stood still for {gap:?}");
    let refused = cluster.observation(&old).await.unwrap().server.unwrap().refused;
    assert!(refused.iter().any(|name| name.as_str() == lost), "{refused:?}");
    // The primary's whole host is lost: the remaining replica alone proves what was acknowledged.
    let fault = Instant::now();
    lab.net().namespaces().unwrap().unplug(&old).unwrap();
    until("acknowledged writes on the remaining replica", Duration::from_secs(20), async || {
        let after = writers.since(fault).iter().filter(|it| it.acknowledged && it.start > fault).count();
        ensure!(after >= 100, "{after} of 100");
        Ok(())
    })
    .await
    .unwrap();
    let gap = history::gap(&writers.since(unplugged), fault, Instant::now()).unwrap();
    eprintln!("{flavour}: gap of the failover {gap:?}");
    assert_eq!(cluster.primary().await.unwrap(), *rest);
    let found = history::check(&cluster.server(rest).unwrap().sql(), &writers.log(), 0).await.unwrap();
    assert!(found.lost.is_empty() && found.doubled.is_empty(), "lost {:?}, doubled {:?}", found.lost, found.doubled);
    // The replica that was lost first is back: it follows the new primary and acknowledges again.
    let plugged = Instant::now();
    lab.net().namespaces().unwrap().plug(lost).unwrap();
    until_group(cluster, rest, &[rest, lost]).await;
    eprintln!("{flavour}: in the group again {:.1} s after its return", plugged.elapsed().as_secs_f64());
    let refused = cluster.observation(rest).await.unwrap().server.unwrap().refused;
    assert!(!refused.iter().any(|name| name.as_str() == lost), "{refused:?}");
    let found = history::check(&cluster.server(rest).unwrap().sql(), &writers.log(), 0).await.unwrap();
    assert!(found.lost.is_empty() && found.doubled.is_empty(), "lost {:?}, doubled {:?}", found.lost, found.doubled);
    lab.clusters.clear();
}

#[tokio::test]
async fn lab_a_lost_mariadb_replica_leaves_the_group_and_joins_it_again() {
    a_replica_is_lost_and_returns(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_lost_mysql_replica_leaves_the_group_and_joins_it_again() {
    a_replica_is_lost_and_returns(Flavour::Mysql).await;
}

/// It returns to the very primary that keeps it away, still acknowledging, as after a cut of the network.
async fn a_replica_returns_to_its_primary(flavour: Flavour) {
    let lab = Lab::start(Kind::Namespaces, &[flavour], &Options::default()).await.unwrap();
    let cluster = &lab.clusters[0];
    let primary = cluster.primary().await.unwrap();
    let replicas: Vec<String> =
        cluster.servers.iter().map(|server| server.name().to_owned()).filter(|name| *name != primary).collect();
    let [rest, lost] = replicas.as_slice() else { panic!("three servers") };
    let writers = cluster.write(4, 60).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    lab.net().namespaces().unwrap().unplug(lost).unwrap();
    until_group(cluster, rest, &[&primary, rest]).await;
    lab.net().namespaces().unwrap().plug(lost).unwrap();
    let plugged = Instant::now();
    until_group(cluster, rest, &[&primary, rest, lost]).await;
    eprintln!("{flavour}: in the group again {:.1} s after its return", plugged.elapsed().as_secs_f64());
    let gap = drill::longest_gap(&writers, plugged).unwrap();
    assert!(gap < Duration::from_secs(1), "writing stood still for {gap:?}");
    let observation = cluster.observation(&primary).await.unwrap();
    assert!(observation.server.unwrap().refused.is_empty());
}

#[tokio::test]
async fn lab_a_replica_is_let_in_again_by_the_primary_that_kept_it_away() {
    a_replica_returns_to_its_primary(Flavour::Mariadb).await;
    a_replica_returns_to_its_primary(Flavour::Mysql).await;
}

/// A server that no cluster file knows follows the primary with semi-sync on.
async fn a_stranger_is_cut_off(flavour: Flavour) {
    let lab = Lab::start(Kind::Namespaces, &[flavour], &Options::default()).await.unwrap();
    let cluster = &lab.clusters[0];
    let primary = cluster.server(&cluster.primary().await.unwrap()).unwrap();
    let writers = cluster.write(4, 60).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let mut stranger =
        Server::create(lab.run(), lab.net(), "co2", 99, &Daemon::find(flavour).unwrap(), &Extra::default()).unwrap();
    stranger.start().unwrap();
    stranger.ready().await.unwrap();
    let begun = Instant::now();
    stranger.sql().run(&wire::follow(flavour, primary)).await.unwrap();
    until("the stranger to be told", Duration::from_secs(15), async || {
        let server = cluster.observation(primary.name()).await?.server;
        let told = server.map(|server| server.strangers).unwrap_or_default();
        ensure!(told.iter().any(|sentence| sentence.contains("kept away")), "told {told:?}");
        Ok(())
    })
    .await
    .unwrap();
    until("the members alone to acknowledge", Duration::from_secs(10), async || {
        let found = wire::semi_sync_replicas(primary).await?;
        ensure!(found == 2, "{found} acknowledge");
        Ok(())
    })
    .await
    .unwrap();
    eprintln!("{flavour}: cut off {:.1} s after it was told to follow", begun.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(wire::semi_sync_replicas(primary).await.unwrap(), 2, "it does not come back");
    let gap = drill::longest_gap(&writers, begun).unwrap();
    assert!(gap < Duration::from_secs(1), "writing stood still for {gap:?}");
}

#[tokio::test]
async fn lab_a_stranger_that_acknowledges_is_cut_off() {
    a_stranger_is_cut_off(Flavour::Mariadb).await;
    a_stranger_is_cut_off(Flavour::Mysql).await;
}
