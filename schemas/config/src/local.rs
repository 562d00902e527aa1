//! `node.toml` and `coordinator.toml`: what is local to one machine.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Deserialize;
use tasuki_schemas::id::{CoordinatorId, NodeId};
use toml::Spanned;

use crate::cluster::{ClusterFile, read_secret};
use crate::findings::{Findings, Reader, Section};
use crate::secret::Secret;

mod commands;
mod feed;

pub use commands::Commands;
pub use feed::{FeedConfig, Limits, Plain};

/// How a node cuts its server off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Kernel rules (nftables): nothing leaves the host any more.
    Kernel,
    /// SQL and SIGKILL alone: weaker.
    None,
}

/// How a node reaches its own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through its Unix socket, whose peer also tells the process.
    Socket(PathBuf),
    /// Over TCP, with a pid file to tell the process.
    Tcp(SocketAddr, PathBuf),
}

/// A node's own server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How to reach it.
    pub reach: Reach,
    /// The node's account.
    pub user: String,
    /// Its password; empty if the account needs none.
    pub password: Secret,
    /// How to cut it off.
    pub cut: Cut,
    /// The operator's word that the server's own options start it read-only and not replicating.
    pub boots_closed: bool,
    /// How it is stopped and started; `None`: only people do that.
    pub commands: Option<Commands>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub name: NodeId,
    /// Its cluster.
    pub cluster: ClusterFile,
    /// Its key.
    pub key: SigningKey,
    /// Where its ledger lives.
    pub state_dir: PathBuf,
    /// Where it answers health checks, if anywhere.
    pub health: Option<SocketAddr>,
    /// Its server; `None` on a witness.
    pub server: Option<ServerConfig>,
}

/// A coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Its name.
    pub name: CoordinatorId,
    /// Its clusters; one that is broken does not stop the others.
    pub clusters: Vec<Result<ClusterFile, Findings>>,
    /// Its key.
    pub key: SigningKey,
    /// Where its start counter lives.
    pub state_dir: PathBuf,
    /// The live feed.
    pub feed: FeedConfig,
}

const KNOWN_SERVER: [&str; 11] = [
    "socket",
    "address",
    "pid_file",
    "user",
    "password_file",
    "cut",
    "boots_closed",
    "stop_command",
    "start_command",
    "stop_within_s",
    "start_within_s",
];

fn text_of(path: &Path) -> Result<String, Findings> {
    fs::read_to_string(path).map_err(|error| Findings::one(path, format!("cannot be read: {error}; check the path")))
}

impl NodeConfig {
    /// Reads `node.toml` with everything it names.
    ///
    /// # Errors
    /// All [`Findings`].
    pub fn load(path: &Path) -> Result<Self, Findings> {
        let text = text_of(path)?;
        let mut reader = Reader::new(path, &text);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let table = reader.table()?;
        let root = reader.root(&table, &["name", "cluster", "key_file", "state_dir", "health", "server"]);
        let name = reader.needed::<NodeId>(&root, "name");
        let cluster = reader.needed::<PathBuf>(&root, "cluster");
        let key = reader.needed::<PathBuf>(&root, "key_file").and_then(|path| key(reader, &path));
        let state_dir = reader.needed::<PathBuf>(&root, "state_dir");
        let health = reader.optional::<SocketAddr>(&root, "health");
        let server = reader.section(&root, "server", &KNOWN_SERVER).map(|section| server(reader, &section));
        let cluster = cluster.and_then(|path| other(reader, ClusterFile::load(path.get_ref())));
        let (name, cluster, key) = (name?, cluster?, key?);
        let named = cluster.nodes().find(|(node, ..)| *node == name.get_ref()).map(|(.., key)| *key);
        own_key(reader, &name, named, &key, "[[server]] or [[witness]]");
        let what = match (cluster.server(name.get_ref()), &server) {
            (Some(_), None) => "is a [[server]] of the cluster file; add its [server] here",
            (None, Some(_)) if named.is_some() => "is a [[witness]] of the cluster file; remove [server] here",
            (Some(_) | None, Some(_)) | (None, None) => "",
        };
        if !what.is_empty() {
            reader.note(Some(name.span()), format!("{} {what}", name.get_ref()));
        }
        // A replica logs in at its source with it; a witness never needs it.
        if server.is_some() {
            other(reader, cluster.replication.password());
        }
        let server = match server {
            Some(server) => Some(server?),
            None => None,
        };
        Some(Self {
            name: name.into_inner(),
            cluster,
            key,
            state_dir: state_dir?.into_inner(),
            health: health.map(Spanned::into_inner),
            server,
        })
    }
}

