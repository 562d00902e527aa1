//! A Redis server without persistence: what it forgets, it forgets.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::net::Net;
use super::process::Process;
use super::run::Run;
use super::tools;
use super::waiting::until;

/// The longest that Redis may take to answer.
const START: Duration = Duration::from_secs(10);

/// One Redis server, running or not.
#[derive(Debug)]
pub struct Redis {
    host: String,
    net: Arc<Net>,
    address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Redis {
    /// Starts a Redis on a host and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not answer.
    pub async fn begin(run: &Run, net: &Arc<Net>, host: &str) -> Result<Self> {
        let address = SocketAddr::from((net.ip(host)?, net.port(host, 6379)?));
        let mut this =
            Self { host: host.to_owned(), net: Arc::clone(net), address, folder: run.sub(host)?, process: None };
        // Debian's client package carries the whole server: the name that it is called by decides.
        drop(fs::remove_file(this.program()));
        symlink(tools::program("redis-check-rdb")?, this.program())?;
        this.start().await?;
        Ok(this)
    }

    /// Starts it (again), empty, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn start(&mut self) -> Result<()> {
        self.process = None;
        let mut command = self.net.command(&self.host, &self.program())?;
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.args(["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no", "--protected-mode", "no"]);
        command.current_dir(&self.folder);
        let process = Process::start(&self.host, command, &self.folder.join("redis.log"))?;
        let process = self.process.insert(process);
        let address = self.address;
        let on = self.net.on(&self.host)?;
        until("Redis", START, async || {
            process.check_running()?;
            on.spawn(ping(address)).await?
        })
        .await
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Freezes it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("not running")?.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("not running")?.signal(Signal::CONT)
    }

    /// Its URL in the cluster file.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn program(&self) -> PathBuf {
        self.folder.join("redis-server")
    }
}

async fn ping(address: SocketAddr) -> Result<()> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        ensure!(&answer == b"+PONG", "Redis answers something else");
        Ok(())
    };
    timeout(Duration::from_millis(500), talk).await?
}
