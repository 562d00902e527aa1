//! The duties of the coordinator that leads: what a decided record asks for, derived from the record and from what the
//! nodes report. Deriving them again is resuming, so a successor has no second recovery path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::answer::{Outcome, Reported};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Order, OrderName, Request};
use tasuki_schemas::event::{EventBody, StageName};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record};

use crate::group;
use crate::headway::Headway;
use crate::narrow::Removal;
use crate::outbox::{Outbox, Topic};
use crate::propose::{Purpose, ask_accept};
use crate::repair::{Care, Finding};
use crate::settings::Settings;
use crate::view::View;
use crate::voters::Seats;

/// A reign being served.
#[derive(Clone, Debug)]
pub struct Leading {
    ballot: Ballot,
    pub(crate) record: Record,
    goal: Option<GtidSet>,
    since: Moment,
    /// How far the new primary says that it is.
    headway: Headway,
    /// The failover that this reign began with, for the waterfall.
    pub incident: Option<Incident>,
    told_open: bool,
    /// Who follows in the same breath as the promotion, besides the group.
    pub followers: BTreeSet<NodeId>,
    acts: BTreeMap<(NodeId, OrderName), (u64, Moment)>,
    last_act: u64,
    pub(crate) care: BTreeMap<NodeId, Care>,
    ackers: group::Ackers,
    asked_acks: Option<u32>,
    pub(crate) removal: Removal,
    /// A server that is to be re-cloned: it leaves the write group.
    pub(crate) retiring: Option<NodeId>,
    seats: Seats,
    /// Whether the last look found something to do.
    pub(crate) tends: bool,
}

/// A failover, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When it began at this coordinator.
    pub began: Moment,
    /// The server that was replaced.
    pub old: NodeId,
}

/// What the leader must do beyond its orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Stay,
    /// Change the record.
    Propose(Purpose),
    /// The named primary did not open: another must.
    GiveUp(NodeId, String),
    /// Nothing can be done, and people must know why.
    Hold(String),
}

/// Followers are waited for so long before the record says that it is opened.
const CONNECTING: Duration = Duration::from_millis(500);
/// An act that failed, or whose effect is gone again, is begun anew after this.
const RETRY: Duration = Duration::from_millis(300);

impl Leading {
    /// Leads with a decided record. `goal` is what its primary must have applied, if this coordinator proved it.
    #[must_use]
    pub fn new(ballot: Ballot, record: Record, goal: Option<GtidSet>, now: Moment) -> Self {
        let goal = goal.or_else(|| {
            record.reigns.iter().find(|reign| reign.epoch == record.epoch).map(|reign| reign.set_before.clone())
        });
        Self {
            ballot,
            record,
            goal,
            since: now,
            headway: Headway::new(now),
            incident: None,
            told_open: false,
            followers: BTreeSet::new(),
            acts: BTreeMap::new(),
            last_act: 0,
            care: BTreeMap::new(),
            ackers: group::Ackers::default(),
            asked_acks: None,
            removal: Removal::default(),
            retiring: None,
            seats: Seats::default(),
            tends: true,
        }
    }

    /// The ballot that it leads with.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// The decided record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// That record as its voters keep it.
    #[must_use]
    pub fn accepted(&self) -> Accepted {
        Accepted { ballot: self.ballot.clone(), record: self.record.clone() }
    }

    /// The stage of the failover that is not over yet.
    #[must_use]
    pub const fn stage(&self) -> Option<StageName> {
        match (self.record.opened, self.told_open) {
            (true, _) => None,
            (false, true) => Some(StageName::Opened),
            (false, false) => Some(StageName::Promoting),
        }
    }

