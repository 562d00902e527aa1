//! Copies of a dead server's binlog files, while an attempt needs them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tasuki_binlog::{Kept, deliver};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Delivery, Fetch};
use tasuki_schemas::gtid::Flavour;

/// A folder that nobody else may look into. Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it anew, and what is above it. What an earlier run left there is removed.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        clear(&path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The list of the copies.
    pub(super) fn index(&self) -> PathBuf {
        self.0.join("copies.index")
    }

    /// Where the copy of a file belongs. Files of several folders may have one name.
    pub(super) fn copy_of(&self, number: usize, file: &str) -> PathBuf {
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
        self.0.join(format!("{number}-{name}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "copies of a dead server's binlog were not removed");
        }
    }
}

/// Removes a folder, if it is there.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What one attempt read, for the candidate that asks for it.
#[derive(Debug)]
pub(super) struct Copies {
    ballot: Ballot,
    flavour: Flavour,
    folder: Folder,
    kept: Kept,
}

impl Copies {
    pub(super) fn new(ballot: Ballot, flavour: Flavour, folder: Folder) -> Self {
        Self { ballot, flavour, folder, kept: Kept::default() }
    }

    /// The attempt.
    pub(super) const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Reads the pieces that a candidate asks for.
    pub(super) async fn deliver(&self, fetch: Fetch) -> Vec<Delivery> {
        deliver(Some(self.folder.index()), self.flavour, &self.kept, fetch).await
    }
}
