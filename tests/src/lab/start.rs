//! From nothing to clusters that Tasuki guards and writers write to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tasuki_schemas::gtid::Flavour;

use super::cluster::{Cluster, Lab};
use super::config::{self, ClusterPlan, CoordinatorPlan, NodePlan, ServerPlan};
use super::haproxy::{Backend, Haproxy};
use super::net::{Kind, Net};
use super::outside::Outside;
use super::programs::Program;
use super::redis::Redis;
use super::run::Run;
use super::server::{Extra, Server};
use super::sshd::Keys;
use super::tools::Daemon;
use super::wire;
use super::writer::Ids;

/// Servers in a cluster.
const SERVERS: u8 = 3;
/// The longest that a fresh cluster may take to be guarded.
const ARMED: Duration = Duration::from_secs(30);

/// How a lab differs from the ordinary one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Independent Redis servers.
    pub redis: u8,
    /// Coordinators, which all serve all clusters.
    pub coordinators: u8,
    /// Witnesses in each cluster.
    pub witnesses: u8,
    /// `armed` or `observe`.
    pub mode: String,
    /// A virtual address for each cluster (namespaces only).
    pub vip: bool,
    /// The replicas acknowledge nothing (k = 0).
    pub asynchronous: bool,
    /// The lease of a primary without acknowledgements.
    pub lease_ms: Option<u64>,
    /// How servers may be fenced from outside.
    pub outside: Outside,
    /// Further options of all database servers.
    pub server_options: Vec<String>,
    /// A disk of its own for each server, of so many megabytes (root only).
    pub disk_mb: Option<u32>,
    /// The server that must never be promoted.
    pub never: Option<&'static str>,
    /// `flap_limit`: tests and people at the demo kill one primary after the other, and mean it.
    pub flap_limit: u32,
    /// `degraded`: what a primary does that has lost its last replica.
    pub degraded: Option<&'static str>,
    /// Who is ahead is re-cloned.
    pub recloning: bool,
    /// Every host has a wall clock of its own.
    pub clocks: bool,
    /// Give birth to the clusters and wait until they are guarded.
    pub born: bool,
    /// Wait until no other lab runs on this machine.
    pub alone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            redis: 1,
            coordinators: 2,
            witnesses: 0,
            mode: "armed".into(),
            vip: false,
            asynchronous: false,
            lease_ms: None,
            outside: Outside::default(),
            server_options: Vec::new(),
            disk_mb: None,
            never: None,
            flap_limit: 1000,
            degraded: None,
            recloning: false,
            clocks: false,
            born: true,
            alone: true,
        }
    }
}

/// Starts a trio of servers on these hosts and lets them replicate.
///
/// # Errors
/// When a server does not start, or replication does not.
pub async fn trio(run: &Run, net: &Arc<Net>, flavour: Flavour, names: &[String], extra: &Extra) -> Result<Vec<Server>> {
    let begun = Instant::now();
    let daemon = Daemon::find(flavour)?;
    let mut servers = Vec::new();
    for (id, name) in (1..).zip(names) {
        let mut server = Server::create(run, net, name, id, &daemon, extra)?;
        server.start()?;
        servers.push(server);
    }
    for server in &mut servers {
        server.ready().await?;
    }
    let started = begun.elapsed();
    wire::replicate(&servers).await?;
    let (started, wired) = (started.as_millis(), begun.elapsed().as_millis());
    tracing::debug!(%flavour, started, wired, "servers replicate");
    Ok(servers)
}

