//! What a replica acknowledged stands in its files, whatever became of its process: it counts when the primary's host is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options};

const ROWS: u32 = 20;

const fn words(flavour: Flavour) -> (&'static str, &'static str) {
    match flavour {
        Flavour::Mariadb => ("STOP SLAVE IO_THREAD", "STOP SLAVE SQL_THREAD"),
        Flavour::Mysql => ("STOP REPLICA IO_THREAD", "STOP REPLICA SQL_THREAD"),
    }
}

/// The primary's host is lost after one replica alone acknowledged, which then lost its process.
struct Lost {
    lab: Lab,
    old: String,
    behind: String,
    acker: String,
}

impl Lost {
    /// Only `acker` receives from now on, and nobody repairs that: without the primary's node nothing can be compared.
    async fn begin(flavour: Flavour) -> Self {
        let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
        let cluster = &mut lab.clusters[0];
        let old = cluster.primary().await.unwrap();
        let mut replicas: Vec<String> =
            cluster.servers.iter().map(|server| server.name().to_owned()).filter(|name| *name != old).collect();
        let (acker, behind) = (replicas.pop().unwrap(), replicas.pop().unwrap());
        let sql = cluster.server(&old).unwrap().sql();
        sql.run("CREATE TABLE lab.kept (id INT PRIMARY KEY)").await.unwrap();
        cluster.node_mut(&old).unwrap().freeze().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        cluster.server(&behind).unwrap().sql().run(words(flavour).0).await.unwrap();
        Self { lab, old, behind, acker }
    }

    async fn write(&self) {
        let sql = self.lab.clusters[0].server(&self.old).unwrap().sql();
        for id in 0..ROWS {
            sql.run(&format!("INSERT INTO lab.kept VALUES ({id})")).await.unwrap();
        }
    }

    async fn rows(&self, name: &str) -> anyhow::Result<String> {
        self.lab.clusters[0].server(name)?.sql().value("SELECT COUNT(*) FROM lab.kept").await
    }

    /// The host of the old primary is lost; a server opens that has every row.
    async fn lose_host(mut self) {
        let cluster = &mut self.lab.clusters[0];
        let fault = Instant::now();
        cluster.server_mut(&self.old).unwrap().kill9().unwrap();
        cluster.node_mut(&self.old).unwrap().kill9().unwrap();
        let new = cluster.wait_primary_other_than(&self.old, Duration::from_secs(30)).await.unwrap();
        eprintln!("{}: {new} serves {:?} after the fault", cluster.flavour, fault.elapsed());
        assert_eq!(self.rows(&new).await.unwrap(), ROWS.to_string());
    }
}

/// Its process comes back, with relay files that it has not applied and, on MariaDB, does not know any more.
async fn restarted(flavour: Flavour) {
    let mut lost = Lost::begin(flavour).await;
    let acker = lost.acker.clone();
    lost.lab.clusters[0].server(&acker).unwrap().sql().run(words(flavour).1).await.unwrap();
    lost.write().await;
    assert_eq!(lost.rows(&acker).await.unwrap(), "0");
    assert_eq!(lost.rows(&lost.behind).await.unwrap(), "0");
    let server = lost.lab.clusters[0].server_mut(&acker).unwrap();
    server.kill9().unwrap();
    server.start().unwrap();
    server.ready().await.unwrap();
    lost.lose_host().await;
}

#[tokio::test]
async fn lab_a_restarted_mariadb_replica_counts_with_what_is_in_its_relay_files() {
    restarted(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_restarted_mysql_replica_counts_with_what_is_in_its_relay_files() {
    restarted(Flavour::Mysql).await;
}

/// Its process stays away. It had applied everything, which its node shows from both kinds of files.
async fn gone(flavour: Flavour) {
    let mut lost = Lost::begin(flavour).await;
    let acker = lost.acker.clone();
    lost.write().await;
    until("the rows on the replica", Duration::from_secs(10), async || {
        let found = lost.rows(&acker).await?;
        ensure!(found == ROWS.to_string(), "{found} rows");
        Ok(())
    })
    .await
    .unwrap();
    lost.lab.clusters[0].server_mut(&acker).unwrap().kill9().unwrap();
    lost.lose_host().await;
}

#[tokio::test]
async fn lab_a_mariadb_replica_that_is_gone_counts_when_it_had_applied_everything() {
    gone(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_mysql_replica_that_is_gone_counts_when_it_had_applied_everything() {
    gone(Flavour::Mysql).await;
}
