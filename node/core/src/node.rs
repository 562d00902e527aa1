//! One node: its state, and the one way in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tasuki_schemas::answer::{Answers, Look, ProbeAnswer, Refusal};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Fetch, Request};
use tasuki_schemas::id::{CoordinatorId, NodeId, Nonce, ProgramId};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;

use tasuki_schemas::reclone::Recloning;
use tasuki_schemas::record::{Accepted, Mode, Record};

use crate::admit::Pending;
use crate::io::{Effect, EffectId, Ended, Input, Output, ServerReport};
use crate::lease::Lease;
use crate::leaving::Leaving;
use crate::memory::{Memory, ServerRun};
use crate::orders::Act;
use crate::server::Server;
use crate::settings::Settings;
use crate::strangers::Strangers;

/// The decisions of one node.
#[derive(Debug)]
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    pub(crate) durable: u64,
    pub(crate) server: Server,
    pub(crate) heard: BTreeMap<CoordinatorId, Nonce>,
    pub(crate) answers: BTreeMap<CoordinatorId, Answers>,
    pub(crate) pending: Option<Pending>,
    pub(crate) act: Option<Act>,
    /// A fence that nobody ordered: a server that must not be writable is closed.
    pub(crate) closing: Option<EffectId>,
    /// A duty whose promise was overtaken by something newer: it ends before anything else begins.
    pub(crate) overtaken: Option<(EffectId, Ballot)>,
    /// The newest ballot whose failover duty was seen done by this process.
    pub(crate) on_duty_done: Option<Ballot>,
    pub(crate) looks: BTreeMap<EffectId, (CoordinatorId, Nonce)>,
    pub(crate) lease: Lease,
    /// Why a new incarnation is being drawn.
    pub(crate) disowned: Option<String>,
    /// Who asked for pieces of the tail: the first is being read.
    pub(crate) asked_for_tail: VecDeque<(NodeId, Fetch)>,
    pub(crate) serving: bool,
    /// Whether Tasuki may act, as the outputs told it last.
    told_armed: bool,
    /// Whom the kernel keeps away from the server.
    pub(crate) refused: BTreeSet<NodeId>,
    pub(crate) strangers: Strangers,
    /// The server's re-clone, and when that was told.
    pub(crate) recloning: Option<(Recloning, Moment)>,
    /// Its server is about to be stopped.
    pub(crate) leaving: Option<Leaving>,
    pub(crate) dirty: bool,
    pub(crate) outputs: Vec<Output>,
    published_at: Option<Moment>,
    positioned_at: Option<Moment>,
    last_effect: EffectId,
}

impl Node {
    /// A node that has heard nothing yet. `memory` is what its ledger holds durably.
    #[must_use]
    pub fn new(settings: Settings, memory: Memory, now: Moment) -> Self {
        Self {
            lease: Lease::new(settings.lease, now),
            settings,
            durable: memory.sequence,
            memory,
            server: Server { report: None, read_at: Moment::from_nanos(0), exited: None, clean: false },
            heard: BTreeMap::new(),
            answers: BTreeMap::new(),
            pending: None,
            act: None,
            closing: None,
            overtaken: None,
            on_duty_done: None,
            looks: BTreeMap::new(),
            disowned: None,
            asked_for_tail: VecDeque::new(),
            serving: false,
            told_armed: false,
            refused: BTreeSet::new(),
            strangers: Strangers::default(),
            recloning: None,
            leaving: None,
            dirty: true,
            outputs: Vec::new(),
            published_at: None,
            positioned_at: None,
            last_effect: 0,
        }
    }

