//! Ledgers that are lost or rolled back, on real servers: their nodes get their votes back from the others, or on an
//! operator's word; and what was acknowledged meanwhile survives the primary.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Cluster, Lab, Options, drill};

/// A node that was started again is heard, gets the record and its vote, and the change is closed.
const SEATED: Duration = Duration::from_secs(10);

async fn ledger_of(cluster: &Cluster, node: &str) -> anyhow::Result<(Incarnation, u64)> {
    let ledger = cluster.observation(node).await?.ledger;
    Ok((ledger.incarnation, ledger.sequence))
}

/// Waits until the record names another ledger for a node, and no older council beside it.
async fn until_it_votes(cluster: &Cluster, primary: &str, node: &str, old: Incarnation) {
    until(&format!("{node} to vote with a new ledger"), SEATED, async || {
        let (now, _) = ledger_of(cluster, node).await?;
        let record = cluster.record(primary).await?;
        let named = record.voters.get(&node.parse::<NodeId>()?).copied();
        ensure!(now != old && named == Some(now) && record.voters_before.is_none(), "it is {now:?}, {record:?}");
        Ok(())
    })
    .await
    .unwrap();
}

fn told(events: &Listener, since: Instant, node: &str, words: &str) -> bool {
    let of_voter = |body: &EventBody| {
        let EventBody::Voters { node: of, sentence } = body else { return false };
        of.as_str() == node && sentence.contains(words)
    };
    events.since(since).iter().any(|heard| of_voter(&heard.event.body))
}

/// The primary, then the others.
async fn names(cluster: &Cluster) -> [String; 3] {
    let primary = cluster.primary().await.unwrap();
    let others = cluster.servers.iter().map(|server| server.name().to_owned()).filter(|name| *name != primary);
    let mut all = vec![primary.clone()];
    all.extend(others);
    all.try_into().unwrap()
}

async fn lost_and_rolled_back(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let [primary, one, other] = names(cluster).await;
    let began = Instant::now();

    // A copy of a ledger, as a snapshot of its disk would be.
    let copied = cluster.node_mut(&other).unwrap().state().join("ledger");
    let kept = copied.with_extension("kept");
    fs::copy(&copied, &kept).unwrap();

    let (before, _) = ledger_of(cluster, &one).await.unwrap();
    let node = cluster.node_mut(&one).unwrap();
    node.kill9().unwrap();
    fs::remove_file(node.state().join("ledger")).unwrap();
    node.start().unwrap();
    until_it_votes(cluster, &primary, &one, before).await;
    assert!(told(&events, began, &one, "its state directory held no ledger"), "nobody was told that it lost its vote");

    // The change of the voters made the other ledger go on; now it goes back to where it was.
    let (before, _) = ledger_of(cluster, &other).await.unwrap();
    let node = cluster.node_mut(&other).unwrap();
    node.kill9().unwrap();
    fs::copy(&kept, &copied).unwrap();
    node.start().unwrap();
    until_it_votes(cluster, &primary, &other, before).await;
    assert!(told(&events, began, &other, "it was restored from a copy"), "nobody was told that it lost its vote");

    let gap = drill::longest_gap(&writers, began).unwrap();
    assert!(gap < Duration::from_secs(1), "writing stood still for {gap:?}");
    let took = began.elapsed();
    let fault = cluster.server_mut(&primary).unwrap().kill9().unwrap();
    let new = drill::taken_over(cluster, &writers, &primary, fault).await.unwrap();
    eprintln!("{flavour}: both have their votes back after {took:?}, longest wait {gap:?}; {primary} to {new}");
    drill::brought_back(cluster, &primary).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_ledgers_that_are_lost_or_rolled_back_get_their_votes_back() {
    lost_and_rolled_back(Flavour::Mariadb).await;
    lost_and_rolled_back(Flavour::Mysql).await;
}

async fn majority_lost(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let began = Instant::now();
    let cluster = &mut lab.clusters[0];
    let [primary, one, other] = names(cluster).await;
    let mut before = Vec::new();
    for name in [&one, &other] {
        before.push(ledger_of(cluster, name).await.unwrap().0);
        cluster.node_mut(name).unwrap().kill9().unwrap();
    }
    for name in [&one, &other] {
        let node = cluster.node_mut(name).unwrap();
        fs::remove_file(node.state().join("ledger")).unwrap();
        node.start().unwrap();
    }
    until("the operator to be told what to do", SEATED, async || {
        ensure!(told(&events, began, &other, "`tasuki-coordinator admit` does so on your word"), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    // One of them is enough: it and the primary give the other one its vote back.
    let asked = ["admit", cluster.name.as_str(), other.as_str()];
    let mut said = Vec::new();
    for coordinator in &lab.coordinators {
        said.push(coordinator.run(&asked).await);
    }
    assert!(said.iter().any(Result::is_ok), "{said:?}");
    let cluster = &mut lab.clusters[0];
    until_it_votes(cluster, &primary, &other, before[1]).await;
    until_it_votes(cluster, &primary, &one, before[0]).await;
    let fault = cluster.server_mut(&primary).unwrap().kill9().unwrap();
    let new = drill::taken_over(cluster, &writers, &primary, fault).await.unwrap();
    eprintln!("{flavour}: {primary} to {new} after an operator had admitted {other}");
    drill::all_there(cluster, &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_where_a_majority_of_ledgers_is_lost_an_operator_admits_one() {
    majority_lost(Flavour::Mariadb).await;
    majority_lost(Flavour::Mysql).await;
}
