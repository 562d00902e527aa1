//! Names the one thing that is wrong, from evidence and never from a ping.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Observation, Process, ServerView, Thread, WriteProbe};
use tasuki_schemas::record::Record;

use crate::settings::Settings;
use crate::view::View;

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
        .filter(|node| record.voters.contains_key(node))
        .collect();
    if heard.len() < record.majority() {
        return Diagnosis::CoordinatorBlind { heard };
    }
    if let Some((node, reason)) = unsupported(settings, view, now) {
        return Diagnosis::Unsupported { node, reason };
    }
    let primary = &record.primary;
    let verdict = view.node(primary, silence, now).map_or_else(
        || Some(unheard_primary(settings, view, record, now)),
        |observation| heard_primary(settings, view, record, observation, now),
    );
    verdict.unwrap_or_else(|| {
        let unfinished = view.unfinished(silence, now).filter(|ballot| Some(*ballot) != mine);
        unfinished.map_or_else(
            || lesser(settings, view, record, now),
            |ballot| Diagnosis::AttemptUnfinished { ballot: ballot.clone() },
        )
    })
}

fn unsupported(settings: &Settings, view: &View, now: Moment) -> Option<(NodeId, String)> {
    view.heard(settings.policy.silence, now).find_map(|(node, observation)| {
        let server = observation.server.as_ref()?;
        if let Some(identity) = &server.identity
            && identity.flavour != settings.flavour
        {
            let reason = "its flavour is not the cluster file's; correct `flavour` there".to_owned();
            return Some((node.clone(), reason));
        }
        let twin = |other: &ServerView| {
            other.identity.as_ref().zip(server.identity.as_ref()).is_some_and(|(a, b)| a.server_id == b.server_id)
        };
        let clash = settings
            .servers
            .keys()
            .filter(|other| *other != node)
            .find(|other| view.server(other, settings.policy.silence, now).is_some_and(twin));
        if let Some(other) = clash {
            return Some((node.clone(), format!("its server_id is also that of {other}; give each server its own")));
        }
        server.facts.as_ref()?.unsupported.clone().map(|reason| (node.clone(), reason))
    })
}

/// The node beside the primary speaks: its word is certain where it saw the process exit.
fn heard_primary(
    settings: &Settings,
    view: &View,
    record: &Record,
    observation: &Observation,
    now: Moment,
) -> Option<Diagnosis> {
    let primary = record.primary.clone();
    let server = observation.server.as_ref()?;
    if server.process == Process::Exited {
        return Some(Diagnosis::PrimaryCrashed { primary });
    }
    match &server.connection {
        Connection::Refused { text, .. } => {
            return Some(Diagnosis::PrimaryRefusing { primary, text: text.clone() });
        }
        Connection::Silent { for_ms } if Duration::from_millis(*for_ms) >= settings.policy.hang => {
            return Some(Diagnosis::PrimaryHung { primary, for_ms: *for_ms });
        }
        Connection::Closed if server.process == Process::Unknown => {
            // The sidecar started beside a server that is down: nobody serves.
            return Some(Diagnosis::PrimaryClosed { primary });
        }
        Connection::Silent { .. } | Connection::Answering | Connection::Closed => {}
    }
    let facts = server.facts.as_ref()?;
    if let Some(WriteProbe::Hung { for_ms }) = &facts.write_probe
        && Duration::from_millis(*for_ms) >= settings.policy.hang
    {
        return Some(Diagnosis::PrimaryHung { primary, for_ms: *for_ms });
    }
    if record.opened && !facts.writable && !server.serving {
        return Some(Diagnosis::PrimaryClosed { primary });
    }
    let followers = followers(settings, view, record, now);
    if !followers.is_empty() && followers.iter().all(|(_, quiet)| *quiet >= settings.policy.silence) {
        let lost_by = followers.into_iter().map(|(node, _)| node).collect();
        return Some(Diagnosis::ReplicationOnlyPartition { primary, lost_by });
    }
    None
}

