//! Fixed plans by name, for what drawn ones meet too seldom. Each holds for every seed.

mod narrowing;

use super::Plan;
use super::faults::{Fault, Snare, Trap};
use super::voters;
use super::world::MS;

/// The names of all scenarios.
pub const SCENARIOS: [&str; 26] = [
    "clones",
    "yesterday",
    "thaw",
    "unfenced",
    "tails",
    "returning",
    "blackout",
    "amnesia",
    "granting",
    "forgetful",
    "narrow_outsider",
    "narrow_uncovered",
    "narrow_returning",
    "errant",
    "fenced",
    "late_fence",
    "no_loss",
    "stranger",
    "rolled_back",
    "forgetting",
    "overtaken",
    "renamed",
    "unread",
    "restarted_copy",
    "named_again",
    "superseded",
];

const SERVERS: usize = 3;
/// The coordinators' places on the network.
const COORDINATORS: [usize; 2] = [SERVERS, SERVERS + 1];

impl Plan {
    /// A scenario with a seed for delays; its parity is the flavour.
    #[must_use]
    pub fn named(name: &str, seed: u64) -> Option<Self> {
        let plan = |faults: Vec<(u64, Fault)>| {
            let faults = faults.into_iter().map(|(at, fault)| (at * MS, fault)).collect();
            Self {
                seed,
                servers: SERVERS,
                faults,
                traps: Vec::new(),
                wishes: Vec::new(),
                witnesses: 0,
                calm_from: None,
                manual: None,
            }
        };
        match name {
            "clones" => Some(plan(clones())),
            "yesterday" => Some(Self { calm_from: Some(9000 * MS), ..plan(yesterday()) }),
            "thaw" => Some(Self { traps: vec![thaw_while_stopping()], ..plan(thaw()) }),
            "unfenced" => Some(Self { traps: vec![thaw_while_stopping()], ..plan(unfenced()) }),
            "renamed" => Some(Self { servers: 5, traps: while_renaming(), ..without_rules(plan(renamed())) }),
            "unread" => Some(leased(plan(unread()))),
            "restarted_copy" => Some(plan(restarted_copy())),
            "tails" => Some(Self { traps: vec![kill_while_promoting()], ..plan(tails()) }),
            "returning" => Some(Self { servers: 5, ..plan(returning()) }),
            "superseded" => Some(Self { traps: while_superseding(), ..plan(superseded()) }),
            "named_again" => Some(Self { traps: while_naming_again(), ..plan(named_again()) }),
            "blackout" => Some(plan(blackout())),
            "granting" => Some(Self { traps: vec![thaw_when_another_opens()], ..alone(plan(silenced())) }),
            "forgetful" => Some(Self { traps: restarting_voters(), ..alone(plan(silenced())) }),
            "amnesia" => {
                Some(Self { servers: 5, traps: unheard_acceptance(), ..plan(forgotten(Fault::LoseLedger(FORGETS), 2)) })
            }
            "rolled_back" => Some(Self { servers: 5, traps: unheard_acceptance(), ..plan(rolled_back()) }),
            "overtaken" => Some(Self { servers: 5, traps: while_unheard(), ..plan(overtaken()) }),
            "narrow_outsider" => Some(Self { servers: narrowing::SERVERS, ..plan(narrowing::outsider()) }),
            "narrow_uncovered" => Some(Self { servers: narrowing::SERVERS, ..plan(narrowing::uncovered()) }),
            "errant" => Some(Self { servers: narrowing::SERVERS, ..plan(narrowing::errant()) }),
            "stranger" => Some(Self { servers: narrowing::SERVERS, ..plan(narrowing::stranger()) }),
            "narrow_returning" => Some(Self {
                servers: narrowing::SERVERS,
                traps: narrowing::while_leaving(),
                ..plan(narrowing::returning())
            }),
            _ => Self::of_fences(name, seed).or_else(|| voters::scenario(name, seed)),
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

/// A hung primary goes on just when the failover's duties begin, while the coordinators do not reach one replica, which
/// acknowledges all along.
fn unfenced() -> Vec<(u64, Fault)> {
    let [one, other] = COORDINATORS;
    vec![
        (1500, Fault::Cut(one, 2)),
        (1500, Fault::Cut(other, 2)),
        (1500, Fault::Hang(0)),
        (9000, Fault::Thaw(0)),
        (9000, Fault::Mend),
    ]
}

/// One replica is lost, then the other, which alone acknowledged meanwhile and had not applied all of it; writing goes on
/// without them. The first comes back, does not reach the primary and is still behind when the primary's host is lost.
fn unread() -> Vec<(u64, Fault)> {
    let mut faults = vec![
        (1500, Fault::Kill(2)),
        (2500, Fault::Kill(1)),
        (3900, Fault::Cut(0, 2)),
        (3900, Fault::Cut(2, 0)),
        (4000, Fault::Start(2)),
        (4500, Fault::KillHost(0)),
        (9000, Fault::Mend),
    ];
    for host in 0..SERVERS {
        faults.extend([(9000, Fault::StartNode(host)), (9000, Fault::Start(host))]);
    }
    faults
}

/// A failover takes a server into the write group whose copy is whole. It is stopped and started, and replicates nothing
/// then; the other replica has more than the new primary and is kept out.
fn restarted_copy() -> Vec<(u64, Fault)> {
    vec![
        (1700, Fault::Reclone(2)),
        (2030, Fault::HalfIsolate(0, true)),
        (3700, Fault::Leave(2)),
        (5000, Fault::Mend),
        (6000, Fault::Start(0)),
        (8300, Fault::Start(2)),
    ]
}

/// A hung primary without kernel rules goes on just when the failover's duties begin, and is named again. The coordinators do
/// not reach one replica, which follows all along. As soon as the primary opens the others receive nothing, and the two hosts
/// are lost.
fn renamed() -> Vec<(u64, Fault)> {
    let mut faults = vec![(1500, Fault::Hang(0)), (9000, Fault::Thaw(0)), (9000, Fault::Mend)];
    for host in [0, UNREACHED] {
        faults.extend([(9000, Fault::StartNode(host)), (9000, Fault::Start(host))]);
    }
    faults.extend([5, 6].map(|place| (1500, Fault::Cut(place, UNREACHED))));
    faults
}

const UNREACHED: usize = 4;

fn while_renaming() -> Vec<Trap> {
    let trap = |delay, fault| Trap { effect: "Promote", skip: 0, delay: delay * MS, snare: Snare::Other(fault) };
    let mut traps = vec![thaw_while_stopping()];
    traps.extend((1..UNREACHED).map(|host| trap(0, Fault::Lag(host, 3000 * MS))));
    traps.extend([0, UNREACHED].map(|host| trap(60, Fault::KillHost(host))));
    traps
}

/// The same plan in a cluster without kernel rules and lease: its seed says so. Every second is of the other flavour.
fn without_rules(plan: Plan) -> Plan {
    Plan { seed: 20 * plan.seed + if plan.seed.is_multiple_of(2) { 10 } else { 15 }, ..plan }
}

fn thaw_while_stopping() -> Trap {
    Trap { effect: "StopReceiving", skip: 0, delay: 5 * MS, snare: Snare::Other(Fault::Thaw(0)) }
}

/// The primary dies, and the candidate right after it opened. The third server has little, and does not reach the first:
/// one of the two tails can be spared, and not both.
fn tails() -> Vec<(u64, Fault)> {
    let starts = [0, 1].map(|host| (6500, Fault::Start(host)));
    [(1500, Fault::Part(2, 0)), (3000, Fault::Kill(0)), (6000, Fault::Mend)].into_iter().chain(starts).collect()
}

fn kill_while_promoting() -> Trap {
    Trap { effect: "Promote", skip: 0, delay: 12 * MS, snare: Snare::Server { whole_host: false } }
}

/// The primary's last writes reach nobody, and it dies. Another takes over, and is to hand over to a server that dies: it is
/// named again, and dies before it writes anything in that reign. Then all return.
fn named_again() -> Vec<(u64, Fault)> {
    let mut faults = vec![(2050, Fault::Kill(0)), (2050, Fault::KillNode(0)), (4000, Fault::StartNode(0))];
    faults.extend([1, 2].map(|host| (1990, Fault::Lag(host, 400 * MS))));
    faults.extend([(5000, Fault::HandOver(Some(2))), (9500, Fault::Mend)]);
    faults.extend((0..SERVERS).map(|host| (9500, Fault::Start(host))));
    faults
}

fn while_naming_again() -> Vec<Trap> {
    let kill = Trap { effect: "Drain", skip: 0, delay: 0, snare: Snare::Other(Fault::Kill(2)) };
    vec![kill, Trap { skip: 1, delay: 0, ..kill_while_promoting() }]
}

/// The primary's last writes reach nobody. It is to hand over to a server that dies, is named again with them, and its host is
/// lost before that reign begins. The next primary begins without them, and is lost when the first one returns.
fn superseded() -> Vec<(u64, Fault)> {
    let mut faults: Vec<_> = [1, 2].map(|host| (1990, Fault::Lag(host, 1500 * MS))).into();
    faults.extend([(2000, Fault::HandOver(Some(2))), (4000, Fault::Start(2)), (7000, Fault::KillHost(1))]);
    faults.extend([(7000, Fault::StartNode(0)), (7100, Fault::Start(0)), (9500, Fault::Mend)]);
    faults.extend([(9500, Fault::StartNode(1)), (9600, Fault::Start(1)), (9600, Fault::Start(0))]);
    faults
}

fn while_superseding() -> Vec<Trap> {
    let kill = Trap { effect: "Drain", skip: 0, delay: 0, snare: Snare::Other(Fault::Kill(2)) };
    vec![kill, Trap { effect: "Promote", skip: 0, delay: 0, snare: Snare::Server { whole_host: true } }]
}

/// The primary's host is lost with its node's memory, and a replica with it; all return, and greet, while an attempt that
/// began with their silence is under way.
fn returning() -> Vec<(u64, Fault)> {
    vec![
        (2000, Fault::Kill(0)),
        (2000, Fault::Isolate(0)),
        (2400, Fault::LoseLedger(0)),
        (2500, Fault::Kill(3)),
        (2550, Fault::StartNode(0)),
        (4700, Fault::Mend),
        (5200, Fault::Start(3)),
        (5900, Fault::Start(0)),
    ]
}

/// Every server loses its process while its replicas have unread relay files; every one starts again.
fn blackout() -> Vec<(u64, Fault)> {
    let mut faults = vec![(3000, Fault::Mend)];
    for host in 0..SERVERS {
        faults.extend([(2000, Fault::Kill(host)), (3000, Fault::Start(host))]);
    }
    faults
}

/// A record is decided that one of five voters never hears of, and that another forgets. These two and the old primary
/// are a majority that must know that it is none: what the new primary acknowledged is not on any of the three. So many
/// coordinators start anew with them.
fn forgotten(forgets: Fault, anew: usize) -> Vec<(u64, Fault)> {
    const MISSES: usize = 4;
    let coordinators = [5, 6];
    let mut faults = vec![
        (2000, Fault::KillHost(0)),
        (3200, Fault::Lag(FORGETS, 8000 * MS)),
        (4000, forgets),
        (4000, Fault::StartNode(FORGETS)),
        (4700, Fault::StartNode(0)),
        (4700, Fault::Start(0)),
        (12_000, Fault::Mend),
    ];
    for (at, place) in coordinators.into_iter().enumerate() {
        faults.push((3990, Fault::Cut(place, FORGETS)));
        faults.extend([FORGETS, MISSES].map(|node| (4510, Fault::Join(place, node))));
        faults.push((4500, Fault::KillCoordinator(at)));
        faults.push((4650, Fault::StartCoordinator(at)));
    }
    faults.retain(|(_, fault)| !matches!(fault, Fault::KillCoordinator(at) if *at >= anew));
    for knows in [1, 2] {
        faults.extend([0, FORGETS, MISSES, 5, 6].map(|place| (4490, Fault::Part(knows, place))));
    }
    faults
}

/// The voter that forgets.
const FORGETS: usize = 3;

/// Its disk is restored from a copy. The leader ends before it can say the record again; the other coordinator remembers
/// how far that ledger was.
fn rolled_back() -> Vec<(u64, Fault)> {
    let mut faults = forgotten(Fault::RestoreLedger(FORGETS), 1);
    faults.retain(|(_, fault)| *fault != Fault::StartCoordinator(0));
    faults.extend([(1000, Fault::CopyLedger(FORGETS)), (12_000, Fault::StartCoordinator(0))]);
    faults
}

/// A leader is heard no more once it ordered the promotion. It hears that the barrier row is acknowledged and is about to
/// say so in the record, and then hears nothing either. Meanwhile the new primary dies, and the other coordinator names the
/// next one, whose replicas receive nothing for a while. Then the first one's words arrive.
fn overtaken() -> Vec<(u64, Fault)> {
    let mut faults = vec![(500, Fault::KillCoordinator(0)), (1500, Fault::StartCoordinator(0)), (3000, Fault::Kill(0))];
    faults.push((9000, Fault::Mend));
    faults.extend((0..5).map(|host| (9000, Fault::Start(host))));
    faults
}

fn while_unheard() -> Vec<Trap> {
    let trap = |skip, delay, snare| Trap { effect: "Promote", skip, delay: delay * MS, snare };
    let mut traps = vec![
        trap(0, 0, Snare::Other(Fault::HalfIsolate(6, false))),
        trap(0, 450, Snare::Other(Fault::IsolateCoordinator(1))),
        trap(0, 470, Snare::Server { whole_host: false }),
        trap(0, 950, Snare::Other(Fault::Mend)),
    ];
    traps.extend((0..5).map(|host| trap(1, 0, Snare::Other(Fault::Lag(host, 2000 * MS)))));
    traps
}

/// The coordinators' words do not reach the last voter once its duty is done: it promised, and accepts nothing.
fn unheard_acceptance() -> Vec<Trap> {
    let cut = |place| Snare::Other(Fault::Cut(place, 4));
    [5, 6].map(|place| Trap { effect: "StopReceiving", skip: 3, delay: 1500, snare: cut(place) }).to_vec()
}

/// A plan for a cluster that wants acknowledgements, and has a lease for when it gets none.
fn leased(plan: Plan) -> Plan {
    Plan { seed: 16 * plan.seed + 4 + plan.seed % 2, ..plan }
}

/// The same plan in a cluster that asks for no acknowledgements and has a lease: its seed says so. Every second is of the
/// other flavour.
fn alone(plan: Plan) -> Plan {
    Plan { seed: 16 * plan.seed + plan.seed % 2, ..plan }
}

/// A leased primary hangs and its node is unheard by the coordinators, but renews its lease with the voters all along.
fn silenced() -> Vec<(u64, Fault)> {
    let mut faults =
        vec![(1500, Fault::Hang(0)), (9000, Fault::Thaw(0)), (9000, Fault::Mend), (10_500, Fault::Start(0))];
    faults.extend(COORDINATORS.map(|place| (1500, Fault::Part(0, place))));
    faults
}

/// What it may still acknowledge shows as soon as another one opens.
fn thaw_when_another_opens() -> Trap {
    Trap { effect: "Promote", skip: 0, delay: 5 * MS, snare: Snare::Other(Fault::Thaw(0)) }
}

/// Both voters that granted start anew before they answer the failover.
fn restarting_voters() -> Vec<Trap> {
    let restart = |skip| Trap { effect: "StopReceiving", skip, delay: 0, snare: Snare::Node };
    vec![restart(0), restart(1), thaw_when_another_opens()]
}
