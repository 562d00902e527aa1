//! Planned stops: the unit's stop command asks the node, then the server gets SIGTERM, and is started again.

use std::time::Duration;

use tasuki_node_core::Input;
use tasuki_schemas::gtid::Flavour;

use super::faults::Fault;
use super::net::Dice;
use super::server::Host;
use super::traffic;
use super::world::{Happening, MS, World};

/// The longest time that somebody else may take to take over.
const WITHIN: Duration = Duration::from_secs(3);

/// Some runs have one or two, of the primary more often.
pub(crate) fn draw(seed: u64, servers: usize, faults: &mut Vec<(u64, Fault)>) {
    // Dice of its own, and such that the seeds that tests and rows of bite name stay as they were.
    let mut dice = Dice::new(seed ^ 0x5717);
    if !dice.one_in(5) {
        return;
    }
    for _ in 0..dice.between(1, 3) {
        let any = usize::try_from(dice.between(0, servers as u64)).unwrap_or(0);
        let host = if dice.one_in(2) { 0 } else { any };
        faults.push((dice.between(1500 * MS, 5000 * MS), Fault::Leave(host)));
    }
}

/// Without a node nobody is asked, and nothing is stopped: the model has no administrator who insists.
pub(crate) fn leave(world: &mut World, host: Host) {
    let life = world.hosts[host].life;
    if world.hosts[host].node.is_some() && world.hosts[host].server.run.is_some() {
        let input = Box::new(Input::Leave { within: WITHIN });
        world.after(MS, Happening::ToNode { host, life, input });
    }
}

/// The stop command ends. The model's administrator does not insist when it fails: what a SIGTERM does then is told to be
/// outside of what is guaranteed.
pub(crate) fn may_stop(world: &mut World, host: Host, told: &Result<String, String>) {
    world.note(|| format!("db{} may be stopped: {told:?}", host + 1));
    if told.is_err() {
        return;
    }
    let delay = world.dice.between(MS, 30 * MS);
    world.after(delay, Happening::Fault(Fault::Terminate(host)));
}

/// MySQL answers commits that wait, as they are. A server that stands still does not hear the signal.
pub(crate) fn terminate(world: &mut World, host: Host) {
    let server = &mut world.hosts[host].server;
    if server.hung || server.run.is_none() {
        return;
    }
    if world.flavour == Flavour::Mysql {
        server.wait_count = 0;
        traffic::release(world, host);
    }
    if let Some(run) = world.hosts[host].server.crash() {
        let delay = world.dice.between(MS, 100 * MS);
        world.after(delay, Happening::Exit { host, run, clean: true });
        let back = world.dice.between(200 * MS, 4000 * MS);
        world.after(delay + back, Happening::Fault(Fault::Start(host)));
    }
}
