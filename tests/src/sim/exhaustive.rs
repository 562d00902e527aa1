//! Small scope, whole: three servers, two coordinators, one thing that goes wrong, and beside it every single cut of the
//! network and every single crash at every step of what follows.
//!
//! A step is one happening that changes a program or a server: a message or an acknowledgement arrives, a write is
//! durable, an effect goes on or ends, a probe or a timer comes. A fault at some places is struck just before each step of
//! these places, and at the window's end: between two of them nothing happens there, so striking elsewhere is the same.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::effects::Running;
use super::faults::Fault;
use super::net::Place;
use super::world::{Happening, MS, World};

const SERVERS: usize = 3;
const COORDINATORS: usize = 2;
/// When the scope's own fault falls.
const BEGIN: u64 = 1000 * MS;
/// No window is longer.
const WINDOW: u64 = 4000 * MS;

/// What goes wrong first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The primary is killed, and starts again later. The window ends when the record says that another opened.
    PrimaryKilled,
    /// The primary's host is cut off and comes back, having failed in nothing. The same window.
    FalseAlarm,
    /// Both replicas are killed, and start again later. The window ends when the record asks for no acknowledgement.
    ReplicasLost,
}

/// A single fault, with what mends it.
struct Strike {
    name: String,
    is_cut: bool,
    places: BTreeSet<Place>,
    faults: Vec<(u64, Fault)>,
}

/// What was run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Steps of the window.
    pub steps: usize,
    /// Different cuts: each directed link, for a short and a long while.
    pub cuts: usize,
    /// Different crashes: of each server, node, host and coordinator.
    pub crashes: usize,
    /// Runs, each with one fault before one step.
    pub runs: usize,
    /// Runs that would have been the same as one of these.
    pub equal: usize,
    /// What did not hold, each with the fault and the step.
    pub violations: Vec<String>,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PrimaryKilled, Self::FalseAlarm, Self::ReplicasLost];

    const fn faults(self) -> &'static [(u64, Fault)] {
        const LATER: u64 = 2000 * MS;
        match self {
            Self::PrimaryKilled => &[(0, Fault::Kill(0)), (LATER, Fault::Start(0))],
            Self::FalseAlarm => &[(0, Fault::Isolate(0)), (LATER, Fault::Mend)],
            Self::ReplicasLost => {
                &[(0, Fault::Kill(1)), (0, Fault::Kill(2)), (LATER, Fault::Start(1)), (LATER, Fault::Start(2))]
            }
        }
    }

    /// When the window opens: what is before the patience for silence ends is the healthy cluster's beat.
    const fn opens(self) -> u64 {
        match self {
            Self::PrimaryKilled | Self::ReplicasLost => BEGIN,
            Self::FalseAlarm => BEGIN + 750 * MS,
        }
    }

    fn is_over(self, world: &World) -> bool {
        let records = world.hosts.iter().filter_map(|host| host.ledger.accepted.as_ref()).map(|it| &it.record);
        let done = records.filter(|record| match self {
            Self::PrimaryKilled | Self::FalseAlarm => record.opened && record.primary != world.hosts[0].name,
            Self::ReplicasLost => record.group().is_some_and(|group| group.acks == 0),
        });
        done.count() > SERVERS / 2
    }

    /// Runs every fault at every `every`-th of its steps. The seed tells flavour, lease and acknowledgements: see `World::new`.
    #[must_use]
    pub fn run(self, seed: u64, every: usize) -> Tally {
        let steps = self.window(seed);
        let strikes = strikes();
        let mut runs = Vec::new();
        for strike in &strikes {
            let touched = (0..steps.len()).filter(|at| !steps[*at].is_disjoint(&strike.places));
            runs.extend(touched.chain([steps.len()]).map(|at| (strike, at)));
        }
        let all = strikes.len() * (steps.len() + 1);
        let equal = all - runs.len();
        let runs: Vec<_> = runs.into_iter().step_by(every).collect();
        let (next, violations) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((strike, at)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Some(violation) = self.struck(seed, strike, *at).0 {
                            let text = format!("AT={at} FAULT='{}': {violation}", strike.name);
                            violations.lock().expect("no thread panics").push(text);
                        }
                    }
                });
            }
        });
        let cuts = strikes.iter().filter(|strike| strike.is_cut).count();
        let violations = violations.into_inner().expect("no thread panics");
        Tally { steps: steps.len(), cuts, crashes: strikes.len() - cuts, runs: runs.len(), equal, violations }
    }

    /// One of these runs again: its log, and what did not hold.
    #[must_use]
    pub fn again(self, seed: u64, fault: &str, at: usize) -> (Vec<String>, Option<String>) {
        let Some(strike) = strikes().into_iter().find(|strike| strike.name == fault) else {
            return (Vec::new(), Some(format!("there is no fault `{fault}`")));
        };
        let (violation, log) = self.struck(seed, &strike, at);
        (log, violation)
    }

    fn begin(self, seed: u64) -> World {
        let mut world = World::new(seed, SERVERS, 0, COORDINATORS, &[], None);
        for (delay, fault) in self.faults() {
            world.after(BEGIN + delay, Happening::Fault(fault.clone()));
        }
        world
    }

    /// The places that each step of the undisturbed window touches.
    fn window(self, seed: u64) -> Vec<BTreeSet<Place>> {
        let mut world = self.begin(seed);
        let mut steps = Vec::new();
        while world.now < BEGIN + WINDOW && !self.is_over(&world) {
            steps.extend(self.step(&world));
            world.turn(u64::MAX);
        }
        assert!(self.is_over(&world), "{self:?} does not end undisturbed");
        steps
    }

    /// What the next happening touches, if it is a step of the window.
    fn step(self, world: &World) -> Option<BTreeSet<Place>> {
        if world.now < self.opens() { None } else { touched(world) }
    }

    fn struck(self, seed: u64, strike: &Strike, at: usize) -> (Option<String>, Vec<String>) {
        let mut world = self.begin(seed);
        let mut steps = 0;
        while !self.is_over(&world) {
            if self.step(&world).is_some() {
                if steps == at {
                    break;
                }
                steps += 1;
            }
            world.turn(u64::MAX);
        }
        let mut healed = BEGIN + self.faults().iter().map(|(delay, _)| *delay).max().unwrap_or(0);
        for (delay, fault) in &strike.faults {
            healed = healed.max(world.now + delay);
            if *delay == 0 {
                fault.strike(&mut world);
            } else {
                world.after(*delay, Happening::Fault(fault.clone()));
            }
        }
        let violation = super::finish(&mut world, healed);
        (violation, world.log.into_iter().collect())
    }
}

