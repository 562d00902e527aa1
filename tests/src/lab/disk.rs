//! A disk of a server's own: a file system in a file, which can hang.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

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

    /// Takes all the space that is left.
    ///
    /// # Errors
    /// When space is left nevertheless.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        // Down to the last block: what takes a megabyte at a time leaves one.
        for piece in [vec![1_u8; 1 << 20], vec![1; 4096]] {
            while ballast.write_all(&piece).is_ok() {}
        }
        ensure!(ballast.write_all(&[1; 4096]).is_err(), "there is space left on {}", self.folder.display());
        Ok(())
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// It goes on, and has space again.
    pub fn heal(&self) {
        // Of one that does not hang the kernel says so.
        drop(run(&["fsfreeze", "-u", &self.folder.to_string_lossy()]));
        // Not before: it would wait with everybody else. Most disks never had one.
        drop(std::fs::remove_file(self.ballast()));
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
