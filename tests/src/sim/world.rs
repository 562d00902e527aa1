//! The shipped cores under a virtual clock: hosts with servers, coordinators, and everything that happens between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use tasuki_coordinator_core::settings::{Policy, Promotion};
use tasuki_coordinator_core::{Coordinator, Input as CoordinatorInput};
use tasuki_node_core::{EffectId, Guarding, Input, Memory, Node, ServerRun};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{CoordinatorId, NodeId};
use tasuki_schemas::lease::LeaseTerms;

use super::check::History;
use super::effects::{self, Running};
use super::faults::{Fault, Trap};
use super::fences::{self, Manual};
use super::foretold::{self, Foretold};
use super::lives::name;
use super::net::{Dice, Net};
use super::probes;
use super::reclones::{self, Cloning};
use super::register::Register;
use super::server::{Host, Registry, Server};
use super::timing::Times;
use super::traffic;
use super::watch::Watch;

/// A millisecond of virtual time, which counts in microseconds.
pub(crate) const MS: u64 = 1000;

/// A host with its server, and the node beside it while that runs.
pub(crate) struct HostState {
    pub(crate) name: NodeId,
    pub(crate) server: Server,
    pub(crate) node: Option<Node>,
    /// What the guard holds: it does not end with the node.
    pub(crate) guard: Option<Guarding>,
    /// Counts the node's runs; what was meant for an earlier one is dropped.
    pub(crate) life: u64,
    pub(crate) paused_until: u64,
    /// Nobody can start the server before.
    pub(crate) kept_until: u64,
    pub(crate) effects: BTreeMap<EffectId, Running>,
    /// The re-clone of its server, while one is under way.
    pub(crate) cloning: Option<Cloning>,
    /// The tail that the node is fetching.
    pub(crate) spool: Vec<String>,
    /// What the disk holds, and what is on its way there.
    pub(crate) ledger: Memory,
    /// When the last write that was asked for is on the disk.
    pub(crate) written_at: u64,
    /// When it was last seen to be out of a coordinator's reach, or not running.
    pub(crate) away_at: u64,
    /// A copy of it that somebody keeps.
    pub(crate) copy: Option<Memory>,
    pub(crate) sequence: u64,
    pub(crate) wake_at: u64,
}

/// A coordinator, while it runs.
pub(crate) struct CoordinatorState {
    pub(crate) name: CoordinatorId,
    pub(crate) core: Option<Coordinator>,
    pub(crate) life: u64,
    pub(crate) paused_until: u64,
    pub(crate) wake_at: u64,
}

/// One thing that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    ToNode {
        host: Host,
        life: u64,
        input: Box<Input>,
    },
    /// A message; whoever runs there then gets it.
    Mail {
        host: Host,
        input: Box<Input>,
    },
    ToCoordinator {
        at: usize,
        input: Box<CoordinatorInput>,
    },
    WakeNode {
        host: Host,
        life: u64,
    },
    WakeCoordinator {
        at: usize,
        life: u64,
    },
    Durable {
        host: Host,
        life: u64,
        memory: Box<Memory>,
    },
    Step {
        host: Host,
        life: u64,
        id: EffectId,
    },
    Probe {
        host: Host,
        life: u64,
    },
    Exit {
        host: Host,
        run: ServerRun,
        /// It was stopped, and had closed its binlog.
        clean: bool,
    },
    /// The guard is told what to hold.
    Guard {
        host: Host,
        guarding: Option<Guarding>,
    },
    /// The guard's moment may have come.
    LeaseEnds {
        host: Host,
    },
    Replicate {
        host: Host,
    },
    Apply {
        host: Host,
    },
    Ack {
        source: Host,
        run: ServerRun,
        gtid: String,
        replica: Host,
    },
    Write {
        writer: usize,
    },
    /// A re-clone gets on.
    Clone {
        host: Host,
        number: u64,
        next: reclones::Next,
    },
    Fault(Fault),
}

pub(crate) struct Queued(pub(crate) Happening);

