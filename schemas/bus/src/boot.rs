//! Which run of this program it is: a counter in the state directory, and a random number.

use std::fs::{self, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tasuki_schemas::id::{Boot, BootId};

/// Others hold the counter for a few syncs of a disk.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// Why a run has no number.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The counter cannot be read or written.
    #[error("{}: {error}; make the state directory writable for this program", path.display())]
    Io {
        /// The counter's file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// Another program does not let go of the counter.
    #[error("{}: another program has held it for {PATIENCE:?}; end the one that hangs", path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
    },
    /// The counter is no number.
    #[error("{}: {text:?} is no number; remove the file if it was damaged", path.display())]
    Malformed {
        /// The counter's file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// The system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Counts this start, durably, and draws its random number.
///
/// # Errors
/// [`BootError`] names the file and the fix.
pub fn count(state_dir: &Path) -> Result<Boot, BootError> {
    let path = state_dir.join("starts");
    let io = |error| BootError::Io { path: path.clone(), error };
    fs::create_dir_all(state_dir).map_err(io)?;
    // A command may be called while the program itself starts: each counts.
    let _alone = alone(state_dir.join("starts.lock"))?;
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| BootError::Malformed { path: path.clone(), text })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0_u64,
        Err(error) => return Err(io(error)),
    };
    // The wall clock only helps a program whose state directory was emptied: it must not look older than its former runs.
    let start = (before + 1).max(crate::clock::wall_ms() / 1000);
    let fresh = state_dir.join("starts.new");
    let mut file = fs::File::create(&fresh).map_err(io)?;
    writeln!(file, "{start}").and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&fresh, &path).map_err(io)?;
    fs::File::open(state_dir).and_then(|directory| directory.sync_all()).map_err(io)?;
    Ok(Boot { start, random: BootId(random()?) })
}

/// Holds the counter until it is dropped.
fn alone(path: PathBuf) -> Result<fs::File, BootError> {
    let file = fs::File::create(&path).map_err(|error| BootError::Io { path: path.clone(), error })?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
            Err(TryLockError::WouldBlock) => return Err(BootError::Held { path }),
            Err(TryLockError::Error(error)) => return Err(BootError::Io { path, error }),
        }
    }
}

/// A random number of the system's.
///
/// # Errors
/// [`BootError::Random`]
pub fn random() -> Result<u64, BootError> {
    getrandom::u64().map_err(BootError::Random)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// As `tasuki-coordinator init` does beside a coordinator that has just been started.
    #[test]
    fn programs_that_start_at_the_same_moment_have_different_numbers() {
        let folder =
            std::env::temp_dir().join(format!("tasuki-starts-{}-{:016x}", std::process::id(), random().unwrap()));
        let starts: BTreeSet<u64> = std::thread::scope(|scope| {
            let counting: Vec<_> = (0..8).map(|_| scope.spawn(|| count(&folder).unwrap().start)).collect();
            counting.into_iter().map(|counted| counted.join().unwrap()).collect()
        });
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(starts.len(), 8, "{starts:?}");
    }
}
