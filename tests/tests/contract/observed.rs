//! What nodes report, as samples.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::answer::{Answers, Duty, Holdings, Look, Outcome, ProbeAnswer, Promise, Refusal, Reported};
use tasuki_schemas::command::{Kind, OrderName};
use tasuki_schemas::gtid::{Flavour, Origin};
use tasuki_schemas::id::{Incarnation, Nonce};
use tasuki_schemas::observation::{
    BinlogCoordinates, Connection, CutStrength, Endpoint, Facts, FailingGate, Identity, LedgerView, Observation,
    Position, Process, Received, Replication, SemiSync, ServerView, Thread, WriteProbe,
};
use tasuki_schemas::reclone::{RecloneStage, Recloning};
use tasuki_schemas::record::Accepted;

use crate::samples::{ballot, mariadb, mysql, node, record};

fn holdings() -> Holdings {
    Holdings { executed: mariadb("0-1-100"), received: Received::Known { set: mariadb("0-1-102") } }
}

fn answers() -> Answers {
    let reported = |outcome| Reported { number: 4, outcome };
    Answers {
        ballot: Some(ballot(3)),
        probe: Some(ProbeAnswer { nonce: Nonce(5), look: Look::NoGreeting }),
        promise: Some(Promise {
            kind: Kind::Failover,
            incarnation: Incarnation(2),
            sequence: 17,
            accepted: Some(Accepted { ballot: ballot(1), record: record() }),
            duty: Duty::ReceiverStopped,
            holdings: Some(holdings()),
            lease_rest_ms: 0,
        }),
        accepted: true,
        outcomes: BTreeMap::from([
            (OrderName::CatchUp, reported(Outcome::Failed { reason: "no answer".to_owned() })),
            (OrderName::Promote, reported(Outcome::Done { holdings: Some(holdings()), took_ms: 9, place: None })),
            (OrderName::Barrier, reported(Outcome::Running { step: "barrier row".to_owned(), backlog: false })),
            (OrderName::Follow, reported(Outcome::Done { holdings: None, took_ms: 1, place: None })),
            (OrderName::JoinGroup, reported(Outcome::Running { step: "begun".to_owned(), backlog: false })),
        ]),
        refusal: Some(Refusal::Promised { promised: ballot(4) }),
    }
}

fn facts() -> Facts {
    Facts {
        writable: false,
        replication: Some(Replication {
            source: Endpoint { host: "10.0.0.1".to_owned(), port: 3306 },
            receiver: Thread::Connecting,
            applier: Thread::Running,
            quiet_ms: 850,
            error: "error reconnecting".to_owned(),
            filtered: false,
        }),
        semi_sync: SemiSync { source_enabled: false, replica_enabled: true, wait_count: 1, clients: 0, waiting: 0 },
        write_probe: Some(WriteProbe::Hung { for_ms: 1200 }),
        failing_gates: vec![FailingGate {
            setting: "sync_relay_log".to_owned(),
            found: "10000".to_owned(),
            fix: "sync_relay_log = 1".to_owned(),
        }],
        unsupported: Some("it is a Galera node".to_owned()),
        disk: None,
    }
}

/// A server that was stopped, and whose disk is full.
pub(crate) fn stopped() -> Observation {
    let mut observation = observation(Process::Exited { clean: true }, Connection::Closed);
    if let Some(facts) = observation.server.as_mut().and_then(|server| server.facts.as_mut()) {
        facts.disk = Some("the filesystem has 0 KiB left".to_owned());
    }
    observation
}

/// A server that tells where its binlog's files are listed.
pub(crate) fn with_index() -> Observation {
    let mut observation = observation(Process::Running { pid: 77 }, Connection::Answering);
    if let Some(identity) = observation.server.as_mut().and_then(|server| server.identity.as_mut()) {
        identity.binlog_index = Some("/var/lib/mysql/bin.index".to_owned());
    }
    observation
}

/// One report for each stage of a re-clone.
pub(crate) fn recloning() -> Vec<(&'static str, Observation)> {
    let (aside, reason) = ("/var/lib/mysql.before-7-1790000000".to_owned(), "the donor's node is gone".to_owned());
    let stages = [
        ("copying", RecloneStage::Copying { bytes: 1_000, expected: 9_000 }),
        ("preparing", RecloneStage::Preparing),
        ("copied", RecloneStage::Copied),
        ("exchanging", RecloneStage::Exchanging { step: "the server is being stopped".to_owned() }),
        ("done", RecloneStage::Done { aside, ago_ms: 5 }),
        ("failed", RecloneStage::Failed { reason, ago_ms: 5 }),
    ];
    let told = |(name, stage)| {
        let mut observation = observation(Process::Running { pid: 77 }, Connection::Answering);
        let server = observation.server.as_mut().unwrap();
        server.reclone = Some(Recloning { donor: node("db3"), stage });
        (name, observation)
    };
    stages.into_iter().map(told).collect()
}

pub(crate) fn observation(process: Process, connection: Connection) -> Observation {
    Observation {
        node: node("db2"),
        heard: BTreeMap::from([("co1".parse().unwrap(), Nonce(0xfeed))]),
        ledger: LedgerView {
            incarnation: Incarnation(2),
            sequence: 17,
            promised: Some(ballot(3)),
            failover: Some(ballot(3)),
            accepted: Some(Accepted { ballot: ballot(1), record: record() }),
            anew: None,
        },
        server: Some(ServerView {
            process,
            connection,
            identity: Some(Identity {
                flavour: Flavour::Mariadb,
                version: "10.11.19-MariaDB-log".to_owned(),
                origin: Origin::Mariadb(2),
                server_id: 2,
                binlog_index: None,
            }),
            facts: Some(facts()),
            facts_age_ms: 40,
            cut: CutStrength::Kernel,
            fenced: true,
            serving: false,
            lease: None,
            refused: BTreeSet::new(),
            strangers: Vec::new(),
            reclone: None,
            leaving: None,
        }),
        answers: BTreeMap::from([("co1".parse().unwrap(), answers())]),
    }
}

pub(crate) fn position() -> Position {
    Position {
        node: node("db2"),
        binlog: Some(BinlogCoordinates { file: "bin.000003".to_owned(), position: 4711 }),
        executed: mysql(),
        received: Received::Unknown { reason: "the server restarted".to_owned() },
    }
}
