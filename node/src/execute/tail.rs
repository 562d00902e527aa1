//! The tail of a dead primary's binlog, applied by the candidate: as a relay file where that can be put into its data
//! directory, otherwise statement by statement.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tasuki_node_core::EffectId;
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tokio::sync::mpsc::channel;
use tokio::time::timeout;

use super::relay::{self, Unplaced};
use super::steps::{Failed, free_half, holdings, position};
use super::telling::{BRIEF, TELL, Telling};
use super::{Hands, QUICK, SLOW};
use crate::binlog::{Applier, Spooled, check};
use crate::server::Session;

/// A tail is checked and applied within this, with a second more for each megabyte.
const APPLY: Duration = Duration::from_secs(20);
const BYTES_A_SECOND: u64 = 1 << 20;
/// So many bytes are executed sooner than a channel for them is made and removed.
const SMALL: u64 = 64 << 10;
/// Transactions that were read and not applied yet.
const AHEAD: usize = 16;

/// Applies what was spooled after everything that this server received itself.
pub(super) async fn apply(
    hands: &Hands,
    session: &mut Session,
    id: EffectId,
    have: GtidSet,
    tail: &Tail,
) -> Result<Holdings, Failed> {
    let applied = apply_all(hands, session, id, have, tail).await;
    if let Err(error) = tokio::fs::remove_file(&hands.spool).await {
        tracing::debug!(%error, "the spooled tail was not removed");
    }
    applied
}

async fn apply_all(
    hands: &Hands,
    session: &mut Session,
    id: EffectId,
    have: GtidSet,
    tail: &Tail,
) -> Result<Holdings, Failed> {
    let began = Instant::now();
    let (spool, announced) = (hands.spool.clone(), tail.clone());
    if tail.transactions == 0 {
        return holdings(hands, session).await;
    }
    let telling = Telling { hands, id };
    let limit = APPLY + Duration::from_secs(tail.bytes / BYTES_A_SECOND);
    let late = |_| Failed::Other(format!("the tail was not applied within {limit:?}"));
    let step = || {
        let ms = began.elapsed().as_millis();
        format!("applying {} transactions, {} bytes, for {ms} ms", tail.transactions, tail.bytes)
    };
    let checking = timeout(limit, tokio::task::spawn_blocking(move || check(&spool, &have, &announced)));
    let servers = telling.during(TELL, step, false, checking).await?.map_err(late)?;
    let servers = servers.map_err(|error| Failed::Other(error.to_string()))?.map_err(Failed::Other)?;
    let behind = Instant::now();
    telling.backlog(session, None).await?;
    // Whoever was told of a backlog hears at once that it is done.
    let first = if behind.elapsed() > BRIEF { Duration::ZERO } else { TELL };
    let applying = timeout(limit, apply_tail(hands, session, tail, &servers));
    let way = telling.during(first, step, false, applying).await?.map_err(late)??;
    tracing::info!(
        transactions = tail.transactions,
        bytes = tail.bytes,
        took_ms = began.elapsed().as_secs_f64() * 1e3,
        way,
        "the tail was applied"
    );
    holdings(hands, session).await
}

async fn apply_tail(
    hands: &Hands,
    session: &mut Session,
    tail: &Tail,
    servers: &BTreeSet<u32>,
) -> Result<&'static str, Failed> {
    let dialect = hands.dialect;
    match dialect.0 {
        Flavour::Mariadb => session.run(&dialect.stop_replication(), SLOW).await?,
        Flavour::Mysql => free_half(hands, session).await?,
    }
    let way = if tail.bytes > SMALL && by_relay_file(hands, session, tail, servers).await? {
        "as a relay file"
    } else {
        by_statements(hands, session).await?;
        "by statements"
    };
    session.run(&dialect.continue_behind_own_writes(), QUICK).await?;
    if position(hands, session).await?.executed.contains(&tail.set) != Ok(true) {
        return Err(Failed::Other(format!("{} was applied {way}, and is not executed", tail.set)));
    }
    Ok(way)
}

/// False if the tail cannot be put where the server would read it.
async fn by_relay_file(
    hands: &Hands,
    session: &mut Session,
    tail: &Tail,
    servers: &BTreeSet<u32>,
) -> Result<bool, Failed> {
    match relay::apply(hands, session, tail, servers).await {
        Ok(()) => Ok(true),
        Err(Unplaced::Failed(error)) => Err(error),
        Err(Unplaced::Elsewhere(reason)) => {
            tracing::info!(reason, "the tail cannot be applied as a relay file, and is applied by statements");
            Ok(false)
        }
    }
}

async fn by_statements(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let dialect = hands.dialect;
    session.run(&dialect.half_open(), QUICK).await?;
    // The connection's variables are changed by what is applied: it is thrown away afterwards.
    let mut applier = Applier::new(session.lend(QUICK).await?, dialect.0);
    let (read, mut transactions) = channel(AHEAD);
    let spool = hands.spool.clone();
    let reading = tokio::task::spawn_blocking(move || {
        for transaction in Spooled::open(&spool)? {
            if read.blocking_send(transaction?).is_err() {
                break;
            }
        }
        Ok::<_, crate::binlog::BinlogError>(())
    });
    let mut applied = Ok(());
    while let Some(transaction) = transactions.recv().await {
        applied = applier.apply(&transaction).await;
        if applied.is_err() {
            break;
        }
    }
    drop((transactions, applier));
    session.close();
    session.run(&dialect.close(), QUICK).await?;
    applied.map_err(|error| Failed::Other(error.to_string()))?;
    reading.await.map_err(|error| Failed::Other(error.to_string()))?.map_err(|error| Failed::Other(error.to_string()))
}
