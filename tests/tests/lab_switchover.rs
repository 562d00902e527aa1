//! A primary hands over under load: nothing is lost, nothing is doubled, the old primary follows. What cannot be drained is
//! refused or undone, and the primary goes on as before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::Result;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::sql::Sql;
use tasuki_tests::lab::{Lab, Options, drill};

/// Switchovers of one test, alternately to a named server and to the best.
const TIMES: usize = 20;
const WHOLE: Duration = Duration::from_secs(30);
/// A client that retries once does so after this.
const PAUSE: Duration = Duration::from_millis(500);
/// A switchover that is undone may make writes wait for the second of the drain, and for opening again.
const UNDONE: Duration = Duration::from_millis(2500);

fn ms(gap: Duration) -> f64 {
    gap.as_secs_f64() * 1e3
}

/// A switchover at a stated time can be given up; another begins although the coordinator that took it is gone by then.
async fn handed_over_as_planned(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let name = lab.clusters[0].name.clone();
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let past = drill::switchover(&lab, &["--at", "2026-01-01T00:00:00Z"]).await.unwrap_err().to_string();
    assert!(past.contains("has passed on this host's clock"), "{past}");
    let said = drill::switchover(&lab, &["--at", &drill::ahead(3600).unwrap()]).await.unwrap();
    assert!(said.contains("a switchover to whoever is best then at ") && said.contains(", is planned"), "{said}");
    let cancel = ["cancel-switchover", name.as_str()];
    let said = lab.coordinators[1].run(&cancel).await.unwrap();
    assert!(said.contains("the planned switchover is given up: an operator said so"), "{said}");
    let none = lab.coordinators[0].run(&cancel).await.unwrap_err().to_string();
    assert!(none.contains("no switchover is planned"), "{none}");

    let old = lab.clusters[0].primary().await.unwrap();
    let to = if old == "db2" { "db3" } else { "db2" };
    let asked = Instant::now();
    // Whoever takes it leads.
    let plan = [
        "switchover",
        name.as_str(),
        "--to",
        to,
        "--at",
        &drill::ahead(6).unwrap(),
        "--by",
        "ann",
        "--reason",
        "new kernel",
    ];
    lab.coordinators[0].run(&plan).await.unwrap();
    lab.coordinators[0].kill9().unwrap();
    let cluster = &lab.clusters[0];
    assert_eq!(cluster.primary().await.unwrap(), old, "it began too early");
    let new = drill::taken_over(cluster, &writers, &old, asked).await.unwrap();
    assert_eq!(new, to);
    eprintln!("{flavour}: {old} to {new}, {:?} after it was planned", asked.elapsed());
    drill::acknowledged(&writers, 100).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
    assert_eq!(cluster.record(&new).await.unwrap().planned, None);
}

