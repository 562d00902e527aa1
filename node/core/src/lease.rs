//! The lease of a primary without acknowledgements (k = 0), from both ends: as the primary's node, which renews it and
//! keeps the guard informed, and as a voter, which grants it.
//!
//! Grants are remembered in memory alone: a voter that restarted counts as if it had granted when it started.

use std::collections::{BTreeSet, VecDeque};

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::id::{Incarnation, NodeId, ProgramId};
use tasuki_schemas::lease::{Grant, LeaseTerms, LeaseView, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Voters, WriteGroup};

use crate::io::{Guarding, Output};
use crate::memory::ServerRun;
use crate::node::Node;
use crate::orders::Act;

/// Questions whose late answers still count.
const KEPT: usize = 8;

/// What a node knows of leases.
#[derive(Debug)]
pub(crate) struct Lease {
    terms: Option<LeaseTerms>,
    /// As a voter: when the last grant ends.
    granted_until: Moment,
    /// The newest first.
    asked: VecDeque<Asked>,
    last_number: u64,
    /// The newest question that a majority answered.
    held: Option<(Epoch, Moment)>,
    guard: Guard,
    guard_asked: Option<(Option<Guarding>, Moment)>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    epoch: Epoch,
    at: Moment,
    by: BTreeSet<(NodeId, Incarnation)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// It was not heard of yet: one of an earlier run of this node may hold the server.
    Unknown,
    Idle,
    Holds(Guarding),
}

impl Lease {
    pub(crate) fn new(terms: Option<LeaseTerms>, now: Moment) -> Self {
        Self {
            terms,
            granted_until: terms.map_or(now, |terms| now + terms.length()),
            asked: VecDeque::new(),
            // A grant that is late must not answer a question of this run that an earlier run had numbered alike.
            last_number: now.nanos(),
            held: None,
            guard: Guard::Unknown,
            guard_asked: None,
        }
    }

