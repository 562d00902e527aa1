//! Processes that end with the test, whatever happens to it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::waiting::until;

type Order = (Command, Sender<std::io::Result<Child>>);

/// The kernel kills a child when the *thread* that began it ends, so all are begun by one thread that never ends.
static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            drop(answer.send(command.spawn()));
        }
    });
    Mutex::new(orders)
});

/// A command that the kernel kills when this process dies.
#[must_use]
pub fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // A group of its own: an interrupt from the keyboard reaches the lab, which then ends its programs in order.
    command.args(["--pdeathsig", "KILL"]).arg(program).process_group(0);
    command
}

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts a program; both its outputs go to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let (answer, started) = channel();
        let orders = SPAWNER.lock().map_err(|_| anyhow!("the spawning thread is gone"))?;
        orders.send((command, answer))?;
        let child = started.recv()?.with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name: name.to_owned(), pid: child.id(), child: Some(child), log: log.to_owned() })
    }

    /// The process id; it stays known after the end.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL. Returns at once with the moment of the signal; the remains are collected beside.
    pub fn kill(&mut self) -> Instant {
        let moment = Instant::now();
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            thread::spawn(move || child.wait());
        }
        moment
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no pid")?;
        if self.child.is_none() {
            bail!("{} has ended", self.name);
        }
        kill_process(pid, signal).with_context(|| format!("{} cannot be signalled", self.name))
    }

    /// How it ended, if it did; a process that was killed here counts as ended without a status.
    pub fn ended(&mut self) -> Option<Option<ExitStatus>> {
        match &mut self.child {
            None => Some(None),
            Some(child) => child.try_wait().ok().flatten().map(Some),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn wait_end(&mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        let what = format!("the end of {}", self.name);
        until(&what, deadline, async || self.ended().context("it still runs")).await
    }

    /// Fails with the log's end when the process has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status:?}; its log says\n{}", self.name, tail(&self.log, 15)),
        }
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The last lines of a file.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("  {line}\n")).collect()
}

/// Runs a short command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than ten seconds.
pub fn run<S: AsRef<OsStr>>(words: &[S]) -> Result<String> {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "10"]).args(words).stdin(Stdio::null());
    let output = command.output().context("timeout cannot be started")?;
    if !output.status.success() {
        let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        bail!("`{}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
