//! Relay files that a server itself does not know any more.
//!
//! A restarted MariaDB does not show what they hold, and deletes them as soon as its applier starts or its source changes.
//! They may be the last copy of what this server acknowledged: they are archived, and what they hold is applied from them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::observation::Received;

use super::steps::{Failed, channel, position};
use super::{Hands, QUICK, SLOW, archive};
use crate::binlog::{self, Applier, ApplyError, Unapplied};
use crate::facts;
use crate::server::Session;

/// No more is collected; and it is applied within this.
const LIMIT: usize = 64 << 20;
const APPLY: Duration = Duration::from_secs(20);

/// What a server holds whose received set is unknown, once its relay files were read: what they hold beyond what it executed
/// is applied. `None` if that cannot be done, which is told; its received set stays unknown.
pub(super) async fn settle(hands: &Hands, session: &mut Session, source: SocketAddr) -> Option<Holdings> {
    match read_and_apply(hands, session, source).await {
        Ok(holdings) => Some(holdings),
        Err(error) => {
            tracing::warn!(%error, "relay files from before the server's restart were not applied; it does not count");
            None
        }
    }
}

async fn read_and_apply(hands: &Hands, session: &mut Session, source: SocketAddr) -> Result<Holdings, Failed> {
    // Those of another source may hold what that source itself does not count any more.
    let from = channel(hands, session).await?.map(|channel| channel.source);
    if from != Some(source.into()) {
        return Err(Failed::Other(format!("they are not from {source}")));
    }
    let unapplied = read(hands, session).await?;
    if !unapplied.is_empty() {
        keep(hands, session).await?;
        if unapplied.transactions.len() < unapplied.count {
            return Err(Failed::Other(format!("they hold {unapplied}: more than {} MiB", LIMIT >> 20)));
        }
        apply(hands, session, &unapplied).await?;
        tracing::warn!(%unapplied, "relay files from before the server's restart were applied");
    }
    let executed = position(hands, session).await?.executed;
    Ok(Holdings { executed: executed.clone(), received: Received::Known { set: executed } })
}

async fn read(hands: &Hands, session: &mut Session) -> Result<Unapplied, Failed> {
    let row = session.row(&hands.dialect.relay_log_basename(), QUICK).await?;
    let told = |name: &str| row.get(name).map_or("", String::as_str);
    let index = facts::relay_index(told("basename"), told("index_file"));
    let index = index.ok_or_else(|| Failed::Other("the server does not tell where its relay files are".to_owned()))?;
    let (flavour, executed) = (hands.dialect.0, position(hands, session).await?.executed);
    tokio::task::spawn_blocking(move || binlog::unapplied(&index, flavour, &executed, LIMIT))
        .await
        .map_err(|error| Failed::Other(error.to_string()))?
        .map_err(|error| Failed::Other(error.to_string()))
}

async fn apply(hands: &Hands, session: &mut Session, unapplied: &Unapplied) -> Result<(), Failed> {
    let dialect = hands.dialect;
    // Stopping deletes nothing.
    session.run(&dialect.stop_replication(), SLOW).await?;
    // The connection's variables are changed by what is applied: it is thrown away afterwards.
    let mut applier = Applier::new(session.lend(QUICK).await?, dialect.0);
    let all = async {
        for transaction in &unapplied.transactions {
            applier.apply(transaction).await?;
        }
        Ok::<_, ApplyError>(())
    };
    let applied = tokio::time::timeout(APPLY, all).await;
    drop(applier);
    session.close();
    applied
        .map_err(|_| Failed::Other(format!("{unapplied} were not applied within {APPLY:?}")))?
        .map_err(|error| Failed::Other(error.to_string()))?;
    session.run(&dialect.continue_behind_own_writes(), QUICK).await?;
    Ok(())
}

/// Archives the relay files before the server's threads may delete them.
pub(super) async fn keep(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let row = session.row(&hands.dialect.relay_log_basename(), QUICK).await?;
    let basename = PathBuf::from(row.get("basename").map_or("", String::as_str));
    let archive = hands.archive.clone();
    let kept = tokio::task::spawn_blocking(move || archive::keep(&basename, &archive))
        .await
        .map_err(|error| Failed::Other(error.to_string()))?
        .map_err(|error| Failed::Other(format!("its relay files cannot be archived: {error}")))?;
    if let Some(folder) = kept {
        tracing::warn!(folder = %Path::display(&folder), "relay files that were never applied are archived");
    }
    Ok(())
}
