//! Who can acknowledge: a member that is cut off, and a server that leaves the group by itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod stage;

use std::collections::BTreeSet;

use stage::{RUN, Stage, ballot, db, holdings, record, remembered};
use tasuki_node_core::{Effect, Ended, Input, Memory, Reader};
use tasuki_schemas::answer::{Outcome, Refusal};
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Order, OrderName, Request};
use tasuki_schemas::record::{Mode, WriteGroup};

fn cut(primary: &str, names: &[&str]) -> Order {
    let refused: BTreeSet<_> = names.iter().map(|name| db(name)).collect();
    let removed = refused.first().cloned();
    Order::CutAcker { record: Box::new(record(1, primary, Mode::Armed)), refused, removed }
}

fn leave() -> Order {
    Order::LeaveGroup { record: Box::new(record(1, "db1", Mode::Armed)) }
}

fn follow() -> Order {
    Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) }
}

fn outcome(stage: &Stage, name: OrderName) -> Outcome {
    stage.answers().outcomes[&name].outcome.clone()
}

#[test]
fn the_primary_refuses_a_member_by_its_address_and_tells_what_it_holds_then() {
    let mut stage = Stage::primary();
    stage.order(1, 1, cut("db1", &["db3"])).persisted();
    let refused = BTreeSet::from(["10.0.0.3:3306".parse().unwrap()]);
    let wanted = Effect::CutAcker { refused, barrier: Some(Epoch(ballot(1))) };
    assert_eq!(stage.effect().map(|(_, effect)| effect), Some(wanted));
    stage.end(Ended::Done(holdings("0-1-9")));
    assert!(matches!(outcome(&stage, OrderName::CutAcker), Outcome::Done { holdings: Some(_), .. }));
}

#[test]
fn only_the_primary_cuts_and_never_itself() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, cut("db1", &["db3"]));
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    let mut stage = Stage::primary();
    stage.order(1, 1, cut("db1", &["db1"]));
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    assert_eq!(stage.effects(), 0);
}

#[test]
fn whom_the_kernel_keeps_away_is_reported_by_name() {
    let mut stage = Stage::primary();
    stage.hand(Input::Refused(["10.0.0.3", "10.0.0.9"].map(|ip| ip.parse().unwrap()).into()));
    let refused = stage.node.observation(stage.moment()).server.unwrap().refused;
    assert_eq!(refused, BTreeSet::from([db("db3")]));
}

#[test]
fn a_late_order_does_not_make_a_server_acknowledge_that_was_told_to_stop_since() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 2, leave()).persisted();
    assert_eq!(stage.effect().map(|(_, effect)| effect), Some(Effect::LeaveGroup));
    stage.end(Ended::Done(holdings("0-1-9")));
    stage.order(1, 1, follow()).persisted();
    assert_eq!(stage.effects(), 1, "it was given before");
    stage.order(1, 3, follow()).persisted();
    assert_eq!(stage.effects(), 2, "and this one after");
}

#[test]
fn a_server_that_is_gone_acknowledges_nothing() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, leave()).persisted().end(Ended::Gone(holdings("")));
    assert!(matches!(outcome(&stage, OrderName::LeaveGroup), Outcome::Done { .. }));
}

fn reader(connection: u64, host: &str, port: Option<u16>, acknowledges: Option<bool>) -> Reader {
    Reader { connection, host: host.parse().unwrap(), user: "repl".to_owned(), port, acknowledges }
}

/// The strangers that an opened primary cuts off: connections, then hosts.
fn cut_off(clients: u32, readers: Vec<Reader>) -> Option<(Vec<u64>, Vec<String>)> {
    let mut stage = Stage::primary();
    stage.readers(clients, readers);
    let Effect::CutStrangers { connections, hosts } = stage.effect()?.1 else { return None };
    Some((connections, hosts.iter().map(ToString::to_string).collect()))
}

#[test]
fn whoever_says_that_it_acknowledges_from_a_foreign_host_is_kept_away() {
    let members = || vec![reader(1, "10.0.0.2", Some(3306), Some(true)), reader(2, "10.0.0.3", Some(3306), Some(true))];
    assert_eq!(cut_off(2, members()), None);
    let mut readers = members();
    readers.push(reader(3, "10.0.0.9", None, Some(false)));
    assert_eq!(cut_off(2, readers.clone()), None, "a backup that only reads is left alone");
    readers.push(reader(4, "10.0.0.8", None, Some(true)));
    assert_eq!(cut_off(3, readers), Some((vec![4], vec!["10.0.0.8".to_owned()])));
}

