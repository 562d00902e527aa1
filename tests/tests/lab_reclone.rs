//! Servers that are brought home on a copy of another's data, by the policy and by an operator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::reclone::RecloneStage;
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options, drill};

const WHOLE: Duration = Duration::from_secs(60);

/// The sentence about a server that has these words.
async fn told(listener: &Listener, since: Instant, name: &str, words: &str) -> String {
    until(words, WHOLE, async || {
        let mut heard = listener.since(since).into_iter().rev();
        let told = heard.find_map(|heard| {
            let EventBody::Repair { node, sentence } = heard.event.body else { return None };
            (node.as_str() == name && sentence.contains(words)).then_some(sentence)
        });
        told.context("not told yet")
    })
    .await
    .unwrap()
}

/// Asks the coordinator that leads.
async fn reclone(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let name = lab.clusters[0].name.clone();
    let mut all = vec!["reclone", &name, "--by", "ann", "--reason", "rows are missing"];
    all.extend(arguments);
    let began = Instant::now();
    loop {
        for coordinator in &lab.coordinators {
            match coordinator.run(&all).await {
                Err(error) if began.elapsed() < WHOLE && is_elsewhere(&format!("{error:#}")) => {}
                other => return other,
            }
        }
    }
}

fn is_elsewhere(said: &str) -> bool {
    said.contains("ask there") || said.contains("nobody leads now")
}

async fn refusal(lab: &Lab, arguments: &[&str]) -> String {
    format!("{:#}", reclone(lab, arguments).await.unwrap_err())
}

async fn stage(lab: &Lab, name: &str) -> Result<RecloneStage> {
    let server = lab.clusters[0].observation(name).await?.server.context("no server")?;
    Ok(server.reclone.context("no re-clone")?.stage)
}

