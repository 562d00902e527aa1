//! The hosts' wall clocks: each may be set, without anything on this machine noticing. A library that is loaded before
//! every program's own answers for it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::run::Run;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/clock.c");

/// The clocks of the hosts of a lab.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    /// Clocks that agree with the machine's.
    ///
    /// # Errors
    /// When the library cannot be compiled.
    pub fn build(run: &Run, hosts: &[String]) -> Result<Self> {
        let folder = run.sub("clocks")?;
        let library = folder.join("clock.so");
        let compiled = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(SOURCE).output()?;
        ensure!(compiled.status.success(), "{SOURCE}: {}", String::from_utf8_lossy(&compiled.stderr));
        let clocks = Self { library, folder };
        hosts.iter().try_for_each(|host| clocks.set(host, 0))?;
        Ok(clocks)
    }

    /// Sets a host's clock to so many seconds after the machine's.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn set(&self, host: &str, seconds: i64) -> Result<()> {
        // Written in place: the programs look at the same page.
        let file = File::options().create(true).write(true).truncate(false).open(self.folder.join(host));
        let file = file.with_context(|| format!("the clock of {host}"))?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// Lets a program see its host's clock.
    pub(super) fn show(&self, host: &str, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("TASUKI_LAB_CLOCK", self.folder.join(host));
    }
}
