//! Acts on the server: admitted by ballot and record, one at a time, each with an outcome.

use std::net::SocketAddr;
use std::time::Duration;

use tasuki_schemas::answer::{Outcome, Refusal, Reported};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{CatchUpHow, Order, OrderName};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::{CoordinatorId, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Record, WriteGroup};

use crate::fetching::Fetching;
use crate::io::{Acknowledging, Effect, EffectId, Ended, Progress};
use crate::lawful::carried;
use crate::memory::ServerRun;
use crate::node::Node;

/// A lease must be held within this.
const LEASING: Duration = Duration::from_secs(3);

/// An act under way.
#[derive(Debug)]
pub(crate) struct Act {
    from: CoordinatorId,
    ballot: Ballot,
    number: u64,
    name: OrderName,
    begun: Moment,
    /// The run of the server that a Drain found open. Until it ends nobody knows whether that is still so.
    found_open: Option<ServerRun>,
    /// What the coordinator had been told before it gave the order: its own outcome takes the place of an earlier one's.
    told: Option<GtidSet>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The raised promise, or the record, is not durable yet.
    Durable {
        sequence: u64,
        order: Box<Order>,
    },
    /// Nothing may be acknowledged without replicas before a lease is held.
    Leasing {
        order: Box<Order>,
        since: Moment,
    },
    /// Transactions are asked for at another node.
    Fetching(Box<Fetching>),
    Running {
        id: EffectId,
        opened: bool,
    },
    Cancelling,
}

impl Act {
    pub(crate) const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    pub(crate) fn is_promotion(&self) -> bool {
        self.name == OrderName::Promote
    }

    pub(crate) fn is_drain(&self) -> bool {
        self.name == OrderName::Drain
    }

    /// The run that is open as it was, if this did nothing.
    pub(crate) const fn found_open(&self) -> Option<ServerRun> {
        self.found_open
    }

    /// Nothing of it runs yet.
    pub(crate) const fn is_waiting(&self) -> bool {
        match self.state {
            State::Durable { .. } | State::Leasing { .. } | State::Fetching(_) => true,
            State::Running { .. } | State::Cancelling => false,
        }
    }

    /// The effect to end, the first time it is asked for.
    pub(crate) fn cancel(&mut self) -> Option<EffectId> {
        let State::Running { id, .. } = self.state else { return None };
        self.state = State::Cancelling;
        Some(id)
    }

    pub(crate) fn repeat_at(&self) -> Option<Moment> {
        match &self.state {
            State::Fetching(fetching) => fetching.repeat_at(),
            State::Durable { .. } | State::Leasing { .. } | State::Running { .. } | State::Cancelling => None,
        }
    }

    pub(crate) fn fetching(&mut self) -> Option<&mut Fetching> {
        match &mut self.state {
            State::Fetching(fetching) => Some(fetching),
            State::Durable { .. } | State::Leasing { .. } | State::Running { .. } | State::Cancelling => None,
        }
    }

    /// From now on its effect counts.
    pub(crate) fn runs(&mut self, id: EffectId) {
        self.state = State::Running { id, opened: false };
    }
}

