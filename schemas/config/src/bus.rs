//! From the cluster file to a program's place on the bus.

use std::fs;
use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use tasuki_bus::{BusConfig, Peer};
use tasuki_schemas::id::{Boot, CoordinatorId, NodeId, ProgramId};
use tasuki_schemas::message::Role;

use crate::cluster::ClusterFile;
use crate::findings::Findings;

impl ClusterFile {
    /// What the bus of one of the nodes needs.
    ///
    /// # Errors
    /// [`Findings`] if the file of Redis' authority cannot be read.
    pub fn node_bus(&self, name: &NodeId, key: &SigningKey, boot: Boot) -> Result<BusConfig, Findings> {
        let listen = self.nodes().find(|(node, ..)| *node == name).map(|(_, mesh, _)| mesh);
        self.bus(ProgramId::from(name), Role::Node, listen, key, boot)
    }

    /// What the bus of one of the coordinators needs.
    ///
    /// # Errors
    /// [`Findings`] if the file of Redis' authority cannot be read.
    pub fn coordinator_bus(&self, name: &CoordinatorId, key: &SigningKey, boot: Boot) -> Result<BusConfig, Findings> {
        self.bus(ProgramId::from(name), Role::Coordinator, None, key, boot)
    }

    /// The authority of the Redis servers, in PEM.
    pub(crate) fn redis_ca(&self) -> Result<Option<Vec<u8>>, Findings> {
        let Some(path) = &self.redis_ca_file else { return Ok(None) };
        let what = |error| format!("cannot be read: {error}; it is redis.ca_file of cluster {}", self.name);
        fs::read(path).map(Some).map_err(|error| Findings::one(path, what(error)))
    }

    fn bus(
        &self,
        me: ProgramId,
        role: Role,
        listen: Option<SocketAddr>,
        key: &SigningKey,
        boot: Boot,
    ) -> Result<BusConfig, Findings> {
        let nodes = self.nodes().map(|(name, mesh, _)| (ProgramId::from(name), Role::Node, Some(mesh)));
        let coordinators = self.coordinators.iter().map(|it| (ProgramId::from(&it.name), Role::Coordinator, None));
        let others = nodes.chain(coordinators).filter(|(program, ..)| *program != me);
        Ok(BusConfig {
            role,
            cluster: self.name.clone(),
            digest: self.digest.clone(),
            key: key.clone(),
            boot,
            keys: self.keys(),
            redis_urls: self.redis_urls.iter().map(|url| url.expose().to_owned()).collect(),
            redis_subscribe_urls: self.redis_subscribe_urls.iter().map(|url| url.expose().to_owned()).collect(),
            redis_ca: self.redis_ca()?,
            peers: others.map(|(program, role, address)| Peer { program, role, address }).collect(),
            listen,
            me,
        })
    }
}
