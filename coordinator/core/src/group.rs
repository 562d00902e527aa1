//! How many acknowledgements the primary waits for: fewer when replicas are lost, so that writing goes on; more again when
//! they are back. Lowering: the record first, the server after. Raising: the server first, then coverage, then the record.
//! And who is in the group no longer: see `narrow`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Thread};
use tasuki_schemas::record::{Mode, Record};

use crate::settings::{Degraded, Settings};
use crate::view::View;

/// A replica that lives but does not acknowledge may only be connecting: it is waited for this long.
const CONNECTING: Duration = Duration::from_secs(1);
/// More acknowledgements are required of replicas that have not caught up after so long all the same: writing then waits
/// until they have. One that receives more slowly than the primary writes gets there in no other way. As long passes after
/// a try that failed.
const BEHIND: Duration = Duration::from_secs(10);

/// What is remembered about the group between looks.
#[derive(Clone, Debug, Default)]
pub struct Ackers {
    short_since: Option<Moment>,
    /// Since when more could be required.
    more_since: Option<Moment>,
    /// When the last try of it failed.
    failed_at: Option<Moment>,
    /// How many are about to be required.
    raising: Option<u32>,
    /// Members that acknowledge nothing, and since when.
    mute_since: BTreeMap<NodeId, Moment>,
}

/// What the group needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Well,
    /// The record must say fewer.
    Lower(u32),
    /// The server must wait for so many; more than the record says when a raise is under way.
    SetWaitCount(u32),
    /// This member must leave the group: it has acknowledged nothing for long, and the others can carry on.
    Narrow(NodeId),
    /// People, who must know that writing waits.
    Waiting(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acker {
    Acknowledges,
    Away,
    Lost,
}

impl Ackers {
    /// Whether nothing is waited for.
    #[must_use]
    pub fn are_calm(&self) -> bool {
        self.short_since.is_none() && self.more_since.is_none() && self.mute_since.is_empty()
    }

    /// More acknowledgements were required and did not come: writing stood still for it.
    pub const fn failed(&mut self, now: Moment) {
        if self.raising.take().is_some() {
            self.failed_at = Some(now);
        }
    }

    /// Looks at the ackers of a decided record. `caught_up` are those that held a moment ago what the primary had.
    pub fn look(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        caught_up: &BTreeSet<NodeId>,
        now: Moment,
    ) -> Finding {
        let Some(group) = record.group().filter(|_| record.mode == Mode::Armed && record.wanted > 0) else {
            return Finding::Well;
        };
        let Some(facts) = view.facts(&record.primary, settings.policy.silence, now).filter(|facts| facts.writable)
        else {
            *self = Self::default();
            return Finding::Well;
        };
        let replicas = group.members.iter().filter(|node| **node != record.primary);
        let states: BTreeMap<&NodeId, Acker> =
            replicas.map(|node| (node, acker(settings, view, record, node, now))).collect();
        self.mute_since.retain(|node, _| states.get(node).is_some_and(|state| *state != Acker::Acknowledges));
        for (node, _) in states.iter().filter(|(_, state)| **state != Acker::Acknowledges) {
            self.mute_since.entry((*node).clone()).or_insert(now);
        }
        let count = |wanted: &[Acker]| {
            u32::try_from(states.values().filter(|state| wanted.contains(state)).count()).unwrap_or(u32::MAX)
        };
        let (acknowledging, hoped) = (count(&[Acker::Acknowledges]), count(&[Acker::Acknowledges, Acker::Away]));
        if acknowledging < group.acks {
            (self.more_since, self.raising) = (None, None);
            let patience = if hoped < group.acks { settings.policy.acker_patience } else { CONNECTING };
            return self.short(settings, acknowledging, patience, now);
        }
        self.short_since = None;
        let waits_for = if facts.semi_sync.source_enabled { facts.semi_sync.wait_count.max(1) } else { 0 };
        let target = record.wanted.min(acknowledging);
        if target <= group.acks {
            (self.more_since, self.raising) = (None, None);
            return if waits_for == group.acks {
                self.mute(settings, record, now).map_or(Finding::Well, Finding::Narrow)
            } else {
                Finding::SetWaitCount(group.acks)
            };
        }
        let since = *self.more_since.get_or_insert(now);
        let ready = states.iter().filter(|(node, state)| **state == Acker::Acknowledges && caught_up.contains(**node));
        let ready = record.wanted.min(u32::try_from(ready.count()).unwrap_or(u32::MAX));
        // The record may have followed by now, or a replica may be gone.
        self.raising = self.raising.filter(|raising| (group.acks + 1..=target).contains(raising));
        if self.raising.is_none() && self.failed_at.is_none_or(|at| now.since(at) >= BEHIND) {
            let at_last = (now.since(since) >= BEHIND).then_some(target);
            self.raising = at_last.or_else(|| (ready > group.acks).then_some(ready));
        }
        self.raising.map_or(Finding::Well, Finding::SetWaitCount)
    }

    /// The member of an opened record's group that has acknowledged nothing for too long, if any.
    fn mute(&self, settings: &Settings, record: &Record, now: Moment) -> Option<NodeId> {
        let (node, since) = self.mute_since.iter().min_by_key(|(_, since)| **since).filter(|_| record.opened)?;
        (now.since(*since) >= settings.policy.narrow_patience).then(|| node.clone())
    }

    fn short(&mut self, settings: &Settings, acknowledging: u32, patience: Duration, now: Moment) -> Finding {
        let since = *self.short_since.get_or_insert(now);
        if now.since(since) < patience {
            return Finding::Well;
        }
        match settings.policy.degraded {
            Degraded::Open => Finding::Lower(acknowledging),
            Degraded::Hold => Finding::Waiting(format!(
                "writing waits: only {acknowledging} replicas acknowledge, and the cluster file says `degraded = \"hold\"`; bring a replica back"
            )),
        }
    }
}

/// How many replicas of the group would acknowledge without this one.
pub(crate) fn acknowledging(settings: &Settings, view: &View, record: &Record, without: &NodeId, now: Moment) -> u32 {
    let members = record.group().map(|group| &group.members).into_iter().flatten();
    let others = members.filter(|node| **node != record.primary && *node != without);
    let count = others.filter(|node| acker(settings, view, record, node, now) == Acker::Acknowledges).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn acker(settings: &Settings, view: &View, record: &Record, node: &NodeId, now: Moment) -> Acker {
    let Some(server) = view.server(node, settings.policy.silence, now) else { return Acker::Lost };
    if server.process.has_exited() || server.connection != Connection::Answering {
        return Acker::Lost;
    }
    let source = settings.servers.get(&record.primary).map(|server| server.address.into());
    let acknowledges = server.facts.as_ref().is_some_and(|facts| {
        let follows = |own: &tasuki_schemas::observation::Replication| {
            Some(&own.source) == source.as_ref() && own.receiver == Thread::Running
        };
        facts.semi_sync.replica_enabled && facts.replication.as_ref().is_some_and(follows)
    });
    if acknowledges { Acker::Acknowledges } else { Acker::Away }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
