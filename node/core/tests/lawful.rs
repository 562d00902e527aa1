//! Which orders fit the record that they carry, and this node.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod stage;

use std::collections::BTreeSet;

use stage::{Stage, db, record, set};
use tasuki_node_core::Memory;
use tasuki_schemas::answer::Refusal;
use tasuki_schemas::command::{CatchUpHow, Order};
use tasuki_schemas::record::{Mode, Record};

/// The record of epoch 2.
fn naming(primary: &str) -> Box<Record> {
    Box::new(record(2, primary, Mode::Armed))
}

/// Why db2, a replica, refuses an order, if it does.
fn refused(order: Order) -> Option<String> {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(2, 1, order).persisted();
    match stage.answers().refusal {
        None => None,
        Some(Refusal::Unlawful { reason }) => Some(reason),
        Some(other) => panic!("{other:?}"),
    }
}

fn obeyed(order: Order) -> bool {
    refused(order).is_none()
}

#[test]
fn only_the_named_primary_is_promoted_or_told_what_to_wait_for() {
    let promote = |primary| Order::Promote { record: naming(primary), goal: set("0-1-9") };
    assert!(obeyed(promote("db2")) && !obeyed(promote("db3")));
    let wait = |primary| Order::SetWaitCount { record: naming(primary), acks: 1 };
    assert!(obeyed(wait("db2")));
    assert_eq!(refused(wait("db3")).unwrap(), "the record names another primary");
}

/// An order of long ago, brought again, finds a new ledger without the promise that would refuse it.
#[test]
fn a_ledger_that_has_accepted_nothing_obeys_nothing() {
    let memory = Memory { accepted: None, promised: None, ..Stage::replica(Mode::Armed).memory };
    let mut stage = Stage::of("db2", memory);
    stage.order(2, 1, Order::Follow { record: naming("db3") }).persisted();
    let reason = "it has accepted no record yet".to_owned();
    assert_eq!(stage.answers().refusal, Some(Refusal::Unlawful { reason }));
}

#[test]
fn the_primary_never_waits_for_fewer_acknowledgements_than_its_record_says() {
    let wait = |acks| {
        let mut record = naming("db2");
        record.groups.last_mut().unwrap().acks = 2;
        Order::SetWaitCount { record, acks }
    };
    assert!(obeyed(wait(2)) && obeyed(wait(3)));
    assert_eq!(refused(wait(1)).unwrap(), "the record's group asks for more acknowledgements");
}

#[test]
fn the_primary_follows_nobody_and_acknowledges_to_nobody() {
    let follow = |primary| Order::Follow { record: naming(primary) };
    assert!(obeyed(follow("db3")));
    assert_eq!(refused(follow("db2")).unwrap(), "the primary follows nobody");
    let leave = |primary| Order::LeaveGroup { record: naming(primary) };
    assert!(obeyed(leave("db3")));
    assert_eq!(refused(leave("db2")).unwrap(), "the primary acknowledges nothing");
}

#[test]
fn nobody_acknowledges_for_a_group_that_it_is_not_in() {
    let join = |members: &[&str]| {
        let mut record = naming("db3");
        record.groups.last_mut().unwrap().members = members.iter().map(|name| db(name)).collect();
        Order::JoinGroup { record }
    };
    assert!(obeyed(join(&["db2", "db3"])));
    assert_eq!(refused(join(&["db1", "db3"])).unwrap(), "the record's group does not have this server");
}

#[test]
fn servers_that_the_cluster_file_lacks_are_neither_followed_nor_fetched_from() {
    assert_eq!(
        refused(Order::Follow { record: naming("db9") }).unwrap(),
        "the record's primary is not in this cluster file"
    );
    let fetch =
        |from: &str| Order::CatchUp { goal: set("0-1-9"), from: db(from), how: CatchUpHow::Replicate, through: None };
    assert!(obeyed(fetch("db3")));
    assert_eq!(refused(fetch("db9")).unwrap(), "the donor is not in this cluster file");
}

#[test]
fn only_the_primary_keeps_others_away() {
    let cut =
        |primary| Order::CutAcker { record: naming(primary), refused: BTreeSet::from([db("db1")]), removed: None };
    assert!(obeyed(cut("db2")));
    assert_eq!(refused(cut("db3")).unwrap(), "the record names another primary");
}
