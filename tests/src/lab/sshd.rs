//! A real sshd on the hosts of a lab, with keys of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::net::Net;
use super::process::{self, Process};
use super::run::Run;
use super::tools;

/// The keys of a run: one to log in with, and one that all its hosts show.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Makes them; `hosts` are the addresses at which sshd will listen. Without any there is nothing to make.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn make(run: &Run, hosts: &[SocketAddr]) -> Result<Option<Self>> {
        if hosts.is_empty() {
            return Ok(None);
        }
        let keys = Self { folder: run.sub("ssh")? };
        let program = tools::program("ssh-keygen")?;
        for file in [keys.client(), keys.host()] {
            let [program, file] = [program.to_string_lossy(), file.to_string_lossy()];
            process::run(&[&program, "-q", "-t", "ed25519", "-N", "", "-f", &file])?;
        }
        let public = |file: &Path| -> Result<String> {
            let text = fs::read_to_string(file.with_extension("pub"))?;
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            Ok(words.join(" "))
        };
        let host = public(&keys.host())?;
        let mut known = String::new();
        for address in hosts {
            writeln!(known, "[{}]:{} {host}", address.ip(), address.port())?;
            // Where the port is the usual one it is not told.
            writeln!(known, "{} {host}", address.ip())?;
        }
        fs::write(keys.known_hosts(), known)?;
        fs::write(keys.folder.join("authorized"), public(&keys.client())? + "\n")?;
        Ok(Some(keys))
    }

    /// The private key to log in with.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.folder.join("client")
    }

    /// What the hosts' keys are known by.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    fn host(&self) -> PathBuf {
        self.folder.join("host")
    }

    /// Starts sshd on a host.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn serve(&self, net: &Net, name: &str, address: SocketAddr) -> Result<Process> {
        // Its place is built in.
        fs::create_dir_all("/run/sshd").context("sshd needs the folder /run/sshd: run as root")?;
        let mut command = net.command(name, &tools::program("sshd")?)?;
        command.args(["-D", "-e", "-f", "/dev/null", "-h"]).arg(self.host());
        let authorized = self.folder.join("authorized");
        for option in [
            format!("ListenAddress={address}"),
            format!("AuthorizedKeysFile={}", authorized.display()),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PidFile=none".to_owned(),
            "PermitRootLogin=prohibit-password".to_owned(),
            // What the account's shell does at each login is none of the hosts that these stand for.
            format!("SetEnv=HOME={}", self.folder.display()),
        ] {
            command.arg("-o").arg(option);
        }
        Process::start(&format!("sshd-{name}"), command, &self.folder.join(format!("{name}.log")))
    }
}
