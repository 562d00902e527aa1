//! What goes wrong, drawn from the seed; and healing, after which everything must come right by itself.

use tasuki_coordinator_core::pause::Wish;
use tasuki_node_core::Memory;
use tasuki_schemas::id::Incarnation;

use super::fences;
use super::lives::LATER_LEDGERS;
use super::net::{Dice, Place};
use super::server::Host;
use super::world::{Happening, MS, World};

/// One act of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of a database server.
    Kill(Host),
    /// The same from outside, and it is kept from starting for a while.
    KillAndKeep(Host),
    /// A server starts again, closed.
    Start(Host),
    /// A server's disk hangs, or its process is stopped.
    Hang(Host),
    /// It goes on.
    Thaw(Host),
    /// A node's process ends.
    KillNode(Host),
    /// It starts again.
    StartNode(Host),
    /// A node's process is stopped for so long.
    PauseNode(Host, u64),
    /// Power loss: server, node, kernel rules.
    KillHost(Host),
    /// A host is cut off from everything.
    Isolate(Host),
    /// A host hears nobody, but is heard; or the other way round.
    HalfIsolate(Host, bool),
    /// Two hosts do not reach each other.
    Part(Host, Host),
    /// Nothing travels from one place to another.
    Cut(Place, Place),
    /// It does again.
    Join(Place, Place),
    /// A whole host stands still for so long: its server, and the node beside it.
    PauseHost(Host, u64),
    /// A node loses its ledger, with its process: it starts again as a voter that nobody knows.
    LoseLedger(Host),
    /// A copy is taken of a node's ledger.
    CopyLedger(Host),
    /// The disk of a node is restored from that copy, with its process ended.
    RestoreLedger(Host),
    /// The cluster file names these witnesses from now on.
    Configure(Vec<Host>),
    /// A second coordinator goes on under another's name, as from a copied configuration.
    Clone(usize),
    /// From now on nodes' reports are kept, or no more.
    Keep(bool),
    /// What was kept comes again, to every coordinator.
    Replay,
    /// A coordinator's process ends.
    KillCoordinator(usize),
    /// It starts again, remembering nothing.
    StartCoordinator(usize),
    /// A coordinator is stopped for so long.
    PauseCoordinator(usize, u64),
    /// A coordinator hears nobody.
    IsolateCoordinator(usize),
    /// One message in so many is lost.
    Lose(u64),
    /// Redis is gone; the mesh remains.
    KillRedis,
    /// A replica receives nothing for so long, though its connection stands.
    Lag(Host, u64),
    /// A client with semi-sync on, that no cluster file knows, reads a server's binlog.
    Stranger(Host),
    /// An operator asks for a switchover, to this server or to the best.
    HandOver(Option<Host>),
    /// An operator plans one.
    Plan(Option<Host>),
    /// What is planned is given up.
    CancelPlan,
    /// The clocks of all coordinators say that it is time for what is planned, or too late.
    PlanDue { late: bool },
    /// A server is to be stopped and started again, with the stop command of its unit.
    Leave(Host),
    /// The stop command has ended: SIGTERM.
    Terminate(Host),
    /// An operator asks that this server be re-cloned.
    Reclone(Host),
    /// Somebody writes on a replica itself: read-only stops no administrator.
    Errant(Host),
    /// The whole network is well again.
    Mend,
}

/// A fault that waits for an effect to begin: failovers are struck in their middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    /// The name that the effect's text begins with.
    pub(crate) effect: &'static str,
    /// So many beginnings are let through.
    pub(crate) skip: u64,
    pub(crate) delay: u64,
    pub(crate) snare: Snare,
}

/// Whom a trap strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Snare {
    /// The server where the effect began, or its whole host.
    Server { whole_host: bool },
    /// The node beside it; it is started again soon.
    Node,
    /// All coordinators stand still for different lengths.
    Pause([u64; 2]),
    /// Something drawn before.
    Other(Fault),
}