/// The node beside the primary is silent: only the replicas can tell whether its server lives.
fn unheard_primary(settings: &Settings, view: &View, record: &Record, now: Moment) -> Diagnosis {
    let primary = record.primary.clone();
    let (lost, hearing): (Vec<_>, Vec<_>) =
        followers(settings, view, record, now).into_iter().partition(|(_, quiet)| *quiet >= settings.policy.silence);
    if !hearing.is_empty() {
        return Diagnosis::SidecarLost { primary };
    }
    let lost_by: BTreeSet<NodeId> = lost.into_iter().map(|(node, _)| node).collect();
    Diagnosis::PrimaryHostLost { primary, lost_by }
}

/// The replicas heard, each with how long it has received nothing from the record's primary.
fn followers(settings: &Settings, view: &View, record: &Record, now: Moment) -> Vec<(NodeId, Duration)> {
    let Some(primary) = settings.servers.get(&record.primary) else {
        return Vec::new();
    };
    settings
        .servers
        .keys()
        .filter(|node| **node != record.primary)
        .filter_map(|node| {
            let observation = view.node(node, settings.policy.silence, now)?;
            let server = observation.server.as_ref()?;
            if server.connection != Connection::Answering {
                return None;
            }
            let replication = server.facts.as_ref()?.replication.as_ref()?;
            if replication.source != primary.address.into() {
                return None;
            }
            let quiet = match replication.receiver {
                Thread::Running => {
                    Duration::from_millis(replication.quiet_ms.saturating_add(server.facts_age_ms))
                        + view.silence_of(node, now)
                }
                Thread::Connecting | Thread::Stopped => Duration::MAX,
            };
            Some((node.clone(), quiet))
        })
        .collect()
}

/// The primary serves; what else is not as it should be?
fn lesser(settings: &Settings, view: &View, record: &Record, now: Moment) -> Diagnosis {
    let silence = settings.policy.silence;
    let mut writable: BTreeSet<NodeId> = settings
        .servers
        .keys()
        .filter(|node| view.facts(node, silence, now).is_some_and(|facts| facts.writable))
        .filter(|node| view.server(node, silence, now).is_some_and(|server| server.process != Process::Exited))
        .cloned()
        .collect();
    if writable.iter().any(|node| *node != record.primary) {
        writable.insert(record.primary.clone());
        return Diagnosis::TwoPrimaries { writable };
    }
    let stray = settings
        .servers
        .keys()
        .filter(|node| **node != record.primary)
        .find_map(|node| stray(settings, view, record, node, now).map(|reason| (node.clone(), reason)));
    if let Some((node, reason)) = stray {
        return Diagnosis::ReplicaStray { node, reason };
    }
    if let Some(group) = record.group().filter(|group| group.acks < record.wanted) {
        let primary = record.primary.clone();
        return Diagnosis::Degraded { primary, acks: group.acks, wanted: record.wanted };
    }
    if let Some(group) = record.group()
        && group.acks > 0
        && group.needed_promises() <= 1
    {
        return Diagnosis::GroupTooSmall { members: group.members.clone(), acks: group.acks };
    }
    Diagnosis::Healthy
}

/// Why a server does not replicate from the record's primary; `None` if it does.
#[must_use]
pub fn stray(settings: &Settings, view: &View, record: &Record, node: &NodeId, now: Moment) -> Option<String> {
    let Some(server) = view.server(node, settings.policy.silence, now) else {
        return Some("its node is silent".to_owned());
    };
    if server.connection != Connection::Answering {
        return Some("its server does not answer".to_owned());
    }
    let Some(facts) = &server.facts else {
        return Some("nothing is known of its server yet".to_owned());
    };
    let Some(replication) = &facts.replication else {
        return Some("it follows nobody".to_owned());
    };
    if settings.servers.get(&record.primary).is_none_or(|primary| replication.source != primary.address.into()) {
        return Some(format!("it follows {}:{}", replication.source.host, replication.source.port));
    }
    if replication.receiver == Thread::Stopped || replication.applier == Thread::Stopped {
        let error = if replication.error.is_empty() { "no error is shown" } else { &replication.error };
        return Some(format!("its replication is stopped: {error}"));
    }
    None
}
