//! How servers are fenced from outside: `[ssh]` and `[shutdown]`.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Server;
use crate::findings::{Finding, Findings, Reader, Section};

/// How servers are fenced from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// A coordinator kills the server's process through ssh.
    pub ssh: Option<Ssh>,
    /// A hook shuts the server or its host down.
    pub shutdown: Option<Shutdown>,
}

/// How a coordinator logs in on the servers' hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The account; it must be able to kill the server.
    pub user: String,
    /// The private key, on the coordinators' hosts.
    pub key_file: PathBuf,
    /// The hosts' keys, on the coordinators' hosts: an unknown or another one is refused.
    pub known_hosts_file: PathBuf,
    /// Ending a server takes no longer.
    pub limit: Duration,
    /// Reading what it holds takes no longer.
    pub read_limit: Duration,
}

/// A hook that shuts a server down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// The program with its first arguments.
    pub command: Vec<String>,
    /// The program that says by exit code 0 that the server is down; without one the first exit code is trusted.
    pub read_back: Option<Vec<String>>,
    /// Both together take no longer.
    pub limit: Duration,
}

/// What a failover may lose without asking people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxLoss {
    /// Nothing.
    None,
    /// What a lost host acknowledged without replicas, and nobody received.
    UnreceivedTail,
}

pub(super) const KNOWN_SSH: [&str; 5] = ["user", "key_file", "known_hosts_file", "limit_ms", "read_limit_s"];
pub(super) const KNOWN_SHUTDOWN: [&str; 4] = ["command", "read_back", "trust_exit_code", "limit_s"];

pub(super) fn fences<'a>(reader: &mut Reader<'a>, root: &Section<'_, 'a>, servers: &[Server]) -> Option<Fences> {
    let ssh = reader.section(root, "ssh", &KNOWN_SSH).map(|section| ssh(reader, &section, servers));
    let shutdown = reader.section(root, "shutdown", &KNOWN_SHUTDOWN).map(|section| shutdown(reader, &section));
    let ssh = match ssh {
        Some(ssh) => Some(ssh?),
        None => None,
    };
    let shutdown = match shutdown {
        Some(shutdown) => Some(shutdown?),
        None => None,
    };
    Some(Fences { ssh, shutdown })
}

fn ssh<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, servers: &[Server]) -> Option<Ssh> {
    let user = reader.optional::<String>(section, "user");
    if let Some(user) = user.as_ref().filter(|user| user.get_ref().is_empty() || user.get_ref().starts_with('-')) {
        reader.note(Some(user.span()), format!("{:?} is no account; leave the line out for root", user.get_ref()));
    }
    let key_file = absolute(reader, section, "key_file");
    let known_hosts_file = absolute(reader, section, "known_hosts_file");
    let ends = limit(reader, section, "limit_ms", (5000, 1000, 60_000)).map(Duration::from_millis);
    let read_limit = limit(reader, section, "read_limit_s", (120, 5, 3600)).map(Duration::from_secs);
    for server in servers.iter().filter(|server| server.data_dir.is_none()) {
        let what = format!(
            "[ssh] ends the server whose data directory it is told, and [[server]] {} has no `data_dir`; add it",
            server.name
        );
        reader.note(section.place.clone(), what);
    }
    let user = user.map_or_else(|| "root".to_owned(), Spanned::into_inner);
    Some(Ssh { user, key_file: key_file?, known_hosts_file: known_hosts_file?, limit: ends?, read_limit: read_limit? })
}

fn shutdown<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Shutdown> {
    let words = |reader: &mut Reader<'a>, words: Spanned<Vec<String>>, key: &str| {
        let good = words.get_ref().first().is_some_and(|program| Path::new(program).is_absolute());
        if !good {
            let what =
                format!("`{key}` is a program's whole path and its first arguments, as [\"/usr/local/bin/off\"]");
            reader.note(Some(words.span()), what);
        }
        good.then(|| words.into_inner())
    };
    let command = reader.needed::<Vec<String>>(section, "command");
    let command = command.and_then(|command| words(reader, command, "command"));
    let before = reader.findings.len();
    let read_back = reader.optional::<Vec<String>>(section, "read_back");
    let trusted = reader.optional::<bool>(section, "trust_exit_code");
    let limit = limit(reader, section, "limit_s", (30, 1, 300)).map(Duration::from_secs);
    let trusts = trusted.as_ref().is_some_and(|trusted| *trusted.get_ref());
    match (&read_back, trusts) {
        (Some(read_back), true) => reader.note(
            Some(read_back.span()),
            "`read_back` and `trust_exit_code = true` contradict each other; leave one out",
        ),
        (None, false) if reader.findings.len() == before => reader.note(
            section.place.clone(),
            "what the command did must be read back: add `read_back`, a command that ends with 0 only when the server is \
             down; or write `trust_exit_code = true` if 0 of the command itself means that",
        ),
        (Some(_), false) | (None, _) => {}
    }
    let read_back = match read_back {
        Some(read_back) => Some(words(reader, read_back, "read_back")?),
        None => None,
    };
    Some(Shutdown { command: command?, read_back, limit: limit? })
}

fn absolute<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, key: &str) -> Option<PathBuf> {
    let path = reader.needed::<PathBuf>(section, key)?;
    if !path.get_ref().is_absolute() {
        reader.note(Some(path.span()), format!("`{key}` must be a whole path, beginning with /"));
    }
    Some(path.into_inner())
}

/// A limit with its default and bounds.
fn limit<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'_, 'a>,
    key: &str,
    (default, low, high): (u64, u64, u64),
) -> Option<u64> {
    let Some(value) = reader.optional::<u64>(section, key) else { return Some(default) };
    if !(low..=high).contains(value.get_ref()) {
        reader.note(Some(value.span()), format!("`{key}` must lie between {low} and {high}"));
        return None;
    }
    Some(value.into_inner())
}

impl Fences {
    /// Whether a coordinator has on its own host what the fences need.
    ///
    /// # Errors
    /// [`Findings`] name each file with its fix.
    pub(crate) fn check(&self) -> Result<(), Findings> {
        let mut findings = Vec::new();
        if let Some(ssh) = &self.ssh {
            for (key, path) in [("key_file", &ssh.key_file), ("known_hosts_file", &ssh.known_hosts_file)] {
                if let Err(error) = File::open(path) {
                    let what = format!("cannot be read: {error}; it is ssh.{key} of the cluster file");
                    findings.push(Finding { file: path.clone(), line: 0, what });
                }
            }
        }
        let commands = self.shutdown.iter().flat_map(|hook| [Some(&hook.command), hook.read_back.as_ref()]);
        for program in commands.flatten().filter_map(|command| command.first()) {
            let runs = fs::metadata(program).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
            if !runs {
                let what = "is no program that can be run; [shutdown] of the cluster file names it".to_owned();
                findings.push(Finding { file: PathBuf::from(program), line: 0, what });
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(Findings(findings)) }
    }
}
