//! How long this disk takes to make a promise durable, measured before anybody depends on it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tasuki_schemas::lease::ANSWER;

use crate::ledger::{Ledger, LedgerError};

/// How many writes are timed: enough for a 99th percentile, over in a second on a sound disk.
const WRITES: u64 = 200;
/// As long as a record with three servers.
const PAYLOAD: [u8; 4096] = [b' '; 4096];

/// Why the disk is not fit for a ledger.
#[derive(Debug, thiserror::Error)]
pub enum PaceError {
    /// The state directory cannot be used.
    #[error("state_dir {path}: {source}; create it, and let the node's user write there")]
    Place {
        /// The directory.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// The disk refused a write.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Promises would take too long.
    #[error(
        "making a promise durable takes {} ms in one of a hundred cases, and may take {} ms: put state_dir on another disk than the database's",
        .p99.as_millis(), ANSWER.as_millis()
    )]
    Slow {
        /// What was measured.
        p99: Duration,
    },
}

/// How long one durable write takes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Half of all writes are quicker.
    pub median: Duration,
    /// One of a hundred is slower.
    pub p99: Duration,
}

/// Writes to a ledger of its own in the state directory, as promises would, and removes it again. Blocks.
///
/// # Errors
/// [`PaceError::Place`] or [`PaceError::Ledger`]
pub fn measure(state_dir: &Path) -> Result<Pace, PaceError> {
    let place = |source| PaceError::Place { path: state_dir.display().to_string(), source };
    fs::create_dir_all(state_dir).map_err(place)?;
    let scratch = state_dir.join(format!("ledger-measured-{}", std::process::id()));
    let times = timed(&scratch);
    fs::remove_file(&scratch).map_err(place)?;
    let mut times = times?;
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    Ok(Pace { median: at(50), p99: at(99) })
}

impl Pace {
    /// Whether the disk may hold a voter's memory.
    ///
    /// # Errors
    /// [`PaceError::Slow`]
    pub fn checked(self) -> Result<Self, PaceError> {
        if self.p99 > ANSWER { Err(PaceError::Slow { p99: self.p99 }) } else { Ok(self) }
    }
}

fn timed(file: &Path) -> Result<Vec<Duration>, LedgerError> {
    let (mut ledger, _) = Ledger::open(file)?;
    let write = |sequence| {
        let begun = Instant::now();
        ledger.write(sequence, &PAYLOAD).map(|()| begun.elapsed())
    };
    (1..=WRITES).map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_measured_and_left_as_it_was() {
        let folder = std::env::temp_dir().join(format!("tasuki-pace-{}", std::process::id()));
        let pace = measure(&folder).unwrap();
        assert!(pace.median > Duration::ZERO && pace.median <= pace.p99, "{pace:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
        let file = std::env::temp_dir().join(format!("tasuki-pace-file-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        assert!(matches!(measure(&file), Err(PaceError::Place { .. })));
        fs::remove_file(&file).unwrap();
        let slow = Pace { median: Duration::from_millis(1), p99: Duration::from_millis(301) };
        assert!(slow.checked().unwrap_err().to_string().contains("takes 301 ms in one of a hundred cases"));
    }
}
