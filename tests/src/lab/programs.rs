//! Nodes and coordinators, as processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::config::Files;
use super::net::Net;
use super::process::{Process, tail};
use super::run::Run;
use super::tools;

/// The longest that a birth may take.
const BIRTH: Duration = Duration::from_secs(20);

/// A program with its configuration, running or not.
#[derive(Debug)]
pub struct Program {
    name: String,
    net: Arc<Net>,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    state: PathBuf,
    process: Option<Process>,
}

impl Program {
    /// A node on the host of its name.
    ///
    /// # Errors
    /// When it is not built.
    pub fn node(run: &Run, net: &Arc<Net>, files: &Files, name: &str) -> Result<Self> {
        Self::new(run, net, files, name, "tasuki-node")
    }

    /// A coordinator on the host of its name.
    ///
    /// # Errors
    /// When it is not built.
    pub fn coordinator(run: &Run, net: &Arc<Net>, files: &Files, name: &str) -> Result<Self> {
        Self::new(run, net, files, name, "tasuki-coordinator")
    }

    fn new(run: &Run, net: &Arc<Net>, files: &Files, name: &str, binary: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            net: Arc::clone(net),
            binary: tools::built(binary)?,
            config: files.local(name),
            state: files.state(name),
            log: run.sub("logs")?.join(format!("{name}.log")),
            process: None,
        })
    }

    /// Starts it (again).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        self.process = None;
        let mut command = self.command()?;
        command.arg("--config").arg(&self.config);
        self.process = Some(Process::start(&self.name, command, &self.log)?);
        Ok(())
    }

    /// Fails with the log's end if it has ended.
    ///
    /// # Errors
    /// When it does not run.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.as_mut().with_context(|| format!("{} is not started", self.name))?.check_running()
    }

    /// SIGKILL, and when.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill9(&mut self) -> Result<Instant> {
        let mut process = self.process.take().with_context(|| format!("{} is not running", self.name))?;
        Ok(process.kill())
    }

    /// Freezes it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end, as a service manager would.
    ///
    /// # Errors
    /// When it is not running, or does not end within ten seconds.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let mut process = self.process.take().context("not running")?;
        process.wait_end(Duration::from_secs(10)).await.map(|_| ())
    }

    /// Runs `init CLUSTER` of this coordinator to its end.
    ///
    /// # Errors
    /// When the birth is refused; the text is what the program said.
    pub async fn init(&self, cluster: &str) -> Result<()> {
        let mut command = self.command()?;
        command.args(["init", cluster, "--config"]).arg(&self.config);
        let log = self.log.with_file_name(format!("init-{cluster}.log"));
        let mut process = Process::start("init", command, &log)?;
        match process.wait_end(BIRTH).await? {
            Some(status) if status.success() => Ok(()),
            status => bail!("init {cluster} ended with {status:?}:\n{}", tail(&log, 20)),
        }
    }

    /// Runs another command of this program to its end, and returns what it said.
    ///
    /// # Errors
    /// When it fails; the text is what the program said.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command()?;
        command.args(arguments).arg("--config").arg(&self.config);
        let word = arguments.first().copied().unwrap_or_default();
        let log = self.log.with_file_name(format!("{word}-{}.log", self.name));
        let mut process = Process::start(word, command, &log)?;
        match process.wait_end(BIRTH).await? {
            Some(status) if status.success() => Ok(tail(&log, 20)),
            status => bail!("{arguments:?} ended with {status:?}:\n{}", tail(&log, 20)),
        }
    }

    /// The pid of the running process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its name, and its host's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of what must outlive it.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// All that it said.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn command(&self) -> Result<Command> {
        let mut command = self.net.command(&self.name, &self.binary)?;
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info");
        }
        Ok(command)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().with_context(|| format!("{} is not running", self.name))?.signal(signal)
    }
}
