//! Scheduled events run on the primary and nowhere else, whoever that is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::sql::{Named, Sql};
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Cluster, Lab, Options, drill};

const WHOLE: Duration = Duration::from_secs(30);
/// After an event was enabled it runs within this.
const SOON: Duration = Duration::from_secs(10);

/// An event of an account of its own under settings that are nobody's default, one with every privilege that ignores
/// `read_only`, and one that is switched off.
const PLAN: [&str; 5] = [
    "CREATE TABLE lab.ticks (id BIGINT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(20), server INT UNSIGNED)",
    "CREATE USER 'night shift'@'localhost' IDENTIFIED BY 'Zw7-not-for-logins'; GRANT ALL ON lab.* TO 'night shift'@'localhost'",
    "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', character_set_client = latin1, \
     collation_connection = latin1_german1_ci; CREATE DEFINER = 'night shift'@'localhost' EVENT lab.\"a`tick\" \
     ON SCHEDULE EVERY 1 SECOND COMMENT 'of the night' \
     DO INSERT INTO lab.\"ticks\" (who, server) VALUES ('night', @@server_id)",
    "CREATE EVENT lab.privileged ON SCHEDULE EVERY 1 SECOND DO INSERT INTO lab.ticks (who, server) VALUES ('root', @@server_id)",
    "CREATE EVENT lab.off ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO lab.ticks (who, server) VALUES ('off', @@server_id)",
];

fn sql(cluster: &Cluster, name: &str) -> Sql {
    cluster.server(name).unwrap().sql()
}

/// All that a server shows of the events but what must differ.
async fn shown(sql: &Sql) -> Vec<Named> {
    let mut rows = sql.named("SELECT * FROM information_schema.events ORDER BY event_name").await.unwrap();
    for row in &mut rows {
        row.retain(|name, _| !["STATUS", "ORIGINATOR", "LAST_ALTERED", "LAST_EXECUTED"].contains(&name.as_str()));
    }
    rows
}

async fn enabled(sql: &Sql) -> String {
    sql.value("SELECT COALESCE(GROUP_CONCAT(event_name ORDER BY event_name), '') FROM information_schema.events WHERE status = 'ENABLED'")
        .await
        .unwrap()
}

/// Who ticked on a server since a row.
async fn ticked(sql: &Sql, server: &str, after: &str) -> anyhow::Result<String> {
    let which = format!("server = {server} AND id > {after}");
    sql.value(&format!("SELECT COALESCE(GROUP_CONCAT(DISTINCT who ORDER BY who), '') FROM lab.ticks WHERE {which}"))
        .await
}

/// Both events run on this primary, as they were made, and on nobody else.
async fn runs_on(cluster: &Cluster, primary: &str, made: &[Named], begun: Instant) {
    let own = sql(cluster, primary);
    let id = own.value("SELECT @@server_id").await.unwrap();
    until("both events on the new primary", SOON, async || {
        let ticked = ticked(&own, &id, "0").await?;
        ensure!(ticked == "night,root", "{ticked:?}");
        Ok(())
    })
    .await
    .unwrap();
    eprintln!("{primary} ran both events {:?} after the fault", begun.elapsed());
    assert_eq!(enabled(&own).await, "a`tick,privileged");
    assert_eq!(shown(&own).await, made);
    cluster.wait_whole(WHOLE).await.unwrap();
    let last = own.value("SELECT MAX(id) FROM lab.ticks").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let strange = format!("SELECT COUNT(*) FROM lab.ticks WHERE id > {last} AND server <> {id}");
    for name in ["db1", "db2", "db3"] {
        let server = sql(cluster, name);
        assert_eq!(server.value(&strange).await.unwrap(), "0", "{name} holds a tick that {primary} did not make");
        assert!(name == primary || enabled(&server).await.is_empty(), "{name} has enabled events");
    }
    assert_eq!(ticked(&own, &id, &last).await.unwrap(), "night,root");
}

async fn move_with_the_primary(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let old = lab.clusters[0].wait_whole(WHOLE).await.unwrap();
    let primary = sql(&lab.clusters[0], &old);
    for statement in PLAN {
        primary.run(statement).await.unwrap();
    }
    primary.run("SET GLOBAL event_scheduler = ON").await.unwrap();
    let made = shown(&primary).await;
    runs_on(&lab.clusters[0], &old, &made, Instant::now()).await;
    until("the record on every server", SOON, async || {
        for name in ["db1", "db2", "db3"] {
            let row = sql(&lab.clusters[0], name).named("SELECT scheduler, enabled FROM tasuki.events").await?;
            let list = row.first().map(|row| (row["scheduler"].as_str(), row["enabled"].as_str()));
            ensure!(list == Some(("1", r#"[["lab","a`tick"],["lab","privileged"]]"#)), "{name}: {list:?}");
        }
        Ok(())
    })
    .await
    .unwrap();

    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    let new = lab.clusters[0].wait_primary_other_than(&old, WHOLE).await.unwrap();
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
    runs_on(&lab.clusters[0], &new, &made, fault).await;

    let asked = Instant::now();
    drill::switchover(&lab, &["--to", &old]).await.unwrap();
    runs_on(&lab.clusters[0], &old, &made, asked).await;
}

#[tokio::test]
async fn lab_events_move_with_the_mariadb_primary() {
    move_with_the_primary(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_events_move_with_the_mysql_primary() {
    move_with_the_primary(Flavour::Mysql).await;
}