impl Node {
    pub(crate) fn order(&mut self, from: &CoordinatorId, ballot: Ballot, number: u64, order: Order, now: Moment) {
        if let Some(refusal) = self.unlawful(&ballot, &order) {
            self.refuse(from, &ballot, refusal);
            return;
        }
        let name = order.name();
        let known = self.answers.get(from).filter(|answers| answers.ballot.as_ref() == Some(&ballot));
        let number_of = |name| known.and_then(|answers| answers.outcomes.get(&name)).map(|reported| reported.number);
        // One that came late must not make a server acknowledge that was told to stop since.
        let undone = matches!(name, OrderName::Follow | OrderName::JoinGroup)
            && number_of(OrderName::LeaveGroup).is_some_and(|left| left > number);
        if undone || number_of(name).is_some_and(|known| known >= number) {
            self.dirty = true;
            return;
        }
        let busy = self.closing.is_some() || self.overtaken.is_some();
        if self.act.is_some() || self.pending.is_some() || busy {
            return;
        }
        if name == OrderName::Drain && self.opened_run().is_none() {
            let reason = "its server was not opened by this record".to_owned();
            return self.refuse(from, &ballot, Refusal::Unlawful { reason });
        }
        if self.is_exchanging() {
            let reason = "its data directory is being exchanged".to_owned();
            return self.refuse(from, &ballot, Refusal::Unlawful { reason });
        }
        if self.owes_for(&ballot, &order) {
            return;
        }
        // Learnt, it is not on the disk yet.
        let kept = self.memory.accepted.as_ref().is_some_and(|accepted| accepted.ballot == ballot);
        if let Some(record) = carried(&order) {
            self.learn(&ballot, record);
        }
        let raised = self.memory.promised.as_ref() != Some(&ballot);
        if raised {
            self.memory.promised = Some(ballot.clone());
        }
        let receives = match &order {
            Order::Follow { .. } | Order::CatchUp { .. } => std::mem::take(&mut self.memory.whole),
            Order::Promote { .. }
            | Order::JoinGroup { .. }
            | Order::SetWaitCount { .. }
            | Order::CutAcker { .. }
            | Order::Drain { .. }
            | Order::Archive { .. }
            | Order::Reclone { .. }
            | Order::LeaveGroup { .. } => false,
        };
        let found_open = if name == OrderName::Drain { self.memory.opened.take() } else { None };
        let durable = kept && !raised && !receives && found_open.is_none();
        let sequence = if durable { self.memory.sequence } else { self.persist() };
        let state = State::Durable { sequence, order: Box::new(order) };
        let told = self.told_holdings(from);
        self.act = Some(Act { from: from.clone(), ballot, number, name, begun: now, found_open, told, state });
    }

    /// A record of another reign is accepted with the duty of a failover. An order does none, so that it only brings such a
    /// record to a node that has done it at this ballot; to others the record is offered by itself, and the order again.
    fn owes_for(&self, ballot: &Ballot, order: &Order) -> bool {
        let other = |record: &Record| self.record().is_some_and(|accepted| accepted.epoch != record.epoch);
        carried(order).is_some_and(other) && self.on_duty_done.as_ref() != Some(ballot)
    }

    /// A decided record that this node has not accepted yet is accepted by the order that carries it.
    fn learn(&mut self, ballot: &Ballot, record: &Record) {
        if self.memory.accepted.as_ref().is_none_or(|accepted| accepted.ballot < *ballot) {
            if self.record().is_none_or(|accepted| accepted.epoch != record.epoch) {
                self.memory.opened = None;
            }
            if self.memory.failover.as_ref().is_some_and(|failover| failover <= ballot) {
                self.memory.failover = None;
            }
            self.remember(ballot.clone(), record.clone());
        }
    }

    pub(crate) fn advance_act(&mut self, now: Moment) {
        let Some(mut act) = self.act.take() else { return };
        if let State::Durable { sequence, order } = &act.state
            && *sequence <= self.durable
            && self.closing.is_none()
        {
            act.state = State::Leasing { order: order.clone(), since: now };
            self.report(&act, Outcome::Running { step: "begun".to_owned(), backlog: false });
        }
        if let State::Leasing { order, since } = &act.state {
            if !is_alone(order) || self.is_leased(now) {
                let order = order.clone();
                match self.begin_act(&act, *order, now) {
                    Ok(state) => act.state = state,
                    Err(reason) => return self.report(&act, Outcome::Failed { reason }),
                }
            } else if !self.lease.has_terms() || now.since(*since) > LEASING {
                let reason = "it got no lease, without which nothing may be acknowledged without replicas (k = 0)";
                return self.report(&act, Outcome::Failed { reason: reason.to_owned() });
            }
        }
        self.act = Some(act);
    }