impl Trap {
    /// What happens when it is sprung on a host.
    pub(crate) fn faults(&self, host: Host) -> Vec<(u64, Fault)> {
        let at = |fault| (self.delay, fault);
        match &self.snare {
            Snare::Server { whole_host: false } => vec![at(Fault::Kill(host))],
            Snare::Server { whole_host: true } => vec![at(Fault::KillHost(host))],
            Snare::Node => vec![at(Fault::KillNode(host)), (self.delay + 20 * MS, Fault::StartNode(host))],
            Snare::Pause([one, other]) => {
                vec![at(Fault::PauseCoordinator(0, *one)), at(Fault::PauseCoordinator(1, *other))]
            }
            // No later part of the plan is sure to wake it.
            Snare::Other(Fault::Hang(hung)) => {
                vec![at(Fault::Hang(*hung)), (self.delay + 500 * MS, Fault::Thaw(*hung))]
            }
            Snare::Other(fault) => vec![at(fault.clone())],
        }
    }
}

/// Draws the traps of a run.
pub(crate) fn traps(dice: &mut Dice, servers: usize, hosts: usize, coordinators: usize) -> Vec<Trap> {
    const EFFECTS: [&str; 7] = ["Promote", "Promote", "StopReceiving", "Follow", "Fence", "SetWaitCount", "JoinGroup"];
    let one = |dice: &mut Dice| {
        let snare = match dice.between(0, 8) {
            0..3 => Snare::Server { whole_host: dice.one_in(2) },
            3 | 4 => Snare::Node,
            5 | 6 => Snare::Pause([dice.between(0, 3000 * MS), dice.between(0, 3000 * MS)]),
            _ => Snare::Other(one(dice, servers, hosts, coordinators)),
        };
        Trap { effect: dice.choose(&EFFECTS), skip: dice.between(0, 3), delay: dice.between(0, 15 * MS), snare }
    };
    (0..dice.between(0, 4)).map(|_| one(dice)).collect()
}

impl Fault {
    pub(crate) fn strike(&self, world: &mut World) {
        world.note(|| format!("FAULT {self:?}"));
        let places = world.hosts.len() + world.coordinators.len() + 1;
        match *self {
            Self::Kill(host) => kill(world, host),
            Self::KillAndKeep(host) => {
                kill(world, host);
                fences::keep_gone(world, host);
            }
            Self::Start(host) => {
                if world.hosts[host].server.run.is_none() && world.hosts[host].kept_until <= world.now {
                    world.hosts[host].server.start();
                }
            }
            Self::Hang(host) => world.hosts[host].server.hung = world.hosts[host].server.run.is_some(),
            Self::Thaw(host) => {
                let server = &mut world.hosts[host].server;
                (server.hung, server.silent_since) = (false, None);
            }
            Self::KillNode(host) => world.stop_node(host),
            Self::StartNode(host) => world.start_node(host),
            Self::PauseNode(host, length) => world.hosts[host].paused_until = world.now + length,
            Self::KillHost(host) => kill_host(world, host),
            Self::Isolate(host) => isolate(world, host, places),
            Self::HalfIsolate(host, deaf) => {
                for other in (0..places).filter(|other| *other != host) {
                    if deaf {
                        world.net.cut(other, host);
                    } else {
                        world.net.cut(host, other);
                    }
                }
            }
            Self::Part(one, other) => {
                world.net.cut(one, other);
                world.net.cut(other, one);
            }
            Self::Cut(from, to) => world.net.cut(from, to),
            Self::Join(from, to) => world.net.join(from, to),
            Self::PauseHost(host, length) => pause_host(world, host, length),
            Self::LoseLedger(host) => lose_ledger(world, host),
            Self::CopyLedger(host) => world.hosts[host].copy = Some(world.hosts[host].ledger.clone()),
            Self::RestoreLedger(host) => restore_ledger(world, host),
            Self::Configure(ref witnesses) => super::voters::configure(world, witnesses),
            Self::Clone(at) => clone(world, at),
            Self::Keep(on) => world.keeping = on,
            Self::Replay => replay(world),
            Self::KillCoordinator(at) => world.stop_coordinator(at),
            Self::StartCoordinator(at) => world.start_coordinator(at),
            Self::PauseCoordinator(at, length) => world.coordinators[at].paused_until = world.now + length,
            Self::IsolateCoordinator(at) => {
                let place = world.place(at);
                (0..places).filter(|other| *other != place).for_each(|other| world.net.cut(other, place));
            }
            Self::Lose(one_in) => world.net.lossy = one_in,
            Self::KillRedis => world.net.redis = false,
            Self::Lag(host, length) => world.hosts[host].server.lags_until = world.now + length,
            Self::Stranger(host) => world.hosts[host].server.stranger = world.hosts[host].server.run.is_some(),
            Self::HandOver(to) => super::switchovers::ask(world, to),
            Self::Plan(to) => super::switchovers::plan(world, to),
            Self::CancelPlan => super::switchovers::wish(world, &Wish::CancelSwitchover),
            Self::PlanDue { late } => super::switchovers::due(world, late),
            Self::Leave(host) => super::stops::leave(world, host),
            Self::Terminate(host) => super::stops::terminate(world, host),
            Self::Reclone(host) => super::reclones::ask(world, host),
            Self::Errant(host) => world.hosts[host].server.write_aside(),
            Self::Mend => world.net.heal(),
        }
    }
}

