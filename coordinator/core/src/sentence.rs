//! One sentence for operators for each diagnosis.

use std::collections::BTreeSet;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;

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
        Diagnosis::PrimaryClosed { primary } => {
            format!("{primary} is the primary but closed to writes; opening it again, or another.")
        }
        Diagnosis::PrimaryHung { primary, for_ms } => {
            format!("{primary} has answered no write for {for_ms} ms; failing over.")
        }
        Diagnosis::PrimaryHostLost { primary, lost_by } => {
            format!(
                "Nobody hears {primary} any more, and its replicas lost it ({}); the voters look themselves, then it is failed over.",
                set(lost_by)
            )
        }
        Diagnosis::PrimaryUnseen { primary, still_heard_by } => {
            format!("{primary} is silent here but answers {}; no failover.", set(still_heard_by))
        }
        Diagnosis::PrimaryRefusing { primary, text } => {
            format!("{primary} is alive but refuses its node ({text}); no failover.")
        }
        Diagnosis::ReplicationOnlyPartition { primary, lost_by } => {
            format!("{primary} serves, but {} receive nothing from it; no failover.", set(lost_by))
        }
        Diagnosis::SidecarLost { primary } => {
            format!("The node beside {primary} is silent, but its replicas receive; no failover, restart the node.")
        }
        Diagnosis::AttemptUnfinished { ballot } => {
            format!("Attempt {ballot} was begun and not ended; finishing or undoing it.")
        }
        Diagnosis::TwoPrimaries { writable } => {
            format!(
                "More than one server takes writes ({}); the nodes beside the wrong ones close them.",
                set(writable)
            )
        }
        Diagnosis::Degraded { primary, acks, wanted } => format!(
            "{primary} acknowledges writes with {acks} instead of {wanted} replicas: losing its host now may lose the last ones; bring a replica back."
        ),
        Diagnosis::GroupTooSmall { members, acks } => {
            format!("The write group {} cannot lose a member with {acks} acknowledgements required.", set(members))
        }
        Diagnosis::Unsupported { node, reason } => format!("{node} is observed, never acted on: {reason}."),
        Diagnosis::ReplicaStray { node, reason } => format!("{node} does not follow the primary: {reason}."),
        Diagnosis::ErrantTransactions { node, extras } => {
            format!("{node} holds what the primary does not ({extras}); it is quarantined.")
        }
    }
}
