//! Births and deaths: of the cluster, and of each program.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tasuki_coordinator_core::Coordinator;
use tasuki_coordinator_core::settings::{Promotion, Server as Configured, Settings as CoordinatorSettings};
use tasuki_node_core::{Guarding, Input, Memory, Node, Settings};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::{BootId, Incarnation, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::CutStrength;
use tasuki_schemas::record::{Accepted, Mode, Record, Reign, WriteGroup};

use super::reclones;
use super::server::{Host, Server};
use super::traffic;
use super::world::{CoordinatorState, Happening, HostState, MS, World};

/// Ledgers that the cluster did not begin with have incarnations from here on.
pub(crate) const LATER_LEDGERS: u64 = 1000;

/// The name of a server.
pub(crate) fn name(number: usize) -> NodeId {
    format!("db{}", number + 1).parse().expect("a name")
}

impl World {
    /// Everybody who is there at first: nodes with their servers, coordinators, and writers.
    pub(crate) fn populate(&mut self, servers: usize, witnesses: usize, coordinators: usize) {
        let (flavour, wanted) = (self.flavour, self.wanted);
        let mut record = first_record(flavour, servers, wanted);
        record.record.groups.iter_mut().for_each(|group| group.leased &= self.lease.is_some());
        for host in 0..servers + witnesses {
            let mut memory = Memory::new(Incarnation(host as u64));
            let mut server = Server::new(host, flavour);
            if host < servers {
                memory.promised = Some(record.ballot.clone());
                memory.accepted = Some(record.clone());
                self.register.durable(&name(host), &memory);
            } else {
                server.run = None;
            }
            if host == 0 {
                server.writable = true;
                server.wait_count = wanted;
                server.reign = Some(record.record.epoch.clone());
                (memory.opened, memory.whole) = (server.run, true);
            } else if host < servers {
                server.point(0, wanted > 0, 0);
            }
            let until = self.lease.map(|lease| Moment::from_nanos(0) + lease.usable());
            let guard =
                server.run.filter(|_| host == 0 && wanted == 0 && until.is_some()).map(|run| Guarding { run, until });
            self.hosts.push(HostState {
                name: name(host),
                server,
                node: None,
                guard,
                life: 0,
                paused_until: 0,
                kept_until: 0,
                effects: BTreeMap::new(),
                cloning: None,
                spool: Vec::new(),
                ledger: memory,
                written_at: 0,
                away_at: 0,
                copy: None,
                sequence: 0,
                wake_at: 0,
            });
            self.start_node(host);
            if host < servers {
                self.after(host as u64 * 300, Happening::Replicate { host });
                self.after(host as u64 * 300, Happening::Apply { host });
            }
        }
        for at in 0..coordinators {
            let name = format!("co{}", at + 1).parse().expect("a name");
            self.coordinators.push(CoordinatorState { name, core: None, life: 0, paused_until: 0, wake_at: 0 });
            self.start_coordinator(at);
        }
        for writer in 0..traffic::WRITERS {
            self.after(500 * MS + writer as u64 * 7 * MS, Happening::Write { writer });
        }
    }

    /// Starts a node on what its disk holds.
    pub(crate) fn start_node(&mut self, host: Host) {
        let servers = (0..self.history.servers()).map(|number| (name(number), address(number))).collect();
        if self.hosts[host].node.is_some() {
            return;
        }
        let settings = Settings {
            me: name(host),
            flavour: self.flavour,
            servers,
            cut: if self.kernel { CutStrength::Kernel } else { CutStrength::Server },
            heartbeat: Duration::from_millis(200),
            position_every: Duration::from_secs(1),
            lease: self.lease,
        };
        let now = self.moment(host);
        let state = &mut self.hosts[host];
        state.life += 1;
        state.sequence = 0;
        state.wake_at = 0;
        state.node = Some(Node::new(settings, state.ledger.clone(), now));
        let life = state.life;
        let held = Box::new(Input::Guarded(state.guard));
        self.after(2 * MS, Happening::ToNode { host, life, input: held });
        self.tell_refused(host);
        reclones::recover(self, host);
        self.after(MS, Happening::WakeNode { host, life });
        self.after(2 * MS, Happening::Probe { host, life });
    }

    /// The node's process ends; a write to its disk that was under way may have reached it or not.
    pub(crate) fn stop_node(&mut self, host: Host) {
        let life = self.hosts[host].life;
        let kept = self.dice.one_in(2);
        if kept {
            let newest = self.queued.values().filter_map(|queued| {
                let Happening::Durable { host: of, life: in_life, memory } = &queued.0 else { return None };
                (*of == host && *in_life == life).then_some(memory)
            });
            if let Some(memory) = newest.max_by_key(|memory| memory.sequence) {
                let memory = (**memory).clone();
                self.register.durable(&name(host), &memory);
                self.hosts[host].ledger = memory;
            }
        }
        let state = &mut self.hosts[host];
        state.node = None;
        state.life += 1;
        state.effects.clear();
        state.written_at = 0;
    }

    /// Starts a coordinator that remembers nothing.
    pub(crate) fn start_coordinator(&mut self, at: usize) {
        if self.coordinators[at].core.is_some() {
            return;
        }
        self.starts += 1;
        let servers = (0..self.history.servers()).map(|order| {
            let promotion = self.wishes.get(order).copied().unwrap_or(Promotion::Neutral);
            (name(order), Configured { address: address(order), promotion, site: None, order })
        });
        let settings = CoordinatorSettings {
            me: self.coordinators[at].name.clone(),
            boot: BootId(self.starts),
            cluster: "main".parse().expect("a name"),
            flavour: self.flavour,
            servers: servers.collect(),
            witnesses: self.witnessed.iter().copied().map(name).collect(),
            coordinators: self.coordinators.iter().map(|state| state.name.clone()).collect(),
            mode: Mode::Armed,
            policy: self.policy.clone(),
            seed: self.dice.next(),
        };
        let now = self.moment(self.place(at));
        let state = &mut self.coordinators[at];
        state.life += 1;
        state.wake_at = 0;
        state.core = Some(Coordinator::new(settings, now));
        let life = state.life;
        self.after(MS, Happening::WakeCoordinator { at, life });
    }

    /// The coordinator's process ends, and with it all that it knew.
    pub(crate) fn stop_coordinator(&mut self, at: usize) {
        self.coordinators[at].core = None;
        self.coordinators[at].life += 1;
    }
}

pub(crate) fn address(number: usize) -> SocketAddr {
    let number = u8::try_from(number).unwrap_or(0);
    SocketAddr::from(([10, 0, 0, 1 + number], 3306 + u16::from(number)))
}

/// The record of a cluster that was born long ago: with every server in the group, or leased, with the primary alone.
pub(crate) fn first_record(flavour: Flavour, servers: usize, acks: u32) -> Accepted {
    let ballot = Ballot { counter: 1, coordinator: "co1".parse().expect("a name"), boot: BootId(0) };
    let epoch = Epoch(ballot.clone());
    let names: Vec<NodeId> = (0..servers).map(name).collect();
    let origin = Server::new(0, flavour).origin();
    let record = Record {
        epoch: epoch.clone(),
        primary: name(0),
        opened: true,
        groups: vec![WriteGroup {
            primary: name(0),
            members: if acks == 0 { [name(0)].into() } else { names.iter().cloned().collect() },
            acks,
            leased: acks == 0,
        }],
        reigns: vec![Reign { epoch, node: name(0), origin, set_before: GtidSet::empty(flavour) }],
        voters: names.into_iter().enumerate().map(|(at, name)| (name, Incarnation(at as u64))).collect(),
        mode: Mode::Armed,
        wanted: acks,
        recent: Vec::new(),
        voters_before: None,
        pause: None,
        planned: None,
    };
    Accepted { ballot, record }
}
