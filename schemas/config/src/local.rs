//! `node.toml` and `coordinator.toml`: what is local to one machine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Deserialize;
use tasuki_schemas::id::{CoordinatorId, NodeId};
use toml::Spanned;

use crate::cluster::{ClusterFile, read_secret};
use crate::findings::{Findings, Reader};
use crate::raw;
use crate::secret::Secret;

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

/// The feed of a coordinator.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM: certificate and chain.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub private_key: PathBuf,
    /// What viewers must show.
    pub tokens: Vec<Secret>,
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
        reader.only_known(&table, &["name", "cluster", "key_file", "state_dir", "health", "server"]);
        let name = reader.needed::<NodeId>(&table, "name");
        let cluster = reader.needed::<PathBuf>(&table, "cluster");
        let key = reader.needed::<PathBuf>(&table, "key_file").and_then(|path| key(reader, &path));
        let state_dir = reader.needed::<PathBuf>(&table, "state_dir");
        let health = reader.section::<SocketAddr>(&table, "health");
        let server = reader.section::<raw::LocalServer>(&table, "server").map(|raw| server(reader, raw));
        let cluster = cluster.and_then(|path| other(reader, ClusterFile::load(path.get_ref())));
        let (name, cluster, key) = (name?, cluster?, key?);
        let named = cluster.nodes().find(|(node, ..)| *node == name.get_ref()).map(|(.., key)| *key);
        own_key(reader, &name, named, &key, "[[server]] or [[witness]]");
        if reader.findings.is_empty() && cluster.server(name.get_ref()).is_some() != server.is_some() {
            let what = format!(
                "{} has a [server] here but is a [[witness]] in the cluster file, or the other way round",
                name.get_ref()
            );
            reader.note(Some(name.span()), what);
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
        reader.only_known(&table, &["name", "clusters", "key_file", "state_dir", "feed"]);
        let name = reader.needed::<CoordinatorId>(&table, "name");
        let directory = reader.needed::<PathBuf>(&table, "clusters");
        let key = reader.needed::<PathBuf>(&table, "key_file").and_then(|path| key(reader, &path));
        let state_dir = reader.needed::<PathBuf>(&table, "state_dir");
        let feed = reader.needed::<raw::Feed>(&table, "feed").and_then(|raw| feed(reader, raw.into_inner()));
        let files = directory.and_then(|directory| files(reader, &directory));
        let (name, key) = (name?, key?);
        let mut clusters = Vec::new();
        for file in files? {
            let cluster = ClusterFile::load(&file);
            if let Ok(cluster) = &cluster {
                let named = cluster.coordinators.iter().find(|it| it.name == *name.get_ref()).map(|it| it.key);
                own_key(reader, &name, named, &key, &format!("[[coordinator]] of {}", cluster.name));
            }
            clusters.push(cluster);
        }
        Some(Self { name: name.into_inner(), clusters, key, state_dir: state_dir?.into_inner(), feed: feed? })
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

fn server(reader: &mut Reader<'_>, raw: Spanned<raw::LocalServer>) -> Option<ServerConfig> {
    let place = raw.span();
    let raw = raw.into_inner();
    let password = match &raw.password_file {
        Some(path) => {
            read_secret(path.get_ref()).map_err(|findings| reader.note(Some(path.span()), findings.to_string())).ok()
        }
        None => Some(Secret::new(String::new())),
    };
    let reach = match (raw.socket, raw.address, raw.pid_file) {
        (Some(socket), None, _) => Some(Reach::Socket(socket)),
        (None, Some(address), Some(pid_file)) => Some(Reach::Tcp(address.into_inner(), pid_file)),
        (None, Some(address), None) => {
            reader.note(
                Some(address.span()),
                "over TCP the process is told by a pid file; add `pid_file`, or use `socket`",
            );
            None
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            reader.note(Some(place), "[server] needs either `socket` or `address`");
            None
        }
    };
    Some(ServerConfig {
        reach: reach?,
        user: raw.user,
        password: password?,
        cut: raw.cut,
        boots_closed: raw.boots_closed,
    })
}

fn feed(reader: &mut Reader<'_>, raw: raw::Feed) -> Option<FeedConfig> {
    let text = match fs::read_to_string(raw.token_file.get_ref()) {
        Ok(text) => text,
        Err(error) => {
            let path = raw.token_file.get_ref().display().to_string();
            reader.note(Some(raw.token_file.span()), format!("{path} cannot be read: {error}"));
            return None;
        }
    };
    let tokens: Vec<Secret> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| Secret::new(line.to_owned())).collect();
    if tokens.is_empty() {
        reader.note(Some(raw.token_file.span()), "the token file is empty; write one token a line");
    }
    Some(FeedConfig { listen: raw.listen, certificate: raw.certificate, private_key: raw.private_key, tokens })
}

fn files(reader: &mut Reader<'_>, directory: &Spanned<PathBuf>) -> Option<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory.get_ref()) {
        Ok(entries) => entries,
        Err(error) => {
            let path = directory.get_ref().display().to_string();
            reader.note(Some(directory.span()), format!("{path} cannot be read: {error}"));
            return None;
        }
    };
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
