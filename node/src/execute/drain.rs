//! Draining a primary that hands over: what is being written ends and is answered, then nobody writes any more. Unlike in a
//! fence nothing is killed to get there: what does not end in time leaves the server open, as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tasuki_node_core::Ended;
use tasuki_schemas::answer::Holdings;

use super::fence::{end_clients, verified};
use super::steps::Failed;
use super::{Hands, QUICK, SLOW, end_connection};
use crate::server::{Session, options};

/// Commits that were waited for have their results on the way to their clients: these get them before they are cut off.
const GRACE: Duration = Duration::from_millis(3);

pub(super) async fn drain(
    hands: &Hands,
    session: &mut Session,
    within: Duration,
    let_in: &BTreeSet<SocketAddr>,
) -> Ended {
    if let Err(error) = refuse_unfinished(hands, session).await {
        return Ended::Failed(error.to_string());
    }
    let let_in = let_in.iter().map(SocketAddr::ip).collect();
    let closed = tokio::time::timeout(within, close(hands, session, &let_in)).await;
    let failed = match closed {
        Ok(Ok(holdings)) => return Ended::Done(holdings),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!(
            "what is being written did not end within {} ms; look for locked tables and running statements",
            within.as_millis()
        ),
    };
    // The statement that closes may still wait in the server, and with it every new write.
    let left = session.id().load(Ordering::Acquire);
    session.close();
    end_connection(hands, left, false).await;
    match reopen(hands).await {
        Ok(()) => Ended::Failed(failed),
        Err(error) => {
            tracing::warn!(%error, failed, "a server that was not drained could not be opened again; that is left to a promotion");
            Ended::Cancelled
        }
    }
}

/// A transaction that has written for long would be lost with its connection, and one that is prepared would keep its locks on
/// whoever takes over: their owners decide, not the switchover.
async fn refuse_unfinished(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let statements = format!("{}; {}", hands.dialect.long_writers(), hands.dialect.prepared());
    let tables = session.tables(&statements, QUICK).await?;
    let found = |number: usize| tables.get(number).and_then(|table| table.first());
    let field = |row: &BTreeMap<String, String>, name: &str| row.get(name).cloned().unwrap_or_default();
    if let Some(row) = found(0) {
        return Err(Failed::Other(format!(
            "connection {} ({}) has written in one transaction for {} s; let it end, or end it",
            field(row, "id"),
            field(row, "user"),
            field(row, "seconds")
        )));
    }
    let Some(row) = found(1) else { return Ok(()) };
    Err(Failed::Other(format!(
        "the XA transaction {:?} is prepared and would keep its locks after the switchover; end it with XA COMMIT or XA ROLLBACK",
        field(row, "data")
    )))
}

/// Writes first: the server waits for commits under way, and so for their acknowledgements. Then whoever is connected.
async fn close(hands: &Hands, session: &mut Session, let_in: &BTreeSet<IpAddr>) -> Result<Holdings, Failed> {
    session.run(&hands.dialect.close(), SLOW).await?;
    tokio::time::sleep(GRACE).await;
    hands.cut.lock().await.close_clients(let_in).await?;
    end_clients(hands, session).await?;
    verified(hands, session).await
}

async fn reopen(hands: &Hands) -> Result<(), Failed> {
    let mut session = Session::new(options(&hands.config));
    session.run(&hands.dialect.open(), SLOW).await?;
    hands.cut.lock().await.open_clients().await?;
    hands.keep(session).await;
    Ok(())
}