fn isolate(world: &mut World, host: Host, places: usize) {
    for other in (0..places).filter(|other| *other != host) {
        world.net.cut(host, other);
        world.net.cut(other, host);
    }
}

fn kill_host(world: &mut World, host: Host) {
    world.stop_node(host);
    world.hosts[host].guard = None;
    let server = &mut world.hosts[host].server;
    server.lose_power();
    server.port_closed = false;
    server.refused_sources.clear();
    server.refused_servers.clear();
}

fn kill(world: &mut World, host: Host) {
    if let Some(run) = world.hosts[host].server.crash() {
        let delay = world.dice.between(MS, 12 * MS);
        world.after(delay, Happening::Exit { host, run, clean: false });
    }
}

fn pause_host(world: &mut World, host: Host, length: u64) {
    world.hosts[host].paused_until = world.now + length;
    world.hosts[host].server.hung = world.hosts[host].server.run.is_some();
    world.after(length, Happening::Fault(Fault::Thaw(host)));
}

fn lose_ledger(world: &mut World, host: Host) {
    world.stop_node(host);
    world.starts += 1;
    world.hosts[host].ledger = Memory::new(Incarnation(LATER_LEDGERS + world.starts));
}

fn restore_ledger(world: &mut World, host: Host) {
    world.stop_node(host);
    if let Some(copy) = world.hosts[host].copy.clone() {
        world.hosts[host].ledger = copy;
        world.watch.restored(host);
    }
}

fn clone(world: &mut World, at: usize) {
    world.stop_coordinator(at);
    world.coordinators[at].name = world.coordinators[0].name.clone();
    world.start_coordinator(at);
}

fn replay(world: &mut World) {
    for (number, input) in (0..).zip(std::mem::take(&mut world.kept)) {
        for at in 0..world.coordinators.len() {
            world.after(number * 10, Happening::ToCoordinator { at, input: Box::new(input.clone()) });
        }
    }
}

