//! Switchovers: operators ask for them whenever it pleases them, and faults strike in their middle.

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

/// An operator asks every coordinator; the one that leads takes it up.
pub(crate) fn ask(world: &mut World, to: Option<Host>) {
    let (by, reason) = ("ann".to_owned(), "new kernel".to_owned());
    let wish = Wish::Switchover(Switchover { to: to.map(name), dry_run: false, by, reason });
    let now = Moment::from_nanos(world.now);
    for core in world.coordinators.iter_mut().filter_map(|state| state.core.as_mut()) {
        core.ask(wish.clone(), now);
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
