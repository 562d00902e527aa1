//! A fresh lab with its writers, in which one fault is made.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mysql_async::Conn;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::event::{EventBody, StageName};
use tasuki_schemas::gtid::Flavour;

use super::row::Row;
use super::told::Mark;
use crate::lab::events::Listener;
use crate::lab::namespaces::Namespaces;
use crate::lab::waiting::until;
use crate::lab::writer::{Attempt, Writers};
use crate::lab::{Cluster, Lab, drill};

/// Writers through the proxy, and their acknowledged writes a second.
const WRITERS: (u32, u32) = (8, 300);
/// Writers on the primary's own host, by its Unix socket.
const LOCALS: (u32, u32) = (2, 50);
/// Writes that are acknowledged before anything is broken.
const WARM: u64 = 150;
const WARM_LOCALS: u64 = 10;
/// The longest wait for a stage.
const STAGE: Duration = Duration::from_secs(20);

/// The lab of one run.
#[derive(Debug)]
pub struct Scene {
    /// All programs; its one cluster is what is broken.
    pub lab: Lab,
    /// Writers through the proxy.
    pub writers: Writers,
    /// Writers on the host of the first primary, by its Unix socket.
    pub locals: Writers,
    /// The primary before the fault.
    pub old: String,
    /// The other servers, in configuration order.
    pub others: Vec<String>,
    /// Servers that must not be the primary when the fault is over.
    pub lost: BTreeSet<String>,
    /// Servers that may hold what was never acknowledged.
    pub ahead: BTreeSet<String>,
    /// Statements that put a server right again.
    pub undo: Vec<(String, String)>,
    /// A question that the new primary must answer so, beside what writers wrote.
    pub expected: Option<(&'static str, String)>,
    /// Connections that clients hold.
    pub held: Vec<Conn>,
    /// When the fault came, or the last of several of a kind.
    pub fault: Instant,
    /// From here on it was the primary until the fault came.
    pub reigns_since: Instant,
    /// What was told before it.
    pub mark: Mark,
    /// The reign before it.
    pub epoch: Epoch,
    events: Listener,
}

impl Scene {
    /// Starts a lab as the row wants it, and lets the writers write.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(row: &Row, flavour: Flavour) -> Result<Self> {
        let lab = Lab::start(row.kind, &[flavour], &(row.options)()).await?;
        let cluster = lab.clusters.first().context("no cluster")?;
        let old = cluster.primary().await?;
        let others = cluster.servers.iter().map(|it| it.name().to_owned()).filter(|name| *name != old).collect();
        let writers = cluster.write(WRITERS.0, WRITERS.1)?;
        let locals = cluster.write_locally(&old, LOCALS.0, LOCALS.1)?;
        let events = lab.listen(cluster)?;
        let epoch = cluster.record(&old).await?.epoch;
        drill::acknowledged(&writers, WARM).await?;
        drill::acknowledged(&locals, WARM_LOCALS).await.context("on the primary's own host")?;
        let (own, mark, fault) = (BTreeSet::from([old.clone()]), Mark::now(&lab), Instant::now());
        let (lost, ahead, undo) = (own.clone(), own, Vec::new());
        let (expected, held) = (None, Vec::new());
        Ok(Self {
            lab,
            writers,
            locals,
            old,
            others,
            lost,
            ahead,
            undo,
            expected,
            held,
            fault,
            reigns_since: fault,
            mark,
            epoch,
            events,
        })
    }

    /// The cluster.
    ///
    /// # Errors
    /// When there is none.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.lab.clusters.first().context("no cluster")
    }

    /// The cluster, to be broken.
    ///
    /// # Errors
    /// When there is none.
    pub fn cluster_mut(&mut self) -> Result<&mut Cluster> {
        self.lab.clusters.first_mut().context("no cluster")
    }

    /// The network, to be broken.
    ///
    /// # Errors
    /// On loopback.
    pub fn network(&self) -> Result<&Namespaces> {
        self.lab.net().namespaces()
    }

    /// One of the servers that were replicas before the fault.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn replica(&self, number: usize) -> Result<String> {
        self.others.get(number).cloned().context("no such replica")
    }

    /// The fault comes now: what was before does not count.
    pub fn strike(&mut self) {
        self.mark = Mark::now(&self.lab);
        self.fault = Instant::now();
    }

    /// Another fault of the same kind: the gap is counted from here, and what was told before counts as well.
    pub fn strike_again(&mut self) {
        self.fault = Instant::now();
    }

    /// Waits until a record names a server that the faults left over, and says that it was opened, if that is asked for.
    ///
    /// # Errors
    /// When none does in time.
    pub async fn named(&self, opened: bool) -> Result<String> {
        until("another primary in a record", STAGE, async || {
            let cluster = self.cluster()?;
            let mut names = Vec::new();
            for node in &cluster.nodes {
                let record = cluster.record(node.name()).await.ok().filter(|record| record.opened || !opened);
                names.extend(record.map(|record| record.primary.as_str().to_owned()));
            }
            names.into_iter().find(|name| !self.lost.contains(name)).context("none is named")
        })
        .await
    }

    /// kill -9 of a server, which must not be the primary afterwards.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_server(&mut self, name: &str) -> Result<()> {
        self.cluster_mut()?.server_mut(name)?.kill9()?;
        self.lost.insert(name.to_owned());
        Ok(())
    }

    /// Everything on a host ends at once: its server and its node.
    ///
    /// # Errors
    /// When one of both does not run.
    pub fn kill_host(&mut self, name: &str) -> Result<()> {
        self.cluster_mut()?.node_mut(name)?.kill9()?;
        self.cluster_mut()?.server_mut(name)?.kill9()?;
        Ok(())
    }

    /// Waits until a stage of a failover is told, as it is heard on Redis.
    ///
    /// # Errors
    /// When it is not told in time.
    pub async fn reaches(&self, wanted: StageName) -> Result<()> {
        until(&format!("the stage {wanted:?}"), STAGE, async || {
            let reached = |body: &EventBody| matches!(body, EventBody::Stage { stage, .. } if *stage >= wanted);
            let heard = self.events.since(self.fault);
            anyhow::ensure!(heard.iter().any(|heard| reached(&heard.event.body)), "it is not told");
            Ok(())
        })
        .await
    }

    /// Every write of all writers.
    #[must_use]
    pub fn log(&self) -> Vec<Attempt> {
        let mut log = self.writers.log();
        log.extend(self.locals.log());
        log
    }
}
