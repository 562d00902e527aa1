//! Asynchronous clusters (k = 0) without a lease: a primary that nobody hears is fenced from outside, through ssh or by a
//! hook, or an operator answers for it; and nothing is lost without anybody's consent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

#[path = "feed/http.rs"]
mod http;

use std::time::{Duration, Instant};

use serde_json::json;
use tasuki_config::{Role, add_token};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::grounds::{Acceptance, FenceHow, Grounds};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::writer::Attempt;
use tasuki_tests::lab::{Lab, Options, Outside, drill};

/// How long a cluster is watched to stay as it is.
const WATCHED: Duration = Duration::from_secs(4);

fn manual(outside: Outside) -> Options {
    Options { asynchronous: true, outside, ..Options::default() }
}

/// The hold that was told since, if its text has these words.
fn held(events: &Listener, since: Instant, words: &str) -> Option<String> {
    events.since(since).iter().find_map(|heard| {
        let EventBody::Hold { reasons } = &heard.event.body else { return None };
        reasons.iter().find(|reason| reason.contains(words)).cloned()
    })
}

fn told_of_fences(events: &Listener, since: Instant) -> Vec<String> {
    let sentence = |body: &EventBody| {
        let EventBody::Fence { sentence, .. } = body else { return None };
        Some(sentence.clone())
    };
    events.since(since).iter().filter_map(|heard| sentence(&heard.event.body)).collect()
}

/// What the record of the failover rests on, and that it was told before the new primary opened.
async fn grounds_of(lab: &Lab, events: &Listener, new: &str, since: Instant) -> Grounds {
    let lost = |body: &EventBody| {
        let EventBody::Stage { reasons, .. } = body else { return false };
        reasons.iter().any(|reason| reason.contains("may be lost"))
    };
    assert!(events.since(since).iter().any(|heard| lost(&heard.event.body)), "the loss was not told");
    let record = lab.clusters[0].record(new).await.unwrap();
    record.recent.last().unwrap().grounds.first().unwrap().clone()
}

/// Of two primaries the older one is silent before the newer one acknowledges anything.
fn never_two(late: &[Attempt], opened: Instant) {
    let late = late.iter().filter(|it| it.acknowledged && it.start > opened).count();
    assert_eq!(late, 0, "the old primary acknowledged after the new one had opened");
}