fn strikes() -> Vec<Strike> {
    let mut strikes = Vec::new();
    for (from, to) in (0..SERVERS + COORDINATORS).flat_map(|from| (0..SERVERS + COORDINATORS).map(move |to| (from, to)))
    {
        for length in [300, 1500] {
            if from != to {
                strikes.push(Strike {
                    name: format!("cut {from} {to} for {length} ms"),
                    is_cut: true,
                    places: BTreeSet::from([from, to]),
                    faults: vec![(0, Fault::Cut(from, to)), (length * MS, Fault::Join(from, to))],
                });
            }
        }
    }
    let mut crash = |name: String, place, faults| {
        strikes.push(Strike { name, is_cut: false, places: BTreeSet::from([place]), faults });
    };
    let soon = 1000 * MS;
    for host in 0..SERVERS {
        let (start_node, start) = ((soon, Fault::StartNode(host)), (soon + 200 * MS, Fault::Start(host)));
        crash(format!("kill server {host}"), host, vec![(0, Fault::Kill(host)), start.clone()]);
        crash(format!("kill node {host}"), host, vec![(0, Fault::KillNode(host)), start_node.clone()]);
        crash(format!("kill host {host}"), host, vec![(0, Fault::KillHost(host)), start_node, start]);
    }
    for at in 0..COORDINATORS {
        let faults = vec![(0, Fault::KillCoordinator(at)), (soon, Fault::StartCoordinator(at))];
        crash(format!("kill coordinator {at}"), SERVERS + at, faults);
    }
    strikes
}

/// What the next happening touches, if it is a step.
fn touched(world: &World) -> Option<BTreeSet<Place>> {
    let here = |host: Place, life: u64| (world.hosts[host].life == life).then(|| BTreeSet::from([host]));
    match world.peek()? {
        Happening::ToNode { host, life, .. }
        | Happening::Durable { host, life, .. }
        | Happening::Probe { host, life } => here(*host, *life),
        Happening::WakeNode { host, life } => here(*host, *life).filter(|_| world.due() >= world.hosts[*host].wake_at),
        Happening::Step { host, life, id } => {
            let looked_at = world.hosts[*host].effects.get(id).and_then(Running::looks_at);
            here(*host, *life).map(|touched| touched.into_iter().chain(looked_at).collect())
        }
        Happening::Mail { host, .. }
        | Happening::Exit { host, .. }
        | Happening::Clone { host, .. }
        | Happening::Guard { host, .. }
        | Happening::LeaseEnds { host } => Some(BTreeSet::from([*host])),
        Happening::ToCoordinator { at, .. } => Some(BTreeSet::from([world.place(*at)])),
        Happening::WakeCoordinator { at, life } => {
            let state = &world.coordinators[*at];
            (state.life == *life && world.due() >= state.wake_at).then(|| BTreeSet::from([world.place(*at)]))
        }
        Happening::Ack { source, replica, .. } => Some(BTreeSet::from([*source, *replica])),
        Happening::Replicate { host } => {
            let replica = &world.hosts[*host].server;
            let channel = replica.channel.as_ref().filter(|channel| channel.running)?;
            let source = &world.hosts[channel.source].server;
            let moves = !channel.connected || !replica.lacks(source).0.is_empty();
            moves.then(|| BTreeSet::from([*host, channel.source]))
        }
        Happening::Apply { host } => (!world.hosts[*host].server.relay.is_empty()).then(|| BTreeSet::from([*host])),
        Happening::Write { .. } | Happening::Fault(_) => None,
    }
}