#[tokio::test]
async fn lab_a_mariadb_primary_hands_over_at_the_stated_time() {
    handed_over_as_planned(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_primary_hands_over_at_the_stated_time() {
    handed_over_as_planned(Flavour::Mysql).await;
}

async fn handed_over(flavour: Flavour) {
    let lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let cluster = &lab.clusters[0];
    let writers = cluster.write(4, 200).unwrap();
    let patient = cluster.write_again(2, 100, PAUSE).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    let dry = drill::switchover(&lab, &["--dry-run"]).await.unwrap();
    assert!(dry.contains("would take over from"), "{dry}");
    let (mut gaps, mut unanswered) = (Vec::new(), 0);
    for round in 0..TIMES {
        let old = cluster.wait_whole(WHOLE).await.unwrap();
        drill::acknowledged(&writers, 50).await.unwrap();
        let others: Vec<&str> = ["db1", "db2", "db3"].into_iter().filter(|name| **name != *old).collect();
        let to = others[round % 2];
        let arguments: &[&str] = if round % 4 < 3 { &["--to", to] } else { &[] };
        let asked = Instant::now();
        let said = drill::switchover(&lab, arguments).await.unwrap();
        assert!(said.contains("took over from"), "{said}");
        let new = drill::taken_over(cluster, &writers, &old, asked).await.unwrap();
        assert!(arguments.is_empty() || new == to, "{new} instead of {to}");
        let follower = cluster.server(&old).unwrap().sql();
        assert_eq!(follower.value("SELECT @@read_only = 1").await.unwrap(), "1");
        drill::acknowledged(&writers, 50).await.unwrap();
        // The second attempt of a client must not meet the next switchover.
        tokio::time::sleep(PAUSE).await;
        gaps.push(drill::gap(&writers, asked).unwrap());
        unanswered += writers.since(asked).iter().filter(|attempt| !attempt.acknowledged).count();
    }
    gaps.sort();
    let failed = patient.log().iter().filter(|write| !write.acknowledged).count();
    assert_eq!(failed, 0, "writes failed although they were sent twice");
    eprintln!(
        "{flavour}: {TIMES} switchovers, {:.0} / {:.0} / {:.0} ms without an acknowledged write (least, median, most); {} acknowledged, {unanswered} attempts of 4 writers ended without an OK; of {} by clients that retry once, none",
        ms(gaps[0]),
        ms(gaps[TIMES / 2]),
        ms(gaps[TIMES - 1]),
        writers.acknowledged(),
        patient.acknowledged(),
    );
    assert!(gaps[TIMES - 1] < drill::crash_limit(flavour), "{gaps:?}");
    cluster.wait_whole(WHOLE).await.unwrap();
    drill::all_there(cluster, &[&writers, &patient]).await.unwrap();
}

/// Holds something in the server for a while.
fn hold(server: Sql, statements: &'static str) -> tokio::task::JoinHandle<Result<()>> {
    tokio::spawn(async move { server.run(statements).await })
}

async fn not_drained(flavour: Flavour) {
    let lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let cluster = &lab.clusters[0];
    let old = cluster.primary().await.unwrap();
    let sql = cluster.server(&old).unwrap().sql();
    sql.run("CREATE TABLE lab.parked (id INT PRIMARY KEY) ENGINE=InnoDB").await.unwrap();
    let writers = cluster.write(4, 200).unwrap();
    cluster.wait_whole(WHOLE).await.unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();

    let long = hold(sql.clone(), "BEGIN; INSERT INTO lab.parked VALUES (1); DO SLEEP(4); ROLLBACK");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let asked = Instant::now();
    let refused = format!("{:#}", drill::switchover(&lab, &[]).await.unwrap_err());
    assert!(refused.contains("has written in one transaction for"), "{refused}");
    long.await.unwrap().unwrap();
    drill::acknowledged(&writers, 50).await.unwrap();
    let gap = drill::gap(&writers, asked).unwrap();
    assert!(gap < Duration::from_millis(500), "{gap:?} though nothing was closed");

    sql.run("XA START 'parked'; INSERT INTO lab.parked VALUES (2); XA END 'parked'; XA PREPARE 'parked'")
        .await
        .unwrap();
    let refused = format!("{:#}", drill::switchover(&lab, &[]).await.unwrap_err());
    assert!(refused.contains("the XA transaction \"parked\" is prepared"), "{refused}");
    sql.run("XA ROLLBACK 'parked'").await.unwrap();

    let locked = hold(sql.clone(), "LOCK TABLES lab.parked WRITE; DO SLEEP(4); UNLOCK TABLES");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    let undone = format!("{:#}", drill::switchover(&lab, &[]).await.unwrap_err());
    assert!(undone.contains("did not end within 1000 ms"), "{undone}");
    drill::acknowledged(&writers, 50).await.unwrap();
    let gap = drill::gap(&writers, asked).unwrap();
    eprintln!("{flavour}: with a locked table undone, {:.0} ms without an acknowledged write", ms(gap));
    assert!(gap < UNDONE, "{gap:?}");
    locked.await.unwrap().unwrap();
    assert_eq!(cluster.wait_whole(WHOLE).await.unwrap(), old);

    let said = drill::switchover(&lab, &[]).await.unwrap();
    assert!(said.contains("took over from"), "{said}");
    drill::acknowledged(&writers, 50).await.unwrap();
    drill::all_there(cluster, &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_a_mariadb_primary_hands_over_under_load() {
    handed_over(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_primary_hands_over_under_load() {
    handed_over(Flavour::Mysql).await;
}

#[tokio::test]
async fn lab_a_mariadb_primary_that_cannot_be_drained_goes_on() {
    not_drained(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_primary_that_cannot_be_drained_goes_on() {
    not_drained(Flavour::Mysql).await;
}
