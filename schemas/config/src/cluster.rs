//! `clusters.d/NAME.toml`: byte-identical on all nodes and coordinators of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{ClusterName, CoordinatorId, NodeId, ProgramId};
use tasuki_schemas::message::Role;
use tasuki_schemas::record::Mode;
use toml::Spanned;

use crate::findings::{Findings, Reader};
use crate::raw;
use crate::secret::Secret;

/// A cluster as its operators describe it.
#[derive(Clone, Debug)]
pub struct ClusterFile {
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
    /// Independent Redis servers.
    pub redis_urls: Vec<String>,
    /// The authority that signed the certificates of `rediss://` servers.
    pub redis_ca_file: Option<PathBuf>,
    /// How replicas log in at their source.
    pub replication: Replication,
    /// The address that moves with the primary.
    pub vip: Option<Vip>,
    /// Patience.
    pub policy: Policy,
}

/// A database server with its node.
#[derive(Clone, Debug)]
pub struct Server {
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
}

/// A node without a server.
#[derive(Clone, Debug)]
pub struct Witness {
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

/// What `init` proposes about acting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeWish {
    Observe,
    Armed,
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
}

const KNOWN: [&str; 8] = ["flavour", "server", "witness", "coordinator", "redis", "replication", "vip", "policy"];

impl ClusterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// All [`Findings`].
    pub fn load(path: &Path) -> Result<Self, Findings> {
        let text = fs::read_to_string(path)
            .map_err(|error| Findings::one(path, format!("cannot be read: {error}; check the path")))?;
        Self::parse(path, &text)
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
        reader.only_known(&table, &KNOWN);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name =
            stem.parse::<ClusterName>().map_err(|error| reader.note(None, format!("the file's name: {error}"))).ok();
        let flavour = reader.needed::<Flavour>(&table, "flavour");
        let servers: Vec<Server> =
            reader.list(&table, "server").into_iter().filter_map(|raw| server(reader, raw.into_inner())).collect();
        let witnesses: Vec<Witness> =
            reader.list(&table, "witness").into_iter().filter_map(|raw| witness(reader, raw.into_inner())).collect();
        let coordinators: Vec<Coordinator> = reader
            .list(&table, "coordinator")
            .into_iter()
            .filter_map(|raw| coordinator(reader, raw.into_inner()))
            .collect();
        if reader.findings.is_empty() && servers.len() < 2 {
            reader.note(None, format!("a cluster needs two [[server]] at least; {} found", servers.len()));
        }
        if reader.findings.is_empty() && coordinators.is_empty() {
            reader.note(None, "a cluster needs a [[coordinator]] at least");
        }
        let redis = reader.needed::<raw::Redis>(&table, "redis").map(Spanned::into_inner);
        let replication = reader.needed::<raw::Replication>(&table, "replication").map(Spanned::into_inner);
        let vip = reader.section::<raw::Vip>(&table, "vip").map(Spanned::into_inner);
        let policy = reader.section::<raw::Policy>(&table, "policy").map(Spanned::into_inner).unwrap_or_default();
        twins(reader, &table);
        let policy = Self::policy(reader, policy);
        let redis = redis?;
        for url in
            redis.urls.get_ref().iter().filter(|url| !url.starts_with("redis://") && !url.starts_with("rediss://"))
        {
            let scheme = url.split(':').next().unwrap_or_default().to_owned();
            reader.note(
                Some(redis.urls.span()),
                format!("a Redis URL begins with redis:// or rediss://, not with {scheme:?}"),
            );
        }
        let vip = match vip {
            Some(raw) => Some(checked_vip(reader, raw)?),
            None => None,
        };
        let replication = replication?;
        Some(Self {
            name: name?,
            digest: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
            flavour: flavour?.into_inner(),
            servers,
            witnesses,
            coordinators,
            redis_urls: redis.urls.into_inner(),
            redis_ca_file: redis.ca_file,
            replication: Replication { user: replication.user, password_file: replication.password_file.into_inner() },
            vip,
            policy,
        })
    }

    fn policy(reader: &mut Reader<'_>, raw: raw::Policy) -> Policy {
        let mut within = |value: Option<Spanned<u64>>, default: u64, low: u64, high: u64, name: &str| {
            let Some(value) = value else { return Duration::from_millis(default) };
            if !(low..=high).contains(value.get_ref()) {
                reader.note(Some(value.span()), format!("`{name}` must lie between {low} and {high}"));
            }
            Duration::from_millis(*value.get_ref())
        };
        let heartbeat = within(raw.heartbeat_ms, 200, 50, 2000, "heartbeat_ms");
        let least = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX).saturating_mul(3);
        let silence = within(raw.silence_ms, least.max(800), least, 60_000, "silence_ms");
        let tail_patience = within(raw.tail_patience_ms, 100, 0, 10_000, "tail_patience_ms");
        let mode = match raw.mode {
            Some(ModeWish::Observe) => Mode::Observe,
            Some(ModeWish::Armed) | None => Mode::Armed,
        };
        Policy { mode, heartbeat, silence, tail_patience }
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

    /// The server of a node; `None` on a witness.
    #[must_use]
    pub fn server(&self, node: &NodeId) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == *node)
    }
}

