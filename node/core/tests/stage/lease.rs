//! The primary of a cluster without acknowledgements, its guard and its voters.

use std::time::Duration;

use tasuki_node_core::{Effect, Ended, Guarding, Input, Memory, Output};
use tasuki_schemas::command::Kind;
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::lease::{Grant, LeaseTerms, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record};

use super::{RUN, Stage, db, holdings, record, remembered};

pub(crate) fn terms() -> LeaseTerms {
    LeaseTerms::new(Duration::from_millis(2000), Duration::from_millis(200)).unwrap()
}

/// The first record, with its primary alone.
pub(crate) fn alone() -> Record {
    let mut record = record(1, "db1", Mode::Armed);
    record.wanted = 0;
    for group in &mut record.groups {
        (group.acks, group.leased) = (0, true);
        group.members = [db("db1")].into();
    }
    record
}

pub(crate) fn memory(opened: bool) -> Memory {
    let mut memory = remembered(Mode::Armed);
    memory.accepted.as_mut().unwrap().record = alone();
    memory.incarnation = Incarnation(1);
    (memory.opened, memory.whole) = (opened.then_some(RUN), opened);
    memory
}

pub(crate) fn asked(stage: &Stage) -> Option<Renew> {
    stage.outputs.iter().rev().find_map(|output| {
        let Output::Send(to, message) = output else { return None };
        let Message::Renew(renew) = &**message else { return None };
        (to.as_str() == "db2").then(|| renew.clone())
    })
}

pub(crate) fn told_guard(stage: &Stage) -> Option<Option<Guarding>> {
    stage
        .outputs
        .iter()
        .rev()
        .find_map(|output| if let Output::Guard(guarding) = output { Some(*guarding) } else { None })
}

pub(crate) fn grant(stage: &mut Stage, by: &str, incarnation: u64) {
    let Renew { epoch, number, .. } = asked(stage).unwrap();
    let grant = Grant { epoch, number, incarnation: Incarnation(incarnation) };
    stage.hand(Input::Granted { from: db(by), grant });
}

pub(crate) fn obey(stage: &mut Stage) {
    let told = told_guard(stage).unwrap();
    stage.hand(Input::Guarded(told));
}

/// The primary, leased and open.
pub(crate) fn leased() -> Stage {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let until = Some(Moment::from_nanos(0) + terms().usable());
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until }))).probe(true);
    grant(&mut stage, "db2", 2);
    obey(&mut stage);
    stage
}

pub(crate) fn fences(stage: &Stage) -> bool {
    matches!(stage.effect(), Some((_, Effect::Fence { .. })))
}

/// Promises a failover at this ballot, its duty done: only then may a record of its reign come.
pub(crate) fn promise(stage: &mut Stage, counter: u64) {
    stage.prepare(counter, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.promised());
}

pub(crate) fn promotes(stage: &Stage) -> bool {
    matches!(stage.effect(), Some((_, Effect::Promote { acks: 0, .. })))
}

pub(crate) fn rest_ms(stage: &Stage) -> u64 {
    stage.observation().server.unwrap().lease.unwrap().rest_ms
}
