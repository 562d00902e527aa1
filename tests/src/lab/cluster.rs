//! A guarded cluster, and the lab that holds one or several of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::observation::Observation;
use tasuki_schemas::record::Record;

use super::config::Files;
use super::events::Listener;
use super::haproxy::Haproxy;
use super::health;
use super::net::Net;
use super::process::{Process, tail};
use super::programs::Program;
use super::redis::Redis;
use super::run::Run;
use super::server::Server;
use super::waiting::{until, until_slowly};
use super::wire::{channel, semi_sync_replicas};
use super::writer::{Ids, Target, Writers};

/// A cluster with its nodes, its HAProxy, and the ids that its writers have used.
#[derive(Debug)]
pub struct Cluster {
    pub(super) net: Arc<Net>,
    pub(super) client: String,
    pub(super) health: BTreeMap<String, SocketAddr>,
    /// Its name: its flavour's.
    pub name: String,
    /// Acknowledgements that its writes wait for.
    pub acks: u32,
    /// MariaDB or MySQL.
    pub flavour: Flavour,
    /// The database servers.
    pub servers: Vec<Server>,
    /// The nodes, the witnesses included.
    pub nodes: Vec<Program>,
    /// The proxy that the writers know.
    pub haproxy: Haproxy,
    /// The ids of all writers.
    pub ids: Ids,
}

impl Cluster {
    /// Begins to write through HAProxy.
    ///
    /// # Errors
    /// When the network has ended.
    pub fn write(&self, writers: u32, rate: u32) -> Result<Writers> {
        let target = Target::Tcp(self.haproxy.address());
        Ok(Writers::begin(&self.net.on(&self.client)?, &target, &self.ids, writers, rate))
    }

    /// The same by clients that send what failed once more, after a pause.
    ///
    /// # Errors
    /// As of [`Cluster::write`].
    pub fn write_again(&self, writers: u32, rate: u32, pause: Duration) -> Result<Writers> {
        let target = Target::Tcp(self.haproxy.address());
        Ok(Writers::retrying(&self.net.on(&self.client)?, &target, &self.ids, (writers, rate), Some(pause)))
    }

    /// Begins to write on a server's own host, through its Unix socket.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn write_on(&self, server: &str, writers: u32, rate: u32) -> Result<Writers> {
        let found = self.server(server)?;
        Ok(Writers::begin(&self.net.on(server)?, &Target::Socket(found.socket()), &self.ids, writers, rate))
    }

    /// As [`Self::write_on`], with no more rights than other clients.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn write_locally(&self, server: &str, writers: u32, rate: u32) -> Result<Writers> {
        let found = self.server(server)?;
        Ok(Writers::begin(&self.net.on(server)?, &Target::Local(found.socket()), &self.ids, writers, rate))
    }

    /// A server by name.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn server(&self, name: &str) -> Result<&Server> {
        self.servers.iter().find(|server| server.name() == name).with_context(|| format!("no server {name}"))
    }

    /// A server by name, to be broken.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn server_mut(&mut self, name: &str) -> Result<&mut Server> {
        self.servers.iter_mut().find(|server| server.name() == name).with_context(|| format!("no server {name}"))
    }

    /// A node by name, to be broken.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Program> {
        self.nodes.iter_mut().find(|node| node.name() == name).with_context(|| format!("no node {name}"))
    }

    /// A node's answer on its health port, as the writers' host gets it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, node: &str, path: &'static str) -> Result<health::Answer> {
        let address = *self.health.get(node).with_context(|| format!("no node {node}"))?;
        self.net.on(&self.client)?.spawn(health::get(address, path)).await?
    }

    /// A node's latest observation.
    ///
    /// # Errors
    /// When it does not answer, or not in the form that was agreed.
    pub async fn observation(&self, node: &str) -> Result<Observation> {
        let address = *self.health.get(node).with_context(|| format!("no node {node}"))?;
        let page = self.net.on(&self.client)?.spawn(health::page(address)).await??;
        let observation = page.get("observation").context("the page has no observation")?;
        Ok(serde_json::from_value(observation.clone())?)
    }

    /// The record that a node accepted.
    ///
    /// # Errors
    /// When it does not answer, or has none.
    pub async fn record(&self, node: &str) -> Result<Record> {
        let accepted = self.observation(node).await?.ledger.accepted.context("no record yet")?;
        Ok(accepted.record)
    }

    /// The one server whose node sends clients to it.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn primary(&self) -> Result<String> {
        let mut serving = Vec::new();
        for server in &self.servers {
            if self.ask(server.name(), "/primary").await.is_ok_and(|answer| answer.code == 200) {
                serving.push(server.name().to_owned());
            }
        }
        match serving.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("no node says that its server is the primary"),
            several => bail!("several nodes say that their servers are primary: {several:?}"),
        }
    }

    /// Waits until another server than `old` serves, and names it.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn wait_primary_other_than(&self, old: &str, deadline: Duration) -> Result<String> {
        until("another primary", deadline, async || {
            let primary = self.primary().await?;
            ensure!(primary != old, "{old} still serves");
            Ok(primary)
        })
        .await
    }

    /// Waits until the cluster was born and nothing is left to do: in mode `armed` that means that a failover would
    /// succeed now.
    ///
    /// # Errors
    /// When the deadline passes first, or a program has ended.
    pub async fn wait_guarded(&mut self, deadline: Duration) -> Result<()> {
        self.wait_whole(deadline).await?;
        self.check_running()
    }

    /// Waits until every server follows the primary with semi-sync and the record says so: its write group is
    /// complete and opened on every node.
    ///
    /// # Errors
    /// When the deadline passes first; the text says what was still missing.
    pub async fn wait_whole(&self, deadline: Duration) -> Result<String> {
        let what = format!("the cluster {} to be whole", self.name);
        until_slowly(&what, deadline, async || self.look_whole().await).await
    }

    async fn look_whole(&self) -> Result<String> {
        let primary = self.primary().await?;
        let source = self.server(&primary)?.address().to_string();
        for server in self.servers.iter().filter(|server| server.name() != primary) {
            let found = channel(server).await?.with_context(|| format!("{} follows nobody", server.name()))?;
            ensure!(found.source == source, "{} follows {}", server.name(), found.source);
            ensure!(found.runs, "{} does not replicate: {}", server.name(), found.error);
        }
        let replicas = semi_sync_replicas(self.server(&primary)?).await?;
        let wanted = if self.acks == 0 { 0 } else { self.servers.len() - 1 };
        ensure!(replicas == wanted, "{primary} has {replicas} semi-sync replicas");
        let in_group = |server: &&Server| self.acks > 0 || server.name() == primary;
        let all: BTreeSet<&str> = self.servers.iter().filter(in_group).map(Server::name).collect();
        for node in &self.nodes {
            let record = self.record(node.name()).await.with_context(|| format!("at {}", node.name()))?;
            ensure!(record.primary.as_str() == primary, "{} knows {} as primary", node.name(), record.primary);
            ensure!(record.opened, "{} has a record that is not opened", node.name());
            let members: BTreeSet<&str> =
                record.groups.iter().flat_map(|group| &group.members).map(NodeId::as_str).collect();
            ensure!(members == all, "the write group at {} is {members:?}", node.name());
        }
        Ok(primary)
    }

    /// Fails when a node has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Program::check_running)
    }
}

