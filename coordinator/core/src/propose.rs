//! One vote round without side effects: to take the lead, or to change the record.

use std::time::Duration;

use tasuki_schemas::answer::Refusal;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Kind, Request};
use tasuki_schemas::errand::Switchover;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::past::{Pause, Planned};
use tasuki_schemas::record::{Accepted, Record, WriteGroup};

use crate::outbox::{Outbox, Topic};
use crate::promises::Promises;
use crate::settings::Settings;
use crate::view::View;
use crate::voters;

/// What the round is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To lead: the record stays as it is.
    TakeOver,
    /// The barrier row was acknowledged: older groups no longer count.
    Open,
    /// A server that caught up joins the write group.
    Widen(NodeId),
    /// A member that can acknowledge no more leaves the write group: what it acknowledged is with enough of the others.
    Narrow(NodeId),
    /// Another number of acknowledgements is required: fewer before the server waits for fewer, more after it waits for
    /// more and what it had by then is covered.
    Acks(u32),
    /// The primary that was adopted without acknowledgements holds a guarded lease: from now on it needs one.
    Lease,
    /// This node votes from now on, with this ledger: it is new, or its ledger is.
    Seat(NodeId, Incarnation),
    /// This voter is not in the cluster file any more.
    Unseat(NodeId),
    /// The last change of the voters is known to be decided: those before it no longer matter.
    Seated,
    /// The primary served for a stable while: earlier failovers are forgotten.
    Settle,
    /// An operator pauses failovers.
    Pause {
        /// Who.
        owner: String,
        /// Why.
        reason: String,
        /// For how long.
        length: Duration,
    },
    /// Failovers go on.
    Resume {
        /// An operator says so, and wants earlier failovers forgotten as well. Otherwise the pause has expired.
        forget: bool,
    },
    /// An operator plans a switchover.
    Plan {
        /// Which.
        switchover: Switchover,
        /// When, in UTC.
        at: String,
    },
    /// It is given up.
    CancelSwitchover {
        /// Why.
        why: String,
        /// An operator waits for it.
        asked: bool,
    },
}

/// A vote round under way.
#[derive(Clone, Debug)]
pub struct Proposal {
    purpose: Purpose,
    /// The record that is to be changed, as its leader decided it. Another one in its place, or the same decided anew, means
    /// that somebody else led meanwhile, and may have undone what this change rests on.
    of: Option<Accepted>,
    promises: Promises,
    value: Option<Record>,
    began: Moment,
}

/// Where a round stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Answers are missing.
    Pending,
    /// Decided.
    Decided(Box<Record>),
    /// Somebody was promised more.
    Lost,
    /// Too few answered in time.
    Late,
    /// Voters are bound by a failover promise: only a failover can go on.
    Unfinished,
}

impl Proposal {
    /// Begins a round; `of` is the record that it changes, `None` to take over whatever is found.
    #[must_use]
    pub const fn new(ballot: Ballot, purpose: Purpose, of: Option<Accepted>, now: Moment) -> Self {
        Self { purpose, of, promises: Promises::new(ballot), value: None, began: now }
    }

    /// An operator's word for a node with a new ledger.
    pub(crate) fn admit(&mut self, word: Option<(NodeId, Incarnation)>) {
        self.promises.admit(word);
    }

