//! Re-clones, as far as they touch who holds what: a copy of a donor's binlog is made beside a server, the server is stopped
//! and comes back on it, closed, without a source and, on MySQL, under another name. Its node may die at any moment.

use std::collections::BTreeSet;

use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_node_core::Input;
use tasuki_schemas::command::RecloneStep;
use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet, Origin};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::reclone::{RecloneStage, Recloning};

use super::effects::{Step, failed};
use super::faults::{Fault, Snare, Trap};
use super::lives::name;
use super::net::Dice;
use super::server::{Host, Server, Transaction};
use super::world::{Happening, MS, World};

/// Some runs have one or two by an operator's word, often with a fault that waits for one of their steps.
pub(crate) fn draw(seed: u64, servers: usize, faults: &mut Vec<(u64, Fault)>, traps: &mut Vec<Trap>) {
    // Dice of its own, so that the other faults of a seed stay as they were.
    let mut dice = Dice::new(seed ^ 0x7ec1);
    if !dice.one_in(4) {
        return;
    }
    for _ in 0..dice.between(1, 3) {
        let host = usize::try_from(dice.between(0, servers as u64)).unwrap_or(0);
        faults.push((dice.between(1000 * MS, 4000 * MS), Fault::Reclone(host)));
    }
    if dice.one_in(2) {
        let snare = match dice.between(0, 4) {
            0 => Snare::Server { whole_host: dice.one_in(2) },
            1 => Snare::Node,
            2 => Snare::Pause([dice.between(0, 3000 * MS), dice.between(0, 3000 * MS)]),
            _ => Snare::Other(Fault::Hang(0)),
        };
        traps.push(Trap { effect: "Reclone", skip: dice.between(0, 3), delay: dice.between(0, 1500 * MS), snare });
    }
}

/// An operator asks every coordinator; the one that leads takes it up.
pub(crate) fn ask(world: &mut World, host: Host) {
    let (by, reason) = ("ann".to_owned(), "rows are missing".to_owned());
    let wish = Wish::Reclone(Reclone { node: name(host), dry_run: false, by, reason });
    let now = Moment::from_nanos(world.now);
    for core in world.coordinators.iter_mut().filter_map(|state| state.core.as_mut()) {
        core.ask(wish.clone(), now);
    }
}

/// A re-clone under way.
#[derive(Clone, Debug)]
pub(crate) struct Cloning {
    donor: Host,
    number: u64,
    copy: Option<(Vec<Transaction>, GtidSet)>,
    exchanging: bool,
}

/// What comes next of a re-clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// All bytes have arrived.
    Whole,
    /// The server has ended.
    Stop,
    /// The directories have changed places, and it is started.
    Start,
}

fn tell(world: &mut World, host: Host, donor: Host, stage: RecloneStage) {
    world.note(|| format!("db{} tells of its re-clone: {stage:?}", host + 1));
    world.node_input(host, Input::Recloning(Recloning { donor: name(donor), stage }));
}

/// A step that a node's hands carry out.
pub(crate) fn step(world: &mut World, host: Host, at: u32, donor: Host, step: &RecloneStep, primary: &Origin) -> Step {
    use tasuki_node_core::Ended;
    let kept = || Step::End(Ended::Kept("about 1 MB".to_owned()));
    match (step, at) {
        (_, 0) => Step::After(5 * MS),
        (RecloneStep::Check { .. }, _) => kept(),
        (RecloneStep::Copy { .. }, _) if world.hosts[host].cloning.is_some() => failed("one is under way"),
        (RecloneStep::Copy { .. }, _) => {
            world.starts += 1;
            let number = world.starts;
            world.hosts[host].cloning = Some(Cloning { donor, number, copy: None, exchanging: false });
            tell(world, host, donor, RecloneStage::Copying { bytes: 0, expected: 1 << 20 });
            let delay = world.dice.between(100, 3000) * MS;
            world.after(delay, Happening::Clone { host, number, next: Next::Whole });
            kept()
        }
        (RecloneStep::Exchange { known }, _) => {
            let server = &mut world.hosts[host].server;
            (server.port_closed, server.writable) = (true, false);
            server.end_clients();
            server.stop_receiver();
            let held = server.received().known().cloned().unwrap_or_else(|| server.executed.clone());
            let replicated = held.only(&BTreeSet::from([primary.clone()]));
            if known.union(&replicated).and_then(|known| known.contains(&held)) != Ok(true) {
                return failed("it holds more");
            }
            let Some(cloning) = world.hosts[host].cloning.as_mut().filter(|cloning| cloning.copy.is_some()) else {
                return failed("there is no whole copy");
            };
            cloning.exchanging = true;
            let (donor, number) = (cloning.donor, cloning.number);
            tell(world, host, donor, RecloneStage::Exchanging { step: "it is being stopped".to_owned() });
            // Whoever watches over the server was told to keep it down.
            world.hosts[host].kept_until = world.now + 3000 * MS;
            let delay = world.dice.between(20, 500) * MS;
            world.after(delay, Happening::Clone { host, number, next: Next::Stop });
            kept()
        }
    }
}

