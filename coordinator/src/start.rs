//! Puts the parts of a coordinator together: one loop and one core for each cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use tasuki_bus::{Arrived, Bus, boot, clock};
use tasuki_config::{
    ClusterFile, CoordinatorConfig, MaxLoss as LossWish, PlannedStop as StopWish, Promotion as Wanted, Rejoin,
};
use tasuki_coordinator_core::birth::Birth;
use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::settings::{Degraded, MaxLoss, PlannedStop, Policy, Promotion, Server, Settings};
use tasuki_coordinator_core::{Input, Output};
use tasuki_schemas::channel::Channel;
use tasuki_schemas::id::{Boot, ProgramId};
use tasuki_schemas::message::Message;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{Receiver, channel};

use crate::control::{self, Act};
use crate::driver::{Driver, end_of, input, publish, send};
use crate::feed::{Feed, FeedConfig, Tokens};
use crate::fence::Fencer;
use crate::http::{self, Seats, Sessions, Site};

/// Threads that serve viewers.
const MOST_THREADS: usize = 4;

/// Below the drivers' priority: with every core busy telling viewers of a failover, its next step runs first all the same.
const BEHIND: i32 = 5;

/// Threads of the viewers' own, so that however many they are, drivers wait for the kernel alone, and not long for that: one
/// core is left to everything else. One thread is cheaper than two where there is one core.
///
/// # Errors
/// The system's.
pub fn viewers_runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores.saturating_sub(1).clamp(1, MOST_THREADS)).thread_name("viewers").enable_all();
    let own = rustix::process::getpriority_process(None).context("its own priority cannot be read")?;
    builder.on_thread_start(move || {
        if let Err(error) = rustix::process::setpriority_process(None, own + BEHIND) {
            tracing::warn!(%error, "a thread for viewers keeps the drivers' priority");
        }
    });
    builder.build().context("the viewers' runtime does not start")
}