/// Everything.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    pub(crate) net: Net,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) coordinators: Vec<CoordinatorState>,
    pub(crate) registry: Registry,
    pub(crate) history: History,
    pub(crate) watch: Watch,
    pub(crate) flavour: Flavour,
    pub(crate) lease: Option<LeaseTerms>,
    /// Nodes can keep servers away from others by kernel rules.
    pub(crate) kernel: bool,
    /// Acknowledgements that the operator wants.
    pub(crate) wanted: u32,
    pub(crate) log: VecDeque<String>,
    pub(crate) writes: u64,
    pub(crate) traps: Vec<Trap>,
    /// Where a million true microseconds are so many: nobody's clock is right.
    pub(crate) clocks: Vec<u64>,
    /// Reports that are kept to be delivered again much later, while that is wanted.
    pub(crate) keeping: bool,
    pub(crate) kept: Vec<CoordinatorInput>,
    /// What every coordinator that starts is told.
    pub(crate) policy: Policy,
    /// How long coordinators take for observations, while the bench wants to know.
    pub(crate) times: Option<Times>,
    /// When a coordinator last began to replace a primary.
    pub(crate) recruited_at: Option<u64>,
    /// From here on nothing new goes wrong.
    pub(crate) healed_at: u64,
    pub(crate) foretold: Foretold,
    /// The primary acknowledges alone and without a lease, and may be fenced from outside.
    pub(crate) manual: Option<Manual>,
    /// The hosts without a server that the cluster file names.
    pub(crate) witnessed: BTreeSet<Host>,
    pub(crate) register: Register,
    /// The servers' wishes for promotion; none for those that are left out.
    pub(crate) wishes: Vec<Promotion>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    pub(crate) queued: BTreeMap<u64, Queued>,
    order: u64,
    pub(crate) starts: u64,
}

/// The lease of those clusters that have one.
const LEASE: Duration = Duration::from_millis(1500);
/// Between two renewals.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// How many lines a failing run tells.
const LOG: usize = 4000;

impl World {
    /// A healthy cluster: the first server is the primary of a lossless group of all. The hosts of `witnesses` have no server
    /// and run a node; the cluster file does not name them yet.
    pub(crate) fn new(
        seed: u64,
        servers: usize,
        witnesses: usize,
        coordinators: usize,
        wishes: &[Promotion],
        manual: Option<Manual>,
    ) -> Self {
        let flavour = if seed.is_multiple_of(2) { Flavour::Mysql } else { Flavour::Mariadb };
        // Half of the clusters have a lease, and a quarter of those want no acknowledgements at all.
        let leased = (seed / 2).is_multiple_of(2) && manual.is_none();
        let wanted = u32::from(manual.is_none() && !(leased && (seed / 4).is_multiple_of(4)));
        let lease = leased.then(|| LeaseTerms::new(LEASE, HEARTBEAT).expect("lawful terms"));
        let mut dice = Dice::new(seed);
        // Some groups get narrower within the faults of a run, some in none.
        let narrow_patience = Duration::from_millis(Dice::new(seed ^ 0x6e61).between(200, 2500));
        // Most clusters re-clone who is ahead.
        let recloning = !seed.is_multiple_of(3);
        // Clocks drift by up to one percent.
        let clocks = (0..servers + witnesses + coordinators).map(|_| dice.between(990_000, 1_010_001)).collect();
        let mut world = Self {
            now: 0,
            dice,
            net: Net::whole(),
            hosts: Vec::new(),
            coordinators: Vec::new(),
            registry: Registry::new(),
            history: History::new(servers),
            watch: Watch::default(),
            flavour,
            lease,
            kernel: !seed.is_multiple_of(5),
            wanted,
            log: VecDeque::new(),
            writes: 0,
            traps: Vec::new(),
            clocks,
            keeping: false,
            kept: Vec::new(),
            policy: Policy {
                lease,
                flap_limit: u32::MAX,
                narrow_patience,
                recloning,
                ..fences::policy(manual.as_ref())
            },
            manual,
            times: None,
            recruited_at: None,
            healed_at: 0,
            foretold: Foretold::default(),
            witnessed: BTreeSet::new(),
            register: Register::default(),
            wishes: wishes.to_vec(),
            queue: BinaryHeap::new(),
            queued: BTreeMap::new(),
            order: 0,
            starts: 0,
        };
        world.populate(servers, witnesses, coordinators);
        world
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        let line = format!("{:>9.3} {}", self.now as f64 / 1000.0, text());
        self.log.push_back(line);
    }

