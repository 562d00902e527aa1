//! The loops of a fleet's nodes and coordinators.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tasuki_bus::{Arrived, Bus, clock};
use tasuki_coordinator_core::settings::{Policy, Promotion, Server as Configured, Settings as CoordinatorSettings};
use tasuki_coordinator_core::{Coordinator, Input as CoordinatorInput, Output as CoordinatorOutput};
use tasuki_node_core::{Input, Memory, Node, Output, Settings};
use tasuki_schemas::channel::Channel;
use tasuki_schemas::event::{Event, EventBody};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{BootId, ClusterName, Incarnation, ProgramId};
use tasuki_schemas::message::Message;
use tasuki_schemas::observation::CutStrength;
use tasuki_schemas::record::Mode;
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::sync::oneshot;

use super::{SERVERS, address};
use crate::bench::model::Server;
use crate::sim::{first_record, name};

/// Everybody says once a second how it is.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A cluster's record is decided.
pub(super) struct Decided {
    pub(super) cluster: usize,
    pub(super) changed: bool,
    pub(super) at: Instant,
}

/// A node with its server.
pub(super) struct NodeTask {
    core: Node,
    server: Server,
    bus: Bus,
    me: tasuki_schemas::id::NodeId,
}

impl NodeTask {
    pub(super) fn new(at: usize, server: Server, bus: Bus) -> Self {
        let settings = Settings {
            me: name(at),
            flavour: Flavour::Mariadb,
            servers: (0..SERVERS).map(|other| (name(other), address(other))).collect(),
            cut: CutStrength::Kernel,
            heartbeat: HEARTBEAT,
            position_every: HEARTBEAT,
            lease: None,
        };
        let record = first_record(Flavour::Mariadb, SERVERS, 1);
        let mut memory = Memory::new(Incarnation(at as u64));
        memory.promised = Some(record.ballot.clone());
        memory.accepted = Some(record);
        if at == 0 {
            (memory.opened, memory.whole) = (server.report().run, true);
        }
        Self { core: Node::new(settings, memory, clock::now()), server, bus, me: name(at) }
    }

    pub(super) async fn run(mut self, mut arrived: Receiver<Arrived>, killed: Option<oneshot::Receiver<()>>) {
        let mut probes = tokio::time::interval(HEARTBEAT);
        let (never, nothing) = oneshot::channel();
        let mut killed = killed.unwrap_or(nothing);
        let mut alive = true;
        loop {
            let now = clock::now();
            let patience = self.core.next_wake(now).since(now);
            let input = tokio::select! {
                next = arrived.recv() => match next {
                    Some(next) => heard(next),
                    None => break,
                },
                _ = &mut killed, if alive => {
                    alive = false;
                    self.server.kill().map(Input::Exited)
                }
                _ = probes.tick() => Some(Input::Probed(Box::new(self.server.report()))),
                () = tokio::time::sleep(patience) => Some(Input::Woke),
            };
            self.feed(input);
        }
        drop(never);
    }

