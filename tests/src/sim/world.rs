//! The shipped cores under a virtual clock: hosts with servers, coordinators, and everything that happens between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use tasuki_coordinator_core::settings::Promotion;
use tasuki_coordinator_core::{Coordinator, Input as CoordinatorInput};
use tasuki_node_core::{EffectId, Input, Memory, Node, ServerRun};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId};
use tasuki_schemas::moment::Moment;

use super::check::History;
use super::effects::{self, Running};
use super::faults::{Fault, Trap};
use super::foretold::{self, Foretold};
use super::lives::{first_record, name};
use super::net::{Dice, Net};
use super::probes;
use super::server::{Host, Registry, Server};
use super::traffic;

/// A millisecond of virtual time, which counts in microseconds.
pub(crate) const MS: u64 = 1000;

/// A host with its server, and the node beside it while that runs.
pub(crate) struct HostState {
    pub(crate) name: NodeId,
    pub(crate) server: Server,
    pub(crate) node: Option<Node>,
    /// Counts the node's runs; what was meant for an earlier one is dropped.
    pub(crate) life: u64,
    pub(crate) paused_until: u64,
    pub(crate) effects: BTreeMap<EffectId, Running>,
    /// What the disk holds, and what is on its way there.
    pub(crate) ledger: Memory,
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
    pub(crate) flavour: Flavour,
    pub(crate) log: VecDeque<String>,
    pub(crate) writes: u64,
    pub(crate) traps: Vec<Trap>,
    /// From here on nothing new goes wrong.
    pub(crate) healed_at: u64,
    pub(crate) foretold: Foretold,
    /// The servers' wishes for promotion; none for those that are left out.
    pub(crate) wishes: Vec<Promotion>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    pub(crate) queued: BTreeMap<u64, Queued>,
    order: u64,
    pub(crate) starts: u64,
}

/// How many lines a failing run tells.
const LOG: usize = 400;

impl World {
    /// A healthy cluster: the first server is the primary of a lossless group of all, and `witnesses` only vote.
    pub(crate) fn new(seed: u64, servers: usize, coordinators: usize, wishes: &[Promotion]) -> Self {
        let flavour = if seed.is_multiple_of(2) { Flavour::Mysql } else { Flavour::Mariadb };
        let mut world = Self {
            now: 0,
            dice: Dice::new(seed),
            net: Net::whole(),
            hosts: Vec::new(),
            coordinators: Vec::new(),
            registry: Registry::new(),
            history: History::new(servers),
            flavour,
            log: VecDeque::new(),
            writes: 0,
            traps: Vec::new(),
            healed_at: 0,
            foretold: Foretold::default(),
            wishes: wishes.to_vec(),
            queue: BinaryHeap::new(),
            queued: BTreeMap::new(),
            order: 0,
            starts: 0,
        };
        let record = first_record(flavour, servers);
        for host in 0..servers {
            let mut memory = Memory::new(Incarnation(host as u64));
            memory.promised = Some(record.ballot.clone());
            memory.accepted = Some(record.clone());
            let mut server = Server::new(host, flavour);
            if host == 0 {
                server.writable = true;
                (memory.opened, memory.whole) = (server.run, true);
            } else {
                server.point(0, true, 0);
            }
            world.hosts.push(HostState {
                name: name(host),
                server,
                node: None,
                life: 0,
                paused_until: 0,
                effects: BTreeMap::new(),
                ledger: memory,
                sequence: 0,
                wake_at: 0,
            });
            world.start_node(host);
            world.after(host as u64 * 300, Happening::Replicate { host });
            world.after(host as u64 * 300, Happening::Apply { host });
        }
        for at in 0..coordinators {
            let name = format!("co{}", at + 1).parse().expect("a name");
            world.coordinators.push(CoordinatorState { name, core: None, life: 0, paused_until: 0, wake_at: 0 });
            world.start_coordinator(at);
        }
        for writer in 0..traffic::WRITERS {
            world.after(500 * MS + writer as u64 * 7 * MS, Happening::Write { writer });
        }
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
                self.hosts[host].ledger = *memory;
                self.feed(host, Input::Persisted(sequence));
            }
            Happening::Step { host, life, id } if self.hosts[host].life == life => effects::step(self, host, id),
            Happening::Probe { host, life } if self.hosts[host].life == life => probes::probe(self, host),
            Happening::Exit { host, run } => self.feed(host, Input::Exited(run)),
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
            Happening::Fault(fault) => {
                foretold::strikes(self, &fault);
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
            | Happening::Exit { host, .. } => self.hosts[*host].paused_until,
            Happening::ToCoordinator { at, .. } | Happening::WakeCoordinator { at, .. } => {
                self.coordinators[*at].paused_until
            }
            Happening::Durable { .. }
            | Happening::Replicate { .. }
            | Happening::Apply { .. }
            | Happening::Ack { .. }
            | Happening::Write { .. }
            | Happening::Fault(_) => 0,
        };
        (until > self.now).then(|| until - self.now + 1)
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::from_nanos((self.now + 1) * 1000)
    }

    /// Hands an input to the node that asked for it, right after this.
    pub(crate) fn node_input(&mut self, host: Host, input: Input) {
        let life = self.hosts[host].life;
        self.after(0, Happening::ToNode { host, life, input: Box::new(input) });
    }

    /// Remembers what a server wrote, so that others can get it from anywhere.
    pub(crate) fn register(&mut self, host: Host) {
        if let Some(last) = self.hosts[host].server.binlog.last() {
            self.registry.insert(last.gtid.to_string(), last.clone());
        }
    }
}