    /// Whether nothing is under way, waited for or repeated.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.record.opened && !self.tends
    }

    pub(crate) fn step(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Next {
        self.tends = self.spread(settings, view, outbox, now);
        let next = if self.record.opened {
            self.repair(settings, view, outbox, now)
        } else {
            self.open(settings, view, outbox, now)
        };
        let next = match next {
            Next::Stay => self.tend_group(settings, view, outbox, now),
            Next::Propose(_) | Next::GiveUp(..) | Next::Hold(_) => next,
        };
        if next != Next::Stay || !self.record.opened {
            return next;
        }
        let due = self.seats.look(settings, view, (&self.ballot, &self.record), outbox, now);
        self.tends |= self.record.voters_before.is_some() || self.seats.waits();
        due.map_or(Next::Stay, Next::Propose)
    }

    /// Every voter that can be reached gets the record, not only a majority: it ends failover promises.
    fn spread(&self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> bool {
        let behind = |node: &NodeId| {
            view.node(node, settings.policy.silence, now).is_some_and(|observation| {
                observation.ledger.accepted.as_ref().is_none_or(|accepted| accepted.ballot < self.ballot)
            })
        };
        let spreads = settings.nodes().any(behind);
        if spreads {
            ask_accept(settings, view, &self.ballot, &self.record, outbox, now);
        }
        spreads
    }

    /// The commit: Promote, and in the same breath Follow, both justified by the decided record.
    fn open(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Next {
        let primary = self.record.primary.clone();
        let Some(goal) = self.goal.clone() else {
            return Next::GiveUp(primary, "the record names no set before its epoch".to_owned());
        };
        let promote = Order::Promote { record: Box::new(self.record.clone()), goal };
        let promoted = self.order(settings, view, &primary, promote, outbox, now);
        self.headway.look(promoted.as_ref(), now);
        let stands_still = now.since(self.headway.changed()) > settings.policy.stage_patience;
        let mut others = self.record.group().map(|group| group.members.clone()).unwrap_or_default();
        others.extend(self.followers.iter().cloned());
        let mut connecting = false;
        for node in others.into_iter().filter(|node| *node != primary) {
            let follow = Order::Follow { record: Box::new(self.record.clone()) };
            match self.order(settings, view, &node, follow, outbox, now) {
                Some(Outcome::Done { .. }) => {}
                Some(Outcome::Failed { .. }) => self.renew(&node, OrderName::Follow, now),
                Some(Outcome::Running { .. }) | None => connecting = true,
            }
        }
        // The next ballot would end what is under way: a follower that is about to connect is waited for a moment.
        let connecting = connecting && now.since(self.since) < CONNECTING;
        match promoted {
            Some(Outcome::Done { .. }) => {
                if !self.told_open {
                    self.told_open = true;
                    self.tell_stage(StageName::Opened, outbox, now);
                }
                match self.outcome(view, &primary, OrderName::Barrier) {
                    Some(Outcome::Done { .. }) if connecting => Next::Stay,
                    Some(Outcome::Done { .. }) => Next::Propose(Purpose::Open),
                    // It is open, and only forward leads from here: the promotion is repeated, which finds most done.
                    Some(Outcome::Failed { .. }) => {
                        self.renew(&primary, OrderName::Promote, now);
                        Next::Stay
                    }
                    Some(Outcome::Running { .. }) | None => Next::Stay,
                }
            }
            Some(Outcome::Failed { .. }) if self.told_open => {
                self.renew(&primary, OrderName::Promote, now);
                Next::Stay
            }
            Some(Outcome::Failed { reason }) => Next::GiveUp(primary, reason),
            Some(Outcome::Running { .. }) | None if self.told_open || !stands_still => Next::Stay,
            Some(Outcome::Running { .. }) | None => Next::GiveUp(primary, "it did not open in time".to_owned()),
        }
    }

    /// As many acknowledgements as there can be, up to those wanted.
    fn tend_group(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Next {
        let primary = self.record.primary.clone();
        if self.adopts_a_lease(settings, view, now) {
            return Next::Propose(Purpose::Lease);
        }
        let caught_up = self.care.iter().filter(|(_, care)| care.has_caught_up(now)).map(|(node, _)| node.clone());
        let found = self.ackers.look(settings, view, &self.record, &caught_up.collect(), now);
        let refuses = view.server(&primary, settings.policy.silence, now).is_some_and(|own| !own.refused.is_empty());
        self.tends |= found != group::Finding::Well || !self.ackers.are_calm() || refuses;
        let removed = match &found {
            group::Finding::Narrow(node) => Some(node.clone()),
            group::Finding::Well => self.retiring_member(),
            group::Finding::Lower(_) | group::Finding::SetWaitCount(_) | group::Finding::Waiting(_) => None,
        };
        if let Some(next) = self.tend_refused(settings, view, removed.as_ref(), outbox, now) {
            return next;
        }
        match found {
            group::Finding::Well | group::Finding::Narrow(_) => Next::Stay,
            group::Finding::Waiting(reason) => Next::Hold(reason),
            group::Finding::Lower(acks) => Next::Propose(Purpose::Acks(acks)),
            group::Finding::SetWaitCount(acks) => {
                let raises = self.record.group().is_some_and(|group| acks > group.acks);
                if !raises && !self.told_open && !self.record.opened {
                    // The promotion sets it.
                    return Next::Stay;
                }
                if self.asked_acks != Some(acks) {
                    self.forget(&primary, OrderName::SetWaitCount);
                    self.asked_acks = Some(acks);
                }
                let order = Order::SetWaitCount { record: Box::new(self.record.clone()), acks };
                match self.order(settings, view, &primary, order, outbox, now) {
                    Some(Outcome::Done { .. }) if raises && self.record.opened => Next::Propose(Purpose::Acks(acks)),
                    Some(ended @ (Outcome::Done { .. } | Outcome::Failed { .. })) => {
                        if matches!(ended, Outcome::Failed { .. }) {
                            self.ackers.failed(now);
                        }
                        self.renew(&primary, OrderName::SetWaitCount, now);
                        Next::Stay
                    }
                    Some(Outcome::Running { .. }) | None => Next::Stay,
                }
            }
        }
    }

    /// A primary that was adopted without acknowledgements holds a guarded lease: the record may say so.
    fn adopts_a_lease(&self, settings: &Settings, view: &View, now: Moment) -> bool {
        let unleased = self.record.group().is_some_and(|group| group.acks == 0 && !group.leased);
        let lease = view.server(&self.record.primary, settings.policy.silence, now).and_then(|server| server.lease);
        self.record.opened && unleased && lease.is_some_and(|lease| lease.guarded)
    }

    /// Everyday care of all other servers.
    fn repair(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Next {
        let mut next = Next::Stay;
        let primary = self.record.primary.clone();
        // What is on its way out of the group must not be told to acknowledge meanwhile.
        let leaving = |node: &NodeId| self.removal.is_of(node);
        let others: Vec<&NodeId> = settings.servers.keys().filter(|node| **node != primary && !leaving(node)).collect();
        for node in others {
            let mut care = self.care.remove(node).unwrap_or_default();
            care.spare(self.is_spared(settings, view, node, now));
            let finding = care.look(settings, view, &self.record, node, now);
            self.archive(settings, view, node, &mut care, outbox, now);
            self.care.insert(node.clone(), care);
            self.tends |= !matches!(finding, Finding::Well | Finding::Wait);
            match finding {
                Finding::Well | Finding::Wait => {}
                Finding::AskPosition(asked) => {
                    outbox.ask_report(&asked, now);
                }
                Finding::Follow => {
                    let order = Order::Follow { record: Box::new(self.record.clone()) };
                    self.insist(settings, view, node, order, outbox, now);
                }
                Finding::Join => {
                    let order = Order::JoinGroup { record: Box::new(self.record.clone()) };
                    self.insist(settings, view, node, order, outbox, now);
                }
                Finding::Widen => next = Next::Propose(Purpose::Widen(node.clone())),
                Finding::Tell(sentence) => outbox.tell(EventBody::Repair { node: node.clone(), sentence }),
            }
        }
        next
    }

    /// What quarantined servers hold in excess, and the folder on their hosts where that is archived.
    #[must_use]
    pub fn quarantine(&self) -> BTreeMap<NodeId, (String, Option<String>)> {
        let one = |(node, care): (&NodeId, &Care)| {
            let archive = care.archived().map(str::to_owned);
            Some((node.clone(), (care.extras()?.text.clone(), archive)))
        };
        self.care.iter().filter_map(one).collect()
    }

    /// Gives an order until it is done; one that ended, but whose effect is not seen, is given anew.
    fn insist(
        &mut self,
        settings: &Settings,
        view: &View,
        node: &NodeId,
        order: Order,
        outbox: &mut Outbox,
        now: Moment,
    ) {
        let name = order.name();
        match self.order(settings, view, node, order, outbox, now) {
            Some(Outcome::Done { .. } | Outcome::Failed { .. }) => self.renew(node, name, now),
            Some(Outcome::Running { .. }) | None => {}
        }
    }

    /// Repeats an order until it ended, and returns how it stands.
    pub(crate) fn order(
        &mut self,
        settings: &Settings,
        view: &View,
        node: &NodeId,
        order: Order,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Option<Outcome> {
        let key = (node.clone(), order.name());
        if !self.acts.contains_key(&key) {
            self.last_act += 1;
            self.acts.insert(key.clone(), (self.last_act, now));
        }
        let (number, _) = self.acts.get(&key).copied()?;
        let outcome = self.outcome(view, node, order.name());
        if !matches!(outcome, Some(Outcome::Done { .. } | Outcome::Failed { .. })) {
            let topic = Topic::Order(order.name());
            let request = Request::Order { ballot: self.ballot.clone(), number, order: Box::new(order) };
            outbox.ask(node, topic, request, settings.policy.repeat, now);
        }
        outcome
    }

    /// The outcome of the newest act of that name, if the node reported it. A Barrier has its Promote's number.
    fn outcome(&self, view: &View, node: &NodeId, name: OrderName) -> Option<Outcome> {
        let act = if name == OrderName::Barrier { OrderName::Promote } else { name };
        let (number, _) = self.acts.get(&(node.clone(), act))?;
        let Reported { number: reported, outcome } = view.answers(node, &self.ballot)?.outcomes.get(&name)?;
        (reported == number).then(|| outcome.clone())
    }

    /// The next order of that name is a new act, whatever came of the last.
    pub(crate) fn forget(&mut self, node: &NodeId, name: OrderName) {
        self.acts.remove(&(node.clone(), name));
    }

    /// The same, once some time has passed since the last was given.
    pub(crate) fn renew(&mut self, node: &NodeId, name: OrderName, now: Moment) {
        if self.acts.get(&(node.clone(), name)).is_some_and(|(_, begun)| now.since(*begun) > RETRY) {
            self.forget(node, name);
        }
    }

    pub(crate) fn tell_stage(&self, stage: StageName, outbox: &mut Outbox, now: Moment) {
        let Some(incident) = &self.incident else { return };
        outbox.tell(EventBody::Stage {
            ballot: self.ballot.clone(),
            stage,
            old: incident.old.clone(),
            candidate: Some(self.record.primary.clone()),
            after_ms: now.since(incident.began).as_secs_f64() * 1000.0,
            reasons: Vec::new(),
        });
    }
}
