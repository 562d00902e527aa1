//! Nodes with scripted servers: they obey the protocol as nodes do, at once and without disks.

use std::collections::BTreeMap;

use tasuki_schemas::answer::{Answers, Duty, Holdings, Look, Outcome, ProbeAnswer, Promise, Refusal, Reported};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Kind, Order, OrderName, Request};
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId, Nonce};
use tasuki_schemas::observation::{LedgerView, Observation, Position};
use tasuki_schemas::record::{Accepted, Record};

use crate::server::{Life, Server};

/// A node with its server; a witness has none.
#[derive(Clone, Debug)]
pub(crate) struct Puppet {
    pub(crate) name: NodeId,
    pub(crate) server: Option<Server>,
    /// False while the host is lost: neither heard nor hearing.
    pub(crate) reachable: bool,
    /// Its server cannot be reached over the network, whatever it does.
    pub(crate) walled_off: bool,
    /// This node is greeted by the primary, whatever everybody else sees.
    pub(crate) primary_greets: bool,
    /// It has met the primary again since it last looked.
    pub(crate) contradicts: bool,
    /// What is left of the lease that it granted last.
    pub(crate) lease_rest_ms: u64,
    /// Orders of these names fail, with the reason.
    pub(crate) failing: BTreeMap<String, String>,
    /// So many received transactions it has to apply before it may open.
    pub(crate) left: u64,
    /// Why its duty at a promise cannot be done.
    pub(crate) idle: Option<String>,
    pub(crate) incarnation: Incarnation,
    pub(crate) sequence: u64,
    /// Why its ledger is new.
    pub(crate) anew: Option<String>,
    pub(crate) promised: Option<Ballot>,
    pub(crate) failover: Option<Ballot>,
    pub(crate) accepted: Option<Accepted>,
    heard: BTreeMap<CoordinatorId, Nonce>,
    pub(crate) answers: BTreeMap<CoordinatorId, Answers>,
}

