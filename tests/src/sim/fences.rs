//! Fences from outside in clusters that acknowledge without replicas and without a lease: they take their time, fail, kill
//! without telling, and tell when nobody asks any more. Ssh has a network of its own.

use std::time::Duration;

use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::fence::Means;
use tasuki_coordinator_core::settings::{MaxLoss, Policy, Promotion};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::id::NodeId;

use super::Plan;
use super::faults::Fault;
use super::net::Dice;
use super::server::Host;
use super::world::{Happening, MS, World};

/// A cluster whose primary acknowledges alone, and what fences of it lead to.
#[derive(Clone, Debug)]
pub(crate) struct Manual {
    max_loss: MaxLoss,
    /// How the first fences end; later ones are drawn.
    ways: Vec<Way>,
}

/// How one fence ends.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// When the server is killed.
    kills: Option<u64>,
    /// When the coordinator is told.
    tells: u64,
    done: bool,
}

impl Way {
    const fn kills(at: u64, tells: u64) -> Self {
        Self { kills: Some(at * MS), tells: tells * MS, done: true }
    }

    const fn fails(at: u64) -> Self {
        Self { kills: None, tells: at * MS, done: false }
    }

    fn drawn(dice: &mut Dice) -> Self {
        let at = dice.between(20, 900);
        match dice.between(0, 6) {
            0 => Self::fails(dice.between(10, 3000)),
            // It was done, but the answer was lost.
            1 => Self { done: false, ..Self::kills(at, 4000) },
            // It is told when its attempt is long over.
            2 => Self::kills(at, at + dice.between(4000, 12_000)),
            _ => Self::kills(at, at + dice.between(1, 50)),
        }
    }
}

const LIMIT: Duration = Duration::from_secs(4);
/// A server that was killed through ssh is kept from starting for so long.
const KEPT: u64 = 15_000 * MS;

impl Manual {
    /// What a seed draws for a cluster without a lease: one in four of those is manual.
    pub(crate) fn drawn(seed: u64) -> Option<Self> {
        if (seed / 2).is_multiple_of(2) || seed / 4 % 4 != 1 {
            return None;
        }
        let accepts = (seed / 16).is_multiple_of(2);
        Some(Self { max_loss: if accepts { MaxLoss::UnreceivedTail } else { MaxLoss::Nothing }, ways: Vec::new() })
    }

    /// Whether what only a lost primary has may be lost.
    pub(crate) fn accepts(&self) -> bool {
        self.max_loss == MaxLoss::UnreceivedTail
    }
}

/// What coordinators are told about fences and losses.
pub(crate) fn policy(manual: Option<&Manual>) -> Policy {
    let Some(manual) = manual else { return Policy::default() };
    Policy { fences: [(Means::Ssh, LIMIT)].into(), max_loss: Some(manual.max_loss), ..Policy::default() }
}

/// A coordinator begins to fence a server.
pub(crate) fn begin(world: &mut World, at: usize, ballot: Ballot, node: &NodeId, how: Means) {
    let Some(host) = world.hosts.iter().position(|host| host.name == *node) else { return };
    let scripted = world.manual.as_mut().filter(|manual| !manual.ways.is_empty()).map(|manual| manual.ways.remove(0));
    let way = scripted.unwrap_or_else(|| Way::drawn(&mut world.dice));
    world.note(|| format!("co{} fences {node} by {how:?} at {ballot}: {way:?}", at + 1));
    if let Some(delay) = way.kills {
        world.after(delay, Happening::Fault(Fault::KillAndKeep(host)));
    }
    let outcome = if way.done { Ok(()) } else { Err("it did not end well".to_owned()) };
    let input = Box::new(Input::Fenced { ballot, node: node.clone(), how, outcome });
    world.after(way.tells, Happening::ToCoordinator { at, input });
}

/// The server's process ends, and is kept from starting for a while; then somebody starts it again.
pub(crate) fn keep_gone(world: &mut World, host: Host) {
    world.hosts[host].kept_until = world.now + KEPT;
    world.after(KEPT + MS, Happening::Fault(Fault::Start(host)));
}

impl Plan {
    pub(super) fn of_fences(name: &str, seed: u64) -> Option<Self> {
        let plan = |faults: Vec<(u64, Fault)>, max_loss, ways| {
            let faults = faults.into_iter().map(|(at, fault)| (at * MS, fault)).collect();
            let manual = Some(Manual { max_loss, ways });
            Self {
                seed,
                servers: 3,
                faults,
                traps: Vec::new(),
                wishes: Vec::new(),
                witnesses: 0,
                calm_from: None,
                manual,
            }
        };
        match name {
            "fenced" => Some(plan(fenced(), MaxLoss::UnreceivedTail, vec![Way::kills(200, 210)])),
            "late_fence" => {
                let ways = vec![Way::kills(100, 23_000), Way::fails(3900)];
                let wishes = vec![Promotion::Prefer];
                Some(Self { wishes, ..plan(late_fence(), MaxLoss::UnreceivedTail, ways) })
            }
            "no_loss" => Some(plan(fenced(), MaxLoss::Nothing, vec![Way::kills(200, 210)])),
            _ => None,
        }
    }
}

/// The primary is cut off from everything but ssh while its clients on its own host write on.
fn fenced() -> Vec<(u64, Fault)> {
    vec![(2000, Fault::Isolate(0)), (9000, Fault::Mend), (9500, Fault::Start(0))]
}

/// A fence kills, and tells so long after. Meanwhile the server came back, was promoted again and serves; and it is cut off
/// once more, when it is not fenced.
fn late_fence() -> Vec<(u64, Fault)> {
    vec![
        (2000, Fault::Isolate(0)),
        (3400, Fault::Mend),
        (18_400, Fault::Start(0)),
        (22_000, Fault::Kill(1)),
        (23_000, Fault::Start(1)),
        (24_000, Fault::Isolate(0)),
        (30_000, Fault::Mend),
        (30_500, Fault::Start(0)),
    ]
}