    /// Takes one thing that happened and returns, in order, what to do about it.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Output> {
        match input {
            Input::Woke => {}
            Input::Asked { from, same_configuration, request } => self.asked(&from, same_configuration, request, now),
            Input::Beaten(heartbeat) => {
                self.heard.insert(heartbeat.coordinator, heartbeat.nonce);
            }
            Input::Fetched { from, fetch } => self.fetched(from, fetch),
            Input::Delivered { from, delivery } => self.delivered(&from, delivery, now),
            Input::TailRead { to, deliveries } => self.tail_read(&to, deliveries),
            Input::Spooled { ballot, piece, kept } => self.spooled(&ballot, piece, kept, now),
            Input::Renewed { from, renew } => self.renewed(&from, renew, now),
            Input::Granted { from, grant } => self.granted(&from, &grant),
            Input::Guarded(guarding) => self.guarded(guarding),
            Input::Probed(report) => self.probed(*report, now),
            Input::Exited(run) => self.exited(run, false),
            Input::Stopped(run) => self.exited(run, true),
            Input::Refused(addresses) => self.refuses(&addresses),
            Input::Recloning(told) => (self.recloning, self.dirty) = (Some((told, now)), true),
            Input::Leave { within } => self.leave(within, now),
            Input::Stay => self.stay(),
            Input::Positioned(position) => self.outputs.push(Output::PublishPosition(position)),
            Input::Persisted(sequence) => self.durable = self.durable.max(sequence),
            Input::Drawn(incarnation) => self.begin_anew(incarnation),
            Input::Progressed(id, progress) => self.progressed(id, progress, now),
            Input::Ended(id, ended) => self.ended(id, ended, now),
        }
        self.advance_pending(now);
        self.tend_lease(now);
        self.tend_leaving(now);
        self.close_if_unlawful(now);
        self.advance_act(now);
        self.go_on_fetching(now);
        self.show(now);
        std::mem::take(&mut self.outputs)
    }

    /// When to hand in [`Input::Woke`]: later than the last `now`.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Moment {
        let beat = self.published_at.map_or(now, |at| at + self.settings.heartbeat);
        let repeat = self.act.as_ref().and_then(Act::repeat_at);
        let next = [repeat, self.lease_wake(now)].into_iter().flatten().fold(beat, Moment::min);
        next.max(now + std::time::Duration::from_millis(1))
    }

    /// Whether the server serves clients as primary.
    #[must_use]
    pub const fn serving(&self) -> bool {
        self.serving
    }

    /// Where the record's primary listens.
    #[must_use]
    pub fn primary_address(&self) -> Option<std::net::SocketAddr> {
        self.record().and_then(|record| self.settings.servers.get(&record.primary)).copied()
    }

    /// The record accepted last.
    #[must_use]
    pub const fn record(&self) -> Option<&Record> {
        match &self.memory.accepted {
            Some(accepted) => Some(&accepted.record),
            None => None,
        }
    }

    /// Whether the record lets Tasuki change anything.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.record().is_some_and(|record| record.mode == Mode::Armed)
    }

    fn asked(&mut self, from: &CoordinatorId, same_configuration: bool, request: Request, now: Moment) {
        match request {
            Request::Report => {
                self.dirty = true;
                self.read_position();
            }
            Request::Probe { nonce, primary } => self.look(from, nonce, self.settings.servers.get(&primary).copied()),
            Request::Prepare { ballot, kind, evidence } => {
                if same_configuration {
                    self.prepare(from, ballot, kind, evidence);
                } else {
                    self.refuse(from, &ballot, Refusal::OtherConfiguration);
                }
            }
            Request::Accept { ballot, record } => self.accept(from, ballot, record),
            Request::BeginAnew { incarnation, reason } => self.disown(incarnation, reason),
            Request::CannotLeave { reason, lasts } => self.cannot_leave(reason, lasts, now),
            Request::Order { ballot, number, order } => self.order(from, ballot, number, *order, now),
        }
    }

    /// An own look at the primary, aside of everything else.
    fn look(&mut self, from: &CoordinatorId, nonce: Nonce, address: Option<std::net::SocketAddr>) {
        let known = |(asker, asked): &(CoordinatorId, Nonce)| asker == from && *asked == nonce;
        let answered = self.answers.get(from).and_then(|answers| answers.probe.as_ref());
        if self.looks.values().any(known) || answered.is_some_and(|answer| answer.nonce == nonce) {
            return;
        }
        if let Some(address) = address {
            let id = self.execute(Effect::Look { address });
            self.looks.insert(id, (from.clone(), nonce));
        }
    }

    fn probed(&mut self, report: ServerReport, now: Moment) {
        let before = self.server.report.as_ref().map(ServerReport::substance);
        if before != Some(report.substance()) {
            self.dirty = true;
        }
        self.server.read_at = now;
        self.server.report = Some(report);
        self.cut_strangers(now);
    }

    fn exited(&mut self, run: ServerRun, clean: bool) {
        (self.server.exited, self.server.clean) = (Some(run), clean);
        self.dirty = true;
    }

    fn ended(&mut self, id: EffectId, ended: Ended, now: Moment) {
        if self.closing == Some(id) {
            self.closing = None;
            self.closed(&ended);
            if matches!(ended, Ended::Done(_) | Ended::Gone(_)) {
                self.fenced_to_leave();
            }
            self.dirty = true;
            return;
        }
        if self.strangers.cut(id) {
            return;
        }
        if let Some((from, nonce)) = self.looks.remove(&id) {
            let look = if ended == Ended::Looked(Look::Greeted) { Look::Greeted } else { Look::NoGreeting };
            self.answers_of(&from).probe = Some(ProbeAnswer { nonce, look });
            self.dirty = true;
            return;
        }
        if let Some((_, ballot)) = self.overtaken.take_if(|(effect, _)| *effect == id) {
            self.closed(&ended);
            if matches!(ended, Ended::Done(_) | Ended::Gone(_)) {
                self.on_duty_done = self.on_duty_done.take().max(Some(ballot));
            }
            return;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.waits_for(id)) {
            self.pending_ended(id, ended);
            return;
        }
        self.act_ended(id, ended, now);
    }

    /// A returning or misconfigured server that is writable without being the opened primary is closed at once.
    fn close_if_unlawful(&mut self, now: Moment) {
        let writable = self.server.facts().is_some_and(|facts| facts.writable) && self.server.run().is_some();
        let opening = self.act.as_ref().is_some_and(|act| act.is_promotion() || act.is_drain());
        let busy = self.closing.is_some() || self.pending.is_some() || self.overtaken.is_some();
        if !self.is_armed() || !writable || opening || busy {
            return;
        }
        let lapsed = self.has_lapsed(now);
        let lawful = self.is_primary() && self.memory.opened == self.server.run() && !lapsed;
        if !lawful {
            if self.memory.opened.take().is_some() {
                self.persist();
            }
            let fence = self.fence(None);
            self.closing = Some(self.execute(fence));
        }
    }

    /// Every effect that ends well leaves the server closed, but for a promotion: facts from before it are no reason to
    /// close it again.
    pub(crate) fn closed(&mut self, ended: &Ended) {
        if let Some(facts) = self.server.report.as_mut().and_then(|report| report.facts.as_mut())
            && matches!(ended, Ended::Done(_) | Ended::Gone(_))
        {
            facts.writable = false;
        }
    }

    pub(crate) fn fence(&self, source: Option<std::net::SocketAddr>) -> Effect {
        Effect::Fence { was_primary: self.memory.whole, let_in: self.others(), source }
    }

    /// The other servers' addresses.
    pub(crate) fn others(&self) -> BTreeSet<std::net::SocketAddr> {
        let others = self.settings.servers.iter().filter(|(node, _)| **node != self.settings.me);
        others.map(|(_, address)| *address).collect()
    }

    /// Whether the accepted record names this node's server.
    pub(crate) fn is_primary(&self) -> bool {
        self.record().is_some_and(|record| record.primary == self.settings.me)
    }

    pub(crate) fn execute(&mut self, effect: Effect) -> EffectId {
        self.last_effect += 1;
        self.outputs.push(Output::Execute(self.last_effect, effect));
        self.last_effect
    }

    /// Makes the memory durable; returns the sequence to wait for.
    pub(crate) fn persist(&mut self) -> u64 {
        self.memory.sequence += 1;
        self.outputs.push(Output::Persist(Box::new(self.memory.clone())));
        self.memory.sequence
    }

    pub(crate) fn remember(&mut self, ballot: Ballot, record: Record) {
        if record.voters.get(&self.settings.me) == Some(&self.memory.incarnation) {
            self.memory.anew = None;
        }
        self.memory.accepted = Some(Accepted { ballot, record });
    }

    pub(crate) fn answers_of(&mut self, coordinator: &CoordinatorId) -> &mut Answers {
        self.answers.entry(coordinator.clone()).or_insert_with(Answers::none)
    }

    /// The answers at a ballot: those at another one are over. A look belongs to none.
    pub(crate) fn answers_at(&mut self, coordinator: &CoordinatorId, ballot: &Ballot) -> &mut Answers {
        let answers = self.answers_of(coordinator);
        if answers.ballot.as_ref() != Some(ballot) {
            let probe = answers.probe.take();
            *answers = Answers { ballot: Some(ballot.clone()), probe, ..Answers::none() };
        }
        answers
    }

    pub(crate) fn refuse(&mut self, from: &CoordinatorId, ballot: &Ballot, refusal: Refusal) {
        self.dirty = true;
        // To a late request nothing: its sender went on to a higher ballot, whose answers must not be lost over it.
        if self.answers_of(from).ballot.as_ref() <= Some(ballot) {
            self.answers_at(from, ballot).refusal = Some(refusal);
        }
    }

    pub(crate) fn read_position(&mut self) {
        if self.settings.has_server() && self.server.run().is_some() {
            self.outputs.push(Output::ReadPosition);
        }
    }

    pub(crate) fn send(&mut self, to: ProgramId, message: Message) {
        self.outputs.push(Output::Send(to, Box::new(message)));
    }

    /// Says what changed: at once, or at the heartbeat.
    fn show(&mut self, now: Moment) {
        let serving = self.may_serve() && !self.has_lapsed(now);
        let armed = self.is_armed();
        // A node that starts beside its primary does not know yet that this serves: until then its address stays.
        if serving != self.serving || serving && armed != self.told_armed {
            (self.serving, self.told_armed) = (serving, armed);
            self.dirty = true;
            self.outputs.push(Output::Serving { on: serving, armed });
        }
        if self.positioned_at.is_none_or(|at| now.since(at) >= self.settings.position_every) {
            self.positioned_at = Some(now);
            self.read_position();
        }
        if self.dirty || self.published_at.is_none_or(|at| now.since(at) >= self.settings.heartbeat) {
            self.dirty = false;
            self.published_at = Some(now);
            let observation = self.observation(now);
            self.outputs.push(Output::Publish(Box::new(observation)));
        }
    }

    fn may_serve(&self) -> bool {
        let Some(record) = self.record() else { return false };
        let run = self.server.run();
        let open = match record.mode {
            Mode::Observe => self.server.facts().is_some_and(|facts| facts.writable),
            Mode::Armed => self.memory.opened.is_some() && self.memory.opened == run,
        };
        record.primary == self.settings.me
            && run.is_some()
            && open
            && self.memory.failover.is_none()
            && self.closing.is_none()
    }
}
