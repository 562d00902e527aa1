//! One sentence for operators for each diagnosis: what is wrong, what is done about it, and what they can do.

use std::collections::BTreeSet;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;

use crate::refusing::refusing;

/// Names in a row.
pub(crate) fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    let list: Vec<&str> = nodes.into_iter().map(NodeId::as_str).collect();
    if list.is_empty() { "nobody".to_owned() } else { list.join(" ") }
}

fn set(nodes: &BTreeSet<NodeId>) -> String {
    names(nodes)
}

/// What is wrong, and what is done about it.
#[must_use]
pub fn sentence(diagnosis: &Diagnosis) -> String {
    match diagnosis {
        Diagnosis::Unborn => "The cluster has no record yet; run `tasuki-coordinator init` once.".to_owned(),
        Diagnosis::CoordinatorBlind { heard } => {
            format!("This coordinator hears only {}; it decides nothing.", set(heard))
        }
        Diagnosis::Healthy => "The primary serves and its replicas follow.".to_owned(),
        Diagnosis::PrimaryCrashed { primary } => format!("The server process of {primary} is gone; failing over."),
        Diagnosis::PrimaryStopped { primary } => {
            format!("Somebody stopped {primary}; another takes over, at once or when the cluster file says.")
        }
        Diagnosis::PrimaryClosed { primary } => {
            format!("{primary} is the primary but closed to writes; opening it again, or another.")
        }
        Diagnosis::PrimaryHung { primary, for_ms } => {
            format!("{primary} has answered no write for {for_ms} ms; failing over.")
        }
        Diagnosis::PrimaryHostLost { primary, lost_by } => host_lost(primary, lost_by),
        Diagnosis::PrimaryUnseen { primary, still_heard_by } => {
            format!("{primary} is silent here but answers {}; no failover.", set(still_heard_by))
        }
        Diagnosis::PrimaryIsolated { primary, lost_by } => isolated(primary, lost_by),
        Diagnosis::PrimaryOverloaded { primary, for_ms } => overloaded(primary, *for_ms),
        Diagnosis::PrimaryRefusing { primary, code, text } => refusing(primary, *code, text),
        Diagnosis::ReplicationOnlyPartition { primary, lost_by } => {
            format!("{primary} serves, but {} receive nothing from it; no failover.", set(lost_by))
        }
        Diagnosis::SidecarLost { primary } => {
            format!("The node beside {primary} is silent, but its replicas receive; no failover, restart the node.")
        }
        Diagnosis::AttemptUnfinished { ballot } => {
            format!("Attempt {ballot} was begun and not ended; finishing or undoing it.")
        }
        Diagnosis::Switchover { primary, to } => format!("{primary} hands over to {to}, as it was asked to."),
        Diagnosis::TwoPrimaries { writable } => two_primaries(writable),
        Diagnosis::Degraded { primary, acks, wanted } => degraded(primary, *acks, *wanted),
        Diagnosis::GroupTooSmall { members, acks } => {
            format!("The write group {} cannot lose a member with {acks} acknowledgements required.", set(members))
        }
        Diagnosis::DiskFull { node, writes_fail, text } => disk_full(node, *writes_fail, text),
        Diagnosis::Unsupported { node, reason } => format!("{node} is observed, never acted on: {reason}."),
        Diagnosis::ReplicaBroken { node, error } => {
            format!("The replication of {node} stands still: {error}; repair the replica or re-clone it.")
        }
        Diagnosis::ReplicaLagging { node, behind } => lagging(node, *behind),
        Diagnosis::ReplicaStray { node, reason } => format!("{node} does not follow the primary: {reason}."),
        Diagnosis::ErrantTransactions { node, extras, archive } => errant(node, extras, archive.as_deref()),
    }
}

fn errant(node: &NodeId, extras: &str, archive: Option<&str>) -> String {
    let kept = archive.map_or_else(|| "not archived yet".to_owned(), |folder| format!("archived there in {folder}"));
    format!("{node} holds what the primary does not ({extras}; {kept}); it is quarantined.")
}

fn host_lost(primary: &NodeId, lost_by: &BTreeSet<NodeId>) -> String {
    format!(
        "Nobody hears {primary} any more, and its replicas lost it ({}); the voters look themselves, then it is failed over.",
        set(lost_by)
    )
}

fn isolated(primary: &NodeId, lost_by: &BTreeSet<NodeId>) -> String {
    format!(
        "{primary} is well to its own node, but nobody reaches it: {} receive nothing, and no voter is greeted; failing over.",
        set(lost_by)
    )
}

fn overloaded(primary: &NodeId, for_ms: u64) -> String {
    format!(
        "{primary} is slow (an answer or a write takes {for_ms} ms); no failover, which would move the load and not end it."
    )
}

fn two_primaries(writable: &BTreeSet<NodeId>) -> String {
    format!("More than one server takes writes ({}); the nodes beside the wrong ones close them.", set(writable))
}

fn degraded(primary: &NodeId, acks: u32, wanted: u32) -> String {
    format!(
        "{primary} acknowledges writes with {acks} instead of {wanted} replicas: losing its host now may lose the last ones; bring a replica back."
    )
}

fn disk_full(node: &NodeId, writes_fail: bool, text: &str) -> String {
    if writes_fail {
        return format!(
            "The disk of {node} takes no writes ({text}): nobody can write; free space, or it is failed over."
        );
    }
    format!("The disk of {node} takes no writes ({text}); free space; until then it is not promoted.")
}

fn lagging(node: &NodeId, behind: u64) -> String {
    format!(
        "{node} lags: it has {behind} transactions of the primary left to apply; look for a long one, a lock or a slow disk there."
    )
}
