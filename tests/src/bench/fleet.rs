//! Many clusters at one coordinator over a real Redis, of which many lose their primary at once.
//!
//! The cores of nodes and coordinators and the bus are the shipped ones; the loop of a coordinator's driver is told
//! again here without viewers. Servers and ledgers are in memory, and nodes, coordinators and Redis share this machine.

mod tasks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::SigningKey;
use tasuki_bus::{Bus, BusConfig};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::{Boot, BootId, ClusterName, ProgramId};
use tasuki_schemas::message::Role;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::tasks::{Decided, NodeTask, coordinate};
use super::cpu;
use super::model::Server;
use super::redis::Redis;

/// Servers of each cluster.
pub const SERVERS: usize = 3;
/// Births, subscriptions and elections of leaders of a whole fleet on two cores.
const START: Duration = Duration::from_secs(120);
const DECISION: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Mass {
    /// Milliseconds from the loss to each cluster's decided record.
    pub decided_ms: Vec<u64>,
    /// Processor seconds that everything together used in a second before.
    pub busy: f64,
}

/// Runs `clusters` of them and takes the primary from `lost`.
///
/// # Errors
/// When Redis does not start, or a cluster is not led or not decided in time.
pub async fn mass_loss(clusters: usize, lost: usize) -> Result<Mass> {
    let redis = Redis::start().await?;
    let (decided, mut decisions) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut kills = Vec::new();
    for number in 0..clusters {
        // A fleet does not start within one blink; its connections would have to queue.
        tokio::time::sleep(Duration::from_millis(20)).await;
        kills.push(cluster(number, redis.url(), &decided, &mut tasks)?);
    }
    let led = all(&mut decisions, (0..clusters).collect(), 0, START).await;
    led.context("not every cluster has a leader")?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cpu::seconds()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let busy = (cpu::seconds()? - before) / 2.0;
    while decisions.try_recv().is_ok() {}
    let began = Instant::now();
    for kill in kills.into_iter().take(lost) {
        ensure!(kill.send(()).is_ok(), "a node ended");
    }
    let at = all(&mut decisions, (0..lost).collect(), 1, DECISION).await?;
    let after = |at: Instant| u64::try_from(at.duration_since(began).as_millis()).unwrap_or(u64::MAX);
    Ok(Mass { decided_ms: at.into_iter().map(after).collect(), busy })
}

/// When each of these clusters decided a record: any, or one that names another primary.
async fn all(
    decisions: &mut UnboundedReceiver<Decided>,
    mut missing: std::collections::BTreeSet<usize>,
    changes: usize,
    patience: Duration,
) -> Result<Vec<Instant>> {
    let mut at = Vec::new();
    let collect = async {
        while let Some(decided) = decisions.recv().await {
            if usize::from(decided.changed) >= changes && missing.remove(&decided.cluster) {
                at.push(decided.at);
            }
            if missing.is_empty() {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(patience, collect).await.is_ok();
    ensure!(in_time && missing.is_empty(), "{} clusters did not decide in {patience:?}", missing.len());
    Ok(at)
}

/// Starts the programs of one cluster; returns what kills its primary.
fn cluster(
    number: usize,
    redis: &str,
    decided: &UnboundedSender<Decided>,
    tasks: &mut JoinSet<()>,
) -> Result<oneshot::Sender<()>> {
    let name: ClusterName = format!("c{number}").parse()?;
    let programs: Vec<(ProgramId, Role)> = (1..=SERVERS)
        .map(|server| (format!("db{server}"), Role::Node))
        .chain([("co1".to_owned(), Role::Coordinator)])
        .map(|(name, role)| Ok((name.parse()?, role)))
        .collect::<Result<_>>()?;
    let key = |at: usize| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        seed[8..16].copy_from_slice(&(at as u64).to_le_bytes());
        SigningKey::from_bytes(&seed)
    };
    let keys: BTreeMap<_, _> = programs
        .iter()
        .enumerate()
        .map(|(at, (program, role))| (program.clone(), (*role, key(at).verifying_key())))
        .collect();
    let bus = |at: usize| -> Result<_> {
        let (me, role) = programs.get(at).cloned().context("a program")?;
        Ok(Bus::start(BusConfig {
            me,
            role,
            cluster: name.clone(),
            digest: "0".repeat(64),
            key: key(at),
            boot: Boot { start: 1, random: BootId(at as u64) },
            keys: keys.clone(),
            redis_urls: vec![redis.to_owned()],
            redis_subscribe_urls: Vec::new(),
            redis_ca: None,
            peers: Vec::new(),
            listen: None,
        })?)
    };
    let set = GtidSet::parse(Flavour::Mariadb, "0-1-1000")?;
    let (kill, killed) = oneshot::channel();
    let mut killed = Some(killed);
    for at in 0..SERVERS {
        let source = (at > 0).then(|| address(0));
        let server = Server::new(u32::try_from(at)? + 1, source, set.clone());
        let (bus, arrived) = bus(at)?;
        tasks.spawn(NodeTask::new(at, server, bus).run(arrived, killed.take()));
    }
    let (bus, arrived) = bus(SERVERS)?;
    tasks.spawn(coordinate(number, name, bus, arrived, decided.clone()));
    Ok(kill)
}

/// Where a server would listen.
fn address(at: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 3306 + u16::try_from(at).unwrap_or(0)))
}