    fn begin_act(&mut self, act: &Act, order: Order, now: Moment) -> Result<State, String> {
        let effect = match order {
            Order::CatchUp { goal, from, how: CatchUpHow::Tail, through } => {
                // A node that was restarted meanwhile told nothing yet: the next attempt's promise does.
                let have = act.told.clone().ok_or("this run of the node told nobody what its server holds")?;
                let fetching = Fetching::new(from, through, act.ballot.clone(), (have, goal), now);
                return Ok(State::Fetching(Box::new(fetching)));
            }
            Order::CatchUp { goal, from, how: CatchUpHow::Replicate, through: _ } => {
                Effect::Replicate { source: self.address(&from), goal }
            }
            Order::Promote { record, goal } => {
                self.abandon_reclone();
                let acks = record.group().map_or(0, |group| group.acks);
                Effect::Promote { epoch: record.epoch.clone(), goal, acks, outside: self.outside(&record) }
            }
            Order::Follow { record } => {
                let awaited = |group: &WriteGroup| group.acks > 0 && group.members.contains(&self.settings.me);
                let acknowledging = match (record.wanted > 0, record.group().is_some_and(awaited)) {
                    (true, true) => Acknowledging::Now,
                    (true, false) => Acknowledging::Later,
                    (false, _) => Acknowledging::Never,
                };
                Effect::Follow { source: self.address(&record.primary), acknowledging }
            }
            Order::JoinGroup { record } => Effect::JoinGroup { source: self.address(&record.primary) },
            Order::SetWaitCount { acks, record } => {
                let (floor, outside) = (record.group().map_or(0, |group| group.acks), self.outside(&record));
                Effect::SetWaitCount { acks, floor, epoch: record.epoch, outside }
            }
            Order::CutAcker { record, refused, removed } => {
                let refused = refused.iter().map(|node| self.address(node)).collect();
                Effect::CutAcker { refused, barrier: removed.map(|_| record.epoch) }
            }
            Order::LeaveGroup { .. } => Effect::LeaveGroup,
            Order::Drain { within_ms, .. } => {
                Effect::Drain { within: Duration::from_millis(within_ms), let_in: self.others() }
            }
            Order::Archive { holds, beyond, .. } => Effect::Archive { holds, beyond },
            Order::Reclone { record, step } => self.reclone_effect(&record, step)?,
        };
        Ok(State::Running { id: self.execute(effect), opened: false })
    }

    pub(crate) fn address(&self, node: &NodeId) -> SocketAddr {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.settings.servers.get(node).copied().unwrap_or(nowhere)
    }

    /// What this server holds as far as the coordinator was told: after an earlier catch-up, or at the promise.
    fn told_holdings(&self, from: &CoordinatorId) -> Option<GtidSet> {
        let answers = self.answers.get(from)?;
        let caught_up = match answers.outcomes.get(&OrderName::CatchUp).map(|reported| &reported.outcome) {
            Some(Outcome::Done { holdings, .. }) => holdings.as_ref(),
            Some(Outcome::Running { .. } | Outcome::Failed { .. }) | None => None,
        };
        let promised = answers.promise.as_ref().and_then(|promise| promise.holdings.as_ref());
        caught_up.or(promised)?.received.known().cloned()
    }

    pub(crate) fn progressed(&mut self, id: EffectId, progress: Progress, now: Moment) {
        let Some(mut act) = self.act.take() else { return };
        if let State::Running { id: running, opened } = &mut act.state
            && *running == id
        {
            let (run, holdings) = match progress {
                Progress::Opened { run, holdings } => (run, holdings),
                Progress::Going { step, backlog } => {
                    self.report(&act, Outcome::Running { step, backlog });
                    self.act = Some(act);
                    return;
                }
            };
            *opened = true;
            if let Some(report) = &mut self.server.report {
                if report.run == Some(run) {
                    // Facts from before it are no reason to let the guard go.
                    report.facts.iter_mut().for_each(|facts| facts.writable = true);
                } else {
                    // They are another run's: this one was not looked at yet.
                    (report.run, report.facts) = (Some(run), None);
                }
            }
            self.memory.opened = Some(run);
            self.memory.whole = true;
            self.persist();
            let took_ms = millis(act.begun, now);
            self.report(&act, Outcome::Done { holdings: Some(holdings), took_ms, place: None });
            let barrier = Reported {
                number: act.number,
                outcome: Outcome::Running { step: "barrier row".to_owned(), backlog: false },
            };
            self.answers_of(&act.from).outcomes.insert(OrderName::Barrier, barrier);
        }
        self.act = Some(act);
    }