    /// Its ballot.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        self.promises.ballot()
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Asks whom it has to, and reads what was answered.
    pub(crate) fn step(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Progress {
        let ballot = self.ballot().clone();
        for node in settings.nodes() {
            let Some(answers) = view.answers(node, &ballot) else { continue };
            if view.doubt(node).is_some() {
                self.promises.doubt(node);
            }
            if let Some(promise) = &answers.promise {
                self.promises.keep(node, promise, now);
            }
            if let Some(Refusal::Unfinished { promised }) = &answers.refusal {
                // The record frees a voter that promised an attempt after that was over.
                let later = view.highest_accepted().filter(|accepted| accepted.ballot > *promised);
                let Some(Accepted { ballot, record }) = later.cloned() else { return Progress::Unfinished };
                let accept = Request::Accept { ballot, record: Box::new(record) };
                outbox.ask(node, Topic::Accept, accept, settings.policy.repeat, now);
            }
        }
        if outbid(settings, view, &ballot) {
            return Progress::Lost;
        }
        let base = self.promises.base();
        if base.is_some_and(|base| self.of.as_ref().is_some_and(|of| of != base)) {
            return Progress::Lost;
        }
        if self.value.is_none() {
            self.value = self
                .promises
                .base()
                .map(|base| changed(settings.policy.lease.is_some(), &base.record, &self.purpose, &ballot));
            self.value.iter_mut().for_each(|record| self.promises.admit_into(record));
        }
        if let Some(record) = &self.value {
            ask_accept(settings, view, &ballot, record, outbox, now);
            if accepted(view, &ballot, record) {
                return Progress::Decided(Box::new(record.clone()));
            }
        } else {
            let prepare = Request::Prepare { ballot, kind: Kind::Vote, evidence: None };
            for node in settings.nodes().filter(|node| self.promises.get(node).is_none()) {
                outbox.ask(node, Topic::Prepare, prepare.clone(), settings.policy.repeat, now);
            }
        }
        let patience = settings.policy.leader_patience * 4;
        if now.since(self.began) > patience { Progress::Late } else { Progress::Pending }
    }
}

pub(crate) fn changed(leases: bool, base: &Record, purpose: &Purpose, ballot: &Ballot) -> Record {
    let mut record = base.clone();
    match purpose {
        Purpose::TakeOver => {}
        Purpose::Seat(node, incarnation) => voters::change(&mut record, |them| {
            them.insert(node.clone(), *incarnation);
        }),
        Purpose::Unseat(node) => voters::change(&mut record, |them| {
            them.remove(node);
        }),
        Purpose::Seated => record.voters_before = None,
        Purpose::Settle => record.recent.clear(),
        Purpose::Pause { owner, reason, length } => {
            let for_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            let (owner, reason, set_at) = (owner.clone(), reason.clone(), ballot.clone());
            record.pause = Some(Pause { owner, reason, for_ms, set_at });
        }
        Purpose::Resume { forget } => {
            record.pause = None;
            if *forget {
                record.recent.clear();
            }
        }
        Purpose::Plan { switchover, at } => {
            let Switchover { to, by, reason, dry_run: _ } = switchover.clone();
            record.planned = Some(Planned { to, at: at.clone(), by, reason, set_at: ballot.clone() });
        }
        Purpose::CancelSwitchover { .. } => record.planned = None,
        Purpose::Open => {
            record.opened = true;
            record.groups.drain(..record.groups.len().saturating_sub(1));
        }
        Purpose::Acks(acks) => {
            if let Some(group) = record.group().cloned() {
                // While the record is not opened, every group of its list still counts. And what was acknowledged with
                // replicas must be shown for as long as writes go on without: nobody accepted that its last copies be lost.
                let settled = record.opened && !(*acks == 0 && group.acks > 0);
                record.groups.drain(..if settled { record.groups.len() } else { 0 });
                let leased = *acks == 0 && leases;
                record.groups.push(WriteGroup { acks: *acks, leased, ..group });
            }
        }
        Purpose::Lease => {
            if let Some(group) = record.groups.last_mut() {
                group.leased = true;
            }
        }
        Purpose::Narrow(node) => {
            if record.opened
                && *node != record.primary
                && let Some(group) = record.groups.last_mut()
            {
                group.members.remove(node);
            }
        }
        Purpose::Widen(node) => {
            // n − k of the wider group contain n − k of the narrower one, so it replaces it at once.
            if record.opened
                && let Some(group) = record.groups.last_mut()
            {
                group.members.insert(node.clone());
            }
        }
    }
    record
}

/// Asks every node that has not accepted yet to accept.
pub(crate) fn ask_accept(
    settings: &Settings,
    view: &View,
    ballot: &Ballot,
    record: &Record,
    outbox: &mut Outbox,
    now: Moment,
) {
    let accept = Request::Accept { ballot: ballot.clone(), record: Box::new(record.clone()) };
    for node in settings.nodes() {
        if !view.answers(node, ballot).is_some_and(|answers| answers.accepted) {
            outbox.ask(node, Topic::Accept, accept.clone(), settings.policy.repeat, now);
        }
    }
}

/// Whether somebody promised a higher ballot than this one.
pub(crate) fn outbid(settings: &Settings, view: &View, ballot: &Ballot) -> bool {
    let higher = |refusal: &Refusal| matches!(refusal, Refusal::Promised { promised } if promised > ballot);
    let answers = settings.nodes().filter_map(|node| view.answers(node, ballot));
    answers.filter_map(|answers| answers.refusal.as_ref()).any(higher)
}

/// Whether a majority of the record's voters accepted it at this ballot; of those before as well, if it changes them.
pub(crate) fn accepted(view: &View, ballot: &Ballot, record: &Record) -> bool {
    record.has_quorum(|node, incarnation| {
        view.answers(node, ballot).is_some_and(|answers| answers.accepted) && view.votes_with(node, incarnation)
    })
}
