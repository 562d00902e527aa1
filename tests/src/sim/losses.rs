//! Replicas that are lost for long: the write group gets narrower meanwhile, and wider again when they return. Faults fall
//! into the middle of both.

use super::faults::{Fault, Snare, Trap};
use super::net::Dice;
use super::server::Host;
use super::world::MS;

fn pick(dice: &mut Dice, from: usize, below: usize) -> usize {
    usize::try_from(dice.between(from as u64, below as u64)).unwrap_or(from)
}

/// Draws the long loss of a replica, its return, and the death of the primary before or after that.
pub(crate) fn schedule(dice: &mut Dice, servers: usize, coordinators: usize) -> Vec<(u64, Fault)> {
    let lost = pick(dice, 1, servers);
    let mut at = dice.between(1000 * MS, 2500 * MS);
    let mut plan = loss(dice, lost, servers, coordinators).into_iter().map(|fault| (at, fault)).collect::<Vec<_>>();
    if dice.one_in(2) {
        // Only the lost one has what is acknowledged last.
        let slow = (1..servers).filter(|host| *host != lost);
        plan.extend(
            slow.map(|host| (at + dice.between(0, 300 * MS), Fault::Lag(host, dice.between(200 * MS, 3000 * MS)))),
        );
    }
    at += dice.between(300 * MS, 3500 * MS);
    if dice.one_in(2) {
        plan.push((at, death(dice)));
        at += dice.between(0, 2000 * MS);
    }
    plan.extend(returns(dice, at, lost));
    at += dice.between(0, 2500 * MS);
    if dice.one_in(2) {
        plan.push((at, death(dice)));
    }
    at += dice.between(500 * MS, 2000 * MS);
    plan.push((at, Fault::Mend));
    for host in 0..servers {
        plan.push((at + dice.between(0, 300 * MS), Fault::StartNode(host)));
        plan.extend([0, 2000 * MS].map(|late| (at + late + dice.between(0, 900 * MS), Fault::Start(host))));
    }
    plan.extend((0..coordinators).map(|coordinator| (at, Fault::StartCoordinator(coordinator))));
    plan
}

/// How a replica is lost: to everybody, to the coordinators alone, or with its programs.
fn loss(dice: &mut Dice, lost: Host, servers: usize, coordinators: usize) -> Vec<Fault> {
    match dice.between(0, 6) {
        0 => vec![Fault::Isolate(lost)],
        1 => vec![Fault::Kill(lost)],
        2 => vec![Fault::KillHost(lost)],
        3 => vec![Fault::KillNode(lost)],
        _ => (0..coordinators).map(|coordinator| Fault::Part(lost, servers + coordinator)).collect(),
    }
}

fn death(dice: &mut Dice) -> Fault {
    if dice.one_in(3) { Fault::KillHost(0) } else { Fault::Kill(0) }
}

fn returns(dice: &mut Dice, at: u64, lost: Host) -> Vec<(u64, Fault)> {
    let mut soon = || at + dice.between(0, 400 * MS);
    vec![(soon(), Fault::Mend), (soon(), Fault::StartNode(lost)), (soon(), Fault::Start(lost))]
}

/// Draws what strikes just when a step of it begins.
pub(crate) fn traps(dice: &mut Dice) -> Vec<Trap> {
    const EFFECTS: [&str; 4] = ["CutAcker", "CutAcker", "LeaveGroup", "JoinGroup"];
    let mut one = || {
        let snare = match dice.between(0, 6) {
            0 => Snare::Server { whole_host: dice.one_in(2) },
            1 => Snare::Node,
            2 => Snare::Pause([dice.between(0, 2000 * MS), dice.between(0, 2000 * MS)]),
            3 => Snare::Other(Fault::KillCoordinator(pick(dice, 0, 2))),
            4 => Snare::Other(Fault::IsolateCoordinator(pick(dice, 0, 2))),
            _ => Snare::Other(Fault::Mend),
        };
        Trap { effect: dice.choose(&EFFECTS), skip: dice.between(0, 2), delay: dice.between(0, 30 * MS), snare }
    };
    (0..2).map(|_| one()).collect()
}
