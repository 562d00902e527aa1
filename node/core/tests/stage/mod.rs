//! A node with everything it put out, for tests that hand it one thing after another.
#![allow(dead_code, reason = "every test program uses its own part")]

pub(crate) mod lease;

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_node_core::{
    Effect, EffectId, Ended, Input, Memory, Node, Output, Reader, ServerReport, ServerRun, Settings,
};
use tasuki_schemas::answer::{Answers, Holdings};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{Kind, Order, Request};
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{BootId, CoordinatorId, Incarnation, NodeId};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, CutStrength, Facts, Observation, Received, SemiSync};
use tasuki_schemas::record::{Accepted, Mode, Record, Reign, WriteGroup};

pub(crate) const RUN: ServerRun = ServerRun { pid: 7, started: 100 };

pub(crate) fn co(name: &str) -> CoordinatorId {
    name.parse().unwrap()
}

pub(crate) fn db(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(crate) fn ballot(counter: u64) -> Ballot {
    Ballot { counter, coordinator: co("co1"), boot: BootId(1) }
}

pub(crate) fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, text).unwrap()
}

pub(crate) fn holdings(text: &str) -> Holdings {
    Holdings { executed: set(text), received: Received::Known { set: set(text) } }
}

pub(crate) fn record(epoch: u64, primary: &str, mode: Mode) -> Record {
    let members: BTreeSet<NodeId> = ["db1", "db2", "db3"].map(db).into();
    Record {
        epoch: Epoch(ballot(epoch)),
        primary: db(primary),
        opened: true,
        groups: vec![WriteGroup { primary: db(primary), members, acks: 1, leased: false }],
        reigns: vec![Reign {
            epoch: Epoch(ballot(epoch)),
            node: db(primary),
            origin: Origin::Mariadb(1),
            set_before: set(""),
        }],
        voters: [("db1", 1), ("db2", 2), ("db3", 3)].map(|(name, number)| (db(name), Incarnation(number))).into(),
        mode,
        wanted: 1,
        recent: Vec::new(),
        voters_before: None,
        pause: None,
        planned: None,
    }
}

/// A node with everything it put out.
pub(crate) struct Stage {
    pub(crate) node: Node,
    now: u64,
    pub(crate) outputs: Vec<Output>,
    pub(crate) memory: Memory,
}

impl Stage {
    pub(crate) fn of(name: &str, memory: Memory) -> Self {
        Self::with(name, memory, None)
    }

    /// A node of a cluster with a lease.
    pub(crate) fn leased(name: &str, memory: Memory, terms: LeaseTerms) -> Self {
        Self::with(name, memory, Some(terms))
    }

    fn with(name: &str, memory: Memory, lease: Option<LeaseTerms>) -> Self {
        let servers = [("db1", 1), ("db2", 2), ("db3", 3)];
        let settings = Settings {
            me: db(name),
            flavour: Flavour::Mariadb,
            servers: servers.map(|(name, host)| (db(name), format!("10.0.0.{host}:3306").parse().unwrap())).into(),
            cut: CutStrength::Kernel,
            heartbeat: Duration::from_millis(200),
            position_every: Duration::from_secs(1),
            lease,
        };
        Self { node: Node::new(settings, memory.clone(), Moment::from_nanos(0)), now: 0, outputs: Vec::new(), memory }
    }

    /// A replica of db1 that accepted the first record.
    pub(crate) fn replica(mode: Mode) -> Self {
        let mut stage = Self::of("db2", remembered(mode));
        stage.probe(false);
        stage
    }