    fn feed(&mut self, input: Option<Input>) {
        let mut inputs: VecDeque<Input> = input.into_iter().collect();
        while let Some(input) = inputs.pop_front() {
            for output in self.core.handle(input, clock::now()) {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Publish(observation) => say(self.bus.publish(&Channel::Health, &Message::Observation(observation))),
            Output::PublishPosition(position) => {
                say(self.bus.publish(&Channel::Position, &Message::Position(position)))
            }
            Output::Send(to, message) => say(self.bus.send(&to, &message)),
            Output::ReadPosition => return vec![Input::Positioned(Box::new(self.server.position(&self.me)))],
            Output::Persist(memory) => return vec![Input::Persisted(memory.sequence)],
            Output::Draw => {
                return tasuki_bus::boot::random()
                    .into_iter()
                    .map(|number| Input::Drawn(Incarnation(number)))
                    .collect();
            }
            Output::Execute(id, effect) => return self.server.execute(id, effect),
            // Nobody has less than the others here: there is no tail.
            Output::Deliver { to, .. } => return vec![Input::TailRead { to, deliveries: Vec::new() }],
            Output::Spool { ballot, piece } => {
                return vec![Input::Spooled { ballot, piece: piece.number, kept: Ok(()) }];
            }
            // Every effect has ended by then.
            Output::Cancel(_)
            | Output::Serving { .. }
            | Output::Guard(_)
            | Output::AbandonReclone
            | Output::MayStop(_) => {}
        }
        Vec::new()
    }
}

fn say<E: std::fmt::Display>(said: Result<(), E>) {
    if let Err(error) = said {
        tracing::error!(%error, "a message was not sent");
    }
}

fn heard(arrived: Arrived) -> Option<Input> {
    let Arrived::Message(opened) = arrived else { return None };
    match opened.message {
        Message::Request(request) => {
            let from = opened.sender.as_str().parse().ok()?;
            Some(Input::Asked { from, same_configuration: opened.same_configuration, request })
        }
        Message::Heartbeat(heartbeat) => Some(Input::Beaten(heartbeat)),
        Message::Fetch(fetch) => Some(Input::Fetched { from: opened.sender.as_str().parse().ok()?, fetch }),
        Message::Delivery(delivery) => Some(Input::Delivered { from: opened.sender, delivery }),
        Message::Renew(renew) => Some(Input::Renewed { from: opened.sender.as_str().parse().ok()?, renew }),
        Message::Grant(grant) => Some(Input::Granted { from: opened.sender.as_str().parse().ok()?, grant }),
        Message::Observation(_)
        | Message::Position(_)
        | Message::Event(_)
        | Message::Errand(_)
        | Message::ErrandEnd(_)
        | Message::Echo { .. } => None,
    }
}

/// The loop of a coordinator's driver, without viewers.
pub(super) async fn coordinate(
    number: usize,
    cluster: ClusterName,
    bus: Bus,
    mut arrived: Receiver<Arrived>,
    decided: UnboundedSender<Decided>,
) {
    let settings = settings(cluster.clone(), number as u64);
    let (me, mut told) = (settings.me.clone(), 0);
    let mut core = Coordinator::new(settings, clock::now());
    loop {
        let now = clock::now();
        let patience = core.next_wake(now).since(now);
        let input = tokio::select! {
            biased;
            next = arrived.recv() => match next {
                Some(Arrived::Message(opened)) => {
                    let stamp = (opened.boot, opened.sequence);
                    match opened.message {
                        Message::Observation(observation) => CoordinatorInput::Observed(observation, stamp),
                        Message::Position(position) => CoordinatorInput::Positioned(position, stamp),
                        Message::Heartbeat(heartbeat) => CoordinatorInput::Beaten(heartbeat),
                        Message::Request(_) | Message::Fetch(_) | Message::Delivery(_) | Message::Renew(_)
                        | Message::Grant(_) | Message::Event(_)
                        | Message::Errand(_) | Message::ErrandEnd(_)
                        | Message::Echo { .. } => continue,
                    }
                }
                Some(Arrived::Resumed) => CoordinatorInput::Resumed,
                None => return,
            },
            () = tokio::time::sleep(patience) => CoordinatorInput::Woke,
        };
        for output in core.handle(input, clock::now()) {
            match output {
                CoordinatorOutput::Send { to, request } => {
                    say(bus.send(&ProgramId::from(&to), &Message::Request(request)));
                }
                CoordinatorOutput::Fence { .. } | CoordinatorOutput::Read { .. } => {}
                CoordinatorOutput::Beat(beat) => say(bus.publish(&Channel::Coordinator, &Message::Heartbeat(beat))),
                CoordinatorOutput::Tell(body) => {
                    if let EventBody::Decided { record, .. } = &*body {
                        let changed = record.primary != name(0);
                        // The bench may have seen enough.
                        drop(decided.send(Decided { cluster: number, changed, at: Instant::now() }));
                    }
                    if !matches!(*body, EventBody::Health { .. } | EventBody::Position { .. }) {
                        told += 1;
                        let (cluster, coordinator) = (cluster.clone(), me.clone());
                        let at_ms = clock::wall_ms();
                        let event =
                            Event { cluster, coordinator, number: told, at_ms, id: None, after: None, body: *body };
                        say(bus.publish(&Channel::Event, &Message::Event(Box::new(event))));
                    }
                }
            }
        }
    }
}

fn settings(cluster: ClusterName, seed: u64) -> CoordinatorSettings {
    let servers = (0..SERVERS).map(|order| {
        (name(order), Configured { address: address(order), promotion: Promotion::Neutral, order, site: None })
    });
    // Reports come once a second, so silence is no sooner.
    let (silence, leader_patience) = (HEARTBEAT * 3, HEARTBEAT * 3);
    CoordinatorSettings {
        me: "co1".parse().expect("a name"),
        boot: BootId(seed),
        cluster,
        flavour: Flavour::Mariadb,
        servers: servers.collect(),
        witnesses: Vec::new(),
        coordinators: vec!["co1".parse().expect("a name")],
        mode: Mode::Armed,
        policy: Policy { heartbeat: HEARTBEAT, silence, leader_patience, ..Policy::default() },
        seed,
    }
}