    pub(crate) fn after(&mut self, delay: u64, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((self.now + delay, self.order)));
        self.queued.insert(self.order, Queued(happening));
    }

    /// Lets the next thing happen; false when nothing is left before `until`.
    pub(crate) fn turn(&mut self, until: u64) -> bool {
        match self.queue.peek() {
            Some(Reverse((at, _))) if *at <= until => {}
            Some(_) | None => return false,
        }
        let Some(Reverse((at, order))) = self.queue.pop() else { return false };
        let Some(Queued(happening)) = self.queued.remove(&order) else { return true };
        self.now = self.now.max(at);
        self.happen(happening);
        let seen = self.watch.look(&self.hosts, &self.net, &mut self.history);
        self.history.demand(seen);
        true
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(delay) = self.held_up(&happening) {
            return self.after(delay, happening);
        }
        match happening {
            Happening::ToNode { host, life, input } if self.hosts[host].life == life => self.feed(host, *input),
            Happening::Mail { host, input } => self.feed(host, *input),
            Happening::WakeNode { host, life } if self.hosts[host].life == life => {
                if self.hosts[host].wake_at <= self.now {
                    self.feed(host, Input::Woke);
                }
            }
            Happening::Durable { host, life, memory } if self.hosts[host].life == life => {
                let sequence = memory.sequence;
                self.register.durable(&name(host), &memory);
                // One thread writes, in order: a write that comes after a later one was before it.
                if self.hosts[host].ledger.sequence < sequence {
                    self.hosts[host].ledger = *memory;
                }
                self.feed(host, Input::Persisted(sequence));
            }
            Happening::Step { host, life, id } if self.hosts[host].life == life => effects::step(self, host, id),
            Happening::Probe { host, life } if self.hosts[host].life == life => probes::probe(self, host),
            Happening::Exit { host, run, clean: false } => self.feed(host, Input::Exited(run)),
            Happening::Exit { host, run, clean: true } => self.feed(host, Input::Stopped(run)),
            Happening::Guard { host, guarding } => self.guard(host, guarding),
            Happening::LeaseEnds { host } => self.end_lease(host),
            Happening::ToNode { .. }
            | Happening::WakeNode { .. }
            | Happening::Durable { .. }
            | Happening::Step { .. }
            | Happening::Probe { .. } => {}
            Happening::ToCoordinator { at, input } => self.feed_coordinator(at, *input),
            Happening::WakeCoordinator { at, life } => {
                let coordinator = &self.coordinators[at];
                if coordinator.life == life && coordinator.wake_at <= self.now {
                    self.feed_coordinator(at, CoordinatorInput::Woke);
                }
            }
            Happening::Replicate { host } => traffic::replicate(self, host),
            Happening::Apply { host } => traffic::apply(self, host),
            Happening::Ack { source, run, gtid, replica } => traffic::acknowledge(self, source, run, &gtid, replica),
            Happening::Write { writer } => traffic::write(self, writer),
            Happening::Clone { host, number, next } => reclones::go_on(self, host, number, next),
            Happening::Fault(fault) => {
                foretold::strikes(self, &fault);
                self.note_absence();
                fault.strike(self);
            }
        }
    }

    /// How long a stopped program keeps what is meant for it waiting.
    fn held_up(&self, happening: &Happening) -> Option<u64> {
        let until = match happening {
            Happening::ToNode { host, .. }
            | Happening::Mail { host, .. }
            | Happening::WakeNode { host, .. }
            | Happening::Step { host, .. }
            | Happening::Probe { host, .. }
            | Happening::Clone { host, .. }
            | Happening::Exit { host, .. } => self.hosts[*host].paused_until,
            Happening::ToCoordinator { at, .. } | Happening::WakeCoordinator { at, .. } => {
                self.coordinators[*at].paused_until
            }
            Happening::Durable { .. }
            | Happening::Guard { .. }
            | Happening::LeaseEnds { .. }
            | Happening::Replicate { .. }
            | Happening::Apply { .. }
            | Happening::Ack { .. }
            | Happening::Write { .. }
            | Happening::Fault(_) => 0,
        };
        (until > self.now).then(|| until - self.now + 1)
    }

    /// When the next thing happens.
    pub(crate) fn due(&self) -> u64 {
        self.queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }

    /// What that is, unless somebody stands still.
    pub(crate) fn peek(&self) -> Option<&Happening> {
        let Reverse((_, order)) = self.queue.peek()?;
        self.queued.get(order).map(|queued| &queued.0)
    }
}
