//! Hosts and their switch as network namespaces. Nothing of it shows on the machine but the names.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::run;
use super::tools;

/// The namespace of the switch.
const SWITCH: &str = "sw";
/// The port by which a host is plugged in.
const PLUG: &str = "eth0";

/// The namespaces of one run, deleted when dropped with every process in them.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    hosts: Vec<String>,
}

impl Namespaces {
    /// Builds one namespace per host, and the switch that joins them.
    ///
    /// # Errors
    /// When the kernel refuses, as it does to all but root.
    pub fn build(prefix: &str, hosts: &[String], v6: bool) -> Result<Self> {
        if !tools::is_root() {
            bail!("network namespaces need root: run as root, or use loopback");
        }
        let this = Self { prefix: prefix.to_owned(), hosts: hosts.to_vec() };
        this.remove();
        let switch = this.name(SWITCH);
        let mut script = vec![
            format!("ip netns add {switch}"),
            format!("ip -n {switch} link add br0 type bridge stp_state 0 forward_delay 0"),
            format!("ip -n {switch} link set br0 up"),
        ];
        for (number, host) in (1..).zip(hosts) {
            let name = this.name(host);
            script.extend([
                format!("ip netns add {name}"),
                format!("ip -n {name} link add {PLUG} type veth peer name {host} netns {switch}"),
                format!("ip -n {switch} link set {host} master br0 up"),
                format!("ip -n {name} link set lo up"),
                format!("ip -n {name} link set {PLUG} up"),
                // Nobody else can have it.
                format!(
                    "ip -n {name} addr add {} dev {PLUG}{}",
                    network(Self::ip(number, v6)),
                    if v6 { " nodad" } else { "" }
                ),
            ]);
        }
        script.extend([
            format!("ip netns exec {switch} nft add table bridge faults"),
            format!(
                "ip netns exec {switch} nft add chain bridge faults cuts {{ type filter hook forward priority 0 ; }}"
            ),
        ]);
        for line in script {
            run(&line.split_whitespace().collect::<Vec<_>>())?;
        }
        Ok(this)
    }

    /// The address of the host with this number.
    #[must_use]
    pub fn ip(number: u8, v6: bool) -> IpAddr {
        if v6 {
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)).into()
        } else {
            Ipv4Addr::new(10, 77, 0, number).into()
        }
    }

    /// The handle of a host's namespace.
    #[must_use]
    pub fn path(&self, host: &str) -> PathBuf {
        Path::new("/run/netns").join(self.name(host))
    }

    /// Pulls a host's plug, at the switch: the host cannot undo it.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn unplug(&self, host: &str) -> Result<()> {
        self.switch(&["ip", "link", "set", host, "down"])
    }

    /// Puts the plug in again.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn plug(&self, host: &str) -> Result<()> {
        self.switch(&["ip", "link", "set", host, "up"])
    }

    /// Drops what `from` sends to `to`: everything, or only what goes to this TCP port.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn cut(&self, from: &str, to: &str, port: Option<u16>) -> Result<()> {
        let mut words: Vec<&str> = "nft add rule bridge faults cuts iifname".split(' ').collect();
        words.extend([from, "oifname", to]);
        let port = port.map(|port| port.to_string());
        if let Some(port) = &port {
            words.extend(["tcp", "dport", port]);
        }
        words.push("drop");
        self.switch(&words)
    }

    /// Drops all TCP of a host but what belongs to one of its ports.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn cut_all_but(&self, host: &str, port: u16) -> Result<()> {
        let port = port.to_string();
        for (side, end) in [("iifname", "sport"), ("oifname", "dport")] {
            let mut words: Vec<&str> = "nft add rule bridge faults cuts".split(' ').collect();
            words.extend([side, host, "tcp", end, "!=", &port, "drop"]);
            self.switch(&words)?;
        }
        Ok(())
    }

    /// Drops everything between two hosts.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn part(&self, one: &str, other: &str) -> Result<()> {
        self.cut(one, other, None)?;
        self.cut(other, one, None)
    }

    /// Undoes all cuts.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn mend(&self) -> Result<()> {
        self.switch(&["nft", "flush", "chain", "bridge", "faults", "cuts"])
    }

    /// Undoes all cuts, and puts all plugs in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(&self) -> Result<()> {
        self.mend()?;
        self.hosts.iter().try_for_each(|host| self.plug(host))
    }

    /// Runs a command on a host and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run_on(&self, host: &str, words: &[&str]) -> Result<String> {
        let entry = format!("--net={}", self.path(host).display());
        let all: Vec<&str> = ["nsenter", &entry].into_iter().chain(words.iter().copied()).collect();
        run(&all)
    }

    fn switch(&self, words: &[&str]) -> Result<()> {
        self.run_on(SWITCH, words).map(|_| ())
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Deletes the namespaces that exist, be they of this run or of an earlier one that was killed.
    fn remove(&self) {
        for host in self.hosts.iter().map(String::as_str).chain([SWITCH]) {
            let name = self.name(host);
            if !self.path(host).exists() {
                continue;
            }
            Self::kill_all_on(&name);
            if let Err(error) = run(&["ip", "netns", "del", &name]) {
                tracing::warn!(%error, name, "a namespace cannot be deleted");
            }
        }
    }

    fn kill_all_on(name: &str) {
        let pids = run(&["ip", "netns", "pids", name]).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.trim().parse().ok()).filter_map(Pid::from_raw) {
            // The lab's own threads live in these namespaces as well; they are listed under this process.
            if pid != rustix::process::getpid() {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.remove();
    }
}

/// An address with the length of its network.
fn network(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 24 } else { 64 })
}

/// Moves the calling thread into a namespace; a thread that cannot get there must not go on elsewhere.
///
/// # Panics
/// When the namespace is gone or forbidden.
pub(super) fn enter(path: &Path) {
    let entered = fs::File::open(path).map_err(anyhow::Error::from).and_then(|file| {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).map_err(anyhow::Error::from)
    });
    if let Err(error) = entered {
        panic!("{} cannot be entered by {:?}: {error}", path.display(), thread::current().name());
    }
}
