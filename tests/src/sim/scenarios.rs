//! Fixed plans by name, for what drawn ones meet too seldom. Each holds for every seed.

use super::Plan;
use super::faults::{Fault, Snare, Trap};
use super::world::MS;

/// The names of all scenarios.
pub const SCENARIOS: [&str; 4] = ["clones", "yesterday", "thaw", "amnesia"];

const SERVERS: usize = 3;
/// The coordinators' places on the network.
const COORDINATORS: [usize; 2] = [SERVERS, SERVERS + 1];

impl Plan {
    /// A scenario with a seed for delays; its parity is the flavour.
    #[must_use]
    pub fn named(name: &str, seed: u64) -> Option<Self> {
        let plan = |faults: Vec<(u64, Fault)>| {
            let faults = faults.into_iter().map(|(at, fault)| (at * MS, fault)).collect();
            Self { seed, servers: SERVERS, faults, traps: Vec::new(), calm_from: None }
        };
        match name {
            "clones" => Some(plan(clones())),
            "yesterday" => Some(Self { calm_from: Some(9000 * MS), ..plan(yesterday()) }),
            "thaw" => Some(Self { traps: vec![thaw_while_stopping()], ..plan(thaw()) }),
            "amnesia" => Some(Self { servers: 5, ..plan(amnesia()) }),
            _ => None,
        }
    }
}

/// Two coordinators of one name see the primary die. Each hears another replica, and would promote that one.
fn clones() -> Vec<(u64, Fault)> {
    let [one, other] = COORDINATORS;
    let cuts = [(one, 2), (2, one), (other, 1), (1, other)].map(|(from, to)| (1950, Fault::Cut(from, to)));
    let mut faults = vec![(100, Fault::Clone(1)), (2000, Fault::Kill(0)), (4000, Fault::Mend), (4500, Fault::Start(0))];
    faults.extend(cuts);
    faults
}

/// What was reported when a replica's server had exited comes again when that server is the primary and well, to
/// coordinators that have just started and hear nothing else of it.
fn yesterday() -> Vec<(u64, Fault)> {
    let [one, other] = COORDINATORS;
    vec![
        (1000, Fault::Keep(true)),
        (1010, Fault::Kill(1)),
        (1300, Fault::Keep(false)),
        (1500, Fault::Start(1)),
        (6000, Fault::Kill(0)),
        (6500, Fault::Start(0)),
        (9000, Fault::KillCoordinator(0)),
        (9000, Fault::KillCoordinator(1)),
        (9050, Fault::Cut(1, one)),
        (9050, Fault::Cut(1, other)),
        (9100, Fault::StartCoordinator(0)),
        (9100, Fault::StartCoordinator(1)),
        (9130, Fault::Replay),
        (12_000, Fault::Mend),
    ]
}

/// A hung primary whose node nobody reaches goes on just when its replicas stop receiving. One of them is slow.
fn thaw() -> Vec<(u64, Fault)> {
    let [one, other] = COORDINATORS;
    vec![
        (1500, Fault::Cut(one, 0)),
        (1500, Fault::Cut(other, 0)),
        (1500, Fault::Hang(0)),
        (1500, Fault::Lag(1, 3000 * MS)),
        (6000, Fault::Thaw(0)),
        (6000, Fault::Mend),
    ]
}

fn thaw_while_stopping() -> Trap {
    Trap { effect: "StopReceiving", skip: 0, delay: 5 * MS, snare: Snare::Other(Fault::Thaw(0)) }
}

/// A record is decided by three of five voters. One of them loses its memory, the others are cut off, and the two that
/// know nothing of it are heard with the one that forgot it.
fn amnesia() -> Vec<(u64, Fault)> {
    let forgets = 2;
    let mut faults = vec![
        (1500, Fault::KillHost(0)),
        (1500, Fault::PauseNode(3, 4000 * MS)),
        (1500, Fault::PauseNode(4, 4000 * MS)),
        (4000, Fault::LoseLedger(forgets)),
        (4100, Fault::StartNode(forgets)),
        (5400, Fault::KillHost(1)),
        (12_000, Fault::Mend),
    ];
    for host in [0, 1] {
        faults.extend([(12_000, Fault::StartNode(host)), (12_200, Fault::Start(host))]);
    }
    faults
}
