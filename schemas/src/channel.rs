//! Redis channels of a cluster. The braces are literal: Redis Cluster's hash tag.

use std::fmt;

use crate::id::{ClusterName, ProgramId};

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Observations of all nodes.
    Health,
    /// Binlog positions and GTID sets of all nodes.
    Position,
    /// Whatever has one receiver.
    To(ProgramId),
    /// Heartbeats of the coordinators.
    Coordinator,
    /// Events for viewers.
    Event,
    /// A program's own echo, by which it knows that its subscription lives.
    Echo(ProgramId),
}

impl Channel {
    /// The channel's name on Redis.
    #[must_use]
    pub fn name(&self, cluster: &ClusterName) -> String {
        format!("tasuki:{{{cluster}}}:{self}")
    }

    /// The key of the stream that keeps a cluster's history.
    #[must_use]
    pub fn history(cluster: &ClusterName) -> String {
        format!("tasuki:{{{cluster}}}:history")
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health => f.write_str("health"),
            Self::Position => f.write_str("position"),
            Self::To(program) => write!(f, "to:{program}"),
            Self::Coordinator => f.write_str("coordinator"),
            Self::Event => f.write_str("event"),
            Self::Echo(program) => write!(f, "echo:{program}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_the_hash_tag() {
        let cluster: ClusterName = "main".parse().unwrap();
        let to = Channel::To("db1".parse().unwrap());
        assert_eq!(to.name(&cluster), "tasuki:{main}:to:db1");
    }
}
