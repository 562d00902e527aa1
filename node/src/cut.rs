//! Cutting the server off in the kernel: from clients, from its source, and from servers outside its group.
//!
//! All rules stand in one table of our own, `inet tasuki_<name>`, written with the first cut or when the cluster is
//! armed, and never in a cluster that is only observed; a cut only changes its sets, in one transaction, and counts when a
//! listing shows it. The table outlives this program: a node that starts again finds its fence standing and takes it over.
//! Loopback is always let in, and Unix sockets are never filtered.

mod listing;
mod rules;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tasuki_schemas::observation::CutStrength;
use tokio::time::timeout;

use listing::Listing;
use rules::Rules;
use shell::Shell;

/// A cut takes under 2 ms on an idle host.
const DEADLINE: Duration = Duration::from_millis(200);

/// Strangers are refused for so long: by then they may have been mended.
const STRANGERS: Duration = Duration::from_secs(600);

/// Why a cut could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// Kernel rules cannot be used on this host at all.
    #[error("kernel rules cannot be used: {what}; install nftables and run the node as root, or set cut = \"server\"")]
    Unavailable {
        /// The system's or nft's word.
        what: String,
    },
    /// The kernel does not show the rules that were asked for. Repeating the call asks for them again.
    #[error("the kernel rules were not changed: {what}")]
    Refused {
        /// nft's word.
        what: String,
    },
    /// No answer in time; nothing is known. Repeating the call asks for the same rules again.
    #[error("nft gave no answer within {} ms", DEADLINE.as_millis())]
    Late,
}

/// What a cut amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// The kernel shows the rules: from now on nothing passes.
    Verified,
    /// This node cuts by SQL and SIGKILL only: nothing was done here.
    Weak,
}

/// What is cut off now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether clients are held away from the server's port.
    pub closed: bool,
    /// Who is let in nevertheless.
    pub let_in: BTreeSet<IpAddr>,
    /// Sources that the server can no longer reach or hear.
    pub refused_sources: BTreeSet<SocketAddr>,
    /// Servers that can no longer reach the server's port.
    pub refused_servers: BTreeSet<IpAddr>,
}

/// The cuts of one server.
#[derive(Debug)]
pub struct Cut {
    state: State,
    /// Of the refused hosts, those that no order named, and until when.
    strangers: BTreeMap<IpAddr, Instant>,
    /// `None` on a node that cuts by SQL only.
    kernel: Option<Kernel>,
}

#[derive(Debug)]
struct Kernel {
    rules: Rules,
    prefix: Vec<String>,
    shell: Option<Shell>,
    /// Whether this run has written the table.
    written: bool,
}

impl Cut {
    /// Reads what an earlier run left for the server that listens on `server_port`, which stays in force, and tries
    /// whether the rules could be written. Changes nothing. Blocks for some ten milliseconds.
    ///
    /// # Errors
    /// [`CutError::Unavailable`] if `strength` is kernel and the kernel's rules cannot be used.
    pub fn new(strength: CutStrength, name: &str, server_port: u16) -> Result<Self, CutError> {
        Self::with_prefix(strength, name, server_port, &[])
    }

    /// As [`Cut::new`], with a command before every `nft`, such as `ip netns exec NAME`.
    ///
    /// # Errors
    /// As [`Cut::new`].
    pub fn with_prefix(strength: CutStrength, name: &str, port: u16, prefix: &[&str]) -> Result<Self, CutError> {
        match strength {
            CutStrength::Server => Ok(Self { state: State::default(), strangers: BTreeMap::new(), kernel: None }),
            CutStrength::Kernel => {
                let prefix = prefix.iter().map(|word| (*word).to_owned()).collect();
                let kernel = Kernel { rules: Rules::new(name, port), prefix, shell: None, written: false };
                let state = kernel.take_over()?;
                Ok(Self { state, strangers: BTreeMap::new(), kernel: Some(kernel) })
            }
        }
    }

    /// What is cut off, as far as this node asked for it or found it when it started.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Holds clients away from the server's port, except `let_in`. Connections that stand are silenced; what they
    /// send is answered by a reset, and the end of the server still reaches them.
    ///
    /// # Errors
    /// [`CutError::Refused`] or [`CutError::Late`].
    pub async fn close_clients(&mut self, let_in: &BTreeSet<IpAddr>) -> Result<Cutting, CutError> {
        self.state.closed = true;
        self.state.let_in = let_in.iter().map(IpAddr::to_canonical).collect();
        self.assert().await
    }

