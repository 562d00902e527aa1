//! Whom the kernel keeps away from the server: servers outside the write group, and those on their way out of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use tasuki_schemas::id::NodeId;
use tasuki_schemas::observation::CutStrength;
use tasuki_schemas::record::Record;

use crate::node::Node;

impl Node {
    /// What the kernel's rules are now.
    pub(crate) fn refuses(&mut self, addresses: &BTreeSet<IpAddr>) {
        let servers = self.settings.servers.iter().filter(|(node, _)| **node != self.settings.me);
        let refused = servers.filter(|(_, address)| addresses.contains(&address.ip().to_canonical()));
        let refused = refused.map(|(node, _)| node.clone()).collect();
        self.dirty |= self.refused != refused;
        self.refused = refused;
    }

    /// Why this node's kernel rules cannot keep these servers away, if so.
    pub(crate) fn unreachable_by_rules(&self, refused: &BTreeSet<NodeId>) -> Option<String> {
        let addresses = &self.settings.servers;
        if !refused.is_empty() && self.settings.cut == CutStrength::Server {
            return Some("this node has no kernel rules".to_owned());
        }
        if refused.contains(&self.settings.me) {
            return Some("a server is not kept away from itself".to_owned());
        }
        let fault = |node: &NodeId| {
            let Some(address) = addresses.get(node) else {
                return Some(format!("{node} is not in this cluster file"));
            };
            let mut others = addresses.iter().filter(|(other, _)| !refused.contains(*other));
            let shared = others.find(|(_, other)| other.ip() == address.ip());
            shared.map(|(other, _)| format!("{node} has the address of {other}, which must not be cut off"))
        };
        refused.iter().find_map(fault)
    }

    /// The servers outside the group that kernel rules can tell from its members.
    pub(crate) fn outside(&self, record: &Record) -> BTreeSet<SocketAddr> {
        let member = |node: &NodeId| record.group().is_some_and(|group| group.members.contains(node));
        let (members, others): (Vec<_>, Vec<_>) = self.settings.servers.iter().partition(|(node, _)| member(node));
        let shared = |address: &SocketAddr| members.iter().any(|(_, member)| member.ip() == address.ip());
        others.into_iter().map(|(_, address)| *address).filter(|address| !shared(address)).collect()
    }
}
