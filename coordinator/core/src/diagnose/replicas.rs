//! The primary serves; what else is not as it should be?

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Thread};
use tasuki_schemas::record::Record;

use crate::settings::{Promotion, Settings};
use crate::view::View;

pub(crate) fn lesser(settings: &Settings, view: &View, record: &Record, now: Moment) -> Diagnosis {
    let silence = settings.policy.silence;
    let mut writable: BTreeSet<NodeId> = settings
        .servers
        .keys()
        .filter(|node| view.facts(node, silence, now).is_some_and(|facts| facts.writable))
        .filter(|node| view.server(node, silence, now).is_some_and(|server| !server.process.has_exited()))
        .cloned()
        .collect();
    if writable.iter().any(|node| *node != record.primary) {
        writable.insert(record.primary.clone());
        return Diagnosis::TwoPrimaries { writable };
    }
    if let Some(group) = record.group().filter(|group| group.acks < record.wanted) {
        let primary = record.primary.clone();
        return Diagnosis::Degraded { primary, acks: group.acks, wanted: record.wanted };
    }
    let full = settings
        .servers
        .keys()
        .find_map(|node| view.facts(node, silence, now)?.disk.clone().map(|text| (node.clone(), text)));
    if let Some((node, text)) = full {
        return Diagnosis::DiskFull { node, writes_fail: false, text };
    }
    let replicas = || settings.servers.keys().filter(|node| **node != record.primary);
    if let Some((node, error)) =
        replicas().find_map(|node| broken(settings, view, record, node, now).map(|error| (node.clone(), error)))
    {
        return Diagnosis::ReplicaBroken { node, error };
    }
    if let Some((node, reason)) =
        replicas().find_map(|node| stray(settings, view, record, node, now).map(|reason| (node.clone(), reason)))
    {
        return Diagnosis::ReplicaStray { node, reason };
    }
    if let Some(group) = record.group()
        && group.acks > 0
        && group.needed_promises() <= 1
    {
        return Diagnosis::GroupTooSmall { members: group.members.clone(), acks: group.acks };
    }
    Diagnosis::Healthy
}

/// The error that keeps a replica of the record's primary from receiving or applying. A receiver that only has to connect
/// again shows an error for a moment as well: it is believed once nothing has come for the silence.
pub(crate) fn broken(settings: &Settings, view: &View, record: &Record, node: &NodeId, now: Moment) -> Option<String> {
    let server = view.server(node, settings.policy.silence, now)?;
    let replication = server.facts.as_ref()?.replication.as_ref()?;
    let follows = settings.servers.get(&record.primary).is_some_and(|own| replication.source == own.address);
    let lasting = Duration::from_millis(replication.quiet_ms) >= settings.policy.silence;
    let stands = replication.receiver == Thread::Stopped
        || replication.applier == Thread::Stopped
        || (replication.receiver == Thread::Connecting && lasting);
    let told = server.connection == Connection::Answering && !replication.error.is_empty();
    (follows && stands && told).then(|| replication.error.clone())
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
    if settings.servers.get(&record.primary).is_none_or(|primary| replication.source != primary.address) {
        return Some(format!("it follows {}:{}", replication.source.host, replication.source.port));
    }
    if replication.receiver == Thread::Stopped || replication.applier == Thread::Stopped {
        let error = if replication.error.is_empty() { "no error is shown" } else { &replication.error };
        return Some(format!("its replication is stopped: {error}"));
    }
    None
}

/// Whether anybody could take over: a server that answers, may be promoted and can write.
pub(crate) fn is_ready(settings: &Settings, view: &View, record: &Record, now: Moment) -> bool {
    settings.servers.iter().any(|(node, server)| {
        let answers = view.server(node, settings.policy.silence, now).is_some_and(|server| {
            server.connection == Connection::Answering
                && server.facts.as_ref().is_some_and(|facts| facts.disk.is_none())
        });
        *node != record.primary && server.promotion != Promotion::Never && answers
    })
}