/// Draws a schedule: what happens from two seconds on, and the mends that make everything well at the end.
pub(crate) fn schedule(dice: &mut Dice, servers: usize, hosts: usize, coordinators: usize) -> Vec<(u64, Fault)> {
    let mut plan = Vec::new();
    let mut at = 2000 * MS;
    if dice.one_in(3) {
        // Only one replica has what is acknowledged last.
        let kept = 1 + usize::try_from(dice.between(0, servers as u64 - 1)).unwrap_or(0);
        for host in (1..servers).filter(|host| *host != kept) {
            plan.push((at - 100 * MS, Fault::Lag(host, dice.between(100 * MS, 1500 * MS))));
        }
        plan.push((at, if dice.one_in(2) { Fault::KillHost(0) } else { Fault::Kill(0) }));
    }
    for _ in 0..dice.between(1, 6) {
        plan.push((at, one(dice, servers, hosts, coordinators)));
        // Often within the failover that the last one began, sometimes after it.
        at += if dice.one_in(3) { dice.between(200 * MS, 2500 * MS) } else { dice.between(0, 120 * MS) };
        if dice.one_in(4) {
            plan.push((at, mend(dice, servers, coordinators)));
        }
    }
    if dice.one_in(3) {
        // A voter without its memory counts no more until the others re-admit it: one at most, or none could.
        let host = usize::try_from(dice.between(0, hosts as u64)).unwrap_or(0);
        let lost = 2000 * MS + dice.between(0, at - 1999 * MS);
        plan.push((lost, Fault::LoseLedger(host)));
        plan.push((lost + dice.between(MS, 500 * MS), Fault::StartNode(host)));
    }
    at += dice.between(100 * MS, 3000 * MS);
    plan.push((at, Fault::Mend));
    for host in 0..hosts {
        plan.push((at + dice.between(0, 500 * MS), Fault::StartNode(host)));
    }
    for host in 0..servers {
        plan.push((at + dice.between(0, 500 * MS), Fault::Thaw(host)));
        // Traps may strike until the very end.
        for late in [0, 2000 * MS] {
            plan.push((at + late + dice.between(0, 1500 * MS), Fault::Start(host)));
        }
    }
    for coordinator in 0..coordinators {
        plan.push((at + dice.between(0, 500 * MS), Fault::StartCoordinator(coordinator)));
    }
    plan
}

fn one(dice: &mut Dice, servers: usize, hosts: usize, coordinators: usize) -> Fault {
    let pick = |dice: &mut Dice, below: usize| usize::try_from(dice.between(0, below as u64)).unwrap_or(0);
    // The first server is the primary at first: it is struck more often.
    let server = if dice.one_in(2) { 0 } else { pick(dice, servers) };
    let host = if dice.one_in(2) { 0 } else { pick(dice, hosts) };
    let coordinator = if dice.one_in(2) { 0 } else { pick(dice, coordinators) };
    match dice.between(0, 19) {
        0..4 => Fault::Kill(server),
        4 => Fault::Hang(server),
        5 => Fault::KillNode(host),
        6 => Fault::PauseNode(host, dice.between(50 * MS, 4000 * MS)),
        7 => Fault::KillHost(server),
        8 | 9 => Fault::Isolate(host),
        10 => Fault::HalfIsolate(host, dice.one_in(2)),
        11 => Fault::Part(server, pick(dice, hosts)),
        12 | 13 => Fault::KillCoordinator(coordinator),
        14 => Fault::PauseCoordinator(coordinator, dice.between(50 * MS, 4000 * MS)),
        15 => Fault::IsolateCoordinator(coordinator),
        16 => Fault::Lose(dice.between(2, 10)),
        17 => Fault::PauseHost(host, dice.between(50 * MS, 8000 * MS)),
        _ => Fault::KillRedis,
    }
}

fn mend(dice: &mut Dice, servers: usize, coordinators: usize) -> Fault {
    let pick = |dice: &mut Dice, below: usize| usize::try_from(dice.between(0, below as u64)).unwrap_or(0);
    match dice.between(0, 5) {
        0 => Fault::Start(pick(dice, servers)),
        1 => Fault::StartNode(pick(dice, servers)),
        2 => Fault::StartCoordinator(pick(dice, coordinators)),
        3 => Fault::Thaw(pick(dice, servers)),
        _ => Fault::Mend,
    }
}
