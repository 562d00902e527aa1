//! The virtual address that follows the primary.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// `ip` takes a few milliseconds.
const DEADLINE: Duration = Duration::from_millis(500);
/// When the address is announced, each after the one before: neighbours may miss the first.
const ANNOUNCEMENTS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// Why the address could not be taken, released or looked for.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The setting is no address with a prefix length.
    #[error("{address:?} is no address for an interface: write it as 10.0.0.9/24")]
    Malformed {
        /// What is configured.
        address: String,
    },
    /// `ip` could not be run, or refused.
    #[error("cannot {action} {address} on {interface}: {what}; the node must be root and the interface must exist")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The address.
        address: String,
        /// The interface.
        interface: String,
        /// The system's or the program's word.
        what: String,
    },
}

/// One virtual address on one interface.
#[derive(Debug)]
pub struct Vip {
    address: String,
    ip: std::net::IpAddr,
    interface: String,
    prefix: Vec<String>,
    announcing: Option<JoinHandle<()>>,
}

impl Vip {
    /// Names the address, with its prefix length, and the interface. Changes nothing.
    ///
    /// # Errors
    /// [`VipError::Malformed`]
    pub fn new(address: &str, interface: &str) -> Result<Self, VipError> {
        Self::with_prefix(address, interface, &[])
    }

    /// As [`Vip::new`], with a command before `ip` and `arping`, such as `ip netns exec NAME`.
    ///
    /// # Errors
    /// [`VipError::Malformed`]
    pub fn with_prefix(address: &str, interface: &str, prefix: &[&str]) -> Result<Self, VipError> {
        let malformed = || VipError::Malformed { address: address.to_owned() };
        let (ip, length) = address.split_once('/').ok_or_else(malformed)?;
        let ip: std::net::IpAddr = ip.parse().map_err(|_| malformed())?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        if !length.parse::<u8>().is_ok_and(|length| (1..=longest).contains(&length)) {
            return Err(malformed());
        }
        Ok(Self {
            address: address.to_owned(),
            ip,
            interface: interface.to_owned(),
            prefix: prefix.iter().map(|word| (*word).to_owned()).collect(),
            announcing: None,
        })
    }

    /// Takes the address and announces it to the neighbours in the background, at once and again after 1 and 3 s.
    /// Taking an address that is held already announces it again.
    ///
    /// # Errors
    /// [`VipError::Refused`]
    pub async fn take(&mut self) -> Result<(), VipError> {
        if !self.held().await? {
            // Without duplicate address detection, an IPv6 address can be used at once.
            let detection = if self.ip.is_ipv4() { None } else { Some("nodad") };
            let words = ["addr", "add", &self.address, "dev", &self.interface];
            self.ip("take", &words.into_iter().chain(detection).collect::<Vec<_>>()).await?;
        }
        self.announce();
        Ok(())
    }

    /// Gives the address up. One that is not held is no error.
    ///
    /// # Errors
    /// [`VipError::Refused`]
    pub async fn release(&mut self) -> Result<(), VipError> {
        if let Some(announcing) = self.announcing.take() {
            announcing.abort();
        }
        if self.held().await? {
            self.ip("release", &["addr", "del", &self.address, "dev", &self.interface]).await?;
        }
        Ok(())
    }

    /// Whether the interface has the address now.
    ///
    /// # Errors
    /// [`VipError::Refused`]
    pub async fn held(&self) -> Result<bool, VipError> {
        let listing = self.ip("look for", &["-j", "addr", "show", "dev", &self.interface]).await?;
        let listing: Value = serde_json::from_slice(&listing).unwrap_or_default();
        let interfaces = listing.as_array().map_or(&[][..], Vec::as_slice);
        let addresses = interfaces.iter().filter_map(|interface| interface.get("addr_info")?.as_array()).flatten();
        let mut texts = addresses.filter_map(|address| address.get("local")?.as_str());
        Ok(texts.any(|text| text.parse() == Ok(self.ip)))
    }

    /// A neighbour that still knows the old place sends there until it hears this. `arping` waits a second for
    /// answers, so nothing waits for it. IPv6 neighbours look anew by themselves.
    fn announce(&mut self) {
        if let Some(announcing) = self.announcing.take() {
            announcing.abort();
        }
        if self.ip.is_ipv6() {
            return;
        }
        let (prefix, interface, ip) = (self.prefix.clone(), self.interface.clone(), self.ip.to_string());
        self.announcing = Some(tokio::spawn(async move {
            for pause in ANNOUNCEMENTS {
                sleep(pause).await;
                let arping = ["arping", "-U", "-c", "1", "-w", "1", "-I", &interface, &ip];
                match command(&prefix, &arping).spawn() {
                    Ok(mut child) => {
                        drop(tokio::spawn(async move { timeout(Duration::from_secs(3), child.wait()).await }))
                    }
                    Err(error) => tracing::warn!(%error, ip, "address not announced: arping cannot be run"),
                }
            }
        }));
    }

    async fn ip(&self, action: &'static str, words: &[&str]) -> Result<Vec<u8>, VipError> {
        let refused = |what: String| VipError::Refused {
            action,
            address: self.address.clone(),
            interface: self.interface.clone(),
            what,
        };
        let all: Vec<&str> = ["ip"].into_iter().chain(words.iter().copied()).collect();
        let running = command(&self.prefix, &all).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        match timeout(DEADLINE, running).await {
            Ok(Ok(output)) if output.status.success() => Ok(output.stdout),
            Ok(Ok(output)) => Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(_elapsed) => Err(refused("no answer in time".to_owned())),
        }
    }
}

impl Drop for Vip {
    fn drop(&mut self) {
        if let Some(announcing) = self.announcing.take() {
            announcing.abort();
        }
    }
}

fn command(prefix: &[String], words: &[&str]) -> Command {
    let mut all = prefix.iter().map(String::as_str).chain(words.iter().copied());
    let mut command = Command::new(all.next().unwrap_or("ip"));
    command.args(all).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}
