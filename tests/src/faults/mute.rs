//! Never two primaries: the old side acknowledges nothing any more when the new one begins.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::lab::server::Server;
use crate::lab::writer::{self, Attempt};

/// Which server acknowledged which write: each write holds the `server_id` that executed it.
pub type Executed = BTreeMap<u64, u32>;

/// Asks a server who executed the writes that it has.
///
/// # Errors
/// When it does not answer.
pub async fn executed(server: &Server) -> Result<Executed> {
    let mut found = Executed::new();
    for row in server.sql().named("SELECT id, writer FROM lab.writes").await? {
        let number = |name: &str| row.get(name).context("a column is missing");
        found.insert(number("id")?.parse()?, number("writer")?.parse::<u32>()? / writer::PER_SERVER);
    }
    Ok(found)
}

/// How long the old side had been mute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mute {
    /// Milliseconds from the last acknowledgement of the old side to the first one of the new side. Answers that crossed
    /// on their way to two clients can make it negative by little.
    pub before_ms: f64,
    /// Writes that began on the old side after the new one had acknowledged, and were acknowledged.
    pub late: usize,
}

/// Compares the acknowledgements of a server with those of all others, up to a moment. A write that is nowhere was
/// executed by nobody else than the old side. `None` when one of both acknowledged nothing.
#[must_use]
pub fn mute(log: &[Attempt], executed: &Executed, old: u32, until: Instant) -> Option<Mute> {
    let acknowledged = log.iter().filter(|attempt| attempt.acknowledged && attempt.end <= until);
    let (of_old, of_new): (Vec<&Attempt>, Vec<&Attempt>) =
        acknowledged.partition(|attempt| executed.get(&attempt.id).is_none_or(|server| *server == old));
    let opened = of_new.iter().map(|attempt| attempt.end).min()?;
    let last = of_old.iter().map(|attempt| attempt.end).max()?;
    let between = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    Some(Mute {
        before_ms: between(last, opened) - between(opened, last),
        late: of_old.iter().filter(|attempt| attempt.start > opened).count(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn attempt(base: Instant, id: u64, start_ms: u64, end_ms: u64) -> Attempt {
        let at = |ms| base + Duration::from_millis(ms);
        Attempt { id, start: at(start_ms), end: at(end_ms), acknowledged: true }
    }

    #[test]
    fn the_silence_is_from_the_last_answer_of_one_to_the_first_of_the_other() {
        let base = Instant::now();
        let log = [attempt(base, 1, 0, 10), attempt(base, 2, 12, 20), attempt(base, 3, 30, 95)];
        let executed = Executed::from([(1, 1), (2, 1), (3, 2)]);
        let found = mute(&log, &executed, 1, base + Duration::from_secs(1)).unwrap();
        assert_eq!(found, Mute { before_ms: 75.0, late: 0 });
    }

    #[test]
    fn an_answer_of_the_old_side_after_the_new_one_opened_is_found_also_when_the_write_is_lost() {
        let base = Instant::now();
        let log = [attempt(base, 1, 0, 10), attempt(base, 2, 20, 40), attempt(base, 3, 50, 60)];
        let executed = Executed::from([(1, 1), (2, 2)]);
        let found = mute(&log, &executed, 1, base + Duration::from_secs(1)).unwrap();
        assert_eq!((found.late, found.before_ms), (1, -20.0));
        assert_eq!(mute(&log[..1], &executed, 1, base + Duration::from_secs(1)), None);
    }
}
