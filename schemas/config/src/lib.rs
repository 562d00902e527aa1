//! The files that nodes and coordinators are configured by.
//!
//! Every finding is reported at once, each with its file, line and fix. [`ClusterFile`] is byte-identical on all
//! machines of a cluster; [`NodeConfig`] and [`CoordinatorConfig`] hold only what is local.

mod bus;
mod cluster;
mod findings;
mod length;
mod local;
mod secret;
mod tokens;

pub use cluster::{
    ClusterFile, Coordinator, Fences, MaxLoss, PlannedStop, Policy, Promotion, Rejoin, Replication, Server, Shutdown,
    Ssh, Vip, Witness,
};
pub use findings::{Finding, Findings};
pub use length::length;
pub use local::{Commands, CoordinatorConfig, Cut, FeedConfig, Limits, NodeConfig, Plain, Reach, ServerConfig};
pub use secret::Secret;
pub use tokens::{Clusters, Grant, Role, TokenFile, TokenMark, add_token, token_line, unhex};
