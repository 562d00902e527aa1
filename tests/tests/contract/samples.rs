//! One sample of each message, event and diagnosis: what the golden files were made from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{
    CatchUpHow, Delivery, Fetch, Heartbeat, Kind, Order, Piece, RecloneStep, Request, Seat, Tail, Transaction,
};
use tasuki_schemas::event::{Diagnosis, Event, EventBody, EventId, Snapshot, StageName, Telemetry};
use tasuki_schemas::forecast::{Blocker, Forecast, Guarantee, Loss, Outlook};
use tasuki_schemas::grounds::FenceHow;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{BootId, Incarnation, NodeId, Nonce};
use tasuki_schemas::lease::{Grant, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::observation::{Connection, Process};
use tasuki_schemas::past::{Cause, Past, Pause, Planned};
use tasuki_schemas::reclone::{DonorAsk, DonorEnd, DonorOffer};
use tasuki_schemas::record::{Mode, Record, Reign, WriteGroup};

use crate::grounds::{with_grounds, word};
use crate::observed::{observation, position, recloning, stopped, with_index};

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn nodes(names: &[&str]) -> BTreeSet<NodeId> {
    names.iter().map(|name| node(name)).collect()
}

pub(crate) fn ballot(counter: u64) -> Ballot {
    Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(0x0123_4567_89ab_cdef) }
}

pub(crate) fn mariadb(text: &str) -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, text).unwrap()
}

