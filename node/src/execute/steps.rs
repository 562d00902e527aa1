//! Steps that several effects share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::observation::{Position, Replication, Thread};

use super::{Hands, QUICK};
use crate::facts::{self, Misread};
use crate::server::{ServerError, Session};

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Misread(#[from] Misread),
    #[error(transparent)]
    Cut(#[from] crate::cut::CutError),
    #[error("{0}")]
    Other(String),
}

/// Polling of a state that changes within milliseconds.
pub(crate) const SOON: Duration = Duration::from_millis(1);

pub(crate) async fn position(hands: &Hands, session: &mut Session) -> Result<Position, Failed> {
    let tables = session.tables(&hands.dialect.sets(), QUICK).await?;
    Ok(facts::position(&hands.me, hands.dialect.0, &tables)?)
}

pub(crate) async fn holdings(hands: &Hands, session: &mut Session) -> Result<Holdings, Failed> {
    let position = position(hands, session).await?;
    Ok(Holdings { executed: position.executed, received: position.received })
}

/// The channel as it is now; `None` if the server follows nobody.
pub(crate) async fn channel(hands: &Hands, session: &mut Session) -> Result<Option<Replication>, Failed> {
    let tables = session.tables(&hands.dialect.probe(), QUICK).await?;
    let row = tables.get(1).and_then(|table| table.first());
    Ok(row.and_then(|row| facts::replication(row, 0)))
}

/// The channel, and whether its source has begun to send, if only by naming its file: a receiver that runs may be refused yet.
pub(crate) async fn reception(hands: &Hands, session: &mut Session) -> Result<(Option<Replication>, bool), Failed> {
    let tables = session.tables(&hands.dialect.probe(), QUICK).await?;
    let Some(row) = tables.get(1).and_then(|table| table.first()) else { return Ok((None, false)) };
    Ok((facts::replication(row, 0), facts::names_file(row)))
}

/// The receiver's state, and a mark that changes with every arrival.
pub(crate) async fn arrivals(hands: &Hands, session: &mut Session) -> Result<(Thread, String), Failed> {
    let tables = session.tables(&hands.dialect.probe(), QUICK).await?;
    let Some(row) = tables.get(1).and_then(|table| table.first()) else { return Ok((Thread::Stopped, String::new())) };
    let state = facts::replication(row, 0).map_or(Thread::Stopped, |channel| channel.receiver);
    Ok((state, facts::arrival_mark(row, None)))
}

/// Everything whole was applied and nothing more will come: whoever still holds a transaction holds half of one, and is
/// killed: stopping the applier would wait a minute for the rest. Seen in several looks, since a thread that just committed
/// shows its transaction for a moment.
pub(crate) async fn free_half(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    const LOOKS: u32 = 4;
    const GONE: Duration = Duration::from_millis(500);
    let Some(sql) = hands.dialect.holders() else { return Ok(()) };
    let began = Instant::now();
    let (mut same, mut last) = (0, BTreeSet::new());
    loop {
        let tables = session.tables(sql, QUICK).await?;
        let ids = tables.iter().flatten().filter_map(|row| row.get("id")).filter_map(|id| id.parse::<u64>().ok());
        let ids: BTreeSet<u64> = ids.collect();
        if ids.is_empty() {
            return Ok(());
        }
        same = if ids == last { same + 1 } else { 1 };
        if same == LOOKS {
            tracing::warn!(?ids, "an applier thread holds half a transaction; it is killed");
            for id in &ids {
                // The coordinating thread ends with its worker, and the other way round.
                match session.run(&hands.dialect.kill(*id), QUICK).await {
                    Err(error) if !error.has_no_thread() => return Err(error.into()),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        if began.elapsed() > GONE {
            return Err(Failed::Other(format!("applier threads {ids:?} hold half a transaction and do not end")));
        }
        last = ids;
        tokio::time::sleep(SOON).await;
    }
}

/// Waits until the receiver is in one of the wanted states.
pub(crate) async fn until_receiver(
    hands: &Hands,
    session: &mut Session,
    patience: Duration,
    wanted: impl Fn(Thread) -> bool,
) -> Result<bool, Failed> {
    let began = Instant::now();
    loop {
        let state = channel(hands, session).await?.map_or(Thread::Stopped, |channel| channel.receiver);
        if wanted(state) {
            return Ok(true);
        }
        if began.elapsed() >= patience {
            return Ok(false);
        }
        tokio::time::sleep(SOON).await;
    }
}

/// Waits until everything that was received is executed, and the goal with it. Patience is with a server that applies nothing:
/// how much is left is the shown number of transactions.
pub(crate) async fn until_applied(
    hands: &Hands,
    session: &mut Session,
    goal: Option<&GtidSet>,
    patience: Duration,
    left: &AtomicU64,
) -> Result<(), Failed> {
    let mut moved = Instant::now();
    loop {
        let position = position(hands, session).await?;
        let goal = goal.or_else(|| position.received.known());
        let missing = goal.and_then(|goal| goal.subtract(&position.executed).ok()).map_or(0, |missing| missing.count());
        if goal.is_none_or(|goal| position.executed.contains(goal) == Ok(true)) {
            return Ok(());
        }
        if left.swap(missing, Ordering::Relaxed) != missing {
            moved = Instant::now();
        }
        if moved.elapsed() >= patience {
            let goal = goal.map(ToString::to_string).unwrap_or_default();
            return Err(Failed::Other(format!(
                "{} was executed of {goal}, and nothing more in {patience:?}",
                position.executed
            )));
        }
        tokio::time::sleep(SOON).await;
    }
}