#[test]
fn where_only_their_number_is_told_the_members_are_believed_first() {
    let readers = |more: &[(u64, &str)]| {
        let members = [(1, "10.0.0.2"), (2, "10.0.0.3")];
        members.iter().chain(more).map(|(id, host)| reader(*id, host, None, None)).collect::<Vec<_>>()
    };
    assert_eq!(cut_off(2, readers(&[(3, "10.0.0.9")])), None, "it reads and does not acknowledge");
    assert_eq!(cut_off(3, readers(&[(3, "10.0.0.9")])), Some((vec![3], vec!["10.0.0.9".to_owned()])));
    // One of two: both are ended, neither is kept away.
    let two = readers(&[(3, "10.0.0.9"), (4, "10.0.0.8")]);
    let found = cut_off(3, two).unwrap();
    assert_eq!((found.0.len(), found.1.len()), (2, 0));
}

#[test]
fn members_that_come_from_another_address_than_the_files_are_no_strangers() {
    for (port, acknowledges) in [(Some(3306), Some(true)), (None, None)] {
        let elsewhere = |id| reader(id, "127.0.0.1", port, acknowledges);
        let mut stage = Stage::primary();
        stage.readers(2, vec![elsewhere(1), elsewhere(2)]);
        assert!(!matches!(stage.effect(), Some((_, Effect::CutStrangers { .. }))), "as many as there are members");
        stage.readers(1, vec![elsewhere(1)]);
        assert!(!matches!(stage.effect(), Some((_, Effect::CutStrangers { .. }))), "one of them");
        // Each was seen at its own address since: whoever comes from elsewhere then is strange.
        stage.readers(2, vec![reader(3, "10.0.0.2", port, acknowledges), reader(4, "10.0.0.3", port, acknowledges)]);
        stage.readers(2, vec![reader(3, "10.0.0.2", port, acknowledges), elsewhere(5)]);
        let Some((_, Effect::CutStrangers { connections, .. })) = stage.effect() else { panic!("{acknowledges:?}") };
        assert_eq!(connections, vec![5]);
    }
    let mut readers: Vec<Reader> = (1..=2).map(|id| reader(id, "127.0.0.1", Some(3306), Some(true))).collect();
    readers.push(reader(3, "10.0.0.9", Some(3399), Some(true)));
    assert_eq!(cut_off(3, readers).map(|(connections, _)| connections), Some(vec![3]), "one too many, and by its port");
}

#[test]
fn a_server_outside_the_group_is_known_by_its_address_though_a_member_was_never_seen() {
    let memory = Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Armed) };
    let mut stage = Stage::of("db1", memory);
    let members = ["db1", "db2"].map(db).into();
    let mut narrow = record(1, "db1", Mode::Armed);
    narrow.groups = vec![WriteGroup { primary: db("db1"), members, acks: 1, leased: false }];
    stage.probe(true).ask(Request::Accept { ballot: ballot(2), record: Box::new(narrow) }).persisted();
    // db2 is away; db3, which the record left out, acknowledges.
    stage.readers(1, vec![reader(7, "10.0.0.3", Some(3306), Some(true))]);
    let Some((_, Effect::CutStrangers { connections, .. })) = stage.effect() else { panic!("it counts") };
    assert_eq!(connections, vec![7]);
}

#[test]
fn a_member_on_a_strangers_host_is_spared() {
    let readers = vec![
        reader(1, "10.0.0.2", Some(3306), Some(true)),
        reader(2, "10.0.0.3", Some(3306), Some(true)),
        reader(3, "10.0.0.3", Some(3399), Some(true)),
    ];
    assert_eq!(cut_off(3, readers), Some((vec![3], Vec::new())));
    let unnamed = ["10.0.0.2", "10.0.0.3", "10.0.0.3"].map(|host| reader(1, host, None, None)).to_vec();
    assert_eq!(cut_off(3, unnamed), None, "which of them is the member, nothing tells");
}
