//! A disk of a server's own: a file system in a file, which can hang and be full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::process::run;

/// What a full disk is filled with.
const FILLER: &str = "filler";

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

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// When it cannot be written to for another reason.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.folder.join(FILLER))?;
        let mut part = vec![0_u8; 1 << 20];
        while !part.is_empty() {
            match file.write(&part) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) => {
                    part.truncate(part.len() / 2)
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// It goes on, and has room again.
    ///
    /// # Errors
    /// When it still hangs.
    pub fn heal(&self) -> Result<()> {
        // Of one that does not hang the kernel says so.
        drop(run(&["fsfreeze", "-u", &self.folder.to_string_lossy()]));
        match fs::remove_file(self.folder.join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
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
