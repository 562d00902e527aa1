//! The simulator: the shipped cores under a virtual clock, with faults drawn from a seed. Safety is checked after every
//! event, liveness after healing. The same seed is the same run.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a fault in the simulator is to stop it"
)]

mod acts;
mod check;
mod clocks;
mod effects;
mod exhaustive;
mod faults;
mod fences;
mod foretold;
mod guard;
mod lives;
mod losses;
mod net;
mod probes;
mod programs;
mod reclones;
mod register;
mod scenarios;
mod server;
mod stops;
mod switchovers;
mod tails;
mod timing;
mod traffic;
mod voters;
mod watch;
mod world;

use tasuki_coordinator_core::settings::Promotion;
use tasuki_schemas::event::EventBody;

pub use exhaustive::{Scope, Tally};
use faults::{Fault, Trap};
use fences::Manual;
pub(crate) use lives::{first_record, name};
pub use scenarios::SCENARIOS;
pub(crate) use timing::leader;
pub use timing::{Times, decision_times};
use world::{Happening, MS, World};

/// How long after the last mend a cluster may take to be whole: for a second on end exactly one server is open and
/// acknowledges, every other one follows it or is known to be ahead, and the wanted acknowledgements are waited for.
const LIVENESS: u64 = 25_000 * MS;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was violated; `None` if all held.
    pub violation: Option<String>,
    /// Writes that clients were told OK for.
    pub acknowledged: usize,
    /// Failovers whose winner was the one foretold.
    pub foretold: usize,
    /// The faults, in order.
    pub faults: Vec<String>,
    /// The last events, for people.
    pub log: Vec<String>,
}

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    servers: usize,
    faults: Vec<(u64, Fault)>,
    traps: Vec<Trap>,
    /// Hosts without a server, which the cluster file does not name at first.
    witnesses: usize,
    /// From here on nobody may begin a failover.
    calm_from: Option<u64>,
    wishes: Vec<Promotion>,
    manual: Option<Manual>,
}

impl Plan {
    /// The run of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = net::Dice::new(seed ^ 0x5eed);
        let servers = dice.choose(&[3, 3, 3, 4, 5]);
        let mut faults = faults::schedule(&mut dice, servers, servers, 2);
        let mut traps = faults::traps(&mut dice, servers, servers, 2);
        // Dice of its own, so that the other faults of a seed stay as they were.
        let mut losses = net::Dice::new(seed ^ 0x1055);
        if losses.one_in(3) {
            if losses.one_in(2) {
                faults.clear();
                traps.clear();
            }
            faults.extend(losses::schedule(&mut losses, servers, 2));
            traps.extend(losses::traps(&mut losses));
        }
        let witnesses = usize::from(dice.one_in(3));
        if witnesses > 0 {
            voters::draw(&mut dice, servers, &mut faults);
        }
        switchovers::draw(seed, servers, &mut faults, &mut traps);
        switchovers::draw_planned(seed, servers, &mut faults);
        stops::draw(seed, servers, &mut faults);
        reclones::draw(seed, servers, &mut faults, &mut traps);
        let manual = Manual::drawn(seed);
        Self { seed, servers, faults, traps, wishes: Vec::new(), witnesses, calm_from: None, manual }
    }

    /// The primary dies, and nothing else goes wrong; the servers' wishes for promotion are drawn as well.
    #[must_use]
    pub fn lone(seed: u64) -> Self {
        let mut dice = net::Dice::new(seed ^ 0x104e);
        let servers = dice.choose(&[3, 3, 4, 5]);
        let wish = |dice: &mut net::Dice| {
            dice.choose(&[Promotion::Prefer, Promotion::Neutral, Promotion::Neutral, Promotion::Avoid])
        };
        let wishes = (0..servers).map(|_| wish(&mut dice)).collect();
        let at = dice.between(2000 * MS, 4000 * MS);
        let death = if dice.one_in(2) { Fault::Kill(0) } else { Fault::KillHost(0) };
        let back = at + 3000 * MS;
        let faults = vec![(at, death), (back, Fault::Mend), (back, Fault::StartNode(0)), (back, Fault::Start(0))];
        Self { seed, servers, faults, traps: Vec::new(), wishes, witnesses: 0, calm_from: None, manual: None }
    }

    /// The same run with fewer faults, as long as it still fails: what is left is what it takes.
    #[must_use]
    pub fn shrunk(&self) -> Self {
        let mut best = self.clone();
        let mut at = 0;
        while at < best.faults.len() {
            let mut tried = best.clone();
            let removed = tried.faults.remove(at);
            let mends = matches!(
                removed.1,
                Fault::Mend
                    | Fault::Configure(_)
                    | Fault::Start(_)
                    | Fault::StartNode(_)
                    | Fault::StartCoordinator(_)
                    | Fault::Thaw(_)
            );
            if !mends && tried.run().violation.is_some() {
                best = tried;
            } else {
                at += 1;
            }
        }
        let mut at = 0;
        while at < best.traps.len() {
            let mut tried = best.clone();
            tried.traps.remove(at);
            if tried.run().violation.is_some() {
                best = tried;
            } else {
                at += 1;
            }
        }
        best
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let (servers, witnesses) = (self.servers, self.witnesses);
        let mut world = World::new(self.seed, servers, witnesses, 2, &self.wishes, self.manual.clone());
        let mut healed = 0;
        for (at, fault) in &self.faults {
            world.after(*at, Happening::Fault(fault.clone()));
            healed = healed.max(*at);
        }
        world.traps.clone_from(&self.traps);
        world.healed_at =
            self.faults.iter().filter(|(_, fault)| *fault == Fault::Mend).map(|(at, _)| *at).max().unwrap_or(0);
        let violation = finish(&mut world, healed);
        let alarmed = self.calm_from.zip(world.recruited_at).is_some_and(|(calm_from, at)| at >= calm_from);
        let violation = violation.or_else(|| alarmed.then(|| "a failover began though the primary serves".to_owned()));
        Outcome {
            violation,
            acknowledged: world.history.len(),
            foretold: world.foretold.kept,
            faults: self
                .faults
                .iter()
                .map(|(at, fault)| format!("{} ms {fault:?}", at / MS))
                .chain(self.traps.iter().map(|trap| format!("{trap:?}")))
                .collect(),
            log: world.log.into_iter().collect(),
        }
    }
}

