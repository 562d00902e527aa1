//! The tail of a dead primary's binlog, applied by the candidate: as a relay file where that can be put into its data
//! directory, otherwise statement by statement.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
/// A backlog that takes longer than this is told at once.
const BRIEF: Duration = Duration::from_millis(10);
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
    let applied = timeout(limit, apply_all(hands, session, id, have, tail)).await;
    if let Err(error) = tokio::fs::remove_file(&hands.spool).await {
        tracing::debug!(%error, "the spooled tail was not removed");
    }
    applied.unwrap_or_else(|_| Err(Failed::Other(format!("the tail was not applied within {limit:?}"))))
}

/// Tells how far a part of the work is until it ends.
struct Telling<'a> {
    hands: &'a Hands,
    id: EffectId,
    began: Instant,
    /// When the next part is told first.
    first: Duration,
}

impl Telling<'_> {
    async fn during<T>(&self, what: &str, backlog: bool, work: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.tell(what, backlog) => Err(Failed::Other("the node ends".to_owned())),
        }
    }

    /// Ends only with the node.
    async fn tell(&self, what: &str, backlog: bool) {
        let mut pause = self.first;
        loop {
            tokio::time::sleep(pause).await;
            pause = TELL;
            let step = format!("{what} for {} ms", self.began.elapsed().as_millis());
            let going = Progress::Going { step, backlog };
            if self.hands.inputs.send(Input::Progressed(self.id, going)).await.is_err() {
                return;
            }
        }
    }
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
    let what = format!("applying {} transactions, {} bytes,", tail.transactions, tail.bytes);
    let mut telling = Telling { hands, id, began, first: TELL };
    let checking = tokio::task::spawn_blocking(move || check(&spool, &have, &announced));
    let servers = telling.during(&what, false, checking).await?;
    let servers = servers.map_err(|error| Failed::Other(error.to_string()))?.map_err(Failed::Other)?;
    telling.first = BRIEF;
    let own = "applying what it had received itself";
    telling.during(own, true, until_applied(hands, session, None, APPLY)).await??;
    // Whoever was told of a backlog hears at once that it is done.
    telling.first = if began.elapsed() > BRIEF { Duration::ZERO } else { TELL };
    let way = telling.during(&what, false, apply_tail(hands, session, tail, &servers)).await??;
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
