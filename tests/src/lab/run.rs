//! A run: its folder, and its own block of loopback addresses.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;
use tracing_subscriber::EnvFilter;

use super::tools;

/// The port by which a run holds its block of addresses.
const HOLDING_PORT: u16 = 7777;

/// A run's folder. It is removed at the end, and kept for people when a test failed.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    block: u8,
    keep: AtomicBool,
    _holder: TcpListener,
    _turn: Option<fs::File>,
}

impl Run {
    /// A new run. With `alone` it waits until no other such run is under way on this machine: tests that measure
    /// time take turns, whatever threads and binaries they are in.
    ///
    /// # Errors
    /// When no folder or no block of addresses is to be had.
    pub fn begin(alone: bool) -> Result<Self> {
        tell();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = if alone { Some(take_turn()?) } else { None };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tasuki-{}-{count}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (block, holder) = hold_block()?;
        Ok(Self {
            folder,
            block,
            keep: AtomicBool::new(std::env::var_os("TASUKI_KEEP").is_some()),
            _holder: holder,
            _turn: turn,
        })
    }

    /// The folder of all files of the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A sub-folder, made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn sub(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The loopback address of the host with this number, from 1 on.
    #[must_use]
    pub fn loopback(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.block, host)
    }

    /// Keeps the folder for people after the end.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// A short name that no other run has now.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("tsk{}", self.block)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if thread::panicking() || self.keep.load(Ordering::Relaxed) {
            tracing::warn!(folder = %self.folder.display(), "the run's folder is kept");
        } else if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "the run's folder cannot be removed");
        }
    }
}

/// Shows what the lab does: warnings, or whatever `RUST_LOG` asks for.
fn tell() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

fn take_turn() -> Result<fs::File> {
    let cache = tools::cache()?;
    fs::create_dir_all(&cache)?;
    let file = fs::File::create(cache.join("lab.lock"))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).context("cannot wait for other runs")?;
    Ok(file)
}

fn hold_block() -> Result<(u8, TcpListener)> {
    let first = process::id() % 250;
    for step in 0..250 {
        let block = u8::try_from((first + step) % 250 + 1)?;
        if let Ok(holder) = TcpListener::bind((Ipv4Addr::new(127, 77, block, 254), HOLDING_PORT)) {
            return Ok((block, holder));
        }
    }
    bail!("all 250 blocks of loopback addresses are taken: end other runs")
}
