//! What is wrong with the primary: by the node beside it, or, when that is silent, by its replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Facts, Leaving, Observation, Process, Thread, WriteProbe};
use tasuki_schemas::record::Record;

use crate::settings::Settings;
use crate::view::View;

/// In place of a server's error number: a server that is being stopped closes its port long before it exits, on MySQL ten
/// seconds while replicas are connected. Whether others are greeted tells that from a socket file that was deleted.
pub(crate) const NOBODY_LISTENS: u16 = 0;

/// The node beside the primary speaks: its word is certain where it saw the process exit.
pub(super) fn heard(
    settings: &Settings,
    view: &View,
    record: &Record,
    observation: &Observation,
    now: Moment,
) -> Option<Diagnosis> {
    let primary = record.primary.clone();
    let server = observation.server.as_ref()?;
    match server.process {
        // One whose commits waited was ended, so that none of them is answered.
        Process::Exited { clean: false } if server.leaving == Some(Leaving::Stops) => {
            return Some(Diagnosis::PrimaryStopped { primary });
        }
        Process::Exited { clean: true } => return Some(Diagnosis::PrimaryStopped { primary }),
        Process::Exited { clean: false } => return Some(Diagnosis::PrimaryCrashed { primary }),
        Process::Running { .. } | Process::Unknown => {}
    }
    // A primary that is being opened has no replicas yet: they follow in the same breath.
    let lost_by = lost_by_all(settings, view, record, now).filter(|_| record.opened);
    match &server.connection {
        Connection::Refused { code, text } => {
            return Some(Diagnosis::PrimaryRefusing { primary, code: *code, text: text.clone() });
        }
        Connection::Silent { for_ms } if Duration::from_millis(*for_ms) >= settings.policy.hang => {
            return Some(Diagnosis::PrimaryHung { primary, for_ms: *for_ms });
        }
        Connection::Silent { for_ms } if Duration::from_millis(*for_ms) >= settings.policy.slow => {
            return Some(Diagnosis::PrimaryOverloaded { primary, for_ms: *for_ms });
        }
        Connection::Closed if server.process == Process::Unknown => {
            // The sidecar started beside a server that is down: nobody serves.
            return Some(Diagnosis::PrimaryClosed { primary });
        }
        Connection::Closed => {
            let text = "nobody listens where it connects".to_owned();
            return Some(Diagnosis::PrimaryRefusing { primary, code: NOBODY_LISTENS, text });
        }
        Connection::Silent { .. } | Connection::Answering => {}
    }
    let facts = server.facts.as_ref()?;
    if let Some(WriteProbe::Hung { for_ms }) = &facts.write_probe
        && Duration::from_millis(*for_ms) >= settings.policy.hang
    {
        return Some(Diagnosis::PrimaryHung { primary, for_ms: *for_ms });
    }
    if record.opened && !facts.writable && !server.serving {
        let stopped = server.leaving == Some(Leaving::Stops);
        return Some(if stopped {
            Diagnosis::PrimaryStopped { primary }
        } else {
            Diagnosis::PrimaryClosed { primary }
        });
    }
    if let (Some(text), Some(WriteProbe::Failed { .. })) = (&facts.disk, &facts.write_probe) {
        return Some(Diagnosis::DiskFull { node: primary, writes_fail: true, text: text.clone() });
    }
    // A host that is lost takes its node with it: for a moment the node was heard after the replicas lost the server.
    if let Some(lost_by) = lost_by.filter(|_| view.silence_of(&primary, now) <= settings.policy.silence / 2) {
        return Some(Diagnosis::ReplicationOnlyPartition { primary, lost_by });
    }
    slow_write(settings, facts).map(|for_ms| Diagnosis::PrimaryOverloaded { primary, for_ms })
}

/// Milliseconds that a write takes, if that is long; one that hangs past the limit was told before.
fn slow_write(settings: &Settings, facts: &Facts) -> Option<u64> {
    match facts.write_probe.as_ref()? {
        WriteProbe::Written { took_ms: ms } | WriteProbe::Hung { for_ms: ms } => {
            (Duration::from_millis(*ms) >= settings.policy.slow).then_some(*ms)
        }
        WriteProbe::Failed { .. } => None,
    }
}

/// The node beside the primary is silent: only the replicas can tell whether its server lives.
pub(super) fn unheard(settings: &Settings, view: &View, record: &Record, now: Moment) -> Option<Diagnosis> {
    let primary = record.primary.clone();
    let silence = settings.policy.silence;
    let (hearing, lost): (Vec<_>, Vec<_>) = followers(settings, view, record, now)
        .into_iter()
        .partition(|(node, quiet)| *quiet + view.silence_of(node, now) < silence);
    if hearing.is_empty() {
        let lost_by: BTreeSet<NodeId> = lost.into_iter().map(|(node, _)| node).collect();
        return Some(Diagnosis::PrimaryHostLost { primary, lost_by });
    }
    // With a lost host the replicas' last heartbeats may be a moment younger than its node's: that is no lost sidecar.
    (view.silence_of(&primary, now) >= silence + silence / 2).then_some(Diagnosis::SidecarLost { primary })
}

/// The replicas, if there are any and all of them lost the primary.
fn lost_by_all(settings: &Settings, view: &View, record: &Record, now: Moment) -> Option<BTreeSet<NodeId>> {
    let followers = followers(settings, view, record, now);
    let lost = !followers.is_empty() && followers.iter().all(|(_, quiet)| *quiet >= settings.policy.silence);
    lost.then(|| followers.into_iter().map(|(node, _)| node).collect())
}

/// The replicas heard, each with how long it had received nothing from the record's primary when its node spoke last. That
/// it lost the primary is what it said; that it hears it is believed only as long as the word itself is fresh.
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
            // One that is being re-cloned is not set to receive again until that is over: it says nothing of the primary.
            let spared = server.reclone.as_ref().is_some_and(|told| told.stage.is_under_way());
            let idle = spared && replication.receiver != Thread::Running;
            if replication.source != primary.address || idle {
                return None;
            }
            let quiet = match replication.receiver {
                Thread::Running => Duration::from_millis(replication.quiet_ms.saturating_add(server.facts_age_ms)),
                // Far longer than any patience, and still a length that can be added to.
                Thread::Connecting | Thread::Stopped => Duration::from_secs(u64::from(u32::MAX)),
            };
            Some((node.clone(), quiet))
        })
        .collect()
}
