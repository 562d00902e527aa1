//! Names the one thing that is wrong, from evidence and never from a ping.

mod primary;
mod replicas;
mod unsupported;

use std::collections::BTreeSet;
use std::mem::discriminant;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::settings::Settings;
use crate::view::View;

pub(crate) use primary::NOBODY_LISTENS;
pub use replicas::stray;
pub(crate) use replicas::{broken, is_ready, lesser};
pub(crate) use unsupported::unsupported;

/// The diagnosis of a cluster. Worst first; exactly one. `mine` is the ballot that this coordinator is busy with: its
/// own promises are no unfinished attempt.
#[must_use]
pub fn diagnose(
    settings: &Settings,
    view: &View,
    record: Option<&Record>,
    mine: Option<&Ballot>,
    now: Moment,
) -> Diagnosis {
    let Some(record) = record else {
        return Diagnosis::Unborn;
    };
    let silence = settings.policy.silence;
    let heard: BTreeSet<NodeId> = view
        .heard(silence, now)
        .map(|(node, _)| node.clone())
        .filter(|node| record.councils().any(|voters| voters.contains_key(node)))
        .collect();
    if !record.has_quorum(|node, _| heard.contains(node)) {
        return Diagnosis::CoordinatorBlind { heard };
    }
    if let Some((node, reason)) = unsupported(settings, view, Some(&record.primary), now) {
        return Diagnosis::Unsupported { node, reason };
    }
    of_primary(settings, view, record, now).unwrap_or_else(|| {
        // Whoever votes no more hears of no end. And nobody can finish what a later ballot found, whoever promised it since.
        let promised = |node| view.node(node, silence, now)?.ledger.failover.as_ref();
        let accepted = view.highest_accepted().map(|accepted| &accepted.ballot);
        let unfinished = heard.iter().filter_map(promised).max();
        let unfinished = unfinished.filter(|ballot| Some(*ballot) != mine && Some(*ballot) >= accepted);
        unfinished.map_or_else(
            || lesser(settings, view, record, now),
            |ballot| Diagnosis::AttemptUnfinished { ballot: ballot.clone() },
        )
    })
}

/// What is wrong with the primary, if anything.
pub(crate) fn of_primary(settings: &Settings, view: &View, record: &Record, now: Moment) -> Option<Diagnosis> {
    view.node(&record.primary, settings.policy.silence, now).map_or_else(
        || primary::unheard(settings, view, record, now),
        |observation| primary::heard(settings, view, record, observation, now),
    )
}

/// Whether people must hear of a diagnosis after another: numbers that grow are no news, another server is.
#[must_use]
pub fn is_news(old: &Diagnosis, new: &Diagnosis) -> bool {
    discriminant(old) != discriminant(new) || subject(old) != subject(new)
}

/// The one server of a diagnosis that any server can have.
const fn subject(diagnosis: &Diagnosis) -> Option<&NodeId> {
    match diagnosis {
        Diagnosis::DiskFull { node, .. }
        | Diagnosis::ReplicaBroken { node, .. }
        | Diagnosis::ReplicaLagging { node, .. }
        | Diagnosis::ReplicaStray { node, .. }
        | Diagnosis::ErrantTransactions { node, .. }
        | Diagnosis::Unsupported { node, .. } => Some(node),
        Diagnosis::Unborn
        | Diagnosis::CoordinatorBlind { .. }
        | Diagnosis::Healthy
        | Diagnosis::PrimaryCrashed { .. }
        | Diagnosis::PrimaryStopped { .. }
        | Diagnosis::PrimaryClosed { .. }
        | Diagnosis::PrimaryHung { .. }
        | Diagnosis::PrimaryHostLost { .. }
        | Diagnosis::PrimaryUnseen { .. }
        | Diagnosis::PrimaryIsolated { .. }
        | Diagnosis::PrimaryOverloaded { .. }
        | Diagnosis::PrimaryRefusing { .. }
        | Diagnosis::ReplicationOnlyPartition { .. }
        | Diagnosis::SidecarLost { .. }
        | Diagnosis::AttemptUnfinished { .. }
        | Diagnosis::Switchover { .. }
        | Diagnosis::TwoPrimaries { .. }
        | Diagnosis::GroupTooSmall { .. }
        | Diagnosis::Degraded { .. } => None,
    }
}
