//! Puts the parts of a node together.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::OptsBuilder;
use tasuki_bus::{Arrived, BulkDialler, Bus, boot, clock};
use tasuki_config::{Cut as CutWish, NodeConfig};
use tasuki_node_core::statements::Dialect;
use tasuki_node_core::{Guarding, Input, Memory, Node, Settings};
use tasuki_schemas::observation::CutStrength;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex, watch};

use crate::cut::Cut;
use crate::driver::Driver;
use crate::events;
use crate::execute::{Hands, spool_thread};
use crate::guard;
use crate::health::{self, Shown};
use crate::home;
use crate::leave;
use crate::ledger::Ledger;
use crate::positions;
use crate::probe::{Known, Prober, Shared};
use crate::reclone::{self, Recloner};
use crate::server::options;
use crate::serving::{Serving, Writes, move_vip, probe_writes};
use crate::vip::Vip;

/// Inputs that wait for the loop; effects and probes wait when it is full, the bus has a queue of its own.
const INPUTS: usize = 256;
/// Kernel rules are looked after this often.
const RULES: Duration = Duration::from_secs(1);
/// A warm connection is looked after this often.
const WARM: Duration = Duration::from_secs(2);

/// Runs a node until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, with the fix.
pub async fn run(config: Arc<NodeConfig>) -> anyhow::Result<()> {
    let boot = boot::count(&config.state_dir)?;
    let (ledger, memory) = home::open(&config.state_dir)?;
    let (mut bus, arrived) = Bus::start(config.cluster.node_bus(&config.name, &config.key, boot)?)?;
    let (inputs_tx, inputs) = channel(INPUTS);
    let ledger = ledger_thread(ledger, inputs_tx.clone())?;
    let (shown, shown_rx) = watch::channel(Shown::default());
    let (serving, _) = watch::channel(Serving::default());
    if let Some(address) = config.health {
        health::serve(address, shown_rx)
            .await
            .with_context(|| format!("health = {address}: the port cannot be listened on"))?;
    }
    let strength = match config.server.as_ref().map(|server| server.cut) {
        Some(CutWish::Kernel) => CutStrength::Kernel,
        Some(CutWish::None) | None => CutStrength::Server,
    };
    let settings = Settings {
        me: config.name.clone(),
        flavour: config.cluster.flavour,
        servers: config.cluster.servers.iter().map(|server| (server.name.clone(), server.address)).collect(),
        cut: strength,
        heartbeat: config.cluster.policy.heartbeat,
        position_every: Duration::from_secs(1),
        lease: config.cluster.policy.lease,
    };
    let core = Node::new(settings, memory, clock::now());
    let guard = guard_of(&config, &inputs_tx);
    let (hands, positions, rounds) = match &config.server {
        Some(_) => {
            let (hands, positions, rounds) = beside_server(&config, strength, &inputs_tx, &serving, bus.dialler())?;
            reclone::recover(Arc::clone(&hands)).await;
            if let Some(asked) = bus.take_bulk() {
                tokio::spawn(reclone::serve(Arc::clone(&hands), asked));
            }
            (Some(hands), Some(positions), Some(rounds))
        }
        None => (None, None, None),
    };
    let spool = hands.as_ref().map(|hands| spool_thread(hands.spool.clone(), inputs_tx.clone())).transpose()?;
    let (may_stop, told) = channel(1);
    let asked =
        leave::listen(&config.state_dir).with_context(|| config.state_dir.join("node.sock").display().to_string())?;
    tokio::spawn(leave::serve(asked, inputs_tx.clone(), told));
    let driver = Driver {
        core,
        bus,
        hands,
        spool,
        ledger,
        shown,
        serving,
        inputs: inputs_tx,
        positions,
        rounds,
        may_stop,
        guard,
    };
    tracing::info!(node = %config.name, cluster = %config.cluster.name, "the node runs");
    until_told(driver, arrived, inputs).await
}

/// A server that may need a lease has a guard from the start, so that one that already holds it is found.
fn guard_of(config: &NodeConfig, inputs: &Sender<Input>) -> Option<Sender<Option<Guarding>>> {
    config.cluster.policy.lease.filter(|_| config.server.is_some())?;
    let (orders, wanted) = channel(4);
    tokio::spawn(guard::keep(config.state_dir.join("guard"), wanted, inputs.clone()));
    Some(orders)
}