fn name<T: std::str::FromStr<Err = tasuki_schemas::id::InvalidName>>(
    reader: &mut Reader<'_>,
    text: &Spanned<String>,
) -> Option<T> {
    text.get_ref()
        .parse()
        .map_err(|error: tasuki_schemas::id::InvalidName| reader.note(Some(text.span()), error.to_string()))
        .ok()
}

fn address(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<SocketAddr> {
    let parsed = text.get_ref().parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if parsed.is_none() {
        let what = format!(
            "{:?} is no address; write IP:port, an IPv6 address in brackets (no host names: they fail when they are needed)",
            text.get_ref()
        );
        reader.note(Some(text.span()), what);
    }
    parsed
}

fn key(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<VerifyingKey> {
    tasuki_bus::key::parse_public(text.get_ref())
        .map_err(|error| reader.note(Some(text.span()), error.to_string()))
        .ok()
}

fn server(reader: &mut Reader<'_>, raw: raw::Server) -> Option<Server> {
    let (name, address, mesh, key) =
        (name(reader, &raw.name), address(reader, &raw.address), address(reader, &raw.mesh), key(reader, &raw.key));
    Some(Server {
        name: name?,
        address: address?,
        mesh: mesh?,
        key: key?,
        promotion: raw.promotion.unwrap_or_default(),
    })
}

fn witness(reader: &mut Reader<'_>, raw: raw::Witness) -> Option<Witness> {
    let (name, mesh, key) = (name(reader, &raw.name), address(reader, &raw.mesh), key(reader, &raw.key));
    Some(Witness { name: name?, mesh: mesh?, key: key? })
}

fn coordinator(reader: &mut Reader<'_>, raw: raw::Coordinator) -> Option<Coordinator> {
    let (name, key) = (name(reader, &raw.name), key(reader, &raw.key));
    Some(Coordinator { name: name?, key: key? })
}

fn checked_vip(reader: &mut Reader<'_>, raw: raw::Vip) -> Option<Vip> {
    let legal = raw.address.get_ref().split_once('/').is_some_and(|(ip, prefix)| {
        let longest = match ip.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
    });
    if !legal {
        reader.note(
            Some(raw.address.span()),
            format!("{:?} is no address with a prefix; write e.g. 10.0.0.9/24", raw.address.get_ref()),
        );
        return None;
    }
    Some(Vip { address: raw.address.into_inner(), interface: raw.interface })
}

/// Names, keys and addresses that two entries share.
fn twins(reader: &mut Reader<'_>, table: &toml::de::DeTable<'_>) {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for list in ["server", "witness", "coordinator"] {
        let Some(toml::de::DeValue::Array(items)) = table.get(list).map(Spanned::get_ref) else { continue };
        for item in items.iter() {
            let toml::de::DeValue::Table(entry) = item.get_ref() else { continue };
            for field in ["name", "address", "mesh", "key"] {
                let Some(value) = entry.get(field) else { continue };
                let Some(text) = value.get_ref().as_str() else { continue };
                let kind = if field == "mesh" { "address" } else { field };
                if !seen.entry(kind).or_default().insert(text.to_owned()) {
                    reader.note(Some(value.span()), format!("{field} {text:?} is used twice; each needs its own"));
                }
            }
        }
    }
}