/// Everything that a test has started; all of it ends when this is dropped.
#[derive(Debug)]
pub struct Lab {
    /// The clusters, one per flavour that was asked for.
    pub clusters: Vec<Cluster>,
    /// The coordinators, in rank order.
    pub coordinators: Vec<Program>,
    /// The Redis servers.
    pub redis: Vec<Redis>,
    /// The sshds of the servers' hosts, if they have any.
    pub sshds: Vec<Process>,
    files: Files,
    net: Arc<Net>,
    run: Run,
}

impl Lab {
    pub(super) const fn new(run: Run, net: Arc<Net>, redis: Vec<Redis>, files: Files) -> Self {
        Self { clusters: Vec::new(), coordinators: Vec::new(), redis, sshds: Vec::new(), files, net, run }
    }

    pub(super) fn add_coordinator(&mut self, program: Program) {
        self.coordinators.push(program);
    }

    pub(super) fn add_cluster(&mut self, cluster: Cluster) {
        self.clusters.push(cluster);
    }

    /// Runs `init` for every cluster.
    pub(super) async fn give_birth(&self) -> Result<()> {
        let first = self.coordinators.first().context("no coordinators")?;
        for cluster in &self.clusters {
            first.init(&cluster.name).await?;
        }
        Ok(())
    }

    /// Listens to what the coordinators tell about a cluster.
    ///
    /// # Errors
    /// When there is no Redis.
    pub fn listen(&self, cluster: &Cluster) -> Result<Listener> {
        let redis = self.redis.first().context("no Redis")?;
        Listener::begin(&self.net.on(&cluster.client)?, redis.url(), &cluster.name)
    }

    /// The network.
    #[must_use]
    pub const fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// The configuration files.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// For how many milliseconds a node has applied the tail of a dead primary; the last one that did.
    #[must_use]
    pub fn applied_ms(&self) -> Option<f64> {
        let logs = self.logs(400);
        let line = logs.lines().rfind(|line| line.contains("the tail was applied"))?;
        line.split_once("took_ms=")?.1.split(' ').next()?.parse().ok()
    }

    /// The ends of all programs' logs, for a failed test.
    #[must_use]
    pub fn logs(&self, lines: usize) -> String {
        let nodes = self.clusters.iter().flat_map(|cluster| &cluster.nodes);
        let programs = self.coordinators.iter().chain(nodes);
        programs.map(|program| format!("{}:\n{}", program.name(), tail(program.log(), lines))).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the programs' logs end with\n{}", self.logs(25));
        }
    }
}