pub(crate) fn mysql() -> GtidSet {
    GtidSet::parse(Flavour::Mysql, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:blue:1-3").unwrap()
}

pub(crate) fn record() -> Record {
    Record {
        epoch: Epoch(ballot(3)),
        primary: node("db2"),
        opened: false,
        groups: vec![
            WriteGroup { primary: node("db1"), members: nodes(&["db1", "db2", "db3"]), acks: 1, leased: false },
            WriteGroup { primary: node("db2"), members: nodes(&["db2", "db3"]), acks: 1, leased: false },
        ],
        reigns: vec![
            Reign { epoch: Epoch(ballot(1)), node: node("db1"), origin: Origin::Mariadb(1), set_before: mariadb("") },
            Reign {
                epoch: Epoch(ballot(3)),
                node: node("db2"),
                origin: Origin::Mariadb(2),
                set_before: mariadb("0-1-102"),
            },
        ],
        voters: [("db1", 1), ("db2", 2), ("db3", 3)].map(|(name, number)| (node(name), Incarnation(number))).into(),
        mode: Mode::Armed,
        wanted: 1,
        recent: Vec::new(),
        voters_before: None,
        pause: None,
        planned: None,
    }
}

pub(crate) fn diagnoses() -> Vec<Diagnosis> {
    let (primary, other) = (node("db1"), node("db2"));
    let heard = nodes(&["db2", "db3"]);
    vec![
        Diagnosis::Unborn,
        Diagnosis::CoordinatorBlind { heard: heard.clone() },
        Diagnosis::Healthy,
        Diagnosis::PrimaryCrashed { primary: primary.clone() },
        Diagnosis::PrimaryClosed { primary: primary.clone() },
        Diagnosis::PrimaryHung { primary: primary.clone(), for_ms: 3000 },
        Diagnosis::PrimaryHostLost { primary: primary.clone(), lost_by: heard.clone() },
        Diagnosis::PrimaryUnseen { primary: primary.clone(), still_heard_by: heard.clone() },
        Diagnosis::PrimaryRefusing { primary: primary.clone(), code: 0, text: "Too many connections".to_owned() },
        Diagnosis::PrimaryStopped { primary: primary.clone() },
        Diagnosis::PrimaryIsolated { primary: primary.clone(), lost_by: heard.clone() },
        Diagnosis::PrimaryOverloaded { primary: primary.clone(), for_ms: 900 },
        Diagnosis::DiskFull { node: other.clone(), writes_fail: true, text: "error 1114".to_owned() },
        Diagnosis::ReplicaBroken { node: other.clone(), error: "Duplicate entry".to_owned() },
        Diagnosis::ReplicaLagging { node: other.clone(), behind: 4711 },
        Diagnosis::ReplicationOnlyPartition { primary: primary.clone(), lost_by: heard.clone() },
        Diagnosis::SidecarLost { primary },
        Diagnosis::AttemptUnfinished { ballot: ballot(3) },
        Diagnosis::Switchover { primary: node("db1"), to: node("db2") },
        Diagnosis::TwoPrimaries { writable: heard.clone() },
        Diagnosis::Degraded { primary: node("db1"), acks: 0, wanted: 1 },
        Diagnosis::GroupTooSmall { members: heard, acks: 1 },
        Diagnosis::Unsupported { node: other.clone(), reason: "it is a Galera node".to_owned() },
        Diagnosis::ReplicaStray { node: other.clone(), reason: "it follows nobody".to_owned() },
        Diagnosis::ErrantTransactions { node: other, extras: "0-2-7".to_owned(), archive: None },
    ]
}

fn events() -> Vec<EventBody> {
    let mut events: Vec<EventBody> = diagnoses()
        .into_iter()
        .map(|diagnosis| EventBody::Diagnosis { diagnosis, sentence: "A sentence for operators.".to_owned() })
        .collect();
    for stage in [
        StageName::Draining,
        StageName::Recruiting,
        StageName::CatchingUp,
        StageName::Promoting,
        StageName::Opened,
        StageName::Finished,
        StageName::Undone,
    ] {
        let (ballot, old, candidate) = (ballot(3), node("db1"), Some(node("db2")));
        events.push(EventBody::Stage {
            ballot,
            stage,
            old,
            candidate,
            after_ms: 12.5,
            reasons: vec!["db2 wins".to_owned()],
        });
    }
    events.extend([
        EventBody::Hold { reasons: vec!["no majority".to_owned()] },
        EventBody::WouldHave { diagnosis: Diagnosis::Healthy, sentence: "would have failed over to db2".to_owned() },
        EventBody::Repair { node: node("db1"), sentence: "set to follow db2".to_owned() },
        EventBody::Decided { ballot: ballot(3), record: Box::new(record()) },
        EventBody::Forecast { forecast: Box::new(forecast()), sentence: "manual; if db1 crashed now: …".to_owned() },
        EventBody::Pause { pause: Some(pause()), sentence: "failovers are paused by ann: new disks".to_owned() },
        EventBody::Fence {
            ballot: ballot(3),
            node: node("db1"),
            how: FenceHow::SshKilled,
            sentence: "db1 was fenced by ssh, and that was read back".to_owned(),
        },
        EventBody::Override { word: word(), sentence: "ann answers for incident 00000000000000ab".to_owned() },
        EventBody::Switchover { to: Some(node("db2")), sentence: "db2 took over from db1".to_owned() },
        EventBody::Voters { node: node("db3"), sentence: "has no vote: its ledger went back from 9 to 7".to_owned() },
        EventBody::Note { by: "wall".parse().unwrap(), text: "we look at it".to_owned(), nonce: Nonce(5) },
        EventBody::Act {
            by: "ann".parse().unwrap(),
            address: Some("10.0.0.9".to_owned()),
            what: "switchover to db2: new kernel".to_owned(),
            nonce: Nonce(6),
        },
        EventBody::Leader { leader: Some("co1".parse().unwrap()) },
        EventBody::Health { observation: observation(Process::Exited { clean: false }, Connection::Closed).into() },
        EventBody::Position { position: position() },
    ]);
    events
}

fn requests() -> Vec<Request> {
    let record = || Box::new(record());
    let order = |order| Request::Order { ballot: ballot(3), number: 4, order: Box::new(order) };
    let catch_up = |how| order(Order::CatchUp { goal: mariadb("0-1-102"), from: node("db1"), how, through: None });
    let evidence = Some(Diagnosis::PrimaryCrashed { primary: node("db1") });
    vec![
        Request::Probe { nonce: Nonce(5), primary: node("db1") },
        Request::Prepare { ballot: ballot(3), kind: Kind::Failover, evidence },
        Request::Prepare { ballot: ballot(4), kind: Kind::Vote, evidence: None },
        Request::Accept { ballot: ballot(3), record: record() },
        catch_up(CatchUpHow::Replicate),
        catch_up(CatchUpHow::Tail),
        order(Order::Promote { record: record(), goal: mysql() }),
        order(Order::Follow { record: record() }),
        order(Order::JoinGroup { record: record() }),
        order(Order::SetWaitCount { record: record(), acks: 2 }),
        order(Order::CutAcker { record: record(), refused: BTreeSet::from([node("db3")]), removed: Some(node("db3")) }),
        order(Order::LeaveGroup { record: record() }),
        order(Order::Drain { record: record(), within_ms: 1000 }),
        order(Order::Archive { record: record(), holds: mariadb("0-1-102,0-2-7"), beyond: mariadb("0-1-102") }),
        order(Order::Reclone { record: record(), step: RecloneStep::Check { donor: node("db3") } }),
        order(Order::Reclone { record: record(), step: RecloneStep::Copy { donor: node("db3") } }),
        order(Order::Reclone { record: record(), step: RecloneStep::Exchange { known: mysql() } }),
        Request::Report,
        Request::BeginAnew { incarnation: Incarnation(2), reason: "its ledger went back from 9 to 7".to_owned() },
        Request::CannotLeave { reason: "nobody can take over: db2 replicates nothing".to_owned(), lasts: false },
    ]
}

/// A candidate gets what a dead server holds from the leader that reads it.
fn through_leader() -> Request {
    let through = Some("co1".parse().unwrap());
    let order = Order::CatchUp { goal: mariadb("0-1-102"), from: node("db1"), how: CatchUpHow::Tail, through };
    Request::Order { ballot: ballot(3), number: 4, order: Box::new(order) }
}

fn snapshot() -> Snapshot {
    Snapshot {
        cluster: "main".parse().unwrap(),
        coordinator: "co1".parse().unwrap(),
        number: 41,
        id: None,
        leader: Some("co1".parse().unwrap()),
        epoch: Some(Epoch(ballot(3))),
        record: Some(record()),
        diagnosis: Diagnosis::Healthy,
        sentence: "The primary serves and its replicas follow.".to_owned(),
        incident: None,
        holds: vec!["no majority".to_owned()],
        nodes: BTreeMap::from([(node("db2"), observation(Process::Unknown, Connection::Answering))]),
        positions: BTreeMap::from([(node("db2"), position())]),
        quarantine: BTreeMap::from([(node("db1"), "0-1-103".to_owned())]),
        stage: Some(StageName::Promoting),
        goal: Some(mariadb("0-1-102")),
        forecast: None,
    }
}

fn pause() -> Pause {
    Pause { owner: "ann".to_owned(), reason: "new disks".to_owned(), for_ms: 1_800_000, set_at: ballot(4) }
}

/// A record that remembers a failover of each cause, and a pause.
fn remembering() -> Record {
    let causes =
        [Cause::Crashed, Cause::Closed, Cause::Hung, Cause::HostLost, Cause::Unfinished, Cause::Other].into_iter();
    let recent =
        causes.map(|cause| Past { epoch: Epoch(ballot(3)), old: node("db1"), cause, grounds: Vec::new() }).collect();
    Record { recent, pause: Some(pause()), ..record() }
}

/// A record with a switchover to come.
fn planning() -> Record {
    let (at, by, reason) = ("2026-12-24T03:00:00Z".to_owned(), "ann".to_owned(), "new kernel".to_owned());
    Record { planned: Some(Planned { to: Some(node("db2")), at, by, reason, set_at: ballot(4) }), ..record() }
}

fn changing() -> Record {
    let mut record = record();
    record.voters_before = Some(record.voters.clone());
    record.voters.insert(node("w1"), Incarnation(9));
    record
}

fn forecast() -> Forecast {
    let blocker = Blocker { what: "2 of 3 voters are silent".to_owned(), fix: "start their nodes".to_owned() };
    let outlook = |loss, blockers: Vec<Blocker>| Outlook {
        winner: Some(node("db2")),
        or: nodes(&["db3"]),
        reasons: vec!["db2 wins".to_owned()],
        loss,
        expected_ms: blockers.is_empty().then_some(100),
        blockers,
    };
    Forecast {
        primary: node("db1"),
        guarantee: Guarantee::Manual,
        lacking: vec![blocker.clone()],
        crash: outlook(Loss::Nothing, Vec::new()),
        host_loss: outlook(Loss::LastMoments, vec![blocker]),
    }
}

fn event(body: EventBody) -> Event {
    let (cluster, coordinator) = ("main".parse().unwrap(), "co1".parse().unwrap());
    Event { cluster, coordinator, number: 42, at_ms: 1_790_000_000_000, id: None, after: None, body }
}

/// An incident in its place.
fn placed() -> Event {
    let id = |number| Some(EventId { ballot: ballot(3), number });
    Event { id: id(8), after: id(7), ..event(EventBody::Hold { reasons: vec!["no majority".to_owned()] }) }
}

fn piece() -> Delivery {
    let tail = Tail { pieces: 9, bytes: 1_000_000, checksum: 0xdead_beef, transactions: 77, set: mysql() };
    let piece = Box::new(Piece { number: 0, content: "/mJpbg==".to_owned(), packed: false, tail: Some(tail) });
    Delivery { ballot: ballot(3), transactions: Vec::new(), complete: false, note: String::new(), piece: Some(piece) }
}

fn packed() -> Delivery {
    let content = "KLUv/SAEIQAA/mJpbg==".to_owned();
    let packed = Piece { number: 1, content, packed: true, tail: None };
    Delivery { piece: Some(Box::new(packed)), ..piece() }
}

/// A tail on its way, to nodes that can unpack it and to those that cannot.
fn pieces() -> Vec<(String, Message)> {
    let first = Fetch { ballot: ballot(3), have: mysql(), want: None, piece: 0, packed: false };
    let later = Fetch { want: Some(Box::new(mysql())), piece: 8, ..first.clone() };
    let packing = Fetch { piece: 16, packed: true, ..first.clone() };
    let fetches = [("fetch", first), ("fetch_piece", later), ("fetch_packed", packing)];
    let fetches = fetches.map(|(name, fetch)| (name.to_owned(), Message::Fetch(fetch)));
    let deliveries = [("delivery_piece", piece()), ("delivery_packed", packed())];
    let deliveries = deliveries.map(|(name, delivery)| (name.to_owned(), Message::Delivery(delivery)));
    fetches.into_iter().chain(deliveries).collect()
}

fn heartbeats() -> [(String, Message); 2] {
    let seat = Seat { url: "https://10.0.0.8:3000".to_owned(), viewers: 17, version: "0.1.0".to_owned() };
    let beat = Heartbeat { coordinator: "co1".parse().unwrap(), nonce: Nonce(5), leading: Some(ballot(3)), seat: None };
    let seated = Heartbeat { leading: None, seat: Some(Box::new(seat)), ..beat.clone() };
    [("heartbeat".to_owned(), Message::Heartbeat(beat)), ("heartbeat_seat".to_owned(), Message::Heartbeat(seated))]
}

/// All samples by name; the messages among them are what envelopes carry.
pub(crate) fn all() -> BTreeMap<String, Value> {
    let transaction =
        Transaction { gtid: "0-1-102".to_owned(), format: "AAAA".to_owned(), events: vec!["BBBB".to_owned()] };
    let refused = Connection::Refused { code: 1040, text: "Too many connections".to_owned() };
    let mut messages = vec![
        ("observation".to_owned(), Message::Observation(Box::new(observation(Process::Running { pid: 77 }, refused)))),
        (
            "observation_silent".to_owned(),
            Message::Observation(Box::new(observation(
                Process::Exited { clean: false },
                Connection::Silent { for_ms: 900 },
            ))),
        ),
        ("observation_stopped".to_owned(), Message::Observation(Box::new(stopped()))),
        ("position".to_owned(), Message::Position(Box::new(position()))),
        (
            "delivery".to_owned(),
            Message::Delivery(Delivery {
                ballot: ballot(3),
                transactions: vec![transaction],
                complete: false,
                note: "the rest does not fit".to_owned(),
                piece: None,
            }),
        ),
        ("renew".to_owned(), Message::Renew(Renew { epoch: Epoch(ballot(3)), number: 5, guarded: true })),
        ("grant".to_owned(), Message::Grant(Grant { epoch: Epoch(ballot(3)), number: 5, incarnation: Incarnation(2) })),
        ("echo".to_owned(), Message::Echo { nonce: Nonce(5) }),
    ];
    let decided = EventBody::Decided { ballot: ballot(4), record: Box::new(remembering()) };
    let grounded = EventBody::Decided { ballot: ballot(4), record: Box::new(with_grounds()) };
    messages.push(("event_decided_grounds".to_owned(), Message::Event(Box::new(event(grounded)))));
    let changing = EventBody::Decided { ballot: ballot(5), record: Box::new(changing()) };
    messages.push(("event_decided_changing_voters".to_owned(), Message::Event(Box::new(event(changing)))));
    let mut anew = observation(Process::Running { pid: 77 }, Connection::Answering);
    anew.ledger.anew = Some("its state directory held no ledger".to_owned());
    messages.push(("observation_anew".to_owned(), Message::Observation(Box::new(anew))));
    messages.push(("observation_binlog_index".to_owned(), Message::Observation(Box::new(with_index()))));
    messages.push(("request_order_catch_up_through".to_owned(), Message::Request(through_leader())));
    messages.push(("event_placed".to_owned(), Message::Event(Box::new(placed()))));
    messages.push(("event_decided_remembering".to_owned(), Message::Event(Box::new(event(decided)))));
    let decided = EventBody::Decided { ballot: ballot(4), record: Box::new(planning()) };
    messages.push(("event_decided_planning".to_owned(), Message::Event(Box::new(event(decided)))));
    let recloning = recloning().into_iter().map(|(stage, told)| (format!("observation_reclone_{stage}"), told));
    messages.extend(recloning.map(|(name, told)| (name, Message::Observation(Box::new(told)))));
    messages.extend(heartbeats());
    messages.extend(pieces());
    messages.extend(crate::errands::errands());
    messages.extend(requests().into_iter().map(|request| (String::new(), Message::Request(request))));
    messages.extend(events().into_iter().map(|body| (String::new(), Message::Event(Box::new(event(body))))));
    let named = |(name, message): (String, Message)| {
        let value = serde_json::to_value(message).unwrap();
        (if name.is_empty() { name_of(&value) } else { name }, value)
    };
    let mut samples: BTreeMap<String, Value> = messages.into_iter().map(named).collect();
    samples.insert("record".to_owned(), serde_json::to_value(record()).unwrap());
    samples.extend(donor());
    let seen = events().into_iter().filter(EventBody::is_telemetry).map(event).collect();
    let telemetry = Telemetry { cluster: "main".parse().unwrap(), events: seen };
    samples.insert("telemetry".to_owned(), serde_json::to_value(telemetry).unwrap());
    samples.insert("snapshot".to_owned(), serde_json::to_value(snapshot()).unwrap());
    samples
}

/// What the nodes of a re-clone's two servers say to each other.
fn donor() -> Vec<(String, Value)> {
    let (version, refusal) = ("9.7.4".to_owned(), Some("the clone plugin is not active".to_owned()));
    let offer = DonorOffer { version, bytes: 9_000, executed: mysql(), refusal };
    let end = DonorEnd { executed: mariadb("0-1-102"), failure: Some("mariadb-backup ended with 1".to_owned()) };
    vec![
        ("donor_ask_offer".to_owned(), serde_json::to_value(DonorAsk::Offer).unwrap()),
        ("donor_ask_backup".to_owned(), serde_json::to_value(DonorAsk::Backup).unwrap()),
        ("donor_offer".to_owned(), serde_json::to_value(offer).unwrap()),
        ("donor_end".to_owned(), serde_json::to_value(end).unwrap()),
    ]
}

/// The name of a request's or event's sample: its tags, from the outside in.
fn name_of(sample: &Value) -> String {
    let tag = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = [
        tag(sample, "type"),
        tag(sample, "request"),
        tag(sample, "kind"),
        tag(&sample["order"], "order"),
        tag(&sample["order"], "how"),
        tag(&sample["order"]["step"], "step"),
        tag(sample, "event"),
        tag(&sample["diagnosis"], "diagnosis"),
        tag(sample, "stage"),
    ];
    tags.into_iter().flatten().collect::<Vec<_>>().join("_")
}
