//! The tail of a dead primary's binlog: read by the node beside it, applied by the candidate.

use std::path::PathBuf;

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Delivery, Transaction};
use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::steps::{Failed, free_half, holdings, until_applied};
use super::{Hands, QUICK, SLOW};
use crate::binlog;
use crate::server::Session;
use std::time::Duration;

/// What fits into one envelope, base64 and signature included.
const LIMIT: usize = 150 * 1024;
/// The own relay log is applied first, within this.
const APPLY: Duration = Duration::from_secs(20);

/// Reads what a dead server's binlog holds beyond `have`.
pub async fn deliver(index: Option<PathBuf>, flavour: Flavour, ballot: Ballot, have: GtidSet) -> Delivery {
    let refused = |note: String| Delivery { ballot: ballot.clone(), transactions: Vec::new(), complete: false, note };
    let Some(index) = index else { return refused("the binlog's place was never learned".to_owned()) };
    let read = tokio::task::spawn_blocking(move || binlog::missing(&index, flavour, &have, LIMIT)).await;
    match read {
        Ok(Ok(missing)) => {
            Delivery { ballot, transactions: missing.transactions, complete: missing.complete, note: missing.note }
        }
        Ok(Err(error)) => refused(error.to_string()),
        Err(error) => refused(error.to_string()),
    }
}

/// Applies transactions after everything that this server received itself.
pub(super) async fn apply(
    hands: &Hands,
    session: &mut Session,
    transactions: &[Transaction],
) -> Result<Holdings, Failed> {
    let dialect = hands.dialect;
    until_applied(hands, session, None, APPLY).await?;
    match dialect.0 {
        Flavour::Mariadb => session.run(&dialect.stop_replication(), SLOW).await?,
        Flavour::Mysql => {
            free_half(hands, session).await?;
            session.run(&dialect.half_open(), QUICK).await?;
        }
    }
    // The connection's variables are changed by what is applied: it is thrown away afterwards.
    let mut conn = session.lend(QUICK).await?;
    let applied = binlog::apply(&mut conn, dialect.0, transactions).await;
    drop(conn);
    session.close();
    session.run(&dialect.close(), QUICK).await?;
    applied.map_err(|error| Failed::Other(error.to_string()))?;
    session.run(&dialect.continue_behind_own_writes(), QUICK).await?;
    holdings(hands, session).await
}
