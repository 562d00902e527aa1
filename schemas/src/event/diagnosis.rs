//! The closed catalogue of what can be wrong.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;
use crate::id::NodeId;

/// The one thing that is wrong with a cluster, with the evidence it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "diagnosis", rename_all = "snake_case")]
pub enum Diagnosis {
    /// No record: the cluster was not born yet.
    Unborn,
    /// Too few voters are heard: this coordinator cannot tell.
    CoordinatorBlind {
        /// Nodes heard.
        heard: BTreeSet<NodeId>,
    },
    /// All is well.
    Healthy,
    /// The node beside the primary saw its process exit: certain.
    PrimaryCrashed {
        /// The primary.
        primary: NodeId,
    },
    /// The node beside the primary saw its process exit after it closed its binlog: somebody stopped it.
    PrimaryStopped {
        /// The primary.
        primary: NodeId,
    },
    /// The primary runs, but is closed to writes although the record names it: it restarted.
    PrimaryClosed {
        /// The primary.
        primary: NodeId,
    },
    /// The primary's process lives, but a write does not end.
    PrimaryHung {
        /// The primary.
        primary: NodeId,
        /// Milliseconds for which it has not written.
        for_ms: u64,
    },
    /// Nobody hears the primary's host: neither its node, nor does any replica receive from it.
    PrimaryHostLost {
        /// The primary.
        primary: NodeId,
        /// Replicas that lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary's host is silent to coordinators, but replicas still receive from it: no failover.
    PrimaryUnseen {
        /// The primary.
        primary: NodeId,
        /// Who still receives from it.
        still_heard_by: BTreeSet<NodeId>,
    },
    /// The primary's own node says that all is well, but no replica receives from it and no voter that looked was greeted:
    /// nobody reaches it.
    PrimaryIsolated {
        /// The primary.
        primary: NodeId,
        /// Replicas that lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary answers, or writes, but slowly: no failover, which would move the load and not end it.
    PrimaryOverloaded {
        /// The primary.
        primary: NodeId,
        /// Milliseconds that an answer or a write takes, or has taken so far.
        for_ms: u64,
    },
    /// The primary is alive but refuses its node (connections exhausted, credentials): no failover.
    PrimaryRefusing {
        /// The primary.
        primary: NodeId,
        /// The server's error number, 0 if none was given.
        #[serde(default, skip_serializing_if = "is_zero")]
        code: u16,
        /// The server's words.
        text: String,
    },
    /// Replicas lost the primary, which is healthy to its own node: no failover.
    ReplicationOnlyPartition {
        /// The primary.
        primary: NodeId,
        /// Who lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary's sidecar is silent, but the replicas receive: no failover.
    SidecarLost {
        /// The primary.
        primary: NodeId,
    },
    /// A promise above the accepted record: an attempt was begun and not ended.
    AttemptUnfinished {
        /// The ballot of the attempt.
        ballot: Ballot,
    },
    /// Nothing is wrong: an operator asked the primary to hand over.
    Switchover {
        /// The primary.
        primary: NodeId,
        /// Who takes over.
        to: NodeId,
    },
    /// A server that is not the primary takes writes.
    TwoPrimaries {
        /// The servers that are writable.
        writable: BTreeSet<NodeId>,
    },
    /// The write group cannot lose one more member.
    GroupTooSmall {
        /// Its members.
        members: BTreeSet<NodeId>,
        /// Its required acknowledgements.
        acks: u32,
    },
    /// Too few replicas acknowledge: writes are acknowledged with fewer copies than wanted.
    Degraded {
        /// The primary.
        primary: NodeId,
        /// Acknowledgements required now.
        acks: u32,
        /// Acknowledgements wanted.
        wanted: u32,
    },
    /// A server's disk takes no more writes: it is not promoted.
    DiskFull {
        /// The server.
        node: NodeId,
        /// True if it is the primary, and writes fail: nobody can write.
        #[serde(default, skip_serializing_if = "is_false")]
        writes_fail: bool,
        /// What was found.
        text: String,
    },
    /// A replica holds much less than the primary had a while ago.
    ReplicaLagging {
        /// The replica.
        node: NodeId,
        /// Transactions that it has not applied.
        behind: u64,
    },
    /// A replica's receiver or applier stopped with an error.
    ReplicaBroken {
        /// The replica.
        node: NodeId,
        /// The server's words.
        error: String,
    },
    /// Tasuki observes this set-up but must not act on it.
    Unsupported {
        /// The server.
        node: NodeId,
        /// Why, and the fix.
        reason: String,
    },
    /// A replica does not follow the primary.
    ReplicaStray {
        /// The replica.
        node: NodeId,
        /// What it does instead.
        reason: String,
    },
    /// A replica holds transactions that the primary does not: quarantined.
    ErrantTransactions {
        /// The replica.
        node: NodeId,
        /// What it holds in excess.
        extras: String,
        /// The folder on its host where that is archived; `None` as long as it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
}

/// Which diagnosis it is, without its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is told where its diagnosis is")]
pub enum DiagnosisKind {
    Unborn,
    CoordinatorBlind,
    Healthy,
    PrimaryCrashed,
    PrimaryStopped,
    PrimaryClosed,
    PrimaryHung,
    PrimaryHostLost,
    PrimaryUnseen,
    PrimaryIsolated,
    PrimaryOverloaded,
    PrimaryRefusing,
    ReplicationOnlyPartition,
    SidecarLost,
    AttemptUnfinished,
    Switchover,
    TwoPrimaries,
    GroupTooSmall,
    Degraded,
    DiskFull,
    ReplicaLagging,
    ReplicaBroken,
    Unsupported,
    ReplicaStray,
    ErrantTransactions,
}

impl Diagnosis {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> DiagnosisKind {
        match self {
            Self::Unborn => DiagnosisKind::Unborn,
            Self::CoordinatorBlind { .. } => DiagnosisKind::CoordinatorBlind,
            Self::Healthy => DiagnosisKind::Healthy,
            Self::PrimaryCrashed { .. } => DiagnosisKind::PrimaryCrashed,
            Self::PrimaryStopped { .. } => DiagnosisKind::PrimaryStopped,
            Self::PrimaryClosed { .. } => DiagnosisKind::PrimaryClosed,
            Self::PrimaryHung { .. } => DiagnosisKind::PrimaryHung,
            Self::PrimaryHostLost { .. } => DiagnosisKind::PrimaryHostLost,
            Self::PrimaryUnseen { .. } => DiagnosisKind::PrimaryUnseen,
            Self::PrimaryIsolated { .. } => DiagnosisKind::PrimaryIsolated,
            Self::PrimaryOverloaded { .. } => DiagnosisKind::PrimaryOverloaded,
            Self::PrimaryRefusing { .. } => DiagnosisKind::PrimaryRefusing,
            Self::ReplicationOnlyPartition { .. } => DiagnosisKind::ReplicationOnlyPartition,
            Self::SidecarLost { .. } => DiagnosisKind::SidecarLost,
            Self::AttemptUnfinished { .. } => DiagnosisKind::AttemptUnfinished,
            Self::Switchover { .. } => DiagnosisKind::Switchover,
            Self::TwoPrimaries { .. } => DiagnosisKind::TwoPrimaries,
            Self::GroupTooSmall { .. } => DiagnosisKind::GroupTooSmall,
            Self::Degraded { .. } => DiagnosisKind::Degraded,
            Self::DiskFull { .. } => DiagnosisKind::DiskFull,
            Self::ReplicaLagging { .. } => DiagnosisKind::ReplicaLagging,
            Self::ReplicaBroken { .. } => DiagnosisKind::ReplicaBroken,
            Self::Unsupported { .. } => DiagnosisKind::Unsupported,
            Self::ReplicaStray { .. } => DiagnosisKind::ReplicaStray,
            Self::ErrantTransactions { .. } => DiagnosisKind::ErrantTransactions,
        }
    }
}

const fn is_zero(code: &u16) -> bool {
    *code == 0
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}
