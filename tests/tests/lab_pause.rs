//! While failovers are paused a killed primary is not replaced, and everybody is told why; after the resume it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

#[path = "feed/http.rs"]
mod http;

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tasuki_config::{Role, add_token};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options, drill};

/// How long a dead primary is watched to stay dead.
const WATCHED: Duration = Duration::from_secs(4);

fn told(events: &Listener, since: Instant, words: &str) -> bool {
    events.since(since).iter().any(|heard| match &heard.event.body {
        EventBody::Hold { reasons } => reasons.iter().any(|reason| reason.contains(words)),
        EventBody::Pause { sentence, .. } | EventBody::Forecast { sentence, .. } => sentence.contains(words),
        EventBody::Diagnosis { .. }
        | EventBody::Stage { .. }
        | EventBody::WouldHave { .. }
        | EventBody::Repair { .. }
        | EventBody::Fence { .. }
        | EventBody::Override { .. }
        | EventBody::Voters { .. }
        | EventBody::Note { .. }
        | EventBody::Act { .. }
        | EventBody::Switchover { .. }
        | EventBody::Decided { .. }
        | EventBody::Leader { .. }
        | EventBody::Health { .. }
        | EventBody::Position { .. } => false,
    })
}

async fn killed_while_paused(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let name = lab.clusters[0].name.clone();
    add_token(&lab.files().tokens(), &grant("ann", Role::Operator).unwrap(), "anns").unwrap();
    let begun = Instant::now();
    let pause = ["pause", &name, "--for", "10m", "--reason", "new disks", "--owner", "ann"];
    let said = lab.coordinators[0].run(&pause).await.unwrap();
    assert!(said.contains("failovers are paused by ann: new disks"), "{said}");
    for node in &lab.clusters[0].nodes {
        until("the pause in every ledger", Duration::from_secs(5), async || {
            let record = lab.clusters[0].record(node.name()).await?;
            ensure!(record.pause.as_ref().is_some_and(|pause| pause.owner == "ann"), "{record:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    until("a forecast that names the pause", Duration::from_secs(5), async || {
        ensure!(told(&events, begun, ": failovers are paused by ann: new disks – "), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    let act = format!("{name}/failover");
    let word = json!({ "reason": "the disks are in", "dry_run": true });
    let (code, said) = http::wish(&lab, "co1", &act, "anns", &word, "early");
    assert!(code == 409 && said.to_string().contains("no failover is called for"), "{code}: {said}");
    let old = lab.clusters[0].primary().await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    tokio::time::sleep(WATCHED).await;
    assert!(lab.clusters[0].primary().await.is_err(), "a server was promoted in spite of the pause");
    assert!(told(&events, fault, "failovers are paused by ann: new disks; "), "nobody was told why");

    for coordinator in ["co1", "co2"] {
        let (code, said) = http::wish(&lab, coordinator, &act, "anns", &word, "try");
        assert!(code == 200 && said["lines"][0] == "the failover would begin; nothing was changed", "{code}: {said}");
    }
    let resumed = Instant::now();
    // Whichever coordinator is asked takes the lead for it.
    let word = match flavour {
        Flavour::Mariadb => "resume",
        Flavour::Mysql => "failover",
    };
    let said = lab.coordinators[1].run(&[word, &name]).await.unwrap();
    assert!(said.contains("failovers go on"), "{said}");
    let cluster = &mut lab.clusters[0];
    let new = drill::taken_over(cluster, &writers, &old, resumed).await.unwrap();
    eprintln!("{flavour}: {old} to {new}, {:?} after the resume", resumed.elapsed());
    drill::brought_back(cluster, &old).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
    let record = cluster.record(&new).await.unwrap();
    assert_eq!(record.pause, None);
}

#[tokio::test]
async fn lab_a_mariadb_primary_killed_while_paused_is_replaced_after_the_resume() {
    killed_while_paused(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_primary_killed_while_paused_is_replaced_after_the_resume() {
    killed_while_paused(Flavour::Mysql).await;
}
