//! The programs: what is handed to a core, and what its outputs lead to.

use tasuki_coordinator_core::{Input as CoordinatorInput, Output as CoordinatorOutput};
use tasuki_node_core::{Input, Output};
use tasuki_schemas::command::Heartbeat;
use tasuki_schemas::event::{EventBody, StageName};
use tasuki_schemas::id::{Boot, BootId, Incarnation, ProgramId};
use tasuki_schemas::message::Message;
use tasuki_schemas::observation::Position;

use super::effects::Running;
use super::fences::{self, Manual};
use super::foretold;
use super::lives::{LATER_LEDGERS, address};
use super::net::Place;
use super::reclones;
use super::server::Host;
use super::stops;
use super::tails;
use super::timing;
use super::watch::tells;
use super::world::{Happening, MS, World};

/// After so long within reach a host has been heard and has answered.
const HEARD: u64 = 100 * MS;

impl World {
    /// Hands an input to the node that asked for it, right after this.
    pub(crate) fn node_input(&mut self, host: Host, input: Input) {
        let life = self.hosts[host].life;
        self.after(0, Happening::ToNode { host, life, input: Box::new(input) });
    }

    /// Tells a node whom its kernel rules keep away.
    pub(crate) fn tell_refused(&mut self, host: Host) {
        let refused = self.hosts[host].server.refused_servers.iter().map(|other| address(*other).ip()).collect();
        self.node_input(host, Input::Refused(refused));
    }

    /// Remembers what a server wrote, so that others can get it from anywhere.
    pub(crate) fn register(&mut self, host: Host) {
        if let Some(last) = self.hosts[host].server.binlog.last() {
            self.registry.insert(last.gtid.to_string(), last.clone());
        }
    }

    pub(crate) fn feed(&mut self, host: Host, input: Input) {
        let now = self.moment(host);
        let Some(mut node) = self.hosts[host].node.take() else { return };
        if let Input::Asked { from, request, .. } = &input {
            self.watch.ordered(host, &self.hosts[host], from, request);
        }
        let outputs = node.handle(input, now);
        let wake = node.next_wake(now);
        self.hosts[host].node = Some(node);
        for output in outputs {
            self.perform(host, output);
        }
        let wake_at = self.at(host, wake);
        let state = &mut self.hosts[host];
        if state.wake_at <= self.now || wake_at < state.wake_at {
            state.wake_at = wake_at;
            let life = state.life;
            self.after(wake_at.saturating_sub(self.now), Happening::WakeNode { host, life });
        }
    }

    fn perform(&mut self, host: Host, output: Output) {
        let life = self.hosts[host].life;
        match output {
            Output::Publish(observation) => {
                let seen = tells(&self.hosts[host], observation.answers.values());
                self.history.demand(seen);
                self.tell_coordinators(host, |stamp| CoordinatorInput::Observed(observation.clone(), stamp));
            }
            Output::PublishPosition(position) => {
                self.tell_coordinators(host, |stamp| CoordinatorInput::Positioned(position.clone(), stamp));
            }
            Output::ReadPosition => {
                let server = &self.hosts[host].server;
                if server.answers() {
                    let position = Position {
                        node: self.hosts[host].name.clone(),
                        binlog: None,
                        executed: server.executed.clone(),
                        received: server.received(),
                    };
                    let delay = self.dice.between(200, 2 * MS);
                    let input = Box::new(Input::Positioned(Box::new(position)));
                    self.after(delay, Happening::ToNode { host, life, input });
                }
            }
            Output::Persist(memory) => {
                // One write after the other.
                let at = self.hosts[host].written_at.max(self.now) + self.dice.between(100, 4 * MS);
                self.hosts[host].written_at = at;
                let delay = at - self.now;
                self.after(delay, Happening::Durable { host, life, memory });
            }
            Output::Draw => {
                self.starts += 1;
                self.node_input(host, Input::Drawn(Incarnation(LATER_LEDGERS + self.starts)));
            }
            Output::Execute(id, effect) => {
                self.note(|| format!("db{} begins {effect:?}", host + 1));
                self.spring(host, &format!("{effect:?}"));
                let seen = self.watch.begins(host, &self.hosts, &effect);
                self.history.demand(seen);
                self.hosts[host].effects.insert(id, Running::new(id, effect, self.now));
                self.after(200, Happening::Step { host, life, id });
            }
            Output::Cancel(id) => {
                if let Some(running) = self.hosts[host].effects.get_mut(&id) {
                    running.cancelled = true;
                }
            }
            Output::Deliver { to, fetch } => {
                let deliveries = tails::pieces(&self.hosts[host].server, fetch);
                let delay = self.dice.between(MS, 5 * MS);
                let input = Box::new(Input::TailRead { to, deliveries });
                self.after(delay, Happening::ToNode { host, life, input });
            }
            Output::Spool { ballot, piece } => {
                let number = piece.number;
                tails::keep(&mut self.hosts[host].spool, piece);
                let delay = self.dice.between(100, MS);
                let input = Box::new(Input::Spooled { ballot, piece: number, kept: Ok(()) });
                self.after(delay, Happening::ToNode { host, life, input });
            }
            Output::MayStop(told) => stops::may_stop(self, host, &told),
            Output::AbandonReclone => reclones::give_up(self, host, "the server is needed as it is"),
            Output::Send(to, message) => self.send(host, &to, *message),
            Output::Guard(guarding) => {
                let delay = self.dice.between(100, MS);
                self.after(delay, Happening::Guard { host, guarding });
            }
            Output::Serving { on, .. } => self.note(|| format!("db{} serves: {on}", host + 1)),
        }
    }

