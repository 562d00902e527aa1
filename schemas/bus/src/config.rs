//! What a bus needs to know, and why it does not start.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ed25519_dalek::{SigningKey, VerifyingKey};
use tasuki_schemas::id::{Boot, ClusterName, ProgramId};
use tasuki_schemas::message::Role;

/// Everything that a bus needs to know.
pub struct BusConfig {
    /// The program itself.
    pub me: ProgramId,
    /// What it is.
    pub role: Role,
    /// The cluster it speaks in.
    pub cluster: ClusterName,
    /// SHA-256 of the cluster file in hexadecimal.
    pub digest: String,
    /// The program's whole identity.
    pub key: SigningKey,
    /// This run of the program.
    pub boot: Boot,
    /// The keys of the cluster file, its own among them.
    pub keys: BTreeMap<ProgramId, (Role, VerifyingKey)>,
    /// Independent Redis servers, `redis://` or `rediss://` with user and password. May be empty: the mesh suffices.
    pub redis_urls: Vec<String>,
    /// Where programs subscribe: for each of those servers a replica of it, or the server itself. Empty: on the servers.
    pub redis_subscribe_urls: Vec<String>,
    /// PEM of the authority that signed the certificates of `rediss://` servers; `None` trusts the system's.
    pub redis_ca: Option<Vec<u8>>,
    /// The other programs of the cluster.
    pub peers: Vec<Peer>,
    /// Where nodes and coordinators dial this program. A coordinator has none.
    pub listen: Option<SocketAddr>,
}

/// Another program of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub program: ProgramId,
    /// What it is.
    pub role: Role,
    /// Its mesh address; `None` for a coordinator.
    pub address: Option<SocketAddr>,
}

/// Why a bus does not start. Each text names the fix.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The key file and the cluster file disagree about the program.
    #[error("the cluster file's key of {me} is not that of the key file: it should be {key}")]
    WrongKey {
        /// The program.
        me: ProgramId,
        /// The public key that belongs to the key file.
        key: String,
    },
    /// Two programs share a key, so that nobody could tell who spoke.
    #[error("{one} and {other} have the same key in the cluster file: make a key of its own for one of them")]
    SharedKey {
        /// One of them.
        one: ProgramId,
        /// The other.
        other: ProgramId,
    },
    /// A Redis URL cannot be used.
    #[error("the Redis URL number {number} cannot be used: {error}")]
    RedisUrl {
        /// Its place in the list, beginning with 1. The URL itself may hold a password.
        number: usize,
        /// What is wrong with it.
        error: String,
    },
    /// There is not one place to subscribe for each server.
    #[error("{servers} Redis URLs and {places} to subscribe: name as many, or none to subscribe")]
    RedisPlaces {
        /// How many servers there are.
        servers: usize,
        /// How many places.
        places: usize,
    },
    /// The mesh's port cannot be listened on.
    #[error("the mesh cannot listen on {address}: {error}; another program may use the port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: std::io::Error,
    },
    /// The key cannot be used for TLS.
    #[error("the key cannot be used for TLS: {0}")]
    Tls(rustls::Error),
    /// Started outside of a tokio runtime.
    #[error("a bus must be started inside a tokio runtime")]
    NoRuntime,
}

impl BusConfig {
    /// Finds what the two files that the configuration comes from disagree about.
    pub(crate) fn check(&self) -> Result<(), BusError> {
        let own = self.key.verifying_key();
        if self.keys.get(&self.me).is_none_or(|(_, key)| *key != own) {
            return Err(BusError::WrongKey { me: self.me.clone(), key: crate::key::public_base64(&own) });
        }
        let mut owners = BTreeMap::new();
        for (program, (_, key)) in &self.keys {
            if let Some(one) = owners.insert(key.to_bytes(), program) {
                return Err(BusError::SharedKey { one: one.clone(), other: program.clone() });
            }
        }
        Ok(())
    }
}
