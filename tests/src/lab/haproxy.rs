//! HAProxy in front of the servers, as users run it: it asks each node's `/primary` and knows nothing else.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::net::TcpStream;

use super::net::Net;
use super::process::Process;
use super::run::Run;
use super::tools;
use super::waiting::until;

/// The longest that HAProxy may take to listen.
const START: Duration = Duration::from_secs(10);

/// A server behind HAProxy.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Where clients are sent.
    pub server: SocketAddr,
    /// Where its node answers `/primary`.
    pub health: SocketAddr,
}

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    host: String,
    net: Arc<Net>,
    address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Haproxy {
    /// Starts HAProxy on a host, for one cluster.
    ///
    /// # Errors
    /// When it is not installed or does not listen.
    pub async fn begin(run: &Run, net: &Arc<Net>, host: &str, cluster: &str, backends: &[Backend]) -> Result<Self> {
        let address = SocketAddr::from((net.ip(host)?, net.port(host, 3306)?));
        let folder = run.sub(&format!("haproxy-{cluster}"))?;
        fs::write(folder.join("haproxy.cfg"), configuration(address, backends)?)?;
        let mut this = Self { host: host.to_owned(), net: Arc::clone(net), address, folder, process: None };
        this.start().await?;
        Ok(this)
    }

    /// Starts it (again).
    ///
    /// # Errors
    /// When it does not listen.
    pub async fn start(&mut self) -> Result<()> {
        self.process = None;
        let mut command = self.net.command(&self.host, &tools::program("haproxy")?)?;
        command.args(["-db", "-f", "haproxy.cfg"]).current_dir(&self.folder);
        let process = Process::start("haproxy", command, &self.folder.join("haproxy.log"))?;
        let process = self.process.insert(process);
        let (address, on) = (self.address, self.net.on(&self.host)?);
        until("HAProxy", START, async || {
            process.check_running()?;
            match on.spawn(TcpStream::connect(address)).await? {
                Ok(_) => Ok(()),
                Err(error) => bail!(error),
            }
        })
        .await
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Without a server that is up HAProxy refuses at once, and it never tries the same server twice: a client that comes
/// in the gap learns it at once and comes again.
fn configuration(address: SocketAddr, backends: &[Backend]) -> Result<String> {
    let mut text = format!(
        "global
    maxconn 1000
    nbthread 1
defaults
    mode tcp
    retries 0
    timeout connect 500ms
    timeout check 500ms
    timeout client 1h
    timeout server 1h
listen primary
    bind {address}
    option httpchk GET /primary
    default-server check inter 20ms fastinter 20ms downinter 20ms rise 1 fall 1 on-marked-down shutdown-sessions
"
    );
    for Backend { name, server, health } in backends {
        writeln!(text, "    server {name} {server} addr {} port {}", address_of(health.ip()), health.port())?;
    }
    Ok(text)
}

/// HAProxy takes the end of a bare IPv6 address for a port.
fn address_of(ip: IpAddr) -> String {
    if ip.is_ipv4() { ip.to_string() } else { format!("[{ip}]") }
}
