//! A small cluster for unit tests: the servers db0, db1 ... of the cluster file, db0 the primary, and a witness w1.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::answer::{Duty, Holdings, Promise};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::Kind;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{Boot, BootId, CoordinatorId, Incarnation, NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{
    Connection, CutStrength, Facts, Identity, LedgerView, Observation, Position, Process, Received, SemiSync,
    ServerView,
};
use tasuki_schemas::record::{Accepted, Mode, Record, Reign, WriteGroup};

use crate::promises::Promises;
use crate::settings::{Policy, Promotion, Server, Settings};
use crate::view::View;

pub(crate) const NOW: Moment = Moment::from_nanos(1);

pub(crate) fn me() -> CoordinatorId {
    "co1".parse().unwrap()
}

pub(crate) fn node(number: usize) -> NodeId {
    format!("db{number}").parse().unwrap()
}

pub(crate) fn set() -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, "0-1-100").unwrap()
}

pub(crate) fn ballot(counter: u64) -> Ballot {
    Ballot { counter, coordinator: me(), boot: BootId(1) }
}

/// `servers` in the group of the first, and a witness so that votes are not short as well.
pub(crate) fn settings(servers: usize) -> Settings {
    let server = |order| Server {
        address: ([10, 0, 0, 1], 3306 + u16::try_from(order).unwrap()).into(),
        promotion: Promotion::Neutral,
        site: None,
        order,
    };
    Settings {
        me: me(),
        boot: BootId(1),
        cluster: "main".parse().unwrap(),
        flavour: Flavour::Mariadb,
        servers: (0..servers).map(|order| (node(order), server(order))).collect(),
        witnesses: vec!["w1".parse().unwrap()],
        coordinators: vec![me()],
        mode: Mode::Armed,
        policy: Policy::default(),
        seed: 1,
    }
}

pub(crate) fn record(settings: &Settings, acks: u32) -> Record {
    let epoch = Epoch(ballot(1));
    let members = settings.servers.keys().cloned().collect();
    Record {
        epoch: epoch.clone(),
        primary: node(0),
        opened: true,
        groups: vec![WriteGroup {
            primary: node(0),
            members,
            acks,
            leased: acks == 0 && settings.policy.lease.is_some(),
        }],
        reigns: vec![Reign { epoch, node: node(0), origin: Origin::Mariadb(1), set_before: set() }],
        voters: settings.nodes().map(|node| (node.clone(), Incarnation(1))).collect(),
        mode: Mode::Armed,
        wanted: acks,
        recent: Vec::new(),
        voters_before: None,
        pause: None,
        planned: None,
    }
}

pub(crate) fn observation(node: &NodeId, primary: bool, witness: bool) -> Observation {
    let facts = Facts {
        writable: primary,
        replication: None,
        semi_sync: SemiSync::default(),
        write_probe: None,
        failing_gates: Vec::new(),
        unsupported: None,
        disk: None,
    };
    let origin = Origin::Mariadb(1);
    let identity =
        Identity { flavour: Flavour::Mariadb, version: "10.11.2".to_owned(), origin, server_id: 1, binlog_index: None };
    let server = ServerView {
        process: Process::Running { pid: 1 },
        connection: Connection::Answering,
        identity: Some(identity),
        facts: Some(facts),
        facts_age_ms: 0,
        cut: CutStrength::Kernel,
        fenced: false,
        serving: primary,
        lease: None,
        refused: BTreeSet::new(),
        strangers: Vec::new(),
        reclone: None,
        leaving: None,
    };
    Observation {
        node: node.clone(),
        heard: BTreeMap::from([(me(), Nonce(1))]),
        ledger: LedgerView {
            incarnation: Incarnation(1),
            sequence: 1,
            promised: None,
            failover: None,
            accepted: None,
            anew: None,
        },
        server: (!witness).then_some(server),
        answers: BTreeMap::new(),
    }
}

pub(crate) fn view(settings: &Settings, up: &BTreeSet<NodeId>) -> View {
    let mut view = View::new(me(), NOW);
    view.sent_nonce(Nonce(1));
    let stamp = (Boot { start: 1, random: BootId(1) }, 1);
    for name in up {
        let witness = !settings.servers.contains_key(name);
        assert!(view.observed(observation(name, *name == node(0), witness), stamp, NOW));
        if !witness {
            let received = Received::Known { set: set() };
            view.positioned(Position { node: name.clone(), binlog: None, executed: set(), received }, stamp, NOW);
        }
    }
    view
}

/// What those who answer would promise.
pub(crate) fn promises(settings: &Settings, record: &Record, up: &BTreeSet<NodeId>) -> Promises {
    let mut promises = Promises::new(ballot(2));
    for name in up {
        let duty = match (settings.servers.contains_key(name), *name == node(0)) {
            (false, _) => Duty::Nothing,
            (true, true) => Duty::ProcessExited,
            (true, false) => Duty::ReceiverStopped,
        };
        let promise = Promise {
            kind: Kind::Failover,
            incarnation: Incarnation(1),
            sequence: 1,
            accepted: Some(Accepted { ballot: ballot(1), record: record.clone() }),
            holdings: (duty != Duty::Nothing)
                .then(|| Holdings { executed: set(), received: Received::Known { set: set() } }),
            duty,
            lease_rest_ms: 0,
        };
        promises.keep(name, &promise, NOW);
    }
    promises
}