    pub(crate) fn act_ended(&mut self, id: EffectId, ended: Ended, now: Moment) {
        let Some(act) = self.act.take() else { return };
        let opened = match act.state {
            State::Running { id: running, opened } if running == id => opened,
            // A cancelled effect's end is only awaited, not reported: its ballot is over.
            State::Cancelling => {
                self.dirty = true;
                return;
            }
            State::Running { .. } | State::Durable { .. } | State::Leasing { .. } | State::Fetching(_) => {
                self.act = Some(act);
                return;
            }
        };
        let took_ms = millis(act.begun, now);
        if act.is_drain() {
            self.drain_ended(&act, &ended);
        }
        let outcome = match ended {
            Ended::Done(holdings) => Outcome::Done { holdings: Some(holdings), took_ms, place: None },
            Ended::Kept(place) => Outcome::Done { holdings: None, took_ms, place: Some(place) },
            // A server starts with its semi-sync side off.
            Ended::Gone(_) if act.name == OrderName::LeaveGroup => {
                Outcome::Done { holdings: None, took_ms, place: None }
            }
            Ended::Gone(_) => Outcome::Failed { reason: "the server's process is gone".to_owned() },
            Ended::Failed(reason) => Outcome::Failed { reason },
            Ended::Cancelled => Outcome::Failed { reason: "cancelled".to_owned() },
            Ended::Looked(_) => Outcome::Failed { reason: "a look is no act".to_owned() },
        };
        if opened {
            let reported = Reported { number: act.number, outcome };
            self.answers_of(&act.from).outcomes.insert(OrderName::Barrier, reported);
            self.dirty = true;
        } else {
            self.report(&act, outcome);
        }
        self.read_position();
    }

    /// A drain that failed left the server open. One that was cut short may have closed it: then only a promotion opens it.
    fn drain_ended(&mut self, act: &Act, ended: &Ended) {
        self.closed(ended);
        if matches!(ended, Ended::Failed(_)) && act.found_open == self.server.run() {
            self.memory.opened = act.found_open;
            self.persist();
        }
    }

    /// Says how far the act is.
    pub(crate) fn tell_step(&mut self, step: String) {
        if let Some(act) = self.act.take() {
            self.report(&act, Outcome::Running { step, backlog: false });
            self.act = Some(act);
        }
    }

    pub(crate) fn report(&mut self, act: &Act, outcome: Outcome) {
        let (ballot, number, name) = (act.ballot.clone(), act.number, act.name);
        self.answers_at(&act.from, &ballot).outcomes.insert(name, Reported { number, outcome });
        self.dirty = true;
    }
}

/// Whether an order makes its server acknowledge without replicas, where that needs a lease.
fn is_alone(order: &Order) -> bool {
    let acks = match order {
        Order::Promote { record, .. } => record.group().map(|group| group.acks),
        Order::SetWaitCount { acks, .. } => Some(*acks),
        Order::CatchUp { .. }
        | Order::Follow { .. }
        | Order::JoinGroup { .. }
        | Order::LeaveGroup { .. }
        | Order::Drain { .. }
        | Order::Archive { .. }
        | Order::Reclone { .. }
        | Order::CutAcker { .. } => None,
    };
    acks == Some(0) && carried(order).and_then(Record::group).is_some_and(|group| group.leased)
}

fn millis(from: Moment, to: Moment) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}
