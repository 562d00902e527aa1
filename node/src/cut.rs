//! The kernel's rules around one server: a table of its own in nftables.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tasuki_schemas::observation::CutStrength;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// A change of the rules takes some 15 ms; one that takes longer than this failed.
const DEADLINE: Duration = Duration::from_millis(500);

/// Why a rule was not set.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The program `nft` does not run.
    #[error("nft cannot be run: {0}; install nftables, or set cut = \"none\" (weaker)")]
    Missing(std::io::Error),
    /// The kernel refused.
    #[error("nft refused: {0}; the node needs CAP_NET_ADMIN, or cut = \"none\" (weaker)")]
    Refused(String),
    /// No answer in time.
    #[error("nft did not answer within {DEADLINE:?}")]
    Late,
}

/// The rules of one server. With [`CutStrength::Server`] they are not there, and every call does nothing.
#[derive(Debug)]
pub struct Cut {
    strength: CutStrength,
    table: String,
    port: u16,
}

impl Cut {
    /// Makes the table, which lets everything pass at first.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn new(strength: CutStrength, name: &str, port: u16) -> Result<Self, CutError> {
        let table = format!("tasuki_{}", name.replace('-', "_"));
        let cut = Self { strength, table, port };
        let Self { table, port, .. } = &cut;
        // Out: nothing with content leaves a closed server; RST and empty FIN do, so that waiting clients learn at once.
        cut.apply(&format!(
            "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n\
             set source4 {{ type ipv4_addr . inet_service; }}\nset source6 {{ type ipv6_addr . inet_service; }}\n\
             set outside4 {{ type ipv4_addr; }}\nset outside6 {{ type ipv6_addr; }}\n\
             chain closed_in {{ }}\nchain closed_out {{ }}\n\
             chain in {{ type filter hook input priority -10; policy accept; iif lo accept; \
             tcp dport {port} ip saddr @outside4 reject with tcp reset; tcp dport {port} ip6 saddr @outside6 reject with tcp reset; \
             tcp dport {port} jump closed_in; }}\n\
             chain out {{ type filter hook output priority -10; policy accept; oif lo accept; \
             ip daddr . tcp dport @source4 reject with tcp reset; ip6 daddr . tcp dport @source6 reject with tcp reset; \
             tcp sport {port} jump closed_out; }}\n}}\n"
        ))
        .await?;
        Ok(cut)
    }

    /// How strong the cut is.
    #[must_use]
    pub const fn strength(&self) -> CutStrength {
        self.strength
    }

    /// Closes the server's port to everybody but `let_in`.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn close_clients(&mut self, let_in: &BTreeSet<IpAddr>) -> Result<(), CutError> {
        let table = &self.table;
        let mut rules = format!("flush chain inet {table} closed_in\nflush chain inet {table} closed_out\n");
        for address in let_in {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            rules += &format!("add rule inet {table} closed_in {family} saddr {address} accept\n");
            rules += &format!("add rule inet {table} closed_out {family} daddr {address} accept\n");
        }
        rules += &format!(
            "add rule inet {table} closed_in reject with tcp reset\n\
             add rule inet {table} closed_out tcp flags & rst == rst accept\n\
             add rule inet {table} closed_out tcp flags & fin == fin meta length < 80 accept\n\
             add rule inet {table} closed_out drop\n"
        );
        self.apply(&rules).await
    }

    /// Opens the port again.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn open_clients(&mut self) -> Result<(), CutError> {
        let table = &self.table;
        self.apply(&format!("flush chain inet {table} closed_in\nflush chain inet {table} closed_out\n")).await
    }

    /// Resets and refuses the path to a source.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn refuse_source(&mut self, source: SocketAddr) -> Result<(), CutError> {
        self.apply(&format!("add element {}\n", self.source(source))).await
    }

    /// Opens the path to a source again.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn allow_source(&mut self, source: SocketAddr) -> Result<(), CutError> {
        let element = self.source(source);
        self.apply(&format!("add element {element}\ndelete element {element}\n")).await
    }

    fn source(&self, source: SocketAddr) -> String {
        let set = if source.is_ipv4() { "source4" } else { "source6" };
        format!("inet {} {set} {{ {} . {} }}", self.table, source.ip(), source.port())
    }

    /// Refuses exactly these servers at the own port.
    ///
    /// # Errors
    /// [`CutError`]
    pub async fn refuse_servers(&mut self, servers: &BTreeSet<IpAddr>) -> Result<(), CutError> {
        let table = &self.table;
        let mut rules = format!("flush set inet {table} outside4\nflush set inet {table} outside6\n");
        for address in servers {
            let set = if address.is_ipv4() { "outside4" } else { "outside6" };
            rules += &format!("add element inet {table} {set} {{ {address} }}\n");
        }
        self.apply(&rules).await
    }

    /// One transaction of the kernel: all of it or nothing.
    async fn apply(&self, rules: &str) -> Result<(), CutError> {
        if self.strength == CutStrength::Server {
            return Ok(());
        }
        let run = async {
            let mut child = Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(CutError::Missing)?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(rules.as_bytes()).await.map_err(CutError::Missing)?;
            }
            let output = child.wait_with_output().await.map_err(CutError::Missing)?;
            if output.status.success() {
                Ok(())
            } else {
                Err(CutError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
            }
        };
        timeout(DEADLINE, run).await.map_err(|_| CutError::Late)?
    }
}