/// Lets a cluster come right after the last mend, and says what is wrong with it then.
fn finish(world: &mut World, healed: u64) -> Option<String> {
    let (mut looked, mut well) = (0, 0);
    while world.history.violation.is_none() && world.turn(healed + LIVENESS) {
        if world.now > healed + 500 * MS && world.now - looked > 100 * MS {
            looked = world.now;
            well = if check::settled(world) { well + 1 } else { 0 };
            if well == 10 {
                break;
            }
        }
    }
    check::at_the_end(world)
}

fn brief(body: &EventBody) -> String {
    match body {
        EventBody::Diagnosis { sentence, .. } => sentence.clone(),
        EventBody::Stage { stage, candidate, reasons, ballot, .. } => {
            format!("{stage:?} {candidate:?} at {ballot}: {}", reasons.join("; "))
        }
        EventBody::Hold { reasons } => format!("holds: {}", reasons.join("; ")),
        EventBody::Decided { ballot, record } => {
            format!("decided at {ballot}: {} opened {}, groups {:?}", record.primary, record.opened, record.groups)
        }
        EventBody::Repair { node, sentence } | EventBody::Voters { node, sentence } => format!("{node} {sentence}"),
        EventBody::Forecast { sentence, .. }
        | EventBody::Pause { sentence, .. }
        | EventBody::Fence { sentence, .. }
        | EventBody::Switchover { sentence, .. }
        | EventBody::Override { sentence, .. } => sentence.clone(),
        EventBody::WouldHave { .. }
        | EventBody::Note { .. }
        | EventBody::Act { .. }
        | EventBody::Leader { .. }
        | EventBody::Health { .. }
        | EventBody::Position { .. } => body.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is wrong with the cores here: the plan forbids what a kill must lead to.
    #[test]
    fn a_plan_that_fails_shrinks_to_the_fault_that_it_takes() {
        let at = |ms: u64, fault| (ms * MS, fault);
        let faults = vec![
            at(1500, Fault::Lag(1, 200 * MS)),
            at(1600, Fault::PauseNode(2, 100 * MS)),
            at(2000, Fault::Kill(0)),
            at(2500, Fault::KillRedis),
            at(3000, Fault::Mend),
            at(3500, Fault::Start(0)),
        ];
        let snare = faults::Snare::Server { whole_host: true };
        let traps = vec![Trap { effect: "Promote", skip: 9, delay: 0, snare }];
        let plan = Plan {
            seed: 3,
            servers: 3,
            faults,
            traps,
            calm_from: Some(0),
            wishes: Vec::new(),
            manual: None,
            witnesses: 0,
        };
        let (whole, small) = (plan.run(), plan.shrunk());
        assert_eq!(whole.violation.as_deref(), Some("a failover began though the primary serves"));
        assert_eq!(small.run().violation, whole.violation);
        let left: Vec<&Fault> = small.faults.iter().map(|(_, fault)| fault).collect();
        assert_eq!(left, [&Fault::Kill(0), &Fault::Mend, &Fault::Start(0)]);
        assert!(small.traps.is_empty());
        assert!(whole.log.iter().any(|line| line.contains("FAULT Kill(0)")));
    }
}
