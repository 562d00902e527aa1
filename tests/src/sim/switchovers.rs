//! Switchovers: operators ask for them whenever it pleases them, and faults strike in their middle.

use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_node_core::Ended;
use tasuki_schemas::moment::Moment;

use super::effects::{Step, failed};
use super::faults::{Fault, Snare, Trap};
use super::lives::name;
use super::net::Dice;
use super::server::{Host, Server};
use super::world::{MS, World};

/// Some runs have one or two, often with a fault that waits for the primary to be drained or for its successor.
pub(crate) fn draw(seed: u64, servers: usize, faults: &mut Vec<(u64, Fault)>, traps: &mut Vec<Trap>) {
    // Dice of its own, so that the other faults of a seed stay as they were.
    let mut dice = Dice::new(seed ^ 0x5317);
    if !dice.one_in(4) {
        return;
    }
    let pick = |dice: &mut Dice| usize::try_from(dice.between(0, servers as u64)).unwrap_or(0);
    for _ in 0..dice.between(1, 3) {
        let to = if dice.one_in(2) { Some(pick(&mut dice)) } else { None };
        faults.push((dice.between(1500 * MS, 4000 * MS), Fault::HandOver(to)));
    }
    if dice.one_in(2) {
        let snare = match dice.between(0, 5) {
            0 | 1 => Snare::Server { whole_host: dice.one_in(2) },
            2 => Snare::Node,
            3 => Snare::Pause([dice.between(0, 3000 * MS), dice.between(0, 3000 * MS)]),
            _ => Snare::Other(Fault::Hang(pick(&mut dice))),
        };
        let effect = dice.choose(&["Drain", "Drain", "Fence", "Promote", "Follow"]);
        traps.push(Trap { effect, skip: 0, delay: dice.between(0, 10 * MS), snare });
    }
}

/// Others plan one: it is in the record, begins under whoever leads by then, and is given up in some of them.
pub(crate) fn draw_planned(seed: u64, servers: usize, faults: &mut Vec<(u64, Fault)>) {
    let mut dice = Dice::new(seed ^ 0x91a7);
    if !dice.one_in(6) {
        return;
    }
    let to = if dice.one_in(2) { usize::try_from(dice.between(0, servers as u64)).ok() } else { None };
    let (asked, ahead) = (dice.between(1000 * MS, 3000 * MS), dice.between(200 * MS, 2000 * MS));
    faults.push((asked, Fault::Plan(to)));
    if dice.one_in(4) {
        faults.push((asked + dice.between(0, ahead + 1000 * MS), Fault::CancelPlan));
    }
    for second in 0..4 {
        faults.push((asked + ahead + second * 1000 * MS, Fault::PlanDue { late: second == 3 }));
    }
}

/// An operator asks for a switchover.
pub(crate) fn ask(world: &mut World, to: Option<Host>) {
    wish(world, &Wish::Switchover(switchover(to)));
}

/// An operator plans one. The cores read no clock: what it says of the time is for people.
pub(crate) fn plan(world: &mut World, to: Option<Host>) {
    wish(world, &Wish::Plan { switchover: switchover(to), at: "2026-12-24T03:00:00Z".to_owned() });
}

fn switchover(to: Option<Host>) -> Switchover {
    Switchover { to: to.map(name), dry_run: false, by: "ann".to_owned(), reason: "new kernel".to_owned() }
}

/// An operator asks every coordinator; the one that leads takes it up.
pub(crate) fn wish(world: &mut World, wish: &Wish) {
    let now = Moment::from_nanos(world.now);
    for core in world.coordinators.iter_mut().filter_map(|state| state.core.as_mut()) {
        core.ask(wish.clone(), now);
    }
}

/// Every coordinator that leads hears from its clock that the time of what is planned has come.
pub(crate) fn due(world: &mut World, late: bool) {
    for at in 0..world.coordinators.len() {
        let state = &world.coordinators[at];
        let runs = state.core.as_ref().filter(|_| state.paused_until <= world.now);
        let planned = runs.and_then(|core| core.planned());
        if let Some(set_at) = planned.map(|planned| planned.set_at.clone()) {
            world.feed_coordinator(at, Input::PlanDue { set_at, late });
        }
    }
}

/// Commits under way end first; those that do not end in time leave the server open.
pub(crate) fn drain(server: &mut Server, step: u32, waited: u64, within: u64) -> Step {
    const POLL: u64 = 2 * MS;
    if step == 0 {
        server.writable = false;
        return Step::After(MS);
    }
    if server.waiting.is_empty() {
        server.port_closed = true;
        server.end_clients();
        return Step::End(Ended::Done(server.holdings()));
    }
    if waited < within {
        return Step::After(POLL);
    }
    server.writable = true;
    failed("what is being written did not end in time")
}