async fn until_told(driver: Driver, arrived: Receiver<Arrived>, inputs: Receiver<Input>) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = driver.run(arrived, inputs) => anyhow::bail!("the node's loop ended by itself"),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("the node stops; its server goes on as it is");
    Ok(())
}

/// Durable writes have a thread of their own: the loop waits for none of them.
fn ledger_thread(mut ledger: Ledger, inputs: Sender<Input>) -> anyhow::Result<SyncSender<Memory>> {
    let (memories, written) = sync_channel::<Memory>(64);
    std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        for memory in written {
            let bytes = match serde_json::to_vec(&memory) {
                Ok(bytes) => bytes,
                Err(error) => return tracing::error!(%error, "the memory has no JSON form"),
            };
            if let Err(error) = ledger.write(memory.sequence, &bytes) {
                // After a failed sync nobody knows what the disk holds: this node must promise nothing more.
                return tracing::error!(%error, "the ledger cannot be written");
            }
            if inputs.blocking_send(Input::Persisted(memory.sequence)).is_err() {
                return;
            }
        }
    })?;
    Ok(memories)
}

type Beside = (Arc<Hands>, Sender<()>, Sender<()>);

/// Everything that needs a server.
fn beside_server(
    config: &NodeConfig,
    strength: CutStrength,
    inputs: &Sender<Input>,
    serving: &watch::Sender<Serving>,
    dialler: BulkDialler,
) -> anyhow::Result<Beside> {
    let (Some(server), Some(own)) = (&config.server, config.cluster.server(&config.name)) else {
        anyhow::bail!("a witness has no server");
    };
    let shared: Shared = Arc::new(StdMutex::new(Known::default()));
    let dialect = Dialect(config.cluster.flavour);
    let hands = Arc::new(Hands {
        me: config.name.clone(),
        config: server.clone(),
        dialect,
        user: config.cluster.replication.user.clone(),
        password: config.cluster.replication.password()?,
        shared: Arc::clone(&shared),
        cut: Mutex::new(Cut::new(strength, config.name.as_str(), own.address.port())?),
        inputs: inputs.clone(),
        archive: config.state_dir.join("archive"),
        spool: config.state_dir.join("rescue").join("tail"),
        tail: Mutex::new(None),
        warm: Mutex::new(None),
        state_dir: config.state_dir.clone(),
        peers: config
            .cluster
            .servers
            .iter()
            .map(|other| other.name.clone())
            .filter(|name| *name != config.name)
            .collect(),
        reclone: Recloner::new(dialler, server.commands.clone(), &config.state_dir),
    });
    let (write_tx, write_rx) = watch::channel(Writes::default());
    tokio::spawn(probe_writes(server.clone(), dialect, serving.subscribe(), write_tx));
    tokio::spawn(events::keep(options(server), dialect, serving.subscribe()));
    if let Some(vip) = &config.cluster.vip {
        tokio::spawn(move_vip(Vip::new(&vip.address, &vip.interface)?, serving.subscribe()));
    }
    let (rounds, asked) = channel(1);
    let notes = config.state_dir.join("binlog-index");
    let login = OptsBuilder::from_opts(options(server))
        .user(Some(hands.user.clone()))
        .pass(Some(hands.password.expose().to_owned()))
        .into();
    let prober = Prober::new(server.clone(), dialect.0, login, shared, inputs.clone(), notes, write_rx);
    tokio::spawn(prober.run(asked));
    let (positions, wanted) = channel(1);
    tokio::spawn(positions::read(Arc::clone(&hands), wanted));
    tokio::spawn(keep_warm(Arc::clone(&hands)));
    tokio::spawn(keep_cut(Arc::clone(&hands)));
    Ok((hands, positions, rounds))
}

async fn keep_cut(hands: Arc<Hands>) {
    loop {
        hands.keep_cut().await;
        tokio::time::sleep(RULES).await;
    }
}

async fn keep_warm(hands: Arc<Hands>) {
    loop {
        hands.warm_up().await;
        tokio::time::sleep(WARM).await;
    }
}