impl Puppet {
    pub(crate) fn new(name: NodeId, number: u32, server: Option<Server>) -> Self {
        Self {
            name,
            server,
            reachable: true,
            walled_off: false,
            primary_greets: false,
            contradicts: false,
            lease_rest_ms: 0,
            failing: BTreeMap::new(),
            left: 0,
            idle: None,
            incarnation: Incarnation(u64::from(number)),
            sequence: 0,
            anew: None,
            promised: None,
            failover: None,
            accepted: None,
            heard: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn hear(&mut self, coordinator: &CoordinatorId, nonce: Nonce) {
        self.heard.insert(coordinator.clone(), nonce);
    }

    /// `greeted` is what a look at the primary shows from here.
    pub(crate) fn take(
        &mut self,
        from: &CoordinatorId,
        request: &Request,
        ports: &BTreeMap<NodeId, u16>,
        greeted: bool,
    ) {
        let mut answers = self.answers.remove(from).unwrap_or(Answers::none());
        match request {
            Request::Report | Request::CannotLeave { .. } => {}
            Request::BeginAnew { incarnation, reason } => {
                if *incarnation == self.incarnation {
                    (self.incarnation, self.anew) = (Incarnation(incarnation.0 + 100), Some(reason.clone()));
                }
            }
            Request::Probe { nonce, .. } => {
                let look = if greeted { Look::Greeted } else { Look::NoGreeting };
                answers.probe = Some(ProbeAnswer { nonce: *nonce, look });
            }
            Request::Prepare { ballot, kind, evidence } => {
                let silence = matches!(
                    evidence,
                    Some(Diagnosis::PrimaryHostLost { primary, .. } | Diagnosis::PrimaryIsolated { primary, .. })
                        if *primary != self.name
                );
                if silence && (greeted || self.contradicts) {
                    answers = Answers { ballot: Some(ballot.clone()), probe: answers.probe, ..Answers::none() };
                    answers.refusal = Some(Refusal::Contradicted);
                } else {
                    self.prepare(&mut answers, ballot, *kind);
                }
            }
            Request::Accept { ballot, record } => {
                if self.admits(&mut answers, ballot) {
                    self.accept(ballot, record);
                    answers.accepted = true;
                }
            }
            Request::Order { ballot, number, order } => {
                if self.admits(&mut answers, ballot) {
                    self.obey(&mut answers, *number, order, ports);
                }
            }
        }
        self.answers.insert(from.clone(), answers);
    }

    /// Raises the promise to the ballot, or refuses.
    fn admits(&mut self, answers: &mut Answers, ballot: &Ballot) -> bool {
        if answers.ballot.as_ref() != Some(ballot) {
            *answers = Answers { ballot: Some(ballot.clone()), probe: answers.probe.clone(), ..Answers::none() };
        }
        if let Some(promised) = self.promised.clone().filter(|promised| promised > ballot) {
            answers.refusal = Some(Refusal::Promised { promised });
            return false;
        }
        self.promised = Some(ballot.clone());
        self.sequence += 1;
        true
    }

    fn prepare(&mut self, answers: &mut Answers, ballot: &Ballot, kind: Kind) {
        if let (Kind::Vote, Some(promised)) = (kind, self.failover.clone()) {
            *answers = Answers { ballot: Some(ballot.clone()), ..Answers::none() };
            answers.refusal = Some(Refusal::Unfinished { promised });
            return;
        }
        if !self.admits(answers, ballot) || answers.promise.is_some() {
            return;
        }
        let (duty, holdings) = if kind == Kind::Failover { self.duty(ballot) } else { (Duty::Nothing, None) };
        answers.promise = Some(Promise {
            kind,
            incarnation: self.incarnation,
            sequence: self.sequence,
            accepted: self.accepted.clone(),
            duty,
            holdings,
            lease_rest_ms: self.lease_rest_ms,
        });
    }

    /// What a failover promise makes the node do first.
    pub(crate) fn duty(&mut self, ballot: &Ballot) -> (Duty, Option<Holdings>) {
        self.failover = Some(ballot.clone());
        let subject = self.accepted.as_ref().is_some_and(|accepted| accepted.record.subjects().contains(&self.name));
        let Some(server) = &mut self.server else { return (Duty::Nothing, None) };
        if let Some(reason) = self.idle.clone() {
            return (Duty::Failed { reason }, None);
        }
        if subject && server.is_running() && !server.can_be_closed() {
            server.life = Life::Gone { clean: false };
        }
        let holdings = Some(server.holdings());
        if !server.is_running() {
            return (Duty::ProcessExited, holdings);
        }
        if subject {
            server.writable = false;
            return (Duty::Fenced, holdings);
        }
        server.receives = false;
        (Duty::ReceiverStopped, holdings)
    }

    pub(crate) fn accept(&mut self, ballot: &Ballot, record: &Record) {
        if record.voters.get(&self.name) == Some(&self.incarnation) {
            self.anew = None;
        }
        self.accepted = Some(Accepted { ballot: ballot.clone(), record: record.clone() });
        self.failover = None;
        // Another one has taken over: it is not in the way of being stopped any more.
        if record.opened && record.primary != self.name {
            self.server.iter_mut().for_each(|server| server.leaving = None);
        }
    }

    fn obey(&mut self, answers: &mut Answers, number: u64, order: &Order, ports: &BTreeMap<NodeId, u16>) {
        let Some(server) = &mut self.server else { return };
        let failed = |name: &str| {
            let reason = self.failing.get(name)?.clone();
            Some(Reported { number, outcome: Outcome::Failed { reason } })
        };
        let done = |server: &Server| {
            let archive = matches!(order, Order::Archive { .. }).then_some("/archive/extra-1");
            let copy = matches!(order, Order::Reclone { .. }).then_some("about 9 MB are copied beside /data");
            let place = archive.or(copy).map(str::to_owned);
            let outcome = Outcome::Done { holdings: Some(server.holdings()), took_ms: 1, place };
            Reported { number, outcome }
        };
        if let Some(failed) = failed(&format!("{:?}", order.name()).to_lowercase()) {
            answers.outcomes.insert(order.name(), failed);
            return;
        }
        if matches!(order, Order::Drain { .. }) && !server.is_running() {
            let reason = "the server's process is gone".to_owned();
            answers.outcomes.insert(order.name(), Reported { number, outcome: Outcome::Failed { reason } });
            return;
        }
        if matches!(order, Order::Promote { .. }) && self.left > 0 {
            let step = format!("{} received transactions are left to apply", self.left);
            let outcome = Outcome::Running { step, backlog: true };
            answers.outcomes.insert(order.name(), Reported { number, outcome });
            return;
        }
        match order {
            Order::CatchUp { goal, .. } => {
                server.received = server.received.union(goal).unwrap();
                server.executed = server.received.clone();
            }
            Order::Promote { goal, record } => {
                server.wait_count = record.group().map_or(0, |group| group.acks);
                server.executed = server.executed.union(goal).unwrap();
                server.received = server.executed.clone();
                (server.writable, server.follows) = (true, None);
                let barrier = failed("barrier").unwrap_or_else(|| done(server));
                answers.outcomes.insert(OrderName::Barrier, barrier);
            }
            Order::Follow { record } => {
                server.follows = ports.get(&record.primary).copied();
                (server.receives, server.receiver_error, server.disconnected) = (true, None, true);
                server.semi_sync = record.group().is_some_and(|group| group.members.contains(&self.name));
            }
            Order::JoinGroup { .. } => server.semi_sync = true,
            Order::SetWaitCount { acks, .. } => server.wait_count = *acks,
            Order::CutAcker { refused, .. } => server.refused.clone_from(refused),
            Order::LeaveGroup { .. } => server.semi_sync = false,
            Order::Drain { .. } => server.writable = false,
            Order::Archive { .. } => {}
            Order::Reclone { step, .. } => server.reclone(step),
        }
        answers.outcomes.insert(order.name(), done(server));
    }

    pub(crate) fn observation(&self, now_ms: u64) -> Observation {
        Observation {
            node: self.name.clone(),
            heard: self.heard.clone(),
            ledger: LedgerView {
                incarnation: self.incarnation,
                sequence: self.sequence,
                promised: self.promised.clone(),
                failover: self.failover.clone(),
                accepted: self.accepted.clone(),
                anew: self.anew.clone(),
            },
            server: self.server.as_ref().map(|server| server.view(now_ms)),
            answers: self.answers.clone(),
        }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        let server = self.server.as_ref().filter(|server| server.life == Life::Runs)?;
        let Holdings { executed, received } = server.holdings();
        Some(Position { node: self.name.clone(), binlog: None, executed, received })
    }
}
