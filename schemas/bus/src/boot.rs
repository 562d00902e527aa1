//! Which run of this program it is: a counter in the state directory, and a random number.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tasuki_schemas::id::{Boot, BootId};

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

/// A random number of the system's.
///
/// # Errors
/// [`BootError::Random`]
pub fn random() -> Result<u64, BootError> {
    getrandom::u64().map_err(BootError::Random)
}