/// All servers hold the same rows.
async fn same_rows(lab: &Lab) {
    let cluster = &lab.clusters[0];
    until("the same rows everywhere", WHOLE, async || {
        let mut sums = Vec::new();
        for server in &cluster.servers {
            let rows = server.sql().rows("CHECKSUM TABLE lab.writes").await?;
            sums.push(rows[0].get::<String, _>(1).context("no sum")?);
        }
        ensure!(sums.windows(2).all(|two| two[0] == two[1]), "{sums:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Where a sentence says that the data from before is.
fn aside(sentence: &str) -> PathBuf {
    let (_, rest) = sentence.split_once("from before is in ").unwrap();
    PathBuf::from(rest.split(' ').next().unwrap())
}

/// Writes on a server that its node does not see.
async fn write_aside(lab: &Lab, name: &str) {
    let server = lab.clusters[0].server(name).unwrap();
    let (open, close) = match server.flavour() {
        Flavour::Mariadb => ("DO 1", "DO 1"),
        Flavour::Mysql => ("SET GLOBAL super_read_only = 0", "SET GLOBAL super_read_only = 1"),
    };
    for statement in [open, "CREATE TABLE lab.aside (id INT PRIMARY KEY)", "INSERT INTO lab.aside VALUES (1)", close] {
        server.sql().run(statement).await.unwrap();
    }
}

/// The old primary returns with transactions that nobody else has: archived, re-cloned, following, and the group is whole.
async fn comes_home(flavour: Flavour) {
    let options = Options { recloning: true, ..Options::default() };
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
    let listener = lab.listen(&lab.clusters[0]).unwrap();
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    drill::taken_over(&lab.clusters[0], &writers, &old, fault).await.unwrap();
    lab.clusters[0].node_mut(&old).unwrap().kill9().unwrap();
    let server = lab.clusters[0].server_mut(&old).unwrap();
    server.start().unwrap();
    server.ready().await.unwrap();
    write_aside(&lab, &old).await;
    drill::acknowledged(&writers, 200).await.unwrap();
    let returned = Instant::now();
    lab.clusters[0].node_mut(&old).unwrap().start().unwrap();
    let archived = told(&listener, returned, &old, "archived on its host in").await;
    assert!(archived.contains("the policy has it re-cloned"), "{archived}");
    let done = told(&listener, returned, &old, "runs on a copy of").await;
    let took = returned.elapsed();
    let primary = lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    eprintln!("{flavour}: on the copy after {took:.1?}, in the write group after {:.1?}", returned.elapsed());
    assert_ne!(primary, old);
    drill::acknowledged(&writers, 50).await.unwrap();
    assert!(aside(&done).join("lab").is_dir(), "{done}");
    for server in &lab.clusters[0].servers {
        let count =
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'aside' AND table_schema = 'lab'";
        assert_eq!(server.sql().value(count).await.unwrap(), "0", "{}", server.name());
    }
    let all = drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
    drop(writers);
    same_rows(&lab).await;
    assert!(all > 400);
}

/// What can be known to fail is refused. A copy that is cut leaves the server as it was, and the next try brings it home.
async fn asked_for(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let listener = lab.listen(&lab.clusters[0]).unwrap();
    let primary = lab.clusters[0].primary().await.unwrap();
    let names: Vec<&str> = ["db1", "db2", "db3"].into_iter().filter(|name| **name != *primary).collect();
    let (name, donor) = (names[0], names[1]);
    assert!(refusal(&lab, &[&primary]).await.contains("never re-cloned"));
    assert!(refusal(&lab, &["db9"]).await.contains("no server of this cluster"));
    let dry = reclone(&lab, &[name, "--dry-run"]).await.unwrap();
    assert!(dry.contains(&format!("of {donor} are copied")) && dry.contains("nothing was changed"), "{dry}");

    let writers = lab.clusters[0].write(2, 100).unwrap();
    drill::acknowledged(&writers, 50).await.unwrap();
    let data = lab.clusters[0].server(name).unwrap().folder().join("data");
    let workshop = data.with_file_name("data.reclone");
    let pid = lab.clusters[0].server(name).unwrap().pid_told();
    // Its node dies in the middle.
    reclone(&lab, &[name]).await.unwrap();
    let cut = lab.clusters[0].node_mut(name).unwrap().kill9().unwrap();
    lab.clusters[0].node_mut(name).unwrap().start().unwrap();
    told(&listener, cut, name, "was not re-cloned: its node was restarted").await;
    assert!(!workshop.exists());
    assert_eq!(lab.clusters[0].server(name).unwrap().pid_told(), pid, "the server was not touched");
    lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    if flavour == Flavour::Mariadb {
        // The donor's node gives the stream.
        reclone(&lab, &[name]).await.unwrap();
        let cut = lab.clusters[0].node_mut(donor).unwrap().kill9().unwrap();
        lab.clusters[0].node_mut(donor).unwrap().start().unwrap();
        told(&listener, cut, name, "was not re-cloned").await;
        assert!(matches!(stage(&lab, name).await.unwrap(), RecloneStage::Failed { .. }));
        assert!(!workshop.exists());
        lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    }
    // Its node dies while the directories change places: the server runs on the one or on the other.
    let asked = Instant::now();
    reclone(&lab, &[name]).await.unwrap();
    let step = match flavour {
        Flavour::Mariadb => "is being started on the copy",
        Flavour::Mysql => "is being stopped",
    };
    told(&listener, asked, name, step).await;
    let cut = lab.clusters[0].node_mut(name).unwrap().kill9().unwrap();
    lab.clusters[0].node_mut(name).unwrap().start().unwrap();
    let end = until("the end of the exchange", WHOLE, async || {
        let end = stage(&lab, name).await?;
        ensure!(!end.is_under_way(), "{end:?}");
        Ok(end)
    })
    .await
    .unwrap();
    assert!(!workshop.exists(), "{end:?}");
    lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    eprintln!("{flavour}: whole {:.1?} after its node died in the exchange, which ended as {end:?}", cut.elapsed());
    let pid = lab.clusters[0].server(name).unwrap().pid_told();
    let kept = usize::from(matches!(end, RecloneStage::Done { .. }));

    let asked = Instant::now();
    reclone(&lab, &[name]).await.unwrap();
    let done = told(&listener, asked, name, "runs on a copy of").await;
    let took = asked.elapsed();
    lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    eprintln!("{flavour}: on the copy after {took:.1?}, in the write group after {:.1?}", asked.elapsed());
    assert_ne!(lab.clusters[0].server(name).unwrap().pid_told(), pid);
    assert!(aside(&done).join("lab").is_dir() && !workshop.exists(), "{done}");
    assert_eq!(fs::read_dir(data.parent().unwrap()).unwrap().flatten().filter(is_before).count(), 1 + kept);
    drill::acknowledged(&writers, 50).await.unwrap();
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
    drop(writers);
    same_rows(&lab).await;
}

fn is_before(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("data.before-reclone-")
}

#[tokio::test]
async fn lab_an_old_mariadb_primary_that_is_ahead_comes_home() {
    comes_home(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_an_old_mysql_primary_that_is_ahead_comes_home() {
    comes_home(Flavour::Mysql).await;
}

#[tokio::test]
async fn lab_a_mariadb_replica_is_re_cloned_by_an_operator_at_the_second_try() {
    asked_for(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_replica_is_re_cloned_by_an_operator_at_the_second_try() {
    asked_for(Flavour::Mysql).await;
}
