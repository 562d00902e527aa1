//! Servers that replicate by file and position. MariaDB's events carry GTIDs all the same; MySQL's do not, with
//! `gtid_mode` off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options, drill};

/// The replicas follow by file and position, one with its applier far behind; the primary's host is lost.
#[tokio::test]
async fn lab_a_mariadb_that_replicates_by_file_and_position_is_failed_over() {
    // What the old primary sent to nobody stays on it alone when its node is gone too: then it is re-cloned.
    let options = Options { recloning: true, ..Options::default() };
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &options).await.unwrap();
    let cluster = &mut lab.clusters[0];
    let old = cluster.primary().await.unwrap();
    let writers = cluster.write(8, 400).unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    let replicas: Vec<String> =
        cluster.servers.iter().map(|server| server.name().to_owned()).filter(|name| *name != old).collect();
    for name in &replicas {
        let sql = cluster.server(name).unwrap().sql();
        sql.run("STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = no; START SLAVE").await.unwrap();
        assert_eq!(sql.named("SHOW SLAVE STATUS").await.unwrap()[0]["Using_Gtid"], "No");
    }
    drill::acknowledged(&writers, 500).await.unwrap();
    cluster.wait_whole(Duration::from_secs(60)).await.unwrap();
    let behind = cluster.server(&replicas[1]).unwrap().sql();
    // A lock that its applier waits for.
    let lock = tokio::spawn({
        let behind = behind.clone();
        async move { behind.run("FLUSH TABLES WITH READ LOCK; DO SLEEP(3); UNLOCK TABLES").await }
    });
    drill::acknowledged(&writers, 300).await.unwrap();
    // With its node gone too, both replicas must show what they received.
    let fault = cluster.server_mut(&old).unwrap().kill9().unwrap();
    cluster.node_mut(&old).unwrap().kill9().unwrap();
    let new = drill::taken_over(cluster, &writers, &old, fault).await.unwrap();
    lock.await.unwrap().unwrap();
    drill::acknowledged(&writers, 200).await.unwrap();
    eprintln!("{old} to {new}, {:?} without an acknowledgement", drill::gap(&writers, fault).unwrap());
    cluster.node_mut(&old).unwrap().start().unwrap();
    cluster.server_mut(&old).unwrap().start().unwrap();
    assert_eq!(cluster.wait_whole(Duration::from_secs(60)).await.unwrap(), new);
    drill::all_there(cluster, &[&writers]).await.unwrap();
    for server in cluster.servers.iter().filter(|server| server.name() != new) {
        until("the GTIDs of the new primary", Duration::from_secs(10), async || {
            let found = server.sql().named("SHOW SLAVE STATUS").await?;
            let using = found.first().map(|row| row["Using_Gtid"].clone()).unwrap_or_default();
            ensure!(using == "Slave_Pos", "{} follows by {using:?}", server.name());
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// Transactions that may have no GTID show nobody what was acknowledged: such a cluster is observed, and not acted on.
#[tokio::test]
async fn lab_a_mysql_whose_transactions_may_lack_gtids_is_left_alone() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mysql], &Options::default()).await.unwrap();
    let events = lab.listen(&lab.clusters[0]).unwrap();
    let old = lab.clusters[0].primary().await.unwrap();
    let sql = lab.clusters[0].server(&old).unwrap().sql();
    let asked = Instant::now();
    sql.run("SET GLOBAL gtid_mode = ON_PERMISSIVE").await.unwrap();
    let said = async |words: &'static str| {
        until(words, Duration::from_secs(15), async || {
            let heard = events.since(asked);
            ensure!(heard.iter().any(|heard| format!("{:?}", heard.event.body).contains(words)), "not told");
            Ok(())
        })
        .await
        .unwrap();
    };
    said("gtid_mode = ON_PERMISSIVE").await;
    lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    said("nothing is done about it").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for server in lab.clusters[0].servers.iter().filter(|server| server.name() != old) {
        assert_eq!(server.sql().value("SELECT @@read_only").await.unwrap(), "1", "{} was opened", server.name());
    }
}
