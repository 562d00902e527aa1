//! A disk of a server's own: a file system in a file, which can hang.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::process::run;

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Makes a file system of so many megabytes in the file `image`, and mounts it.
    ///
    /// # Errors
    /// When it cannot be mounted, as by all but root.
    pub fn mount(image: &Path, folder: &Path, megabytes: u32) -> Result<Self> {
        File::create(image)?.set_len(u64::from(megabytes) << 20)?;
        let (image, path) = (image.to_string_lossy(), folder.to_string_lossy());
        run(&["mkfs.ext4", "-q", "-F", "-m", "0", &image])?;
        run(&["mount", "-o", "loop", &image, &path]).context("a disk of its own needs root and loop devices")?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// From now on nothing that writes to it comes back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hang(&self) -> Result<()> {
        run(&["fsfreeze", "-f", &self.folder.to_string_lossy()]).map(|_| ())
    }

    /// It goes on.
    pub fn heal(&self) {
        // Of one that does not hang the kernel says so.
        drop(run(&["fsfreeze", "-u", &self.folder.to_string_lossy()]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let folder = self.folder.to_string_lossy();
        drop(run(&["fsfreeze", "-u", &folder]));
        // Lazily: its server may still be ending.
        if let Err(error) = run(&["umount", "-l", &folder]) {
            tracing::warn!(%error, "a disk cannot be unmounted");
        }
    }
}