    /// What is left of the last grant.
    pub(crate) fn rest_ms(&self, now: Moment) -> u64 {
        u64::try_from(self.granted_until.since(now).as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    const fn holding(&self) -> Option<Guarding> {
        match self.guard {
            Guard::Holds(guarding) => Some(guarding),
            Guard::Unknown | Guard::Idle => None,
        }
    }

    pub(crate) fn has_terms(&self) -> bool {
        self.terms.is_some()
    }
}

impl Node {
    fn own_group(&self) -> Option<&WriteGroup> {
        let record = self.record().filter(|record| record.mode == Mode::Armed)?;
        record.group().filter(|_| record.primary == self.settings.me)
    }

    /// The run of the server, if it is the one that was opened as primary.
    pub(crate) fn opened_run(&self) -> Option<ServerRun> {
        self.server.run().filter(|run| self.memory.opened == Some(*run))
    }

    /// Whether this server may acknowledge only under a lease.
    fn needs_lease(&self) -> bool {
        self.lease.terms.is_some() && self.own_group().is_some_and(|group| group.acks == 0)
    }

    fn wants_lease(&self) -> bool {
        let begun = self.record().is_some_and(|record| !record.opened) || self.act.as_ref().is_some_and(Act::is_drain);
        let opening = self.server.run().is_some() && begun;
        self.needs_lease() && self.memory.failover.is_none() && (opening || self.opened_run().is_some())
    }

    /// A voter is asked for a lease. It grants to the primary of the record that it accepted, while it promised no
    /// failover, and only if a guard stands behind it.
    pub(crate) fn renewed(&mut self, from: &NodeId, renew: Renew, now: Moment) {
        let Some(terms) = self.lease.terms else { return };
        let lawful = self
            .record()
            .is_some_and(|record| record.mode == Mode::Armed && record.primary == *from && record.epoch == renew.epoch);
        if lawful && renew.guarded && self.memory.failover.is_none() {
            self.lease.granted_until = self.lease.granted_until.max(now + terms.length());
            let grant = Grant { epoch: renew.epoch, number: renew.number, incarnation: self.memory.incarnation };
            if *from == self.settings.me {
                self.granted(from, &grant);
            } else {
                self.send(ProgramId::from(from), Message::Grant(grant));
            }
        }
    }

    /// A voter granted. The lease counts from the question, once a majority of the record's voters answered it.
    pub(crate) fn granted(&mut self, from: &NodeId, grant: &Grant) {
        let accepted = self.memory.accepted.as_ref().map(|accepted| &accepted.record);
        let Some(record) = accepted.filter(|record| record.epoch == grant.epoch) else { return };
        let mut asked = self.lease.asked.iter_mut();
        let Some(asked) = asked.find(|asked| (asked.number, &asked.epoch) == (grant.number, &grant.epoch)) else {
            return;
        };
        asked.by.insert((from.clone(), grant.incarnation));
        if record.has_quorum(|node, incarnation| asked.by.contains(&(node.clone(), incarnation))) {
            // Answers may come in another order than the questions.
            let before = self.lease.held.as_ref().filter(|(epoch, _)| *epoch == grant.epoch).map(|(_, at)| *at);
            self.lease.held = Some((grant.epoch.clone(), asked.at.max(before.unwrap_or(asked.at))));
        }
    }

    /// What the guard said.
    pub(crate) fn guarded(&mut self, guarding: Option<Guarding>) {
        self.lease.guard = guarding.map_or(Guard::Idle, Guard::Holds);
        self.lease.guard_asked = None;
    }

    /// When the lease ends: by a majority's answers, or, after a restart of this node, as its former self told the guard.
    fn lease_end(&self) -> Option<Moment> {
        let terms = self.lease.terms?;
        let epoch = &self.record()?.epoch;
        let held = self.lease.held.as_ref().filter(|(held, _)| held == epoch).map(|(_, at)| *at + terms.usable());
        self.server.run()?;
        let told = self.lease.holding().filter(|guarding| self.opened_run() == Some(guarding.run));
        held.max(told.and_then(|guarding| guarding.until))
    }

    /// Whether a server may be opened, or go on, without acknowledgements now.
    pub(crate) fn is_leased(&self, now: Moment) -> bool {
        let Some(terms) = self.lease.terms else { return false };
        let lasting = |end: Moment| end > now + (terms.usable() - terms.closing());
        let guarded = self.lease.holding().is_some_and(|guarding| {
            Some(guarding.run) == self.server.run() && guarding.until.is_some_and(|until| until > now)
        });
        guarded && self.lease_end().is_some_and(lasting)
    }

    /// Whether an open server has to be closed, since its lease ends and was not renewed.
    pub(crate) fn has_lapsed(&self, now: Moment) -> bool {
        let Some(terms) = self.lease.terms.filter(|_| self.needs_lease()) else { return false };
        if self.opened_run().is_none() {
            return false;
        }
        match self.lease_end() {
            Some(end) => end <= now + (terms.usable() - terms.closing()),
            // Adopted and not leased yet, or still waiting for acknowledgements: it does not acknowledge by a lease.
            None => {
                let alone = self.server.facts().is_some_and(|facts| !facts.semi_sync.source_enabled);
                let leased = self.own_group().is_some_and(|group| group.leased);
                alone && leased && self.lease.guard != Guard::Unknown
            }
        }
    }

    /// Renews what is needed, keeps the guard informed, and lets it go when nothing is to be guarded any more.
    pub(crate) fn tend_lease(&mut self, now: Moment) {
        if self.lease.guard == Guard::Unknown {
            return;
        }
        let holding = self.lease.holding();
        let Some(run) = self.server.run().filter(|_| self.wants_lease()) else {
            if holding.is_some() && self.need_not_be_guarded() {
                self.ask_guard(None, now);
            }
            return;
        };
        let until = self.lease_end();
        let known = holding.filter(|guarding| guarding.run == run);
        if known.is_none_or(|guarding| guarding.until < until) {
            self.ask_guard(Some(Guarding { run, until }), now);
        }
        if known.is_some() {
            self.renew(now);
        }
    }

    /// The guard may let go of a server that is gone or known to be closed, and of one that waits for acknowledgements
    /// again. Of one that was never looked at, or does not answer, nothing is known: a former self of this node may have
    /// opened it, and lost its ledger since.
    fn need_not_be_guarded(&self) -> bool {
        let opening = self.act.as_ref().is_some_and(Act::is_promotion);
        if self.server.report.is_none() || opening {
            return false;
        }
        let closed = self.server.facts().is_some_and(|facts| !facts.writable) || self.server.run().is_none();
        closed || self.own_group().is_some_and(|group| group.acks > 0)
    }

    fn ask_guard(&mut self, guarding: Option<Guarding>, now: Moment) {
        let repeat = self.settings.heartbeat;
        if self.lease.guard_asked.is_some_and(|(asked, at)| asked == guarding && now.since(at) < repeat) {
            return;
        }
        self.lease.guard_asked = Some((guarding, now));
        self.outputs.push(Output::Guard(guarding));
    }

    fn renew(&mut self, now: Moment) {
        let due = self.lease.asked.front().is_none_or(|asked| {
            now.since(asked.at) >= self.settings.heartbeat
                || self.record().is_some_and(|record| record.epoch != asked.epoch)
        });
        let Some(record) = self.record().filter(|_| due) else { return };
        let epoch = record.epoch.clone();
        let voters: BTreeSet<NodeId> = record.councils().flat_map(Voters::keys).cloned().collect();
        self.lease.last_number += 1;
        let renew = Renew { epoch: epoch.clone(), number: self.lease.last_number, guarded: true };
        self.lease.asked.push_front(Asked { number: renew.number, epoch, at: now, by: BTreeSet::new() });
        self.lease.asked.truncate(KEPT);
        let me = self.settings.me.clone();
        for voter in voters {
            if voter == me {
                self.renewed(&me, renew.clone(), now);
            } else {
                self.send(ProgramId::from(&voter), Message::Renew(renew.clone()));
            }
        }
    }

    /// When the next renewal is due, if that is still to come. One that is overdue is not wanted.
    pub(crate) fn lease_wake(&self, now: Moment) -> Option<Moment> {
        let renewal = self.lease.asked.front().map(|asked| asked.at + self.settings.heartbeat);
        renewal.filter(|at| *at > now)
    }

    /// For others to see.
    pub(crate) fn lease_view(&self, now: Moment) -> Option<LeaseView> {
        self.needs_lease().then(|| LeaseView {
            rest_ms: self.lease_end().map_or(0, |end| u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX)),
            guarded: self.is_leased(now),
        })
    }
}
