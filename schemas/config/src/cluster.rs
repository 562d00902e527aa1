//! `clusters.d/NAME.toml`: byte-identical on all nodes and coordinators of a cluster.

mod fences;
mod sections;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{ClusterName, CoordinatorId, NodeId, ProgramId};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::message::Role;
use tasuki_schemas::record::Mode;

use crate::findings::{Finding, Findings, Reader};
use crate::secret::Secret;
pub use fences::{Fences, MaxLoss, Shutdown, Ssh};
use sections::{checked_policy, checked_vip, coordinator, list, redis_urls, replication_login, server, twins, witness};

/// A cluster as its operators describe it.
#[derive(Clone, Debug)]
pub struct ClusterFile {
    /// Where it was read.
    pub path: PathBuf,
    /// The file's stem.
    pub name: ClusterName,
    /// SHA-256 of the file's bytes in hexadecimal: the envelope's configuration digest.
    pub digest: String,
    /// Its servers' flavour.
    pub flavour: Flavour,
    /// Its servers, in file order.
    pub servers: Vec<Server>,
    /// Nodes that only vote.
    pub witnesses: Vec<Witness>,
    /// Coordinators, by rank.
    pub coordinators: Vec<Coordinator>,
    /// Independent Redis servers. Their URLs may hold passwords.
    pub redis_urls: Vec<Secret>,
    /// Where programs subscribe: for each of those a replica of it, or that server itself. Empty: on the servers.
    pub redis_subscribe_urls: Vec<Secret>,
    /// The authority that signed the certificates of `rediss://` servers.
    pub redis_ca_file: Option<PathBuf>,
    /// How replicas log in at their source.
    pub replication: Replication,
    /// The address that moves with the primary.
    pub vip: Option<Vip>,
    /// Patience.
    pub policy: Policy,
    /// How servers are fenced from outside.
    pub fences: Fences,
}

/// A database server with its node.
#[derive(Clone, Debug)]
pub struct Server {
    /// The line of its entry.
    pub line: usize,
    /// Its node's name.
    pub name: NodeId,
    /// Where replicas and clients reach the database.
    pub address: SocketAddr,
    /// Where its node listens for the mesh.
    pub mesh: SocketAddr,
    /// Its node's public key.
    pub key: VerifyingKey,
    /// Whether it may win an election.
    pub promotion: Promotion,
    /// Where it stands, if that matters to the choice of a new primary.
    pub site: Option<String>,
    /// Where its host's sshd listens, if not at the database's address on port 22.
    pub ssh: Option<SocketAddr>,
    /// Its data directory, by which its process is told.
    pub data_dir: Option<PathBuf>,
    /// The list of its binlog's files, where neither its node told it nor it is the only one in the data directory.
    pub binlog_index: Option<PathBuf>,
}

/// A node without a server.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The line of its entry.
    pub line: usize,
    /// Its name.
    pub name: NodeId,
    /// Where it listens for the mesh.
    pub mesh: SocketAddr,
    /// Its public key.
    pub key: VerifyingKey,
}

/// A coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// Its name.
    pub name: CoordinatorId,
    /// Its public key.
    pub key: VerifyingKey,
}

/// The operator's wish about a server's promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promotion {
    /// Rather than others.
    Prefer,
    /// No wish.
    #[default]
    Neutral,
    /// Only if nobody else can.
    Avoid,
    /// Not at all.
    Never,
}

/// How replicas log in at their source.
#[derive(Clone, Debug)]
pub struct Replication {
    /// The account.
    pub user: String,
    /// The file that holds its password.
    pub password_file: PathBuf,
}

impl Replication {
    /// The password.
    ///
    /// # Errors
    /// [`Findings`] if the file cannot be read.
    pub fn password(&self) -> Result<Secret, Findings> {
        read_secret(&self.password_file)
    }
}

/// Reads a password from a file; one line break at its end is not part of it.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, Findings> {
    let text = fs::read_to_string(path)
        .map_err(|error| Findings::one(path, format!("cannot be read: {error}; make it readable for this program")))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// The address that moves with the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Address with prefix length, e.g. `10.77.0.100/24`.
    pub address: String,
    /// Network interface.
    pub interface: String,
}

/// Patience, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What `init` proposes.
    pub mode: Mode,
    /// Between two observations when nothing changes.
    pub heartbeat: Duration,
    /// A node or source unheard for this long is silent.
    pub silence: Duration,
    /// How long a failover waits for the dead primary's unacknowledged tail.
    pub tail_patience: Duration,
    /// The lease of a primary without acknowledgements.
    pub lease: Option<LeaseTerms>,
    /// Whether writing waits when too few replicas are left to acknowledge it.
    pub holds_when_degraded: bool,
    /// A primary that served for this long is stable: what was before no longer counts as flapping.
    pub stable_window: Duration,
    /// Failovers of one server by one cause, without a stable window in between, before people decide.
    pub flap_limit: u32,
    /// What a clean stop of the primary leads to.
    pub planned_stop: PlannedStop,
    /// What a failover may lose without asking people; `None`: what a leased primary alone had, and of others nothing.
    pub max_loss: Option<MaxLoss>,
    /// What becomes of a server that holds more than the primary, once that is archived.
    pub rejoin: Rejoin,
}

