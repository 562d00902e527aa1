//! The steps of a drill: something was broken; does writing go on, is everything there, is the cluster whole again?

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tasuki_schemas::gtid::Flavour;

use super::cluster::{Cluster, Lab};
use super::history;
use super::sql::Sql;
use super::waiting::until;
use super::writer::{Attempt, Writers};

/// The longest wait for writing to go on; what is too long for a test is told by the gap.
const RECOVERY: Duration = Duration::from_secs(30);
/// The longest wait for a cluster to be whole again.
const WHOLE: Duration = Duration::from_secs(60);
/// Between two looks at a server that came back.
const LOOK: Duration = Duration::from_millis(30);
/// The last acknowledgement before a fault is looked for in this time.
const BEFORE: Duration = Duration::from_secs(10);
/// A gap that a fault makes begins within this time.
const AFTER: Duration = Duration::from_secs(1);

/// The longest gap after a crash. A test asks for correctness on a machine that may be busy; the demo measures.
#[must_use]
pub const fn crash_limit(flavour: Flavour) -> Duration {
    match flavour {
        Flavour::Mariadb => Duration::from_millis(1500),
        Flavour::Mysql => Duration::from_millis(2500),
    }
}

/// Lets the writers write so many more.
///
/// # Errors
/// When they do not within the time that recovery may take.
pub async fn acknowledged(writers: &Writers, more: u64) -> Result<()> {
    let goal = writers.acknowledged() + more;
    until("acknowledged writes", RECOVERY, async || {
        let found = writers.acknowledged();
        ensure!(found >= goal, "{} are missing", goal - found);
        Ok(())
    })
    .await
}

/// Waits until another server than `old` is the primary and writes that began after the fault are acknowledged.
/// Returns its name.
///
/// # Errors
/// When that takes longer than half a minute.
pub async fn taken_over(cluster: &Cluster, writers: &Writers, old: &str, fault: Instant) -> Result<String> {
    let new = cluster.wait_primary_other_than(old, RECOVERY).await?;
    until("an acknowledged write", RECOVERY, async || {
        let fresh = |attempt: &Attempt| attempt.acknowledged && attempt.start > fault;
        ensure!(writers.since(fault).iter().any(fresh), "none since the fault");
        Ok(())
    })
    .await?;
    Ok(new)
}

/// The longest silence of the writers around a fault.
///
/// # Errors
/// When nothing was acknowledged since.
pub fn gap(writers: &Writers, fault: Instant) -> Result<Duration> {
    between(writers, fault, fault + AFTER)
}

/// The longest silence of the writers since a moment; the one that it fell in counts whole.
///
/// # Errors
/// When nothing was acknowledged since.
pub fn longest_gap(writers: &Writers, since: Instant) -> Result<Duration> {
    between(writers, since, Instant::now())
}

fn between(writers: &Writers, from: Instant, until: Instant) -> Result<Duration> {
    let log = writers.since(from.checked_sub(BEFORE).unwrap_or(from));
    history::gap(&log, from, until).context("no write was acknowledged since")
}

/// Starts a server that had ended, and waits until the cluster is whole. Until then, nobody may write to that server.
///
/// # Errors
/// When it was writable at any look, or does not follow in time.
pub async fn brought_back(cluster: &mut Cluster, name: &str) -> Result<()> {
    let server = cluster.server_mut(name)?;
    server.start()?;
    server.ready().await?;
    let cluster = &*cluster;
    let returned = cluster.server(name)?.sql();
    let mut opened = false;
    let mut whole = std::pin::pin!(cluster.wait_whole(WHOLE));
    let primary = loop {
        tokio::select! {
            ended = &mut whole => break ended?,
            closed = looked_at(&returned) => opened |= closed? != "1",
        }
    };
    ensure!(primary != name, "{name} became the primary again");
    ensure!(!opened, "{name} was writable while it came back");
    Ok(())
}

/// Whether a server is closed; not asked so often that the asking makes it slow.
async fn looked_at(server: &Sql) -> Result<String> {
    tokio::time::sleep(LOOK).await;
    server.value("SELECT @@read_only = 1").await
}

/// Asks the coordinator that leads for a switchover of the first cluster, and returns what it says.
///
/// # Errors
/// What the coordinator says when it refuses.
pub async fn switchover(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let (Some(cluster), [first, second, ..]) = (lab.clusters.first(), lab.coordinators.as_slice()) else {
        bail!("this needs a cluster and two coordinators");
    };
    let mut all = vec!["switchover", &cluster.name, "--by", "ann", "--reason", "new kernel"];
    all.extend(arguments);
    match first.run(&all).await {
        Err(error) if format!("{error:#}").contains("ask there") => second.run(&all).await,
        other => other,
    }
}

/// Every write that was acknowledged to any of these writers is on the primary, and no write is there twice.
///
/// # Errors
/// Names what is lost or doubled.
pub async fn all_there(cluster: &Cluster, writers: &[&Writers]) -> Result<usize> {
    let log: Vec<Attempt> = writers.iter().flat_map(|writers| writers.log()).collect();
    let primary = cluster.primary().await?;
    let found = history::check(&cluster.server(&primary)?.sql(), &log, 0).await?;
    ensure!(found.lost.is_empty(), "acknowledged, but not on {primary}: {:?}", found.lost);
    ensure!(found.doubled.is_empty(), "more than once on {primary}: {:?}", found.doubled);
    Ok(found.acknowledged)
}

/// So many seconds ahead, as an operator states a time.
///
/// # Errors
/// When `date` does not run.
pub fn ahead(seconds: u32) -> Result<String> {
    let words = ["-u", "-d", &format!("{seconds} seconds"), "+%Y-%m-%dT%H:%M:%SZ"];
    let output = Command::new("date").args(words).output().context("date")?;
    ensure!(output.status.success(), "date: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