    /// Lets clients reach the server's port again.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn open_clients(&mut self) -> Result<Cutting, CutError> {
        self.state.closed = false;
        self.state.let_in.clear();
        self.assert().await
    }

    /// Resets the server's connections to a source and refuses new ones: nothing is received or acknowledged.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn refuse_source(&mut self, source: SocketAddr) -> Result<Cutting, CutError> {
        self.state.refused_sources.insert(canonical(source));
        self.assert().await
    }

    /// Lets the server reach a source again.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn allow_source(&mut self, source: SocketAddr) -> Result<Cutting, CutError> {
        self.state.refused_sources.remove(&canonical(source));
        self.assert().await
    }

    /// Refuses exactly these servers on the server's port; those refused before and not named are let in.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn refuse_servers(&mut self, servers: &BTreeSet<IpAddr>) -> Result<Cutting, CutError> {
        let servers = servers.iter().map(IpAddr::to_canonical);
        self.state.refused_servers = servers.chain(self.strangers.keys().copied()).collect();
        self.assert().await
    }

    /// Refuses these hosts as well, for a while.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn refuse_strangers(&mut self, hosts: &BTreeSet<IpAddr>) -> Result<Cutting, CutError> {
        let until = Instant::now() + STRANGERS;
        self.strangers.extend(hosts.iter().map(|host| (host.to_canonical(), until)));
        self.state.refused_servers.extend(hosts.iter().map(IpAddr::to_canonical));
        self.assert().await
    }

    /// Lets those in whose while is over.
    fn forgive(&mut self) {
        let now = Instant::now();
        let over = |until: &Instant| *until <= now;
        for host in self.strangers.iter().filter(|(_, until)| over(until)).map(|(host, _)| *host).collect::<Vec<_>>() {
            self.strangers.remove(&host);
            self.state.refused_servers.remove(&host);
        }
    }

    /// Lets everything through.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn clear(&mut self) -> Result<Cutting, CutError> {
        self.state = State::default();
        self.assert().await
    }

    /// Puts the rules in force (once more) and verifies them: the first cut then takes no longer than any other. Others may
    /// have thrown them away: reloading a firewall often flushes every table.
    ///
    /// # Errors
    /// As [`Cut::close_clients`].
    pub async fn assert(&mut self) -> Result<Cutting, CutError> {
        self.forgive();
        let Some(kernel) = &mut self.kernel else { return Ok(Cutting::Weak) };
        match timeout(DEADLINE, kernel.enforce(&self.state)).await {
            Ok(outcome) => outcome.map(|()| Cutting::Verified),
            Err(_elapsed) => Err(CutError::Late),
        }
    }
}

impl Kernel {
    /// Reads what an earlier run left, and has the kernel check a table with the same cuts without keeping it.
    fn take_over(&self) -> Result<State, CutError> {
        let found = self.run(&["-j", "list", "table", "inet", self.rules.table()], "")?;
        let state = Listing::parse(&found.stdout).map(|listing| listing.state).unwrap_or_default();
        let checked = self.run(&["-c", "-f", "-"], &self.rules.whole(&state))?;
        if checked.status.success() {
            return Ok(state);
        }
        Err(CutError::Unavailable { what: String::from_utf8_lossy(&checked.stderr).trim().to_owned() })
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<Output, CutError> {
        let unavailable = |error: std::io::Error| CutError::Unavailable { what: format!("nft: {error}") };
        let words: Vec<&str> = self.prefix.iter().map(String::as_str).chain(["nft"]).collect();
        let (program, before) = words.split_first().unwrap_or((&"nft", &[]));
        let mut child = Command::new(program)
            .args(before)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(unavailable)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(unavailable)?;
        }
        child.wait_with_output().map_err(unavailable)
    }

    /// The shell is taken out while it is used: if this future is dropped, the shell goes with it, and no late
    /// answer can be taken for another's.
    async fn enforce(&mut self, state: &State) -> Result<(), CutError> {
        let mut shell = match self.shell.take() {
            Some(shell) => shell,
            None => Shell::start(&self.prefix)?,
        };
        let table = self.rules.table();
        let shown = |listing: Option<Listing>| listing.is_some_and(|listing| self.rules.shown(&listing, state));
        if self.written {
            if shown(shell.change(&self.rules.sets(state), table).await?) {
                self.shell = Some(shell);
                return Ok(());
            }
            tracing::warn!(table, "kernel rules were removed by others and are written anew");
        }
        if !shown(shell.change(&self.rules.whole(state), table).await?) {
            return Err(CutError::Refused { what: shell.complaint().await });
        }
        self.written = true;
        self.shell = Some(shell);
        Ok(())
    }
}

fn canonical(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}