/// Runs a coordinator until it is told to stop; its feed runs on a runtime of its own.
///
/// # Errors
/// Whatever keeps it from starting, with the fix.
pub async fn run(config: CoordinatorConfig, viewers: &Handle) -> anyhow::Result<()> {
    let boot = boot::count(&config.state_dir)?;
    let tokens = Tokens::follow(config.feed.token_file.clone(), config.feed.tokens.clone());
    let seats = Seats::new(config.name.clone(), config.feed.public_url.clone(), config.feed.listen);
    let sessions = Sessions::new(config.name.clone(), config.key.clone(), config.clusters.iter().flatten());
    let site = Site::new(config.name.clone(), tokens.clone(), sessions, seats.clone());
    let feed = viewers.spawn(Feed::start(FeedConfig {
        listen: config.feed.listen,
        certificate: config.feed.certificate.clone(),
        private_key: config.feed.private_key.clone(),
        tokens,
        query_tokens: config.feed.query_tokens,
        allowed_origins: config.feed.allowed_origins.clone(),
        clusters: config.clusters.iter().flatten().map(|cluster| cluster.name.clone()).collect(),
        plain: config.feed.plain.clone(),
        limits: config.feed.limits,
        pages: http::routes(site.clone()),
        session: site.session(),
    }));
    let feed = feed.await.context("the feed's start was cut off")??;
    let control = control::listen(&config.state_dir).await;
    let control = control.with_context(|| control::path(&config.state_dir).display().to_string())?;
    let (mut requests, mut gauges) = (BTreeMap::new(), BTreeMap::new());
    let mut drivers = tokio::task::JoinSet::new();
    for cluster in config.clusters.iter().flatten() {
        let (bus, arrived) = Bus::start(cluster.coordinator_bus(&config.name, &config.key, boot)?)?;
        gauges.insert(cluster.name.clone(), bus.gauge());
        let opened = feed.open(cluster, boot.random, &config.state_dir, &bus);
        let opened =
            opened.with_context(|| format!("the history of {} in {}", cluster.name, config.state_dir.display()))?;
        let driver = Driver::new(
            cluster.clone(),
            settings(&config, cluster, boot)?,
            &config.state_dir,
            bus,
            opened,
            seats.clone(),
        );
        let (requests_tx, asked) = channel(1);
        requests.insert(cluster.name.to_string(), requests_tx);
        drivers.spawn(driver.run(arrived, asked));
        tracing::info!(coordinator = %config.name, cluster = %cluster.name, feed = %feed.local_addr(), "the coordinator runs");
    }
    feed.operate(requests.clone());
    site.open(feed.clone(), requests.clone(), gauges);
    tokio::spawn(control::serve(control, requests));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = drivers.join_next() => anyhow::bail!("a cluster's loop ended by itself"),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tokio::select! {
        () = lead_away(&config, &feed, &seats) => {}
        _ = drivers.join_next() => anyhow::bail!("a cluster's loop ended by itself"),
        // Whoever says it twice does not want to wait.
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("the coordinator stops; its clusters go on as they are");
    Ok(())
}

/// Viewers go on elsewhere before this coordinator stops. The clusters are led meanwhile as before.
async fn lead_away(config: &CoordinatorConfig, feed: &Feed, seats: &Seats) {
    seats.leave();
    tracing::info!(viewers = feed.viewers(), "the coordinator is about to stop: its viewers are led away");
    // By then the other coordinators have heard that this one is not to be offered any more.
    let heartbeats = config.clusters.iter().flatten().map(|cluster| cluster.policy.heartbeat);
    tokio::time::sleep(heartbeats.max().unwrap_or_default()).await;
    feed.lead_away(|| seats.best(None).map(|(_, seat)| seat.url)).await;
}

/// Gives birth to a cluster: an explicit act, once, by the running coordinator if there is one. Returns what the operator should know.
///
/// # Errors
/// Everything that stands in the way, with its fix.
pub async fn init(config: &CoordinatorConfig, name: &str) -> anyhow::Result<Vec<String>> {
    if let Some(reply) = control::ask(&config.state_dir, name, &Act::Init).await? {
        return reply.map_err(|reasons| anyhow::anyhow!("{name} was not born:\n{reasons}"));
    }
    let cluster = config.clusters.iter().flatten().find(|cluster| cluster.name.as_str() == name);
    let cluster = cluster.with_context(|| format!("there is no {name}.toml among the cluster files"))?;
    let boot = boot::count(&config.state_dir)?;
    let (bus, mut arrived) = Bus::start(cluster.coordinator_bus(&config.name, &config.key, boot)?)?;
    let mut birth = Birth::new(settings(config, cluster, boot)?, clock::now());
    loop {
        for output in birth.handle(next(&mut arrived).await, clock::now()) {
            match output {
                Output::Send { to, request } => send(&bus, &ProgramId::from(&to), &Message::Request(request)),
                Output::Beat(beat) => publish(&bus, &Channel::Coordinator, &Message::Heartbeat(beat)),
                Output::Tell(_) | Output::Fence { .. } | Output::Read { .. } => {}
            }
        }
        if let Some(reply) = end_of(&birth, cluster) {
            return reply.map_err(|reasons| anyhow::anyhow!("{name} was not born:\n{reasons}"));
        }
    }
}

/// Pauses failovers of a cluster, or lets them go on, by the coordinator that runs here.
///
/// # Errors
/// Everything that stands in the way, with its fix.
pub async fn wish(config: &CoordinatorConfig, name: &str, wish: Wish) -> anyhow::Result<Vec<String>> {
    let reply = control::ask(&config.state_dir, name, &Act::Wish(wish)).await?;
    let reply = reply.context("no coordinator runs with this state directory; ask on a host where one does")?;
    reply.map_err(|reasons| anyhow::anyhow!("{name} is as it was:\n{reasons}"))
}

async fn next(arrived: &mut Receiver<Arrived>) -> Input {
    let woken = tokio::time::timeout(Duration::from_millis(20), arrived.recv()).await;
    woken.ok().flatten().and_then(input).unwrap_or(Input::Woke)
}

fn settings(config: &CoordinatorConfig, cluster: &ClusterFile, boot: Boot) -> anyhow::Result<Settings> {
    let servers = cluster.servers.iter().enumerate().map(|(order, server)| {
        let promotion = match server.promotion {
            Wanted::Prefer => Promotion::Prefer,
            Wanted::Neutral => Promotion::Neutral,
            Wanted::Avoid => Promotion::Avoid,
            Wanted::Never => Promotion::Never,
        };
        (server.name.clone(), Server { address: server.address, promotion, site: server.site.clone(), order })
    });
    let usual = Policy::paced(cluster.policy.heartbeat);
    let lease = cluster.policy.lease;
    let policy = Policy {
        silence: cluster.policy.silence,
        tail_patience: cluster.policy.tail_patience,
        degraded: if cluster.policy.holds_when_degraded { Degraded::Hold } else { Degraded::Open },
        // The end of a lease is awaited within the first stage.
        stage_patience: lease.map_or(usual.stage_patience, |lease| usual.stage_patience.max(lease.length() * 2)),
        lease,
        planned_stop: match cluster.policy.planned_stop {
            StopWish::HandOver => PlannedStop::HandOver,
            StopWish::Wait(patience) => PlannedStop::Wait(patience),
        },
        stable_window: cluster.policy.stable_window,
        flap_limit: cluster.policy.flap_limit,
        fences: Fencer::limits(&cluster.fences),
        read_limit: cluster.fences.ssh.as_ref().map_or(usual.read_limit, |ssh| ssh.read_limit),
        max_loss: cluster.policy.max_loss.map(|max_loss| match max_loss {
            LossWish::None => MaxLoss::Nothing,
            LossWish::UnreceivedTail => MaxLoss::UnreceivedTail,
        }),
        recloning: cluster.policy.rejoin == Rejoin::Clone,
        ..usual
    };
    Ok(Settings {
        me: config.name.clone(),
        boot: boot.random,
        cluster: cluster.name.clone(),
        flavour: cluster.flavour,
        servers: servers.collect(),
        witnesses: cluster.witnesses.iter().map(|witness| witness.name.clone()).collect(),
        coordinators: cluster.coordinators.iter().map(|it| it.name.clone()).collect(),
        mode: cluster.policy.mode,
        policy,
        seed: boot::random()?,
    })
}
