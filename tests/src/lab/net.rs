//! The network between the hosts of a lab.
//!
//! On loopback every host is an address of its own. In namespaces every host has a namespace, and so has the switch
//! between them: faults of the network are made there, where the hosts cannot see or undo them.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::{Builder, Handle, Runtime};

use super::clocks::Clocks;
use super::namespaces::{Namespaces, enter};
use super::process::bound;
use super::run::Run;

/// The kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Addresses of 127.0.0.0/8. No root is needed, and only faults of processes are possible.
    Loopback,
    /// Namespaces; needs root.
    Namespaces,
    /// Namespaces whose hosts have IPv6 addresses alone.
    Ipv6,
}

/// The hosts and what connects them.
#[derive(Debug)]
pub struct Net {
    hosts: BTreeMap<String, Host>,
    namespaces: Option<Namespaces>,
    clocks: Option<Clocks>,
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    /// Clients of the lab that live on this host run here. Some until the end.
    runtime: Option<Runtime>,
}

impl Net {
    /// Builds the network.
    ///
    /// # Errors
    /// When namespaces are wanted and not to be had.
    pub fn build(run: &Run, kind: Kind, names: &[String]) -> Result<Self> {
        let mut hosts = BTreeMap::new();
        let namespaces = match kind {
            Kind::Loopback => None,
            Kind::Namespaces | Kind::Ipv6 => Some(Namespaces::build(&run.prefix(), names, kind == Kind::Ipv6)?),
        };
        for (number, name) in (1..).zip(names) {
            let ip = match kind {
                Kind::Loopback => run.loopback(number).into(),
                Kind::Namespaces | Kind::Ipv6 => Namespaces::ip(number, kind == Kind::Ipv6),
            };
            let path = namespaces.as_ref().map(|namespaces| namespaces.path(name));
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(name)
                .enable_all()
                .on_thread_start(move || path.iter().for_each(|path| enter(path)))
                .build()?;
            hosts.insert(name.clone(), Host { ip, runtime: Some(runtime) });
        }
        Ok(Self { hosts, namespaces, clocks: None })
    }

    /// The same with wall clocks that can be set.
    ///
    /// # Errors
    /// When their library cannot be compiled.
    pub fn with_clocks(mut self, run: &Run) -> Result<Self> {
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        self.clocks = Some(Clocks::build(run, &hosts)?);
        Ok(self)
    }

    /// The wall clocks.
    ///
    /// # Errors
    /// When the lab has none of its own.
    pub fn clocks(&self) -> Result<&Clocks> {
        self.clocks.as_ref().context("this lab's hosts have the machine's clock")
    }

    /// The address of a host.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn ip(&self, host: &str) -> Result<IpAddr> {
        Ok(self.host(host)?.ip)
    }

    /// A port on a host: `wish` where the host has all its ports to itself, a free one on loopback.
    ///
    /// # Errors
    /// When there is no such host, or no free port.
    pub fn port(&self, host: &str, wish: u16) -> Result<u16> {
        let ip = self.ip(host)?;
        if self.namespaces.is_some() {
            return Ok(wish);
        }
        Ok(TcpListener::bind((ip, 0))?.local_addr()?.port())
    }

    /// A command that runs on a host and ends with the lab.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn command(&self, host: &str, program: &Path) -> Result<Command> {
        self.host(host)?;
        let mut command = match &self.namespaces {
            None => bound(program),
            Some(namespaces) => {
                // Not `ip netns exec`: that would hide /sys as well.
                let mut command = bound(Path::new("nsenter"));
                command.arg(format!("--net={}", namespaces.path(host).display())).arg(program);
                command
            }
        };
        if let Some(clocks) = &self.clocks {
            clocks.show(host, &mut command);
        }
        Ok(command)
    }

    /// Where a client on this host runs: its sockets are the host's.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn on(&self, host: &str) -> Result<Handle> {
        let runtime = self.host(host)?.runtime.as_ref().context("the network has ended")?;
        Ok(runtime.handle().clone())
    }

    /// The namespaces, for faults of the network.
    ///
    /// # Errors
    /// On loopback.
    pub fn namespaces(&self) -> Result<&Namespaces> {
        self.namespaces.as_ref().context("loopback has no faults of the network: use namespaces")
    }

    /// The kind of this network.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        if self.namespaces.is_some() { Kind::Namespaces } else { Kind::Loopback }
    }

    fn host(&self, name: &str) -> Result<&Host> {
        match self.hosts.get(name) {
            Some(host) => Ok(host),
            None => bail!("there is no host {name}; there are {:?}", self.hosts.keys()),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in self.hosts.values_mut() {
            // A runtime may not be dropped where waiting is forbidden.
            if let Some(runtime) = host.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}
