//! Changing the source of a replica.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tasuki_node_core::Acknowledging;
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::observation::Thread;

use super::fence::{kill, none_blocked};
use super::steps::{Failed, SOON, channel, holdings, position, reception, until_applied};
use super::{Hands, QUICK, SLOW, unread};
use crate::server::Session;

/// A replica whose source is to be changed and that applies nothing of what it received is waited for so long (MariaDB).
const APPLY: Duration = Duration::from_secs(20);
/// A receiver that was started must be served within this.
const CONNECT: Duration = Duration::from_secs(3);
/// One that is not connected by then is started anew: its first try may have met the source while that was opening,
/// and the server's own pause before the next one is a second at least.
const TRY: Duration = Duration::from_millis(400);
/// One that its source refused is started anew after so long. MariaDB's source refuses whoever has applied more than itself,
/// as a replica often has while the new primary still catches up; writing waits for the one that is served first.
const REFUSED: Duration = Duration::from_millis(20);

pub(super) async fn follow(
    hands: &Hands,
    session: &mut Session,
    source: SocketAddr,
    acknowledging: Acknowledging,
) -> Result<Holdings, Failed> {
    point(hands, session, source, acknowledging).await?;
    connect(hands, session, source, CONNECT).await?;
    disarm(hands, session).await?;
    // A server that was fenced may be read again, now that it is closed to writes and follows.
    let mut cut = hands.cut.lock().await;
    cut.open_clients().await?;
    if !cut.state().refused_servers.is_empty() {
        // Nobody acknowledges anything to a replica.
        cut.refuse_servers(&BTreeSet::new()).await?;
    }
    drop(cut);
    holdings(hands, session).await
}

/// Waits until the source serves the receiver, and helps it on.
async fn connect(hands: &Hands, session: &mut Session, source: SocketAddr, patience: Duration) -> Result<(), Failed> {
    let (began, mut tried, mut anew) = (Instant::now(), Instant::now(), 0_u32);
    let mut last = String::new();
    loop {
        let (channel, served) = reception(hands, session).await?;
        let state = channel.as_ref().map_or(Thread::Stopped, |channel| channel.receiver);
        // A source may look for long for what was asked for.
        let late = began.elapsed() > patience;
        let pause = match state {
            Thread::Running if served || late => break,
            Thread::Running => Duration::MAX,
            Thread::Connecting => TRY,
            Thread::Stopped => REFUSED,
        };
        last = channel.map(|channel| channel.error).filter(|error| !error.is_empty()).unwrap_or(last);
        if late {
            return Err(Failed::Other(format!("the receiver does not connect to {source}: {last}")));
        }
        if tried.elapsed() > pause {
            (tried, anew) = (Instant::now(), anew + 1);
            let sql = format!("{}; {}", hands.dialect.stop_receiver(), hands.dialect.start_receiver());
            session.run(&sql, SLOW).await?;
        }
        tokio::time::sleep(SOON).await;
    }
    if anew > 0 {
        tracing::info!(%source, times = anew, error = last, "the receiver was started anew until its source served it");
    }
    Ok(())
}

/// Points the replica at a source and starts it. Idempotent.
async fn point(
    hands: &Hands,
    session: &mut Session,
    source: SocketAddr,
    acknowledging: Acknowledging,
) -> Result<(), Failed> {
    let dialect = hands.dialect;
    let acknowledge = match acknowledging {
        Acknowledging::Now => dialect.acknowledge(true),
        Acknowledging::Later => format!("{}; {}", dialect.acknowledge(false), dialect.relax_relay_log()),
        Acknowledging::Never => dialect.acknowledge(false),
    };
    super::relay::end(hands, session).await?;
    session.run(&dialect.close(), QUICK).await?;
    hands.cut.lock().await.allow_source(source).await?;
    let login = hands.source(source);
    let Some(before) = channel(hands, session).await? else {
        let sql = format!("{}; {}; {}", acknowledge, dialect.set_source(login), dialect.start_replication());
        session.run(&sql, SLOW).await?;
        return Ok(());
    };
    session.run(&dialect.stop_receiver(), SLOW).await?;
    if position(hands, session).await?.received.known().is_none()
        && unread::settle(hands, session, source).await.is_none()
    {
        unread::keep(hands, session).await?;
    }
    match dialect.0 {
        Flavour::Mysql => {
            // The applier keeps running: its relay files stay, and half a transaction is fetched again whole.
            let sql = format!("{}; {}; {}", acknowledge, dialect.change_source(login), dialect.start_receiver());
            session.run(&sql, SLOW).await?;
            if before.applier == Thread::Stopped {
                session.run(&dialect.start_applier(), SLOW).await?;
            }
        }
        Flavour::Mariadb => {
            // CHANGE MASTER deletes relay files: what they hold is applied first. Starting a stopped applier would delete
            // them as well, so with work left this ends here.
            let patience = if before.applier == Thread::Stopped { Duration::ZERO } else { APPLY };
            until_applied(hands, session, None, patience, &AtomicU64::new(0)).await?;
            let sql = format!(
                "{}; {}; {}; {}",
                dialect.stop_replication(),
                acknowledge,
                dialect.change_source(login),
                dialect.start_replication()
            );
            session.run(&sql, SLOW).await?;
        }
    }
    Ok(())
}

