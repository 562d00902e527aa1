//! The tail of a dead primary's binlog, applied by the candidate: as a relay file where that can be put into its data
//! directory, otherwise statement by statement.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_node_core::{EffectId, Input, Progress};
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tokio::sync::mpsc::channel;
use tokio::time::timeout;

use super::relay::{self, Unplaced};
use super::steps::{Failed, free_half, holdings, position, until_applied};
use super::{Hands, QUICK, SLOW};
use crate::binlog::{Applier, Spooled, check};
use crate::server::Session;

/// The own relay log is applied first, within this; and so is a tail, with a second more for each megabyte.
const APPLY: Duration = Duration::from_secs(20);
const BYTES_A_SECOND: u64 = 1 << 20;
/// So many bytes are executed sooner than a channel for them is made and removed.
const SMALL: u64 = 64 << 10;
/// How often it is told that it goes on.
const TELL: Duration = Duration::from_millis(500);
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
    let limit = APPLY + Duration::from_secs(tail.bytes / BYTES_A_SECOND);
    let applied = tokio::select! {
        applied = timeout(limit, apply_all(hands, session, have, tail)) => applied,
        () = tell(hands, id, tail) => return Err(Failed::Other("the node ends".to_owned())),
    };
    if let Err(error) = tokio::fs::remove_file(&hands.spool).await {
        tracing::debug!(%error, "the spooled tail was not removed");
    }
    applied.unwrap_or_else(|_| Err(Failed::Other(format!("the tail was not applied within {limit:?}"))))
}

/// Ends only with the node.
async fn tell(hands: &Hands, id: EffectId, tail: &Tail) {
    let began = std::time::Instant::now();
    loop {
        tokio::time::sleep(TELL).await;
        let step = format!(
            "applying {} transactions, {} bytes, for {} ms",
            tail.transactions,
            tail.bytes,
            began.elapsed().as_millis()
        );
        if hands.inputs.send(Input::Progressed(id, Progress::Going { step })).await.is_err() {
            return;
        }
    }
}

async fn apply_all(hands: &Hands, session: &mut Session, have: GtidSet, tail: &Tail) -> Result<Holdings, Failed> {
    let dialect = hands.dialect;
    let began = std::time::Instant::now();
    let (spool, announced) = (hands.spool.clone(), tail.clone());
    if tail.transactions == 0 {
        return holdings(hands, session).await;
    }
    let servers = tokio::task::spawn_blocking(move || check(&spool, &have, &announced))
        .await
        .map_err(|error| Failed::Other(error.to_string()))?
        .map_err(Failed::Other)?;
    until_applied(hands, session, None, APPLY).await?;
    match dialect.0 {
        Flavour::Mariadb => session.run(&dialect.stop_replication(), SLOW).await?,
        Flavour::Mysql => free_half(hands, session).await?,
    }
    let way = if tail.bytes > SMALL && by_relay_file(hands, session, tail, &servers).await? {
        "as a relay file"
    } else {
        by_statements(hands, session).await?;
        "by statements"
    };
    session.run(&dialect.continue_behind_own_writes(), QUICK).await?;
    if position(hands, session).await?.executed.contains(&tail.set) != Ok(true) {
        return Err(Failed::Other(format!("{} was applied {way}, and is not executed", tail.set)));
    }
    tracing::info!(
        transactions = tail.transactions,
        bytes = tail.bytes,
        took_ms = began.elapsed().as_secs_f64() * 1e3,
        way,
        "the tail was applied"
    );
    holdings(hands, session).await
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