impl Lab {
    /// Starts one guarded cluster per flavour, all under the same coordinators. Returns when every cluster is as it
    /// should be; nobody writes yet.
    ///
    /// # Errors
    /// When something does not start; the text says what, with the end of its log.
    pub async fn start(kind: Kind, flavours: &[Flavour], options: &Options) -> Result<Self> {
        let begun = Instant::now();
        let run = Run::begin(options.alone)?;
        let hosts = Hosts::name(flavours, options);
        let net = Net::build(&run, kind, &hosts.all())?;
        let net = Arc::new(if options.clocks { net.with_clocks(&run)? } else { net });
        let mut redis = Vec::new();
        for host in &hosts.redis {
            redis.push(Redis::begin(&run, &net, host).await?);
        }
        let mut trios = Vec::new();
        tracing::info!("the database servers start and replicate");
        let extra = Extra { options: options.server_options.clone(), disk_mb: options.disk_mb };
        for (flavour, members) in flavours.iter().zip(&hosts.clusters) {
            let servers = trio(&run, &net, *flavour, &members.servers, &extra).await?;
            if options.asynchronous {
                wire::acknowledge_nothing(&servers).await?;
            }
            trios.push(servers);
        }
        let plans = plan_clusters(&net, &hosts, &trios, options)?;
        let coordinators = plan_coordinators(&net, &hosts)?;
        let listens: Vec<SocketAddr> = plans.iter().flat_map(ClusterPlan::sshds).map(|(_, address)| address).collect();
        let keys = Keys::make(&run, &listens)?;
        let urls: Vec<String> = redis.iter().map(Redis::url).collect();
        let files = config::write(&run.sub("etc")?, &plans, &coordinators, &urls, keys.as_ref())?;
        tracing::info!("nodes, coordinators and HAProxy start");
        let mut lab = Self::new(run, net, redis, files);
        for (host, address) in plans.iter().flat_map(ClusterPlan::sshds) {
            let sshd = keys.as_ref().map(|keys| keys.serve(lab.net(), host, address)).transpose()?;
            lab.sshds.extend(sshd);
        }
        let guarded = lab.guard(plans, &coordinators, trios, &hosts, options.born).await;
        if let Err(error) = guarded {
            lab.run().keep();
            return Err(error.context(format!("the programs' logs end with\n{}", lab.logs(15))));
        }
        tracing::debug!(ms = begun.elapsed().as_millis(), "the lab is ready");
        Ok(lab)
    }

    async fn guard(
        &mut self,
        plans: Vec<ClusterPlan>,
        coordinators: &[CoordinatorPlan],
        trios: Vec<Vec<Server>>,
        hosts: &Hosts,
        born: bool,
    ) -> Result<()> {
        for plan in coordinators {
            let mut program = Program::coordinator(self.run(), self.net(), self.files(), &plan.name)?;
            program.start()?;
            self.add_coordinator(program);
        }
        for ((plan, servers), members) in plans.into_iter().zip(trios).zip(&hosts.clusters) {
            let cluster = begin_cluster(self, plan, servers, members).await?;
            self.add_cluster(cluster);
        }
        if !born {
            return Ok(());
        }
        self.give_birth().await?;
        tracing::info!("waiting until the cluster is guarded");
        for cluster in &mut self.clusters {
            cluster.wait_guarded(ARMED).await?;
        }
        Ok(())
    }
}

async fn begin_cluster(lab: &Lab, plan: ClusterPlan, servers: Vec<Server>, members: &Members) -> Result<Cluster> {
    let mut nodes = Vec::new();
    for node in &plan.nodes {
        let mut program = Program::node(lab.run(), lab.net(), lab.files(), &node.name)?;
        program.start()?;
        nodes.push(program);
    }
    let backends: Vec<Backend> = plan.nodes.iter().filter_map(backend).collect();
    let haproxy = Haproxy::begin(lab.run(), lab.net(), &members.client, &plan.name, &backends).await?;
    Ok(Cluster {
        net: Arc::clone(lab.net()),
        client: members.client.clone(),
        health: plan.nodes.iter().map(|node| (node.name.clone(), node.health)).collect(),
        name: plan.name,
        acks: u32::from(!plan.asynchronous),
        flavour: plan.flavour,
        servers,
        nodes,
        haproxy,
        ids: Ids::default(),
    })
}

