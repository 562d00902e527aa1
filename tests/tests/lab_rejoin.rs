//! Servers that hold more than the primary: what they hold in excess is archived before anybody could lose it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options};

/// The folder that operators were told of.
async fn told_folder(listener: &Listener, since: Instant) -> PathBuf {
    until("word of an archive", Duration::from_secs(30), async || {
        let told = listener.since(since).into_iter().rev().find_map(|heard| {
            let EventBody::Repair { sentence, .. } = heard.event.body else { return None };
            let (_, rest) = sentence.split_once("archived on its host in ")?;
            Some(PathBuf::from(rest.split(';').next()?))
        });
        told.context("none yet")
    })
    .await
    .unwrap()
}

fn archives(folder: &std::path::Path) -> usize {
    let names = fs::read_dir(folder.parent().unwrap()).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().contains("extra-")).count()
}

/// Somebody writes on a replica. What that was stands on its host afterwards, once, and another leader finds it there.
async fn written_aside(flavour: Flavour) {
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
    let listener = lab.listen(&lab.clusters[0]).unwrap();
    let cluster = &mut lab.clusters[0];
    let primary = cluster.primary().await.unwrap();
    let name = if primary == "db3" { "db2" } else { "db3" };
    let replica = cluster.server(name).unwrap().sql();
    let sql = cluster.server(&primary).unwrap().sql();
    sql.run("CREATE TABLE lab.stock (id INT PRIMARY KEY, what VARCHAR(20))").await.unwrap();
    sql.run("INSERT INTO lab.stock VALUES (1, 'rice'), (2, 'tea')").await.unwrap();
    until("the rows on the replica", Duration::from_secs(10), async || {
        let count = replica.value("SELECT COUNT(*) FROM lab.stock").await?;
        ensure!(count == "2", "{count} rows");
        Ok(())
    })
    .await
    .unwrap();

    let begun = Instant::now();
    let (open, close) = match flavour {
        Flavour::Mariadb => ("DO 1", "DO 1"),
        Flavour::Mysql => ("SET GLOBAL super_read_only = 0", "SET GLOBAL super_read_only = 1"),
    };
    replica.run(open).await.unwrap();
    replica
        .run("BEGIN; UPDATE lab.stock SET what = 'sake' WHERE id = 2; DELETE FROM lab.stock WHERE id = 1; COMMIT")
        .await
        .unwrap();
    replica.run(close).await.unwrap();
    let folder = told_folder(&listener, begun).await;
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0, "it is for the node alone");
    let list = fs::read_to_string(folder.join("gtids.txt")).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    let text = fs::read_to_string(folder.join("transactions.sql")).unwrap();
    let update = "UPDATE `lab`.`stock` SET `what` = 'sake' WHERE `id` = 2 AND `what` = 'tea' LIMIT 1;";
    let delete = "DELETE FROM `lab`.`stock` WHERE `id` = 1 AND `what` = 'rice' LIMIT 1;";
    assert!(text.contains(update) && text.contains(delete), "{text}");
    assert!(text.contains("1 transactions; 0 events are not shown."), "{text}");
    let events = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("extra-"));
    assert_eq!(events.count(), 1);

    // A restarted node and a new leader tell the same folder, and write nothing twice.
    let again = Instant::now();
    let node = lab.clusters[0].node_mut(name).unwrap();
    node.kill9().unwrap();
    node.start().unwrap();
    for coordinator in &mut lab.coordinators {
        coordinator.kill9().unwrap();
        coordinator.start().unwrap();
    }
    assert_eq!(told_folder(&listener, again).await, folder);
    assert_eq!(archives(&folder), 1);
}

#[tokio::test]
async fn lab_what_was_written_on_a_mariadb_replica_is_archived_once() {
    written_aside(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_what_was_written_on_a_mysql_replica_is_archived_once() {
    written_aside(Flavour::Mysql).await;
}
