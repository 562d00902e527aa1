//! Nodes with scripted servers: they obey the protocol as nodes do, at once and without disks.

use std::collections::BTreeMap;

use tasuki_schemas::answer::{Answers, Duty, Holdings, Look, Outcome, ProbeAnswer, Promise, Refusal, Reported};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Kind, Order, OrderName, Request};
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId, Nonce};
use tasuki_schemas::observation::{
    Connection, CutStrength, Endpoint, Facts, FailingGate, Identity, LedgerView, Observation, Position, Process,
    Received, Replication, SemiSync, ServerView, Thread,
};
use tasuki_schemas::record::{Accepted, Record};

/// A server as a story sets it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) id: u32,
    pub(crate) port: u16,
    pub(crate) running: bool,
    pub(crate) writable: bool,
    pub(crate) follows: Option<u16>,
    pub(crate) quiet_ms: u64,
    pub(crate) executed: GtidSet,
    pub(crate) received: GtidSet,
    pub(crate) semi_sync: bool,
    pub(crate) wait_count: u32,
    pub(crate) refuses: Option<String>,
    pub(crate) version: String,
    /// What its applier stopped with.
    pub(crate) applier_error: Option<String>,
    pub(crate) filtered: bool,
    pub(crate) failing_gates: Vec<FailingGate>,
}

/// A node with its server; a witness has none.
#[derive(Clone, Debug)]
pub(crate) struct Puppet {
    pub(crate) name: NodeId,
    pub(crate) server: Option<Server>,
    /// False while the host is lost: neither heard nor hearing.
    pub(crate) reachable: bool,
    /// What this node sees when it looks at the primary itself.
    pub(crate) primary_greets: bool,
    /// What is left of the lease that it granted last.
    pub(crate) lease_rest_ms: u64,
    incarnation: Incarnation,
    sequence: u64,
    promised: Option<Ballot>,
    failover: Option<Ballot>,
    pub(crate) accepted: Option<Accepted>,
    heard: BTreeMap<CoordinatorId, Nonce>,
    answers: BTreeMap<CoordinatorId, Answers>,
}

impl Puppet {
    pub(crate) fn new(name: NodeId, number: u32, server: Option<Server>) -> Self {
        Self {
            name,
            server,
            reachable: true,
            primary_greets: false,
            lease_rest_ms: 0,
            incarnation: Incarnation(u64::from(number)),
            sequence: 0,
            promised: None,
            failover: None,
            accepted: None,
            heard: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn hear(&mut self, coordinator: &CoordinatorId, nonce: Nonce) {
        self.heard.insert(coordinator.clone(), nonce);
    }

    pub(crate) fn take(&mut self, from: &CoordinatorId, request: &Request, ports: &BTreeMap<NodeId, u16>) {
        let mut answers = self.answers.remove(from).unwrap_or(Answers::none());
        match request {
            Request::Report => {}
            Request::Probe { nonce, .. } => {
                let look = if self.primary_greets { Look::Greeted } else { Look::NoGreeting };
                answers.probe = Some(ProbeAnswer { nonce: *nonce, look });
            }
            Request::Prepare { ballot, kind, .. } => self.prepare(&mut answers, ballot, *kind),
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
        let subject = self.accepted.as_ref().is_some_and(|accepted| accepted.record.subjects().contains(&self.name));
        let (duty, holdings) = match (kind, &mut self.server) {
            (Kind::Vote, _) | (Kind::Failover, None) => (Duty::Nothing, None),
            (Kind::Failover, Some(server)) => {
                self.failover = Some(ballot.clone());
                let holdings = Holdings {
                    executed: server.executed.clone(),
                    received: Received::Known { set: server.received.clone() },
                };
                if !server.running {
                    (Duty::ProcessExited, Some(holdings))
                } else if subject {
                    server.writable = false;
                    (Duty::Fenced, Some(holdings))
                } else {
                    server.quiet_ms = 1_000_000;
                    (Duty::ReceiverStopped, Some(holdings))
                }
            }
        };
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

    pub(crate) fn accept(&mut self, ballot: &Ballot, record: &Record) {
        self.accepted = Some(Accepted { ballot: ballot.clone(), record: record.clone() });
        self.failover = None;
    }

    fn obey(&mut self, answers: &mut Answers, number: u64, order: &Order, ports: &BTreeMap<NodeId, u16>) {
        let Some(server) = &mut self.server else { return };
        let done = |server: &Server| {
            let holdings = Holdings {
                executed: server.executed.clone(),
                received: Received::Known { set: server.received.clone() },
            };
            Reported { number, outcome: Outcome::Done { holdings: Some(holdings), took_ms: 1 } }
        };
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
                answers.outcomes.insert(OrderName::Barrier, done(server));
            }
            Order::Follow { record } => {
                server.follows = ports.get(&record.primary).copied();
                server.quiet_ms = 0;
                server.semi_sync = record.group().is_some_and(|group| group.members.contains(&self.name));
            }
            Order::JoinGroup { .. } => server.semi_sync = true,
            Order::SetWaitCount { acks, .. } => server.wait_count = *acks,
        }
        answers.outcomes.insert(order.name(), done(server));
    }

    pub(crate) fn observation(&self) -> Observation {
        Observation {
            node: self.name.clone(),
            heard: self.heard.clone(),
            ledger: LedgerView {
                incarnation: self.incarnation,
                sequence: self.sequence,
                promised: self.promised.clone(),
                failover: self.failover.clone(),
                accepted: self.accepted.clone(),
            },
            server: self.server.as_ref().map(view),
            answers: self.answers.clone(),
        }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        let server = self.server.as_ref().filter(|server| server.running)?;
        Some(Position {
            node: self.name.clone(),
            binlog: None,
            executed: server.executed.clone(),
            received: Received::Known { set: server.received.clone() },
        })
    }
}

fn view(server: &Server) -> ServerView {
    let replication = server.follows.map(|port| Replication {
        source: Endpoint { host: "10.0.0.1".to_owned(), port },
        receiver: if server.quiet_ms >= 1_000_000 { Thread::Stopped } else { Thread::Running },
        applier: if server.applier_error.is_some() { Thread::Stopped } else { Thread::Running },
        quiet_ms: server.quiet_ms,
        error: server.applier_error.clone().unwrap_or_default(),
        filtered: server.filtered,
    });
    let connection = match (&server.refuses, server.running) {
        (_, false) => Connection::Closed,
        (Some(text), true) => Connection::Refused { code: 1040, text: text.clone() },
        (None, true) => Connection::Answering,
    };
    ServerView {
        process: if server.running { Process::Running { pid: 1 } } else { Process::Exited },
        connection,
        identity: Some(Identity {
            flavour: Flavour::Mariadb,
            version: server.version.clone(),
            origin: Origin::Mariadb(server.id),
            server_id: server.id,
        }),
        facts: Some(Facts {
            writable: server.writable && server.running,
            replication,
            semi_sync: SemiSync {
                source_enabled: server.writable && server.wait_count > 0,
                replica_enabled: server.semi_sync,
                wait_count: server.wait_count,
                clients: 2,
                waiting: 0,
            },
            write_probe: None,
            failing_gates: server.failing_gates.clone(),
            unsupported: None,
        }),
        facts_age_ms: 0,
        cut: CutStrength::Kernel,
        fenced: false,
        serving: server.writable && server.running,
        lease: None,
    }
}
