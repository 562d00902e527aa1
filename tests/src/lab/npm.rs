//! Programs that run on node: their packages are installed once per machine, from a checked-in lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tools;

/// Copies the files of `source` into the cache and installs what their lock file names, unless it was before. Returns the
/// folder.
///
/// # Errors
/// When npm is missing or its registry is not reached.
pub fn installed(source: &Path) -> Result<PathBuf> {
    let name = source.file_name().context("a folder without a name")?;
    installed_at(source, &tools::cache()?.join(name))
}

/// The same, at a place in the cache.
///
/// # Errors
/// When npm is missing or its registry is not reached.
pub fn installed_at(source: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).unwrap_or_default();
    // What npm wrote last, when it was done.
    let done = folder.join("node_modules/.package-lock.json");
    let same = done.exists() && lock(source) == lock(folder);
    copied(source, folder)?;
    if !same {
        let npm = tools::program("npm")?;
        let ended = Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "npm ci failed in {}: is the npm registry reached?\n{said}", folder.display());
    }
    Ok(folder.to_owned())
}

/// Copies files and folders, but what npm and builds make.
fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if ["node_modules", "dist", "generated"].iter().any(|made| name == *made) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