/// What becomes of a server that holds more than the primary, once that is archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rejoin {
    /// People look at it, and have it re-cloned.
    #[default]
    Leave,
    /// It is re-cloned.
    Clone,
}

/// What happens when somebody stops the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedStop {
    /// Another server takes over at once, if one is ready.
    HandOver,
    /// The server has so long to come back; then another takes over.
    Wait(Duration),
}

/// The sections of the file.
const KNOWN: [&str; 10] =
    ["flavour", "server", "witness", "coordinator", "redis", "replication", "vip", "policy", "ssh", "shutdown"];

const KNOWN_SERVER: [&str; 9] =
    ["name", "address", "mesh", "key", "promotion", "site", "ssh", "data_dir", "binlog_index"];

/// The keys of `[policy]`.
const KNOWN_POLICY: [&str; 13] = [
    "mode",
    "heartbeat_ms",
    "silence_ms",
    "tail_patience_ms",
    "lease_ms",
    "pausable",
    "degraded",
    "stable_window_ms",
    "flap_limit",
    "planned_stop",
    "planned_stop_wait_s",
    "max_loss",
    "rejoin",
];

impl ClusterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// All [`Findings`].
    pub fn load(path: &Path) -> Result<Self, Findings> {
        let text = fs::read_to_string(path)
            .map_err(|error| Findings::one(path, format!("cannot be read: {error}; check the path")))?;
        let file = Self::parse(path, &text)?;
        file.redis_ca().map(|_| file)
    }

    /// Reads a text; `path` gives the cluster its name and the findings their place.
    ///
    /// # Errors
    /// All [`Findings`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Findings> {
        let mut reader = Reader::new(path, text);
        let file = Self::read(&mut reader, path, text);
        reader.finish(file)
    }

    fn read(reader: &mut Reader<'_>, path: &Path, text: &str) -> Option<Self> {
        let table = reader.table()?;
        let root = reader.root(&table, &KNOWN);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name =
            stem.parse::<ClusterName>().map_err(|error| reader.note(None, format!("the file's name: {error}"))).ok();
        let flavour = reader.needed::<Flavour>(&root, "flavour");
        let servers = list(reader, &root, "server", &KNOWN_SERVER, server);
        let witnesses = list(reader, &root, "witness", &["name", "mesh", "key"], witness);
        let coordinators = list(reader, &root, "coordinator", &["name", "key"], coordinator);
        if reader.findings.is_empty() && servers.len() < 2 {
            reader.note(None, format!("a cluster needs two [[server]] at least; {} found", servers.len()));
        }
        if reader.findings.is_empty() && coordinators.is_empty() {
            reader.note(None, "a cluster needs a [[coordinator]] at least");
        }
        twins(reader, &table);
        let redis = reader.needed_section(&root, "redis", &["urls", "subscribe_urls", "ca_file"]);
        let redis = redis.and_then(|section| redis_urls(reader, &section));
        let replication = reader.needed_section(&root, "replication", &["user", "password_file"]);
        let replication = replication.and_then(|section| replication_login(reader, &section));
        let vip = reader.section(&root, "vip", &["address", "interface"]).map(|section| checked_vip(reader, &section));
        let policy = reader.section(&root, "policy", &KNOWN_POLICY);
        let policy = checked_policy(reader, policy.as_ref(), servers.len() + witnesses.len());
        let fences = fences::fences(reader, &root, &servers);
        let (redis_urls, redis_subscribe_urls, redis_ca_file) = redis?;
        Some(Self {
            path: path.to_owned(),
            name: name?,
            digest: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
            flavour: flavour?.into_inner(),
            servers,
            witnesses,
            coordinators,
            redis_urls,
            redis_subscribe_urls,
            redis_ca_file,
            replication: replication?,
            vip: match vip {
                Some(vip) => Some(vip?),
                None => None,
            },
            policy,
            fences: fences?,
        })
    }

    /// All nodes: servers and witnesses, with their mesh addresses and keys.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, SocketAddr, &VerifyingKey)> {
        let servers = self.servers.iter().map(|server| (&server.name, server.mesh, &server.key));
        servers.chain(self.witnesses.iter().map(|witness| (&witness.name, witness.mesh, &witness.key)))
    }

    /// Every program's key.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<ProgramId, (Role, VerifyingKey)> {
        let nodes = self.nodes().map(|(name, _, key)| (ProgramId::from(name), (Role::Node, *key)));
        let coordinators = self.coordinators.iter().map(|it| (ProgramId::from(&it.name), (Role::Coordinator, it.key)));
        nodes.chain(coordinators).collect()
    }

    /// A finding about a node's entry, or about the file as a whole.
    #[must_use]
    pub fn finding(&self, node: Option<&NodeId>, what: String) -> Finding {
        let servers = self.servers.iter().map(|server| (&server.name, server.line));
        let witnesses = self.witnesses.iter().map(|witness| (&witness.name, witness.line));
        let line = servers.chain(witnesses).find(|(name, _)| Some(*name) == node).map_or(0, |(_, line)| line);
        Finding { file: self.path.clone(), line, what }
    }

    /// The server of a node; `None` on a witness.
    #[must_use]
    pub fn server(&self, node: &NodeId) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == *node)
    }
}
