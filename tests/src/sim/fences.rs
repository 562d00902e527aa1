//! Fences from outside in clusters that acknowledge without replicas and without a lease: they take their time, fail, kill
//! without telling, and tell when nobody asks any more. Ssh has a network of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::fence::Means;
use tasuki_coordinator_core::reading::{Files, Unread};
use tasuki_coordinator_core::settings::{MaxLoss, Policy, Promotion};
use tasuki_node_core::Input as NodeInput;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Fetch;
use tasuki_schemas::id::{NodeId, ProgramId};

use super::Plan;
use super::faults::Fault;
use super::net::Dice;
use super::server::Host;
use super::tails;
use super::world::{Happening, MS, World};

/// A cluster whose primary acknowledges alone, and what fences of it lead to.
#[derive(Clone, Debug)]
pub(crate) struct Manual {
    max_loss: MaxLoss,
    /// By what a lost primary is fenced.
    means: Means,
    /// How the first fences end; later ones are drawn.
    ways: Vec<Way>,
    /// Whose files each coordinator has read: its life, its attempt, and the host.
    copies: BTreeMap<usize, (u64, Ballot, Host)>,
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
        let max_loss = if accepts { MaxLoss::UnreceivedTail } else { MaxLoss::Nothing };
        Some(Self { max_loss, means: Means::Ssh, ways: Vec::new(), copies: BTreeMap::new() })
    }

    /// Whether what only a lost primary has may be lost.
    pub(crate) fn accepts(&self) -> bool {
        self.max_loss == MaxLoss::UnreceivedTail
    }
}

/// What coordinators are told about fences and losses.
pub(crate) fn policy(manual: Option<&Manual>) -> Policy {
    let Some(manual) = manual else { return Policy::default() };
    Policy { fences: [(manual.means, LIMIT)].into(), max_loss: Some(manual.max_loss), ..Policy::default() }
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

/// A coordinator reads the files of a server that it ended. Copies take their time, are lost on the way, or are damaged; the
/// server is kept from starting until long after.
pub(crate) fn read(world: &mut World, at: usize, ballot: Ballot, node: &NodeId) {
    let Some(host) = world.hosts.iter().position(|host| host.name == *node) else { return };
    let delay = world.dice.between(10 * MS, 1500 * MS);
    let server = &world.hosts[host].server;
    let kept = server.run.is_none() && world.hosts[host].kept_until > world.now;
    let reading = match world.dice.between(0, 8) {
        _ if !kept => Err(Unread::Unreadable("it runs again".to_owned())),
        0 => Err(Unread::Unreached("the connection ended".to_owned())),
        1 => Err(Unread::Unreadable("bin.000001 is damaged at 4711".to_owned())),
        _ => Ok(Files { executed: server.executed.clone(), up: Duration::from_secs(100_000) }),
    };
    world.note(|| format!("co{} reads {node} at {ballot}: {reading:?}", at + 1));
    if kept {
        let again = delay + KEPT;
        world.hosts[host].kept_until = world.now + again;
        world.after(again + MS, Happening::Fault(Fault::Start(host)));
    }
    let life = world.coordinators[at].life;
    if let Some(manual) = world.manual.as_mut().filter(|_| reading.is_ok()) {
        manual.copies.insert(at, (life, ballot.clone(), host));
    }
    let input = Box::new(Input::Read { ballot, node: node.clone(), reading });
    world.after(delay, Happening::ToCoordinator { at, input });
}

/// A candidate asks the leader for what it has read.
pub(crate) fn deliver(world: &mut World, from: Host, to: &ProgramId, fetch: Fetch) {
    let Some(at) = world.coordinators.iter().position(|it| it.name.as_str() == to.as_str()) else { return };
    let life = world.coordinators[at].life;
    let copy = world.manual.as_ref().and_then(|manual| manual.copies.get(&at)).cloned();
    let Some((_, _, host)) = copy.filter(|(of, ballot, _)| *of == life && *ballot == fetch.ballot) else { return };
    let (place, deliveries) = (world.place(at), tails::pieces(&world.hosts[host].server, fetch));
    if world.coordinators[at].core.is_none() || world.net.copies(from, place, &mut world.dice).is_empty() {
        return;
    }
    for delivery in deliveries {
        let input = NodeInput::Delivered { from: to.clone(), delivery };
        for delay in world.net.copies(place, from, &mut world.dice) {
            world.after(delay, Happening::Mail { host: from, input: Box::new(input.clone()) });
        }
    }
}

/// The server's process ends, and is kept from starting for a while; then somebody starts it again.
pub(crate) fn keep_gone(world: &mut World, host: Host) {
    world.hosts[host].kept_until = world.now + KEPT;
    world.after(KEPT + MS, Happening::Fault(Fault::Start(host)));
}

impl Plan {
    pub(super) fn of_fences(name: &str, seed: u64) -> Option<Self> {
        let plan = |faults: Vec<(u64, Fault)>, means, max_loss, ways| {
            let faults = faults.into_iter().map(|(at, fault)| (at * MS, fault)).collect();
            let manual = Some(Manual { max_loss, means, ways, copies: BTreeMap::new() });
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
            "fenced" => Some(plan(fenced(), Means::Ssh, MaxLoss::UnreceivedTail, vec![Way::kills(200, 210)])),
            "late_fence" => {
                let ways = vec![Way::kills(100, 23_000), Way::fails(3900)];
                let wishes = vec![Promotion::Prefer];
                Some(Self { wishes, ..plan(late_fence(), Means::Hook, MaxLoss::UnreceivedTail, ways) })
            }
            "no_loss" => Some(plan(fenced(), Means::Ssh, MaxLoss::Nothing, vec![Way::kills(200, 210)])),
            _ => None,
        }
    }
}

/// The primary is cut off from everything but ssh while its clients on its own host write on.
fn fenced() -> Vec<(u64, Fault)> {
    vec![(2000, Fault::Isolate(0)), (9000, Fault::Mend), (9500, Fault::Start(0))]
}

/// A hook shuts a server down, and tells so long after. Meanwhile the server came back, was promoted again and serves; and
/// it is cut off once more, when it is not fenced. (Through ssh its files would be read then, which shows that it runs.)
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
