//! A small world for the bus: real Redis servers on free ports, and programs that know each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use rustix::process::{Pid, Signal, kill_process};
use tasuki_bus::{Arrived, Bus, BusConfig, Peer};
use tasuki_schemas::command::Request;
use tasuki_schemas::id::{Boot, BootId, Incarnation, NodeId, Nonce, ProgramId};
use tasuki_schemas::message::{Message, Role};
use tasuki_schemas::observation::{LedgerView, Observation};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// An address that nobody else gets: each is handed out once, below the ports that the system gives to connections.
pub(crate) fn free_address() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap() * 200;
    for _ in 0..20_000 {
        let port = 12_000 + (first + GIVEN.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return SocketAddr::from(([127, 0, 0, 1], port));
        }
    }
    panic!("no port is free");
}

/// A Redis server of this test alone, killed with it.
pub(crate) struct Redis {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// `redis-tools` carries the whole server: the name of the link decides.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("tasuki-bus-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        symlink("/usr/bin/redis-check-rdb", folder.join("redis-server")).unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = Self::spawn(&folder, address, &arguments);
        let redis = Self { child, address, folder, arguments };
        redis.await_port();
        redis
    }

    fn spawn(folder: &PathBuf, address: SocketAddr, arguments: &[String]) -> Child {
        Command::new(folder.join("redis-server"))
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn await_port(&self) {
        for _ in 0..200 {
            if std::net::TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server did not start on {}", self.address);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(&self.folder, self.address, &self.arguments);
        self.await_port();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn program(name: &str) -> ProgramId {
    name.parse().unwrap()
}

/// The key of a program: made from its name, so that all agree.
pub(crate) fn key(name: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

/// Programs that know each other; names beginning with `c` are coordinators.
pub(crate) struct Cluster {
    pub(crate) redis_urls: Vec<String>,
    pub(crate) addresses: BTreeMap<ProgramId, SocketAddr>,
    names: Vec<String>,
}

fn role(name: &str) -> Role {
    if name.starts_with('c') { Role::Coordinator } else { Role::Node }
}

impl Cluster {
    /// `mesh` decides whether the nodes listen.
    pub(crate) fn new(names: &[&str], redis_urls: Vec<String>, mesh: bool) -> Self {
        let nodes = names.iter().filter(|name| mesh && role(name) == Role::Node);
        let addresses = nodes.map(|name| (program(name), free_address())).collect();
        Self { redis_urls, addresses, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    pub(crate) fn config(&self, me: &str, start: u64) -> BusConfig {
        let peer = |name: &String| Peer {
            program: program(name),
            role: role(name),
            address: self.addresses.get(&program(name)).copied(),
        };
        BusConfig {
            me: program(me),
            role: role(me),
            cluster: "main".parse().unwrap(),
            digest: "d".to_owned(),
            key: key(me),
            boot: Boot { start, random: BootId(start) },
            keys: self.names.iter().map(|name| (program(name), (role(name), key(name).verifying_key()))).collect(),
            redis_urls: self.redis_urls.clone(),
            redis_subscribe_urls: Vec::new(),
            redis_ca: None,
            peers: self.names.iter().filter(|name| *name != me).map(peer).collect(),
            listen: self.addresses.get(&program(me)).copied(),
        }
    }

    pub(crate) fn start(&self, me: &str) -> Program {
        Program::start(self.config(me, 1))
    }
}

/// A program's end of the bus.
pub(crate) struct Program {
    pub(crate) bus: Bus,
    pub(crate) arrived: Receiver<Arrived>,
}

impl Program {
    pub(crate) fn start(config: BusConfig) -> Self {
        let (bus, arrived) = Bus::start(config).unwrap();
        Self { bus, arrived }
    }

    /// Waits until this many Redis servers and links live.
    pub(crate) async fn await_carriers(&self, redis: usize, links: usize) {
        let alive = |lives: &BTreeMap<_, bool>| lives.values().filter(|lives| **lives).count();
        let began = Instant::now();
        loop {
            let carriers = self.bus.carriers();
            if alive(&carriers.redis) >= redis && carriers.mesh.values().filter(|lives| **lives).count() >= links {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(5), "carriers do not live: {carriers:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The numbers of the messages that arrive until nothing came for `quiet`.
    pub(crate) async fn numbers(&mut self, quiet: Duration) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Ok(Some(arrived)) = timeout(quiet, self.arrived.recv()).await {
            if let Arrived::Message(opened) = arrived {
                numbers.push(number(&opened.message));
            }
        }
        numbers
    }

    /// Waits for the next `Resumed` and throws away what comes before it.
    pub(crate) async fn resumed(&mut self, within: Duration) -> Duration {
        let began = Instant::now();
        let waiting = async { while self.arrived.recv().await.unwrap() != Arrived::Resumed {} };
        timeout(within, waiting).await.expect("nothing resumed in time");
        began.elapsed()
    }

    pub(crate) fn drain(&mut self) {
        while self.arrived.try_recv().is_ok() {}
    }
}

/// A coordinator's request with a number in it.
pub(crate) fn probe(number: u64) -> Message {
    Message::Request(Request::Probe { nonce: Nonce(number), primary: "n1".parse().unwrap() })
}

/// A node's observation with a number in it.
pub(crate) fn observation(node: &str, number: u64) -> Message {
    let node: NodeId = node.parse().unwrap();
    let ledger = LedgerView {
        incarnation: Incarnation(1),
        sequence: number,
        promised: None,
        failover: None,
        accepted: None,
        anew: None,
    };
    Message::Observation(Box::new(Observation {
        node,
        heard: BTreeMap::new(),
        ledger,
        server: None,
        answers: BTreeMap::new(),
    }))
}

pub(crate) fn number(message: &Message) -> u64 {
    match message {
        Message::Request(Request::Probe { nonce, .. }) => nonce.0,
        Message::Observation(observation) => observation.ledger.sequence,
        other => panic!("nobody sent {other:?}"),
    }
}

/// All numbers, each once, in any order.
pub(crate) fn assert_each_once(numbers: &[u64], count: u64) {
    let distinct: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(distinct, (0..count).collect(), "something was lost");
    assert_eq!(numbers.len(), distinct.len(), "something came twice");
}
