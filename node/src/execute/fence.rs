//! Fencing: after it nobody is acknowledged by this server any more, or its process is gone.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use tasuki_node_core::Ended;
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::observation::Received;

use super::steps::{Failed, holdings};
use super::{Hands, receive};
use crate::binlog::{self, BinlogError};
use crate::facts;
use crate::probe::lock;
use crate::server::Session;

/// What cannot be verified within this is ended by SIGKILL.
const PATIENCE: Duration = Duration::from_millis(250);
/// Each statement of a fence.
const STATEMENT: Duration = Duration::from_millis(200);
/// A killed process with a large memory takes long to go.
const KILLED: Duration = Duration::from_secs(20);

pub(super) async fn fence(
    hands: &Hands,
    session: &mut Session,
    was_primary: bool,
    let_in: &BTreeSet<IpAddr>,
    source: Option<SocketAddr>,
) -> Ended {
    let closed = tokio::time::timeout(PATIENCE, close(hands, session, let_in)).await;
    match closed {
        Ok(Ok(holdings)) if source.is_none() => return Ended::Done(holdings),
        Ok(Ok(_)) => {
            let stopped = receive::stop(hands, session, source, false).await;
            return stopped.map_or_else(|error| Ended::Failed(error.to_string()), Ended::Done);
        }
        Ok(Err(error)) => tracing::warn!(%error, "the server could not be closed; it is killed"),
        Err(_) => tracing::warn!("the server could not be closed in time; it is killed"),
    }
    session.close();
    match kill(hands).await {
        Ok(()) => gone(hands, was_primary).await,
        Err(error) => Ended::Failed(error.to_string()),
    }
}

/// Closes the server to writes, ends clients' connections, and verifies both. In this order: the closing waits for commits
/// under way, and while one waits for an acknowledgement nobody's connection may be ended (see [`end_clients`]).
async fn close(hands: &Hands, session: &mut Session, let_in: &BTreeSet<IpAddr>) -> Result<Holdings, Failed> {
    hands.cut.lock().await.close_clients(let_in).await?;
    session.run(&hands.dialect.close(), STATEMENT).await?;
    end_clients(hands, session).await?;
    verified(hands, session).await
}

/// What a server that was just closed holds, if it is seen to be closed.
pub(crate) async fn verified(hands: &Hands, session: &mut Session) -> Result<Holdings, Failed> {
    let tables = session.tables(&hands.dialect.probe(), STATEMENT).await?;
    let first = tables.first().and_then(|table| table.first()).cloned().unwrap_or_default();
    if facts::writable(&first)? {
        return Err(Failed::Other("the server is still writable".to_owned()));
    }
    holdings(hands, session).await
}

/// Ends the connections of clients of a server that is closed to writes, and of privileged ones that come meanwhile.
///
/// Never while a commit waits for an acknowledgement: MariaDB waits in the name of the first commit of a group, and a KILL
/// of that one answers OK to all the others (10.11: of six commits in one group, five clients were told OK). Ending the
/// process answers nobody.
pub(crate) async fn end_clients(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let own = hands.warm.lock().await.as_ref().map_or(0, |warm| warm.id().load(std::sync::atomic::Ordering::Acquire));
    for _ in 0..2 {
        none_blocked(hands, session).await?;
        let tables = session.tables(&hands.dialect.connections(), STATEMENT).await?;
        let ids = tables.iter().flatten().filter_map(|row| row.get("id")).filter_map(|id| id.parse::<u64>().ok());
        for id in ids.filter(|id| *id != own) {
            // One that left by itself meanwhile is an error of no consequence; what counts is verified afterwards.
            let _ = session.run(&hands.dialect.kill(id), STATEMENT).await;
        }
    }
    Ok(())
}

/// That no commit waits for an acknowledgement.
pub(super) async fn none_blocked(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let tables = session.tables(&hands.dialect.blocked(), STATEMENT).await?;
    match tables.first().and_then(|table| table.first()) {
        None => Ok(()),
        Some(_) => Err(Failed::Other("a commit waits for an acknowledgement that may never come".to_owned())),
    }
}

/// Keeps hosts away first, so that the connections that are ended then do not come back.
pub(super) async fn cut_strangers(
    hands: &Hands,
    session: &mut Session,
    connections: &[u64],
    hosts: &BTreeSet<IpAddr>,
) -> Result<Holdings, Failed> {
    if !hosts.is_empty() {
        hands.cut.lock().await.refuse_strangers(hosts).await?;
    }
    for id in connections {
        tracing::warn!(connection = id, "a stranger acknowledges; its connection is ended");
        // One that left by itself meanwhile is an error of no consequence.
        let _ = session.run(&hands.dialect.kill(*id), STATEMENT).await;
    }
    holdings(hands, session).await
}

/// SIGKILL, never another signal: MySQL answers OK to blocked commits on SIGTERM.
pub(super) async fn kill(hands: &Hands) -> Result<(), Failed> {
    let (pid, start) = {
        let known = lock(&hands.shared);
        let watch =
            known.watch.as_ref().ok_or_else(|| Failed::Other("the server's process is not known".to_owned()))?;
        watch.kill().map_err(|error| Failed::Other(error.to_string()))?;
        (watch.pid(), watch.start_time())
    };
    let began = Instant::now();
    while crate::process::is_running(pid, start) {
        if began.elapsed() > KILLED {
            return Err(Failed::Other(format!("process {pid} does not end after SIGKILL (a hung disk?)")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Whether the process was seen to end.
pub(crate) fn is_gone(hands: &Hands) -> bool {
    let known = lock(&hands.shared);
    known.watch.as_ref().is_some_and(|watch| !crate::process::is_running(watch.pid(), watch.start_time()))
}

/// What a server that is gone held, read from its files to their end.
pub(super) async fn gone(hands: &Hands, was_primary: bool) -> Ended {
    let (index, relay) = {
        let known = lock(&hands.shared);
        (known.binlog_index.clone(), known.relay_index.clone())
    };
    let flavour: Flavour = hands.dialect.0;
    let read = match index {
        Some(index) => tokio::task::spawn_blocking(move || {
            let executed = binlog::executed(&index, flavour)?;
            let unread = if was_primary { Ok(()) } else { nothing_unapplied(relay.as_deref(), &executed) };
            Ok::<_, BinlogError>((executed, unread))
        })
        .await
        .map_err(|error| error.to_string())
        .and_then(|read| read.map_err(|error| error.to_string())),
        None => Err("where its binlog lies was never learned; start the server once beside its node".to_owned()),
    };
    Ended::Gone(match read {
        Ok((set, Ok(()))) => Holdings { executed: set.clone(), received: Received::Known { set } },
        Ok((set, Err(reason))) => Holdings { executed: set, received: Received::Unknown { reason } },
        Err(reason) => Holdings { executed: GtidSet::empty(flavour), received: Received::Unknown { reason } },
    })
}

/// A server that is gone is known to hold what it executed if its relay files hold nothing else: that can be delivered from
/// its binlog. More than that only the server itself can apply. Blocks.
fn nothing_unapplied(relay: Option<&Path>, executed: &GtidSet) -> Result<(), String> {
    let down = "its server is down, and";
    let relay = relay.ok_or_else(|| format!("{down} where its relay files lie was never learned"))?;
    let unapplied = binlog::unapplied(relay, executed.flavour(), executed, 0);
    let unapplied = unapplied.map_err(|error| format!("{down} its relay files cannot be read: {error}"))?;
    if unapplied.is_empty() {
        return Ok(());
    }
    Err(format!("{down} its relay files hold {unapplied}, which it has not applied; start it beside its node"))
}