async fn cut_off_from_all_but_ssh(flavour: Flavour) {
    let outside = Outside { ssh: true, max_loss: Some("none"), ..Outside::default() };
    let mut lab = Lab::start(Kind::Namespaces, &[flavour], &manual(outside)).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let writers = lab.clusters[0].write(8, 300).unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    let locals = lab.clusters[0].write_on(&old, 2, 50).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    // The sidecar is dead, the server runs on and serves its own host.
    lab.clusters[0].node_mut(&old).unwrap().kill9().unwrap();
    let fault = Instant::now();
    lab.net().namespaces().unwrap().cut_all_but(&old, 22).unwrap();
    let cut = Instant::now();
    let new = drill::taken_over(&lab.clusters[0], &writers, &old, fault).await.unwrap();
    let fresh = |it: &&Attempt| it.acknowledged && it.start > cut;
    let opened = writers.since(cut).iter().filter(fresh).map(|it| it.end).min().unwrap();
    assert!(
        locals.since(fault).iter().any(|it| it.acknowledged),
        "the old primary served its own host until the fence"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    never_two(&locals.since(fault), opened);
    assert!(!lab.clusters[0].server_mut(&old).unwrap().is_running(), "{old} runs");
    let fences = told_of_fences(&events, fault);
    eprintln!("{flavour}: {old} to {new} {:?} after it was cut off; {fences:?}", opened - cut);
    for words in ["was fenced by ssh", "was read through ssh to its end"] {
        assert!(fences.iter().any(|it| it.contains(words)), "{words}: {fences:?}");
    }
    // What its own host wrote since was received by nobody, and nobody accepts a loss.
    let alone = locals.since(cut).iter().filter(|it| it.acknowledged).count();
    assert!(alone > 0, "nothing was in its binlog alone");
    drill::all_there(&lab.clusters[0], &[&writers, &locals]).await.unwrap();
    let record = lab.clusters[0].record(&new).await.unwrap();
    assert!(record.recent.last().unwrap().grounds.is_empty(), "{record:?}");
    let kept = lab.coordinators.iter().map(|it| it.state().join("rescue").join(&lab.clusters[0].name));
    assert!(
        kept.clone().all(|folder| !folder.join(&old).exists()),
        "copies are left in {:?}",
        kept.collect::<Vec<_>>()
    );
    // Whoever starts it again within the minute is in vain: the attempt may still rest on its silence.
    let server = lab.clusters[0].server_mut(&old).unwrap();
    server.start().unwrap();
    until("the server to be ended again", Duration::from_secs(5), async || {
        anyhow::ensure!(!server.is_running(), "it runs");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn lab_a_mariadb_that_only_ssh_reaches_is_killed_and_writing_goes_on_elsewhere() {
    cut_off_from_all_but_ssh(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_that_only_ssh_reaches_is_killed_and_writing_goes_on_elsewhere() {
    cut_off_from_all_but_ssh(Flavour::Mysql).await;
}

async fn hung_without_sidecar(flavour: Flavour) {
    let outside = Outside { hook: true, max_loss: Some("unreceived_tail"), ..Outside::default() };
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &manual(outside)).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let writers = lab.clusters[0].write(8, 300).unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    lab.clusters[0].node_mut(&old).unwrap().kill9().unwrap();
    let fault = Instant::now();
    lab.clusters[0].server(&old).unwrap().freeze().unwrap();
    let new = drill::taken_over(&lab.clusters[0], &writers, &old, fault).await.unwrap();
    assert!(!lab.clusters[0].server_mut(&old).unwrap().is_running(), "{old} runs");
    let fences = told_of_fences(&events, fault);
    eprintln!(
        "{flavour}: {old} to {new}, {:?} after it hung without its sidecar; {fences:?}",
        drill::gap(&writers, fault)
    );
    let grounds = grounds_of(&lab, &events, &new, fault).await;
    assert_eq!((grounds.fenced.as_str(), grounds.how), (old.as_str(), FenceHow::ShutDown));
}

#[tokio::test]
async fn lab_a_server_that_hangs_without_its_sidecar_is_shut_down_by_the_hook_which_is_read_back() {
    hung_without_sidecar(Flavour::Mariadb).await;
    hung_without_sidecar(Flavour::Mysql).await;
}

async fn nobody_accepts_a_loss(flavour: Flavour) {
    let outside = Outside { hook: true, max_loss: Some("none"), ..Outside::default() };
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &manual(outside)).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let name = lab.clusters[0].name.clone();
    let writers = lab.clusters[0].write(8, 300).unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    lab.clusters[0].node_mut(&old).unwrap().kill9().unwrap();
    let fault = Instant::now();
    lab.clusters[0].server(&old).unwrap().freeze().unwrap();
    tokio::time::sleep(WATCHED).await;
    assert!(lab.clusters[0].primary().await.is_err(), "a server was promoted although something may be lost");
    assert!(lab.clusters[0].server_mut(&old).unwrap().is_running(), "it was fenced for nothing");
    let hold = held(&events, fault, "their loss is not accepted (`max_loss`)").expect("nobody was told why");
    assert!(hold.contains("--accept-loss --by WHO --reason WHY`"), "{hold}");
    let incident = hold.split("--incident ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();

    let who = ["--by", "ann", "--reason", "the last minute may go"];
    let wrong = ["override", &name, "--incident", "00000000000000aa", "--accept-loss"];
    let refused = lab.coordinators[0].run(&[&wrong[..], &who[..]].concat()).await.unwrap_err().to_string();
    assert!(refused.contains("is not open; the open one is"), "{refused}");
    let right = ["override", &name, "--incident", &incident, "--accept-loss"];
    // Whoever is asked, the coordinator that leads answers; a dry run changes nothing.
    for coordinator in &lab.coordinators {
        let said = coordinator.run(&[&right[..], &who[..], &["--dry-run"]].concat()).await.unwrap();
        assert!(said.contains("this would count, and nothing was changed: ann answers for incident"), "{said}");
    }
    add_token(&lab.files().tokens(), &grant("ann", Role::Operator).unwrap(), "anns").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut word =
        json!({ "incident": incident, "accept_loss": true, "reason": "the last minute may go", "dry_run": true });
    let act = format!("{name}/override");
    for coordinator in ["co1", "co2"] {
        let (code, said) = http::wish(&lab, coordinator, &act, "anns", &word, "try");
        assert!(code == 200 && said["lines"][0].as_str().unwrap().starts_with("this would count"), "{code}: {said}");
    }
    assert!(lab.clusters[0].primary().await.is_err(), "a dry run was no dry run");
    let begun = Instant::now();
    word["dry_run"] = json!(false);
    let (code, said) = http::wish(&lab, "co2", &act, "anns", &word, "word");
    assert_eq!(code, 200, "{said}");
    let new = drill::taken_over(&lab.clusters[0], &writers, &old, fault).await.unwrap();
    eprintln!("{flavour}: {old} to {new}, {:?} after ann accepted the loss", begun.elapsed());
    let grounds = grounds_of(&lab, &events, &new, begun).await;
    assert_eq!((grounds.how, grounds.missing.accepted_by), (FenceHow::ShutDown, Acceptance::Operator));
    assert_eq!(grounds.word.map(|word| word.by).as_deref(), Some("ann"));
}

#[tokio::test]
async fn lab_without_consent_nothing_is_lost_and_an_operator_may_give_it() {
    nobody_accepts_a_loss(Flavour::Mariadb).await;
    nobody_accepts_a_loss(Flavour::Mysql).await;
}
