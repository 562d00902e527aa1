//! The servers that are measured, each on the first core; everything else stays on the second.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use tasuki_bus::{Bus, boot, key};
use tasuki_config::ClusterFile;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::message::Message;
use tasuki_schemas::observation::{Position, Received};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::crowd;
use crate::bench::redis::Redis;
use crate::lab::config::{self, ClusterPlan, CoordinatorPlan, Files, NodePlan, ServerPlan, VIEWER_TOKEN};
use crate::lab::process::bound;
use crate::lab::{Outside, npm, tools};

/// What viewers show.
pub(super) const TOKEN: &str = VIEWER_TOKEN;
/// The longest that a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// A server that is measured.
pub struct Served {
    process: Child,
    address: SocketAddr,
    files: Files,
    teller: Teller,
    samples: (String, String),
    number: u64,
}

/// How it is told what it tells viewers.
enum Teller {
    /// By the nodes of a cluster, through Redis.
    Nodes { nodes: Vec<(NodeId, Bus)>, _unread: JoinSet<()>, _redis: Redis },
    /// By lines on its standard input, made like a message that viewers got from the other one.
    Lines { input: ChildStdin, like: String },
}

/// This process and its children leave the first core to what is measured.
///
/// # Errors
/// When there is no second core.
pub fn stay_on_the_other_core() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(1);
    sched_setaffinity(None, &cores).context("two cores are needed: one for the server, one for its viewers")
}

impl Served {
    /// A coordinator whose nodes are played, so that nothing else is told than what the bench wants.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn coordinator(folder: &Path, servers: u8) -> Result<Self> {
        // What another cluster of this run listened on may not be free yet.
        static BLOCKS: AtomicU8 = AtomicU8::new(0);
        let block = BLOCKS.fetch_add(1, Ordering::Relaxed);
        let redis = Redis::start().await?;
        let nodes: Vec<NodePlan> = (1..=servers).map(|number| node(folder, block, number)).collect();
        let plan = ClusterPlan {
            name: "main".to_owned(),
            flavour: Flavour::Mariadb,
            nodes,
            vip: None,
            mode: "observe".to_owned(),
            lease_ms: None,
            asynchronous: false,
            outside: Outside::default(),
            never: None,
            flap_limit: 1000,
            degraded: None,
            recloning: false,
        };
        let address = free()?;
        let coordinator = CoordinatorPlan { name: "co1".to_owned(), feed: address };
        let clusters = [plan];
        let files = config::write(folder, &clusters, &[coordinator], &[redis.url().to_owned()], None)?;
        append(&files.cluster("main"), "heartbeat_ms = 100\n")?;
        append(&files.local("co1"), "max_connections_per_address = 20000\n")?;
        let file = ClusterFile::load(&files.cluster("main"))?;
        let (mut played, mut unread) = (Vec::new(), JoinSet::new());
        for NodePlan { name, .. } in clusters.iter().flat_map(|cluster| &cluster.nodes) {
            let (name, key) = (name.parse()?, key::load(&folder.join(format!("{name}.key")))?);
            let start = boot::count(&folder.join("state").join(format!("{name}")))?;
            let (bus, arrived) = Bus::start(file.node_bus(&name, &key, start)?)?;
            unread.spawn_local(forget(arrived));
            played.push((name, bus));
        }
        let program = tools::built("tasuki-coordinator")?;
        let log = fs::File::create(folder.join("co1.log"))?;
        let mut command = bound(Path::new("taskset"));
        command.args(["-c", "0"]).arg(program).arg("--config").arg(files.local("co1"));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let teller = Teller::Nodes { nodes: played, _unread: unread, _redis: redis };
        let served = Self { process, address, files, teller, samples: Default::default(), number: 0 };
        served.listens().await?;
        // Redis is reached by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(served)
    }

    /// The official server, which tells what a coordinator told before.
    ///
    /// # Errors
    /// When node or its package is missing, or it does not start.
    pub async fn official(before: &Self, folder: &Path) -> Result<Self> {
        let packages = npm::installed(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rival"))?;
        let (snapshot, telemetry) = &before.samples;
        let file = folder.join("snapshot.json");
        let snapshot: (String, Value) = serde_json::from_str(snapshot.trim_start_matches("42"))?;
        fs::write(&file, snapshot.1.to_string())?;
        let address = free()?;
        let mut command = bound(Path::new("taskset"));
        command.args(["-c", "0"]).arg(tools::program("node")?).arg("rival.mjs").arg(address.port().to_string());
        command.args([before.files.certificate(), before.files.private_key()]).arg(TOKEN).arg(file);
        let mut process = command.current_dir(packages).stdin(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let teller = Teller::Lines { input, like: telemetry.trim_start_matches("42").to_owned() };
        let (files, samples) = (before.files.clone(), before.samples.clone());
        let served = Self { process, address, files, teller, samples, number: 0 };
        served.listens().await?;
        Ok(served)
    }

    async fn listens(&self) -> Result<()> {
        let began = std::time::Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            ensure!(began.elapsed() < START, "nothing listens on {}", self.address);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Has it tell one event: the next position of one of its servers.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn tell(&mut self, server: usize) -> Result<()> {
        self.number += 1;
        match &mut self.teller {
            Teller::Nodes { nodes, .. } => {
                let (node, bus) = nodes.get(server).context("no such server")?;
                let executed = GtidSet::parse(Flavour::Mariadb, &format!("0-1-{}", 1_000_000 + self.number))?;
                let received = Received::Known { set: executed.clone() };
                let position = Position { node: node.clone(), binlog: None, executed, received };
                bus.publish(&Channel::Position, &Message::Position(Box::new(position)))?;
                tokio::task::yield_now().await;
            }
            Teller::Lines { input, like } => {
                let (_, mut told): (Value, Value) = serde_json::from_str(like)?;
                let event = told.pointer_mut("/events/0").context("a message without an event")?;
                event["number"] = self.number.into();
                event["at_ms"] = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?.into();
                writeln!(input, "{}", serde_json::json!(["telemetry", told]))?;
            }
        }
        Ok(())
    }

    /// Keeps what viewers got of it.
    pub(super) fn keep(&mut self, samples: (String, String)) {
        self.samples = samples;
    }

    /// Where all viewers connect.
    pub(super) fn place(&self) -> impl AsyncFn() -> Result<SocketAddr> + Clone + 'static {
        let address = self.address;
        async move || Ok(address)
    }

    pub(super) fn connector(&self) -> Result<TlsConnector> {
        crowd::connector(&self.files.certificate())
    }

    /// User and system time so far, of all threads: fields 14 and 15 of the stat line, in ticks of 10 ms.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field is missing")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    pub(super) fn resident_kb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A node with an address of its own.
fn node(folder: &Path, block: u8, number: u8) -> NodePlan {
    let (name, data_dir) = (format!("db{number}"), folder.join("data"));
    let at = |port: u16| SocketAddr::from(([127, 78, block, number], port));
    let server = ServerPlan { address: at(3306), socket: data_dir.join("socket"), kernel: false, ssh: None, data_dir };
    NodePlan { name, mesh: at(7300), health: at(7301), server: Some(server) }
}

/// Nobody answers for the played nodes.
async fn forget<T>(mut arrived: tokio::sync::mpsc::Receiver<T>) {
    while arrived.recv().await.is_some() {}
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn append(file: &Path, text: &str) -> Result<()> {
    Ok(fs::File::options().append(true).open(file)?.write_all(text.as_bytes())?)
}
