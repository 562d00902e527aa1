//! Promotion: apply the goal, arm semi-sync, open; then the barrier row.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tasuki_node_core::{EffectId, Input, LISTEN, Progress, STILL, ServerRun};
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::observation::{Replication, Thread};

use super::steps::{Failed, channel, free_half, holdings, position};
use super::telling::Telling;
use super::{Hands, SLOW};
use crate::cut::Cutting;
use crate::probe::lock;
use crate::server::Session;

/// The barrier row waits for an acknowledgement for as long as that takes; a lower ballot's is cancelled.
const BARRIER: Duration = Duration::from_secs(3600);

/// The barrier row after the wait count was raised must be acknowledged within this: clients wait as long.
const RAISED: Duration = Duration::from_millis(700);

/// What a promotion is about.
pub(super) struct Reign {
    pub(super) epoch: Epoch,
    pub(super) goal: GtidSet,
    pub(super) acks: u32,
    pub(super) outside: BTreeSet<SocketAddr>,
}

pub(super) async fn promote(
    hands: &Hands,
    session: &mut Session,
    id: EffectId,
    reign: Reign,
) -> Result<Holdings, Failed> {
    let dialect = hands.dialect;
    let mut awake = Instant::now();
    // Without acknowledgements nobody's can count. Otherwise those outside are let in one by one, by order.
    let outside = if reign.acks == 0 { BTreeSet::new() } else { reign.outside };
    hands.cut.lock().await.refuse_servers(&addresses(&outside)).await?;
    if reign.acks == 0 {
        // It may have been opened before, and its commits wait for somebody who is lost: while they do, MariaDB does not
        // tell its position.
        session.run(&dialect.arm(0), SLOW).await?;
    }
    super::relay::end(hands, session).await?;
    let before = channel(hands, session).await?;
    start_applier(hands, session, before.as_ref(), &reign.goal).await?;
    Telling { hands, id }.backlog(session, Some(&reign.goal)).await?;
    free_half(hands, session).await?;
    let stop = match dialect.0 {
        // MariaDB's applier must be at rest before the server opens; MySQL's has nothing left to do.
        Flavour::Mariadb if before.is_some() => format!("{}; ", dialect.stop_replication()),
        Flavour::Mariadb | Flavour::Mysql => String::new(),
    };
    session.run(&format!("{stop}{}", dialect.arm(reign.acks)), SLOW).await?;
    let held = holdings(hands, session).await?;
    // A host that was paused meanwhile would open for a reign that may be over.
    while awake.elapsed() > STILL {
        awake = Instant::now();
        tokio::time::sleep(LISTEN).await;
    }
    session.run(&dialect.open(), SLOW).await?;
    hands.cut.lock().await.open_clients().await?;
    let run = run(hands)?;
    let opened = Progress::Opened { run, holdings: held };
    let _ = hands.inputs.send(Input::Progressed(id, opened)).await;
    barrier(hands, session, &reign.epoch, BARRIER).await?;
    if before.is_some()
        && let Err(error) = session.run(&dialect.forget_source(), SLOW).await
    {
        // It does not receive, and a restart does not start it: this is tidiness, and no reason not to have opened.
        tracing::warn!(%error, "the new primary did not forget its source; run RESET REPLICA ALL on it");
    }
    holdings(hands, session).await
}

fn addresses(servers: &BTreeSet<SocketAddr>) -> BTreeSet<IpAddr> {
    servers.iter().map(SocketAddr::ip).collect()
}

/// Exactly these servers do not reach the server's port from now on. What one of them acknowledged before stands before the
/// barrier row, also where the server's own set of executed transactions does not show it yet.
pub(super) async fn cut_acker(
    hands: &Hands,
    session: &mut Session,
    refused: &BTreeSet<SocketAddr>,
    epoch: Option<&Epoch>,
) -> Result<Holdings, Failed> {
    let cutting = hands.cut.lock().await.refuse_servers(&addresses(refused)).await?;
    if cutting == Cutting::Weak && !refused.is_empty() {
        return Err(Failed::Other("this node has no kernel rules".to_owned()));
    }
    if let Some(epoch) = epoch {
        raised(hands, session, epoch).await?;
    }
    holdings(hands, session).await
}

/// Commits wait for so many acknowledgements from now on. More of them count only once a barrier row has them: the log is
/// sent in order, so its ackers have everything before it.
pub(super) async fn set_wait_count(
    hands: &Hands,
    session: &mut Session,
    acks: u32,
    floor: u32,
    epoch: &Epoch,
    outside: &BTreeSet<SocketAddr>,
) -> Result<Holdings, Failed> {
    if acks > 0 && floor == 0 {
        hands.cut.lock().await.refuse_servers(&addresses(outside)).await?;
    }
    session.run(&hands.dialect.arm(acks), SLOW).await?;
    if acks > floor
        && let Err(error) = raised(hands, session, epoch).await
    {
        session.run(&hands.dialect.arm(floor), SLOW).await?;
        return Err(error);
    }
    holdings(hands, session).await
}

/// An applier that stopped has work left only if it broke. MySQL's may be started; MariaDB would delete the relay files
/// that hold the rest, so such a server must not win.
async fn start_applier(
    hands: &Hands,
    session: &mut Session,
    before: Option<&Replication>,
    goal: &GtidSet,
) -> Result<(), Failed> {
    let Some(channel) = before.filter(|channel| channel.applier == Thread::Stopped) else { return Ok(()) };
    if position(hands, session).await?.executed.contains(goal) == Ok(true) {
        return Ok(());
    }
    match hands.dialect.0 {
        Flavour::Mysql => Ok(session.run(&hands.dialect.start_applier(), SLOW).await?),
        Flavour::Mariadb => Err(Failed::Other(format!("its applier is stopped with work left: {}", channel.error))),
    }
}

fn run(hands: &Hands) -> Result<ServerRun, Failed> {
    let known = lock(&hands.shared);
    let watch = known.watch.as_ref().ok_or_else(|| Failed::Other("the server's process is not known".to_owned()))?;
    Ok(ServerRun { pid: watch.pid(), started: watch.start_time() })
}

/// A barrier row that must be acknowledged soon. One at a time: those that were not remain in the server.
async fn raised(hands: &Hands, session: &mut Session, epoch: &Epoch) -> Result<(), Failed> {
    let row = session.row(hands.dialect.barriers_under_way(), SLOW).await?;
    if row.get("n").is_none_or(|n| n != "0") {
        return Err(Failed::Other("the barrier row before waits for its acknowledgement".to_owned()));
    }
    barrier(hands, session, epoch, RAISED).await
}

/// The first transaction of the epoch. Its table is made when it is missing.
///
/// Nobody ends it once it was sent: clients' commits may be of its group (see [`super::fence::end_clients`]). It is written
/// into the log by then, and an acknowledgement that comes later than anybody waits for changes nothing.
async fn barrier(hands: &Hands, session: &mut Session, epoch: &Epoch, patience: Duration) -> Result<(), Failed> {
    let sql = hands.dialect.barrier(epoch, hands.me.as_str());
    match session.run_to_the_end(&sql, patience).await {
        Err(error) if error.has_no_table() => {
            session.run_to_the_end(&hands.dialect.make_epoch_table(), patience).await?;
            Ok(session.run_to_the_end(&sql, patience).await?)
        }
        other => Ok(other?),
    }
}
