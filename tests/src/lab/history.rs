//! What became of the writes: the only judge of a failover.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::sql::Sql;
use super::writer::Attempt;

/// The check of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Ids that were acknowledged and are not there.
    pub lost: Vec<u64>,
    /// Ids that are there more than once.
    pub doubled: Vec<u64>,
}

/// Compares the writers' log with a server's table, from the id `first` on.
///
/// # Errors
/// When the server does not answer.
pub async fn check(server: &Sql, log: &[Attempt], first: u64) -> Result<History> {
    let question = format!("SELECT id, COUNT(*) AS found FROM lab.writes WHERE id >= {first} GROUP BY id");
    let mut found = BTreeMap::new();
    for row in server.named(&question).await? {
        let number = |name: &str| -> Result<u64> { Ok(row.get(name).context("a column is missing")?.parse()?) };
        found.insert(number("id")?, number("found")?);
    }
    let acknowledged = log.iter().filter(|attempt| attempt.acknowledged && attempt.id >= first);
    let acknowledged: Vec<u64> = acknowledged.map(|attempt| attempt.id).collect();
    Ok(History {
        acknowledged: acknowledged.len(),
        lost: acknowledged.into_iter().filter(|id| !found.contains_key(id)).collect(),
        doubled: found.into_iter().filter(|&(_, count)| count > 1).map(|(id, _)| id).collect(),
    })
}

/// The longest time without any acknowledgement that ended after `fault` and began before `until`; `None` when
/// nothing was acknowledged after the fault.
#[must_use]
pub fn gap(log: &[Attempt], fault: Instant, until: Instant) -> Option<Duration> {
    let mut acknowledged: Vec<Instant> =
        log.iter().filter(|attempt| attempt.acknowledged).map(|attempt| attempt.end).collect();
    acknowledged.sort_unstable();
    acknowledged
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] if *after >= fault && *before <= until => Some(after.duration_since(*before)),
            _ => None,
        })
        .max()
}

/// Acknowledgements a second between two moments.
#[must_use]
pub fn rate(log: &[Attempt], from: Instant, to: Instant) -> f64 {
    let inside = log.iter().filter(|attempt| attempt.acknowledged && from <= attempt.end && attempt.end < to).count();
    let inside = u32::try_from(inside).map_or(f64::MAX, f64::from);
    inside / to.duration_since(from).as_secs_f64().max(0.001)
}