    /// The primary of the first record, opened in this very run.
    pub(crate) fn primary() -> Self {
        let mut stage = Self::of("db1", Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Armed) });
        stage.probe(true);
        stage
    }

    pub(crate) fn hand(&mut self, input: Input) -> &mut Self {
        self.now += 1;
        let outputs = self.node.handle(input, Moment::from_nanos(self.now * 1_000_000));
        for output in &outputs {
            if let Output::Persist(memory) = output {
                self.memory = (**memory).clone();
            }
        }
        self.outputs.extend(outputs);
        self
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::from_nanos(self.now * 1_000_000)
    }

    /// Lets time pass, as finely as the node wants to be woken.
    pub(crate) fn wait(&mut self, ms: u64) -> &mut Self {
        for _ in 0..ms / 10 {
            self.now += 9;
            self.hand(Input::Woke);
        }
        self
    }

    /// Lets time pass until it next wants to be woken, and wakes it.
    pub(crate) fn sleep(&mut self) -> Duration {
        let slept = self.node.next_wake(self.moment()).since(self.moment());
        self.now += u64::try_from(slept.as_millis()).unwrap() - 1;
        self.hand(Input::Woke);
        slept
    }

    pub(crate) fn ask(&mut self, request: Request) -> &mut Self {
        self.hand(Input::Asked { from: co("co1"), same_configuration: true, request })
    }

    pub(crate) fn prepare(&mut self, counter: u64, kind: Kind) -> &mut Self {
        let evidence = (kind == Kind::Failover).then(|| Diagnosis::PrimaryCrashed { primary: db("db1") });
        self.ask(Request::Prepare { ballot: ballot(counter), kind, evidence })
    }

    pub(crate) fn order(&mut self, counter: u64, number: u64, order: Order) -> &mut Self {
        self.ask(Request::Order { ballot: ballot(counter), number, order: Box::new(order) })
    }

    pub(crate) fn probe(&mut self, writable: bool) -> &mut Self {
        let facts = Facts {
            writable,
            replication: None,
            semi_sync: SemiSync::default(),
            write_probe: None,
            failing_gates: Vec::new(),
            unsupported: None,
            disk: None,
        };
        let report = ServerReport {
            run: Some(RUN),
            connection: Connection::Answering,
            identity: None,
            facts: Some(facts),
            readers: None,
        };
        self.hand(Input::Probed(Box::new(report)))
    }

    /// A round that shows who reads the binlog of an open primary whose commits wait.
    pub(crate) fn readers(&mut self, clients: u32, readers: Vec<Reader>) -> &mut Self {
        let facts = Facts {
            writable: true,
            replication: None,
            semi_sync: SemiSync { source_enabled: true, wait_count: 1, clients, ..SemiSync::default() },
            write_probe: None,
            failing_gates: Vec::new(),
            unsupported: None,
            disk: None,
        };
        let (connection, facts, readers) = (Connection::Answering, Some(facts), Some(readers));
        self.hand(Input::Probed(Box::new(ServerReport { run: Some(RUN), connection, identity: None, facts, readers })))
    }

    /// A probe that got no answer.
    pub(crate) fn silent(&mut self) -> &mut Self {
        let connection = Connection::Silent { for_ms: 500 };
        self.hand(Input::Probed(Box::new(ServerReport {
            run: Some(RUN),
            connection,
            identity: None,
            facts: None,
            readers: None,
        })))
    }

    pub(crate) fn persisted(&mut self) -> &mut Self {
        let sequence = self.memory.sequence;
        self.hand(Input::Persisted(sequence))
    }

    /// The newest effect begun.
    pub(crate) fn effect(&self) -> Option<(EffectId, Effect)> {
        let begun = |output: &Output| {
            if let Output::Execute(id, effect) = output { Some((*id, effect.clone())) } else { None }
        };
        self.outputs.iter().rev().find_map(begun)
    }

    pub(crate) fn end(&mut self, ended: Ended) -> &mut Self {
        let (id, _) = self.effect().unwrap();
        self.hand(Input::Ended(id, ended))
    }

    /// Ends the newest effect well, if there is one.
    pub(crate) fn end_all(&mut self) -> &mut Self {
        if self.effect().is_some() {
            self.end(Ended::Done(holdings("0-1-9")));
        }
        self
    }

    pub(crate) fn effects(&self) -> usize {
        self.outputs.iter().filter(|output| matches!(output, Output::Execute(..))).count()
    }

    pub(crate) fn observation(&self) -> Observation {
        self.node.observation(Moment::from_nanos(self.now * 1_000_000))
    }

    pub(crate) fn answers(&self) -> Answers {
        self.observation().answers.get(&co("co1")).cloned().unwrap_or(Answers::none())
    }

    pub(crate) fn promised(&self) -> bool {
        self.answers().promise.is_some()
    }
}

pub(crate) fn remembered(mode: Mode) -> Memory {
    let mut memory = Memory::new(Incarnation(2));
    memory.promised = Some(ballot(1));
    memory.accepted = Some(Accepted { ballot: ballot(1), record: record(1, "db1", mode) });
    memory
}