    /// An effect begins: traps that waited for it strike, unless everything is healed by then.
    fn spring(&mut self, host: Host, effect: &str) {
        let (now, healed_at) = (self.now, self.healed_at);
        let mut sprung = Vec::new();
        for trap in self.traps.iter_mut().filter(|trap| effect.starts_with(trap.effect)) {
            if trap.skip == 0 && now + trap.delay < healed_at {
                sprung.extend(trap.faults(host));
            }
            trap.skip = trap.skip.wrapping_sub(1);
        }
        for (delay, fault) in sprung {
            self.after(delay, Happening::Fault(fault));
        }
    }

    fn send(&mut self, from: Host, to: &ProgramId, message: Message) {
        let Some(host) = self.hosts.iter().position(|host| host.name.as_str() == to.as_str()) else {
            if let Message::Fetch(fetch) = message {
                fences::deliver(self, from, to, fetch);
            }
            return;
        };
        let input = match message {
            Message::Fetch(fetch) => Input::Fetched { from: self.hosts[from].name.clone(), fetch },
            Message::Delivery(delivery) => Input::Delivered { from: ProgramId::from(&self.hosts[from].name), delivery },
            Message::Renew(renew) => Input::Renewed { from: self.hosts[from].name.clone(), renew },
            Message::Grant(grant) => Input::Granted { from: self.hosts[from].name.clone(), grant },
            Message::Observation(_)
            | Message::Position(_)
            | Message::Heartbeat(_)
            | Message::Request(_)
            | Message::Event(_)
            | Message::Errand(_)
            | Message::ErrandEnd(_)
            | Message::Echo { .. } => return,
        };
        for delay in self.net.copies(from, host, &mut self.dice) {
            self.after(delay, Happening::Mail { host, input: Box::new(input.clone()) });
        }
    }

    fn tell_coordinators(&mut self, host: Host, input: impl Fn((Boot, u64)) -> CoordinatorInput) {
        self.hosts[host].sequence += 1;
        let boot = Boot { start: self.hosts[host].life, random: BootId(host as u64) };
        let stamp = (boot, self.hosts[host].sequence);
        if self.keeping {
            self.kept.push(input(stamp));
        }
        for at in 0..self.coordinators.len() {
            for delay in self.net.copies(host, self.place(at), &mut self.dice) {
                self.after(delay, Happening::ToCoordinator { at, input: Box::new(input(stamp)) });
            }
        }
    }

    /// Where a coordinator is on the network.
    pub(crate) const fn place(&self, coordinator: usize) -> Place {
        self.hosts.len() + coordinator
    }

    /// Where the clients are.
    pub(crate) const fn clients(&self) -> Place {
        self.hosts.len() + self.coordinators.len()
    }

