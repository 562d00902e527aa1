//! Voters come, go, and lose their memory.

use super::Plan;
use super::faults::Fault;
use super::net::Dice;
use super::server::Host;
use super::world::{MS, World};

/// The cluster file names other witnesses from now on: coordinators start anew with it, one after the other.
pub(crate) fn configure(world: &mut World, witnesses: &[Host]) {
    world.witnessed = witnesses.iter().copied().collect();
    for at in 0..world.coordinators.len() {
        if world.coordinators[at].core.is_some() {
            world.stop_coordinator(at);
            let delay = world.dice.between(0, 400 * MS);
            world.after(delay, super::world::Happening::Fault(Fault::StartCoordinator(at)));
        }
    }
}

/// A witness is added to the cluster file in the middle of what goes wrong, and often removed again.
pub(crate) fn draw(dice: &mut Dice, servers: usize, faults: &mut Vec<(u64, Fault)>) {
    let mended = faults.iter().filter(|(_, fault)| *fault == Fault::Mend).map(|(at, _)| *at).max().unwrap_or(0);
    let added = dice.between(1000 * MS, mended);
    faults.push((added, Fault::Configure(vec![servers])));
    if dice.one_in(2) {
        // A witness that is struck off is not asked any more, not even for its removal: without a ledger besides there may
        // be no majority, and an operator is needed.
        faults.retain(|(_, fault)| !matches!(fault, Fault::LoseLedger(_)));
        faults.push((added + dice.between(100 * MS, 4000 * MS), Fault::Configure(Vec::new())));
    } else if dice.one_in(3) && !faults.iter().any(|(_, fault)| matches!(fault, Fault::LoseLedger(_))) {
        let lost = added + dice.between(0, 1000 * MS);
        faults.extend([(lost, Fault::LoseLedger(servers)), (lost + 100 * MS, Fault::StartNode(servers))]);
    }
    let last = faults.iter().map(|(at, _)| *at).max().unwrap_or(0);
    faults.extend([
        (last, Fault::StartCoordinator(0)),
        (last, Fault::StartCoordinator(1)),
        (last, Fault::StartNode(servers)),
    ]);
}

/// The scenarios of voters.
pub(crate) fn scenario(name: &str, seed: u64) -> Option<Plan> {
    let plan = |servers, faults: Vec<(u64, Fault)>| {
        let faults = faults.into_iter().map(|(at, fault)| (at * MS, fault)).collect();
        Plan {
            seed,
            servers,
            faults,
            traps: Vec::new(),
            wishes: Vec::new(),
            witnesses: 1,
            calm_from: None,
            manual: None,
        }
    };
    match name {
        "forgetting" => Some(plan(5, forgetting())),
        _ => None,
    }
}

/// One voter after the other loses its ledger, while a witness is added and coordinators come and go.
fn forgetting() -> Vec<(u64, Fault)> {
    let mut faults = vec![(2500, Fault::Configure(vec![5])), (9000, Fault::Configure(Vec::new()))];
    for host in 0..5 {
        let at = 1500 + host as u64 * 1500;
        faults.extend([(at, Fault::LoseLedger(host)), (at + 50, Fault::StartNode(host))]);
        faults.extend([(at + 20, Fault::KillCoordinator(host % 2)), (at + 700, Fault::StartCoordinator(host % 2))]);
    }
    faults.extend([(12_000, Fault::Kill(0)), (13_000, Fault::Start(0)), (13_000, Fault::Mend)]);
    faults.extend([0, 1].map(|at| (13_000, Fault::StartCoordinator(at))));
    faults
}