/// The node ends it, or finds at its start that its former self was copying.
pub(crate) fn give_up(world: &mut World, host: Host, why: &str) {
    let Some(cloning) = world.hosts[host].cloning.take_if(|cloning| !cloning.exchanging) else { return };
    tell(world, host, cloning.donor, RecloneStage::Failed { reason: why.to_owned(), ago_ms: 0 });
}

/// A node that starts tells how far its former self was, and goes on.
pub(crate) fn recover(world: &mut World, host: Host) {
    give_up(world, host, "its node was restarted");
    if let Some(cloning) = world.hosts[host].cloning.clone() {
        tell(world, host, cloning.donor, RecloneStage::Exchanging { step: "a restarted node looks".to_owned() });
        let next = if world.hosts[host].server.run.is_some() { Next::Stop } else { Next::Start };
        world.after(20 * MS, Happening::Clone { host, number: cloning.number, next });
    }
}

/// A re-clone gets on, unless it was given up. Without its node nothing does, but for a server that is ending.
pub(crate) fn go_on(world: &mut World, host: Host, number: u64, next: Next) {
    let alive = world.hosts[host].node.is_some();
    let Some(cloning) = world.hosts[host].cloning.clone().filter(|cloning| cloning.number == number && alive) else {
        return;
    };
    let donor = cloning.donor;
    match next {
        Next::Whole if cloning.copy.is_some() => {}
        Next::Whole => {
            let reached = world.hosts[donor].server.answers() && world.net.joined(host, donor);
            let server = &world.hosts[donor].server;
            let copy = (server.binlog.clone(), server.executed.clone());
            if !reached {
                return give_up(world, host, "the donor is gone");
            }
            if repeats(&world.hosts[host].server, &copy.1) {
                return give_up(world, host, "its next writes would repeat GTIDs");
            }
            if let Some(cloning) = &mut world.hosts[host].cloning {
                cloning.copy = Some(copy);
            }
            tell(world, host, donor, RecloneStage::Copied);
        }
        Next::Stop => {
            if let Some(run) = world.hosts[host].server.crash() {
                world.after(MS, Happening::Exit { host, run, clean: false });
            }
            let delay = world.dice.between(50, 800) * MS;
            world.after(delay, Happening::Clone { host, number, next: Next::Start });
        }
        Next::Start => exchange(world, host),
    }
}

/// The server comes back on the copy. What it held before is put aside: nothing of it may be needed.
fn exchange(world: &mut World, host: Host) {
    let Some(Cloning { donor, copy: Some((binlog, executed)), .. }) = world.hosts[host].cloning.take() else { return };
    let before = world.hosts[host].server.clone();
    let last = before.binlog.iter().find(|transaction| {
        let others = (0..world.hosts.len()).filter(|other| *other != host);
        world.history.is_acknowledged(&transaction.gtid)
            && !others.into_iter().any(|other| world.hosts[other].server.has(&transaction.gtid))
    });
    if let Some(lost) = last {
        let violation = format!("db{} puts the last copy of {} aside, which was acknowledged", host + 1, lost.gtid);
        world.history.demand(Err(violation));
    }
    world.hosts[host].server.put_copy(binlog, executed);
    world.hosts[host].kept_until = 0;
    world.history.came_back(host);
    tell(world, host, donor, RecloneStage::Done { aside: "/data.before-reclone-1".to_owned(), ago_ms: 0 });
}

/// Whether a server would write names again that it wrote before: MariaDB's keeps its number.
fn repeats(server: &Server, copy: &GtidSet) -> bool {
    let (GtidSet::Mariadb(own), GtidSet::Mariadb(copy)) = (&server.executed, copy) else { return false };
    let Origin::Mariadb(number) = server.origin() else { return false };
    let reached = copy.iter().map(|(_, at)| at).max().unwrap_or(0);
    own.iter().any(|(stream, wrote)| stream.server == number && wrote > reached)
}

impl Server {
    /// Starts on a copy of another server's data.
    fn put_copy(&mut self, binlog: Vec<Transaction>, executed: GtidSet) {
        self.relay.clear();
        self.relay_synced = 0;
        self.channel = None;
        (self.binlog, self.executed) = (binlog, executed);
        if self.flavour == Flavour::Mysql {
            self.names += 1;
        }
        let reached = self.binlog.iter().filter_map(|transaction| match &transaction.gtid {
            Gtid::Mariadb { sequence, .. } => Some(*sequence),
            Gtid::Mysql { .. } => None,
        });
        self.top = reached.max().unwrap_or(0);
        self.start();
        self.port_closed = true;
    }
}