    pub(crate) fn feed_coordinator(&mut self, at: usize, input: CoordinatorInput) {
        let place = self.place(at);
        let now = self.moment(place);
        let Some(mut core) = self.coordinators[at].core.take() else { return };
        let outputs = match &mut self.times {
            Some(times) if matches!(input, CoordinatorInput::Observed(..)) => {
                timing::timed(times, &mut core, now, |core| core.handle(input, now))
            }
            Some(_) | None => core.handle(input, now),
        };
        let wake_at = self.at(place, core.next_wake(now));
        self.coordinators[at].core = Some(core);
        for output in outputs {
            self.perform_coordinator(at, output);
        }
        let state = &mut self.coordinators[at];
        if state.wake_at <= self.now || wake_at < state.wake_at {
            state.wake_at = wake_at;
            let life = state.life;
            self.after(wake_at.saturating_sub(self.now), Happening::WakeCoordinator { at, life });
        }
    }

    fn perform_coordinator(&mut self, at: usize, output: CoordinatorOutput) {
        match output {
            CoordinatorOutput::Send { to, request } => {
                let Some(host) = self.hosts.iter().position(|host| host.name == to) else { return };
                let seen = self.watch.asks(at, self.now);
                self.history.demand(seen);
                let from = self.coordinators[at].name.clone();
                let input = Input::Asked { from, same_configuration: true, request };
                for delay in self.net.copies(self.place(at), host, &mut self.dice) {
                    self.after(delay, Happening::Mail { host, input: Box::new(input.clone()) });
                }
            }
            CoordinatorOutput::Beat(heartbeat) => self.beat(at, &heartbeat),
            CoordinatorOutput::Fence { ballot, node, how, .. } => fences::begin(self, at, ballot, &node, how),
            CoordinatorOutput::Read { ballot, node, .. } => fences::read(self, at, ballot, &node),
            CoordinatorOutput::Tell(body) => {
                self.excuse(at, &body);
                if matches!(*body, EventBody::Stage { stage: StageName::Recruiting, .. }) {
                    self.recruited_at = Some(self.now);
                }
                if let EventBody::Decided { record, ballot } = &*body {
                    foretold::decided(self, at, record);
                    if let Some(violation) = self.register.decided(ballot, record) {
                        self.history.violation.get_or_insert(violation);
                    }
                }
                if !matches!(body.name(), "health" | "position") {
                    self.note(|| format!("co{} {}", at + 1, super::brief(&body)));
                }
            }
        }
    }

    /// A mute server may lose what it alone has, if the policy says so and that is told before another one opens.
    fn excuse(&mut self, at: usize, body: &EventBody) {
        let EventBody::Stage { reasons, .. } = body else { return };
        for host in 0..self.history.servers() {
            let told = format!("{} does not show what it acknowledged", super::lives::name(host));
            if self.manual.as_ref().is_none_or(Manual::accepts)
                && reasons.iter().any(|reason| reason.starts_with(&told))
            {
                let place = self.place(at);
                let within = |other: &Host| {
                    let state = &self.hosts[*other];
                    let heard = state.node.is_some() && state.away_at + HEARD <= self.now;
                    *other != host && heard && self.net.joined(*other, place)
                };
                let others = (0..self.history.servers()).filter(within).map(|other| &self.hosts[other].server);
                let running = others.filter(|server| server.answers() && server.run.is_some());
                let sets: Vec<_> = running.filter_map(|server| server.received().known().cloned()).collect();
                let held = self.hosts[host].server.executed.clone();
                self.history.excuse(&held, &sets);
            }
        }
    }

    /// Reach changes with faults alone: whoever is out of it before one was so until then.
    pub(crate) fn note_absence(&mut self) {
        for host in 0..self.hosts.len() {
            let joined = (0..self.coordinators.len()).all(|at| self.net.joined(host, self.place(at)));
            let state = &self.hosts[host];
            if !joined || state.node.is_none() || state.server.run.is_none() || !state.server.answers() {
                self.hosts[host].away_at = self.now;
            }
        }
    }

    fn beat(&mut self, at: usize, heartbeat: &Heartbeat) {
        for host in 0..self.hosts.len() {
            for delay in self.net.copies(self.place(at), host, &mut self.dice) {
                let input = Box::new(Input::Beaten(heartbeat.clone()));
                self.after(delay, Happening::Mail { host, input });
            }
        }
        // Coordinators hear each other over Redis alone.
        let redis = self.net.redis;
        for other in (0..self.coordinators.len()).filter(|other| *other != at && redis) {
            for delay in self.net.copies(self.place(at), self.place(other), &mut self.dice) {
                let input = Box::new(CoordinatorInput::Beaten(heartbeat.clone()));
                self.after(delay, Happening::ToCoordinator { at: other, input });
            }
        }
    }
}
