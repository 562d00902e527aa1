//! A forecast without blockers is one whose proof could be made, for every group, k and set of servers that answer.

use tasuki_schemas::answer::{Duty, Holdings, Promise};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::Kind;
use tasuki_schemas::gtid::{Flavour, Origin};
use tasuki_schemas::id::{Boot, BootId, CoordinatorId, Incarnation, Nonce};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::observation::{
    CutStrength, Facts, Identity, LedgerView, Observation, Position, Process, Received, SemiSync, ServerView,
};
use tasuki_schemas::record::{Accepted, Mode, Reign};

use super::*;
use crate::fence::Fences;
use crate::promises::Promises;
use crate::proof::Proof;
use crate::settings::{Policy, Server};

const NOW: Moment = Moment::from_nanos(1);

fn me() -> CoordinatorId {
    "co1".parse().unwrap()
}

fn node(number: usize) -> NodeId {
    format!("db{number}").parse().unwrap()
}

fn set() -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, "0-1-100").unwrap()
}

fn ballot(counter: u64) -> Ballot {
    Ballot { counter, coordinator: me(), boot: BootId(1) }
}

/// `servers` in the group of the first, and a witness so that votes are not short as well.
fn settings(servers: usize) -> Settings {
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

fn record(settings: &Settings, acks: u32) -> Record {
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
    }
}

fn observation(node: &NodeId, primary: bool, witness: bool) -> Observation {
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
    let identity = Identity { flavour: Flavour::Mariadb, version: "10.11.2".to_owned(), origin, server_id: 1 };
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

fn view(settings: &Settings, up: &BTreeSet<NodeId>) -> View {
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
fn promises(settings: &Settings, record: &Record, up: &BTreeSet<NodeId>) -> Promises {
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

#[test]
fn nothing_blocks_exactly_when_the_proof_could_be_made_and_somebody_could_win() {
    let (mut free, mut blocked) = (0, 0);
    for servers in 2..=5_usize {
        let settings = settings(servers);
        for acks in 0..u32::try_from(servers).unwrap() {
            let record = record(&settings, acks);
            for replicas in 0..(1_usize << (servers - 1)) {
                let up = |number: &usize| *number == 0 || replicas & (1 << (number - 1)) != 0;
                let mut up: BTreeSet<NodeId> = (0..servers).filter(up).map(node).collect();
                up.insert("w1".parse().unwrap());
                let forecast = forecast(&settings, &view(&settings, &up), &record, &Standing::default(), NOW);
                for (outlook, with_primary) in [(&forecast.crash, true), (&forecast.host_loss, false)] {
                    let answering = up.iter().filter(|name| with_primary || **name != node(0)).cloned().collect();
                    let proved = {
                        let promises = promises(&settings, &record, &answering);
                        let fences = Fences::new(promises.ballot().clone());
                        Proof::from(&promises, &fences, &settings.policy, NOW).is_ok()
                    };
                    let expected = proved && replicas != 0;
                    let case = format!("{servers} servers, k = {acks}, up {up:?}: {outlook:?}");
                    assert_eq!(outlook.blockers.is_empty(), expected, "{case}");
                    assert_eq!(outlook.expected_ms.is_some(), expected, "{case}");
                    if expected { free += 1 } else { blocked += 1 }
                }
            }
        }
    }
    assert!(free > 50 && blocked > 50, "{free} free, {blocked} blocked");
}

#[test]
fn a_cluster_is_leased_only_with_a_lease_and_lossless_only_with_acknowledgements() {
    let mut settings = settings(3);
    let up: BTreeSet<NodeId> = settings.nodes().cloned().collect();
    let view = view(&settings, &up);
    let promised = |settings: &Settings, acks| {
        let made = forecast(settings, &view, &record(settings, acks), &Standing::default(), NOW);
        (made.guarantee, made.crash.loss, made.host_loss.loss, made.host_loss.blockers.is_empty())
    };
    assert_eq!(promised(&settings, 1), (Guarantee::Lossless, Loss::Nothing, Loss::Nothing, true));
    assert_eq!(promised(&settings, 0), (Guarantee::Manual, Loss::Nothing, Loss::LastMoments, false));
    settings.policy.lease = LeaseTerms::new(Duration::from_secs(3), Duration::from_millis(200)).ok();
    assert_eq!(promised(&settings, 0), (Guarantee::Leased, Loss::Nothing, Loss::LastMoments, true));
}