/// A former primary would wait for acknowledgements of what it applies, and nobody gives them. Switching that off answers OK
/// to whoever waits for one already; ending the process answers nobody.
async fn disarm(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let row = session.row(&hands.dialect.armed(), QUICK).await?;
    if row.get("armed").is_some_and(|armed| armed == "1") {
        if let Err(blocked) = none_blocked(hands, session).await {
            tracing::warn!(%blocked, "a former primary cannot become a replica like this; it is killed");
            kill(hands).await?;
            return Err(blocked);
        }
        // MySQL's thread for acknowledgements looks up once a second: by now the receiver acknowledges without it.
        session.run(&hands.dialect.disarm(), SLOW).await?;
    }
    Ok(())
}

/// Switches acknowledging on; it takes effect with the receiver's next connection. One that acknowledges already is left
/// alone: a new connection would stop the primary's commits for its time.
pub(super) async fn join(hands: &Hands, session: &mut Session, source: SocketAddr) -> Result<Holdings, Failed> {
    let dialect = hands.dialect;
    let follows = channel(hands, session).await?;
    let (follows, applier) = follows.map(|channel| (channel.source, channel.applier)).unzip();
    if follows != Some(source.into()) {
        return Err(Failed::Other(format!("it does not follow {source}, whose group it should join")));
    }
    // A server that was started since: its receiver alone would pile up what nobody applies.
    if applier != Some(Thread::Running) {
        return Err(Failed::Other(format!("it applies nothing of {source}, whose group it should join")));
    }
    if !acknowledges(hands, session).await? {
        let sql = format!("{}; {}; {}", dialect.acknowledge(true), dialect.stop_receiver(), dialect.start_receiver());
        session.run(&sql, SLOW).await?;
    }
    let began = Instant::now();
    while !acknowledges(hands, session).await? {
        if began.elapsed() > CONNECT {
            return Err(Failed::Other("the replica does not acknowledge although it was told to".to_owned()));
        }
        tokio::time::sleep(SOON).await;
    }
    holdings(hands, session).await
}

/// Switches acknowledging off. A receiver that acknowledges is started anew; one that is stopped stays so.
pub(super) async fn leave(hands: &Hands, session: &mut Session) -> Result<Holdings, Failed> {
    let dialect = hands.dialect;
    session.run(&dialect.acknowledge(false), QUICK).await?;
    let acknowledged = acknowledges(hands, session).await?;
    if acknowledged {
        session.run(&format!("{}; {}", dialect.stop_receiver(), dialect.start_receiver()), SLOW).await?;
    }
    let began = Instant::now();
    while acknowledges(hands, session).await? {
        if began.elapsed() > CONNECT {
            return Err(Failed::Other("the replica acknowledges although it was told not to".to_owned()));
        }
        tokio::time::sleep(SOON).await;
    }
    if acknowledged {
        session.run(&dialect.relax_relay_log(), QUICK).await?;
    }
    holdings(hands, session).await
}

/// Whether the receiver's present connection is one that acknowledges.
async fn acknowledges(hands: &Hands, session: &mut Session) -> Result<bool, Failed> {
    let tables = session.tables(&hands.dialect.counters(), QUICK).await?;
    let counters = tables.first().map(crate::facts::settings).unwrap_or_default();
    let names = ["rpl_semi_sync_slave_status", "rpl_semi_sync_replica_status"];
    Ok(names.iter().any(|name| counters.get(*name).is_some_and(|value| value == "ON")))
}

/// Receives from a living server what is missing for the goal, then stops receiving again.
pub(super) async fn replicate(
    hands: &Hands,
    session: &mut Session,
    source: SocketAddr,
    goal: &GtidSet,
) -> Result<Holdings, Failed> {
    point(hands, session, source, Acknowledging::Never).await?;
    connect(hands, session, source, APPLY).await?;
    let began = Instant::now();
    loop {
        let now = position(hands, session).await?;
        if now.received.known().is_some_and(|received| received.contains(goal) == Ok(true)) {
            session.run(&hands.dialect.stop_receiver(), SLOW).await?;
            return holdings(hands, session).await;
        }
        if began.elapsed() > APPLY {
            return Err(Failed::Other(format!("{source} did not deliver {goal} in time")));
        }
        tokio::time::sleep(SOON).await;
    }
}
