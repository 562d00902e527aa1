//! What may be born, and what only to be observed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use tasuki_coordinator_core::birth::{Birth, Obstacle};
use tasuki_coordinator_core::settings::{Policy, Promotion, Server, Settings};
use tasuki_coordinator_core::{Input, Output};
use tasuki_schemas::answer::{Answers, Duty, Promise};
use tasuki_schemas::command::{Kind, Request};
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{Boot, BootId, Incarnation, NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{
    Connection, CutStrength, Facts, Identity, LedgerView, Observation, Position, Process, Received, SemiSync,
    ServerView,
};
use tasuki_schemas::record::{Mode, Record};

/// Two servers: which of them are writable, and why either is unsupported.
struct Pair {
    server_ids: [u32; 2],
    writable: [bool; 2],
    unsupported: Option<&'static str>,
}

fn settings(mode: Mode) -> Settings {
    let server = |order: usize| {
        let address = format!("10.0.0.{}:3306", order + 1).parse().unwrap();
        (
            format!("db{}", order + 1).parse().unwrap(),
            Server { address, promotion: Promotion::Neutral, site: None, order },
        )
    };
    Settings {
        me: "co1".parse().unwrap(),
        boot: BootId(7),
        cluster: "main".parse().unwrap(),
        flavour: Flavour::Mariadb,
        servers: BTreeMap::from([server(0), server(1)]),
        witnesses: Vec::new(),
        coordinators: vec!["co1".parse().unwrap()],
        mode,
        policy: Policy::default(),
        seed: 1,
    }
}

impl Pair {
    fn server(&self, number: usize) -> ServerView {
        let id = self.server_ids[number];
        ServerView {
            process: Process::Running { pid: 1 },
            connection: Connection::Answering,
            identity: Some(Identity {
                flavour: Flavour::Mariadb,
                version: "10.11.14-MariaDB".to_owned(),
                origin: Origin::Mariadb(id),
                server_id: id,
                binlog_index: None,
            }),
            facts: Some(Facts {
                writable: self.writable[number],
                replication: None,
                semi_sync: SemiSync::default(),
                write_probe: None,
                failing_gates: Vec::new(),
                unsupported: self.unsupported.filter(|_| number == 1).map(str::to_owned),
                disk: None,
            }),
            facts_age_ms: 0,
            cut: CutStrength::Kernel,
            fenced: false,
            serving: false,
            lease: None,
            refused: std::collections::BTreeSet::new(),
            strangers: Vec::new(),
            reclone: None,
            leaving: None,
        }
    }

    /// Runs the birth to its end; both nodes answer everything.
    fn born(&self, mode: Mode) -> (Result<Record, Vec<Obstacle>>, Vec<String>) {
        let mut birth = Birth::new(settings(mode), Moment::from_nanos(0));
        let names: Vec<NodeId> = settings(mode).servers.into_keys().collect();
        let mut answers = vec![Answers::none(); 2];
        let mut nonce = Nonce(0);
        for step in 0..400_u64 {
            let now = Moment::from_nanos(step * 50_000_000);
            let mut inputs = vec![Input::Woke];
            for (number, name) in names.iter().enumerate() {
                let stamp = (Boot { start: 1, random: BootId(1) }, step);
                let incarnation = Incarnation(u64::try_from(number).unwrap());
                let ledger =
                    LedgerView { incarnation, sequence: 1, promised: None, failover: None, accepted: None, anew: None };
                let observation = Observation {
                    node: name.clone(),
                    heard: BTreeMap::from([("co1".parse().unwrap(), nonce)]),
                    ledger,
                    server: Some(self.server(number)),
                    answers: BTreeMap::from([("co1".parse().unwrap(), answers[number].clone())]),
                };
                let executed = GtidSet::empty(Flavour::Mariadb);
                let received = Received::Known { set: executed.clone() };
                let position = Position { node: name.clone(), binlog: None, executed, received };
                inputs.push(Input::Observed(Box::new(observation), stamp));
                inputs.push(Input::Positioned(Box::new(position), stamp));
            }
            for output in inputs.into_iter().flat_map(|input| birth.handle(input, now)).collect::<Vec<_>>() {
                match output {
                    Output::Beat(heartbeat) => nonce = heartbeat.nonce,
                    Output::Send { to, request } => {
                        let number = names.iter().position(|name| *name == to).unwrap();
                        answer(&mut answers[number], number, request);
                    }
                    Output::Tell(_) | Output::Fence { .. } | Output::Read { .. } => {}
                }
            }
            if let Some(end) = birth.end() {
                return (end.clone(), birth.notes().to_vec());
            }
        }
        panic!("the birth does not end");
    }
}

fn answer(answers: &mut Answers, number: usize, request: Request) {
    let incarnation = Incarnation(u64::try_from(number).unwrap());
    match request {
        Request::Prepare { ballot, .. } => {
            let duty = Duty::Nothing;
            let promise = Promise {
                kind: Kind::Vote,
                incarnation,
                sequence: 2,
                accepted: None,
                duty,
                holdings: None,
                lease_rest_ms: 0,
            };
            *answers = Answers { ballot: Some(ballot), promise: Some(promise), ..Answers::none() };
        }
        Request::Accept { .. } => answers.accepted = true,
        Request::Probe { .. }
        | Request::Order { .. }
        | Request::Report
        | Request::BeginAnew { .. }
        | Request::CannotLeave { .. } => {}
    }
}

#[test]
fn one_writable_server_is_born_armed() {
    let pair = Pair { server_ids: [1, 2], writable: [true, false], unsupported: None };
    let (born, notes) = pair.born(Mode::Armed);
    assert_eq!(born.unwrap().primary.as_str(), "db1");
    assert!(notes.iter().all(|note| !note.contains("observed")), "{notes:?}");
}

#[test]
fn two_writable_servers_are_born_to_be_observed_only() {
    let pair = Pair { server_ids: [1, 2], writable: [true, true], unsupported: None };
    let reasons = pair.born(Mode::Armed).0.unwrap_err();
    assert!(reasons.iter().any(|reason| reason.what.contains("found db1 db2")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.what.contains("mode = \"observe\"")), "{reasons:?}");
    let (born, notes) = pair.born(Mode::Observe);
    assert_eq!(born.unwrap().mode, Mode::Observe);
    assert!(notes.iter().any(|note| note.starts_with("observed, never acted on: exactly one")), "{notes:?}");
}

#[test]
fn an_unsupported_server_is_born_to_be_observed_only() {
    let pair = Pair { server_ids: [1, 2], writable: [true, false], unsupported: Some("it is a Galera node") };
    let reasons = pair.born(Mode::Armed).0.unwrap_err();
    assert!(reasons.iter().any(|reason| reason.what == "db2 is not supported: it is a Galera node"), "{reasons:?}");
    assert!(pair.born(Mode::Observe).0.is_ok());
}

#[test]
fn without_any_writable_server_nothing_is_born() {
    let pair = Pair { server_ids: [1, 2], writable: [false, false], unsupported: None };
    assert!(pair.born(Mode::Observe).0.unwrap_err().iter().any(|reason| reason.what.contains("found nobody")));
}

#[test]
fn servers_with_one_server_id_are_not_born_armed_and_the_entry_is_named() {
    let pair = Pair { server_ids: [7, 7], writable: [true, false], unsupported: None };
    let obstacles = pair.born(Mode::Armed).0.unwrap_err();
    let clash = obstacles.iter().find(|it| it.what.contains("server_id is also that of")).unwrap();
    assert!(clash.node.is_some() && clash.what.contains("give each server its own"), "{clash:?}");
}