fn backend(node: &NodePlan) -> Option<Backend> {
    let server = node.server.as_ref()?.address;
    Some(Backend { name: node.name.clone(), server, health: node.health })
}

fn plan_clusters(net: &Net, hosts: &Hosts, trios: &[Vec<Server>], options: &Options) -> Result<Vec<ClusterPlan>> {
    let mut plans = Vec::new();
    for (number, (servers, members)) in (0_u8..).zip(trios.iter().zip(&hosts.clusters)) {
        let mut nodes = Vec::new();
        for server in servers {
            let kernel = net.kind() == Kind::Namespaces;
            let sshd = |name: &str| Ok::<_, anyhow::Error>(SocketAddr::from((net.ip(name)?, net.port(name, 22)?)));
            let ssh = if options.outside.ssh { Some(sshd(server.name())?) } else { None };
            let data_dir = server.folder().join("data");
            let own = ServerPlan { address: server.address(), socket: server.socket(), kernel, ssh, data_dir };
            nodes.push(plan_node(net, server.name(), Some(own))?);
        }
        for witness in &members.witnesses {
            nodes.push(plan_node(net, witness, None)?);
        }
        let vip = options.vip.then(|| (format!("10.77.0.{}/24", 100 + number), "eth0".to_owned()));
        let flavour = servers.first().context("no servers")?.flavour();
        let (name, mode) = (members.cluster.clone(), options.mode.clone());
        let (lease_ms, asynchronous) = (options.lease_ms, options.asynchronous);
        let outside = options.outside.clone();
        plans.push(ClusterPlan {
            name,
            flavour,
            nodes,
            vip,
            mode,
            lease_ms,
            asynchronous,
            outside,
            never: options.never,
            flap_limit: options.flap_limit,
            degraded: options.degraded,
            recloning: options.recloning,
        });
    }
    Ok(plans)
}

fn plan_node(net: &Net, name: &str, server: Option<ServerPlan>) -> Result<NodePlan> {
    let ip = net.ip(name)?;
    let mesh = SocketAddr::from((ip, net.port(name, 7300)?));
    let health = SocketAddr::from((ip, net.port(name, 7301)?));
    Ok(NodePlan { name: name.to_owned(), mesh, health, server })
}

fn plan_coordinators(net: &Net, hosts: &Hosts) -> Result<Vec<CoordinatorPlan>> {
    let plan = |name: &String| -> Result<CoordinatorPlan> {
        Ok(CoordinatorPlan { name: name.clone(), feed: SocketAddr::from((net.ip(name)?, net.port(name, 3000)?)) })
    };
    hosts.coordinators.iter().map(plan).collect()
}

/// The names of all hosts.
struct Hosts {
    redis: Vec<String>,
    coordinators: Vec<String>,
    clusters: Vec<Members>,
}

struct Members {
    cluster: String,
    servers: Vec<String>,
    witnesses: Vec<String>,
    client: String,
}

impl Hosts {
    fn name(flavours: &[Flavour], options: &Options) -> Self {
        let number = |prefix: &str, from: u8, count: u8| (from..from + count).map(|n| format!("{prefix}{n}")).collect();
        let clusters = (0_u8..)
            .zip(flavours)
            .map(|(index, flavour)| Members {
                cluster: flavour.to_string(),
                servers: number("db", index * SERVERS + 1, SERVERS),
                witnesses: number("w", index * options.witnesses + 1, options.witnesses),
                client: format!("cl{}", index + 1),
            })
            .collect();
        Self { redis: number("re", 1, options.redis), coordinators: number("co", 1, options.coordinators), clusters }
    }

    fn all(&self) -> Vec<String> {
        let members = self.clusters.iter().flat_map(|members| {
            members.servers.iter().chain(&members.witnesses).chain(std::iter::once(&members.client))
        });
        members.chain(&self.coordinators).chain(&self.redis).cloned().collect()
    }
}