impl CoordinatorConfig {
    /// Reads `coordinator.toml` with everything it names.
    ///
    /// # Errors
    /// All [`Findings`] about the file itself. Those about a cluster's file are in `clusters`.
    pub fn load(path: &Path) -> Result<Self, Findings> {
        let text = text_of(path)?;
        let mut reader = Reader::new(path, &text);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let table = reader.table()?;
        let root = reader.root(&table, &["name", "clusters", "key_file", "state_dir", "feed"]);
        let name = reader.needed::<CoordinatorId>(&root, "name");
        let directory = reader.needed::<PathBuf>(&root, "clusters");
        let key = reader.needed::<PathBuf>(&root, "key_file").and_then(|path| key(reader, &path));
        let state_dir = reader.needed::<PathBuf>(&root, "state_dir");
        let feed = reader.needed_section(&root, "feed", &feed::KNOWN);
        let feed = feed.and_then(|section| feed::feed(reader, &section));
        let files = directory.and_then(|directory| files(reader, &directory)).unwrap_or_default();
        let clusters: Vec<_> = files
            .iter()
            .map(|file| ClusterFile::load(file).and_then(|cluster| cluster.fences.check().map(|()| cluster)))
            .collect();
        if let (Some(name), Some(key)) = (&name, &key) {
            for cluster in clusters.iter().flatten() {
                let named = cluster.coordinators.iter().find(|it| it.name == *name.get_ref()).map(|it| it.key);
                own_key(reader, name, named, key, &format!("[[coordinator]] of {}", cluster.name));
            }
        }
        // Who refuses this file tells what is wrong with the others in the same breath.
        if !reader.findings.is_empty() {
            reader.findings.extend(clusters.iter().filter_map(|it| it.as_ref().err()).flat_map(|it| it.0.clone()));
        }
        Some(Self { name: name?.into_inner(), clusters, key: key?, state_dir: state_dir?.into_inner(), feed: feed? })
    }
}

/// Findings of another file join those of this one.
fn other<T>(reader: &mut Reader<'_>, loaded: Result<T, Findings>) -> Option<T> {
    loaded.map_err(|findings| reader.findings.extend(findings.0)).ok()
}

fn key(reader: &mut Reader<'_>, path: &Spanned<PathBuf>) -> Option<SigningKey> {
    tasuki_bus::key::load(path.get_ref()).map_err(|error| reader.note(Some(path.span()), error.to_string())).ok()
}

fn own_key<T: std::fmt::Display>(
    reader: &mut Reader<'_>,
    name: &Spanned<T>,
    named: Option<VerifyingKey>,
    key: &SigningKey,
    list: &str,
) {
    let own = key.verifying_key();
    match named {
        Some(named) if named == own => {}
        Some(_) => {
            let public = tasuki_bus::key::public_base64(&own);
            reader.note(
                Some(name.span()),
                format!("the cluster file has another key for {}; that of key_file is {public}", name.get_ref()),
            );
        }
        None => reader
            .note(Some(name.span()), format!("{} is no {list}; add it there, or correct the name", name.get_ref())),
    }
}

fn server<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<ServerConfig> {
    let user = reader.needed::<String>(section, "user");
    let password = match reader.optional::<PathBuf>(section, "password_file") {
        Some(path) => {
            read_secret(path.get_ref()).map_err(|findings| reader.note(Some(path.span()), findings.to_string())).ok()
        }
        None => Some(Secret::new(String::new())),
    };
    let cut = reader.needed::<Cut>(section, "cut");
    let boots_closed = reader.optional::<bool>(section, "boots_closed").is_some_and(Spanned::into_inner);
    Some(ServerConfig {
        reach: reach(reader, section)?,
        user: user?.into_inner(),
        password: password?,
        cut: cut?.into_inner(),
        boots_closed,
        commands: commands::commands(reader, section),
    })
}

fn reach<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Reach> {
    let before = reader.findings.len();
    let socket = reader.optional::<PathBuf>(section, "socket");
    let address = reader.optional::<SocketAddr>(section, "address");
    let pid_file = reader.optional::<PathBuf>(section, "pid_file");
    match (socket, address, pid_file) {
        (Some(socket), None, _) => Some(Reach::Socket(socket.into_inner())),
        (None, Some(address), Some(pid_file)) => Some(Reach::Tcp(address.into_inner(), pid_file.into_inner())),
        (None, Some(address), None) => {
            reader.note(
                Some(address.span()),
                "over TCP the process is told by a pid file; add `pid_file`, or use `socket`",
            );
            None
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            if reader.findings.len() == before {
                reader.note(section.place.clone(), "[server] needs either `socket` or `address`");
            }
            None
        }
    }
}

/// The path of a file that this program can open.
fn readable<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, field: &str) -> Option<PathBuf> {
    let path = reader.needed::<PathBuf>(section, field)?;
    if let Err(error) = fs::File::open(path.get_ref()) {
        unreadable(reader, &path, &error);
    }
    Some(path.into_inner())
}

fn unreadable(reader: &mut Reader<'_>, path: &Spanned<PathBuf>, error: &io::Error) {
    let what = format!("{} cannot be read: {error}; check path and permissions", path.get_ref().display());
    reader.note(Some(path.span()), what);
}

fn files(reader: &mut Reader<'_>, directory: &Spanned<PathBuf>) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(directory.get_ref()).map_err(|error| unreadable(reader, directory, &error)).ok()?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    if files.is_empty() {
        reader.note(Some(directory.span()), "there is no NAME.toml in it; put the cluster's file there");
    }
    Some(files)
}
