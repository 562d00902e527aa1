//! What a node is told at start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::observation::CutStrength;

/// Everything that stays the same during a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// The cluster's flavour.
    pub flavour: Flavour,
    /// Where replicas reach each server; this node's own is absent on a witness.
    pub servers: BTreeMap<NodeId, SocketAddr>,
    /// How the node can cut its server off.
    pub cut: CutStrength,
    /// Between two observations when nothing changes.
    pub heartbeat: Duration,
    /// Between two positions.
    pub position_every: Duration,
    /// The lease of a primary without acknowledgements, if the cluster file has one.
    pub lease: Option<LeaseTerms>,
}

impl Settings {
    /// Whether a server belongs to this node.
    #[must_use]
    pub fn has_server(&self) -> bool {
        self.servers.contains_key(&self.me)
    }
}
