//! Lends the simulator's clusters to the bench: how long a coordinator takes for an observation, and coordinators that
//! lead, with what their nodes report.

use std::time::Instant;

use tasuki_coordinator_core::settings::Policy;
use tasuki_coordinator_core::{Coordinator, Input};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Observation;

use super::faults::Fault;
use super::world::{Happening, MS, World};

/// Nanoseconds from an observation to the commands, of each one handed in.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// While the primary serves and nothing is under way.
    pub healthy: Vec<u64>,
    /// From the first sign of a failover to its end.
    pub failing: Vec<u64>,
}

/// Hands an observation to a coordinator and keeps how long that took.
pub(super) fn timed<T>(
    times: &mut Times,
    core: &mut Coordinator,
    now: Moment,
    handle: impl FnOnce(&mut Coordinator) -> T,
) -> T {
    let before = core.snapshot(now).stage.is_some();
    let began = Instant::now();
    let handled = handle(core);
    let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let failing = before || core.snapshot(now).stage.is_some();
    if failing { &mut times.failing } else { &mut times.healthy }.push(took);
    handled
}

/// Runs failovers of clusters with so many servers: five seconds of health, then the primary is killed.
#[must_use]
pub fn decision_times(servers: usize, failovers: u64) -> Times {
    let mut all = Times::default();
    for seed in 1..=failovers {
        let mut world = World::new(seed, servers, 0, 1, &[], None);
        // Births are over after a second.
        while world.now < 1000 * MS && world.turn(u64::MAX) {}
        world.times = Some(Times::default());
        world.after(5000 * MS, Happening::Fault(Fault::Kill(0)));
        while world.now < 7000 * MS && world.turn(u64::MAX) {}
        let times = world.times.take().unwrap_or_default();
        all.healthy.extend(times.healthy);
        all.failing.extend(times.failing);
    }
    all
}

/// A coordinator that leads a healthy cluster, what its nodes reported last, and its clock.
pub(crate) fn leader(seed: u64, servers: usize, policy: Policy) -> (Coordinator, Vec<(Observation, u64)>, Moment) {
    let mut world = World::new(seed, servers, 0, 1, &[], None);
    world.stop_coordinator(0);
    world.policy = Policy { lease: world.policy.lease, ..policy };
    world.start_coordinator(0);
    while world.now < 5000 * MS && world.turn(u64::MAX) {}
    world.keeping = true;
    while world.now < 5500 * MS && world.turn(u64::MAX) {}
    let mut reports: Vec<(Observation, u64)> = Vec::new();
    for input in world.kept.drain(..) {
        let Input::Observed(observation, (_, sequence)) = input else { continue };
        reports.retain(|(known, _)| known.node != observation.node);
        reports.push((*observation, sequence));
    }
    let now = world.moment(world.place(0));
    let core = world.coordinators[0].core.take().expect("it runs");
    (core, reports, now)
}
