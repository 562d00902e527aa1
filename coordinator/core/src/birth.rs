//! The birth of a cluster: an explicit act, once. Needs an answer of every configured voter, and refuses if any ledger
//! holds a record. Nothing is changed on any server: the first record names the server that is writable now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::answer::Refusal;
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{Heartbeat, Kind, Request};
use tasuki_schemas::id::{Incarnation, NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record, Reign, WriteGroup};

use crate::diagnose::unsupported;
use crate::input::Input;
use crate::outbox::{Outbox, Output, Topic};
use crate::propose::ask_accept;
use crate::random::Random;
use crate::settings::Settings;
use crate::view::View;

/// How long the voters have to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A birth under way.
#[derive(Debug)]
pub struct Birth {
    settings: Settings,
    random: Random,
    view: View,
    outbox: Outbox,
    began: Moment,
    beat_at: Moment,
    ballot: Ballot,
    record: Option<Record>,
    missing: Vec<Obstacle>,
    notes: Vec<String>,
    end: Option<Result<Record, Vec<Obstacle>>>,
}

/// What stands in the way of a birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Whose entry in the cluster file it is about; `None`: the cluster's as a whole.
    pub node: Option<NodeId>,
    /// What is wrong, with its fix.
    pub what: String,
}

impl Obstacle {
    fn of(node: &NodeId, what: impl Into<String>) -> Self {
        Self { node: Some(node.clone()), what: what.into() }
    }

    const fn whole(what: String) -> Self {
        Self { node: None, what }
    }
}

impl Birth {
    /// Begins.
    #[must_use]
    pub fn new(settings: Settings, now: Moment) -> Self {
        Self {
            random: Random::new(settings.seed),
            view: View::new(settings.me.clone(), now),
            outbox: Outbox::default(),
            began: now,
            beat_at: now,
            ballot: Ballot { counter: 1, coordinator: settings.me.clone(), boot: settings.boot },
            record: None,
            missing: Vec::new(),
            notes: Vec::new(),
            end: None,
            settings,
        }
    }

    /// Takes one thing that happened and returns what to do about it.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Output> {
        match input {
            Input::Observed(observation, stamp) => {
                self.view.observed(*observation, stamp, now);
            }
            Input::Positioned(position, stamp) => {
                self.view.positioned(*position, stamp, now);
            }
            Input::Woke
            | Input::Beaten(_)
            | Input::Resumed
            | Input::PlanDue { .. }
            | Input::Fenced { .. }
            | Input::Read { .. } => {}
        }
        if now >= self.beat_at {
            self.beat_at = now + self.settings.policy.heartbeat;
            let nonce = Nonce(self.random.next());
            self.view.sent_nonce(nonce);
            self.outbox.beat(Heartbeat { coordinator: self.settings.me.clone(), nonce, leading: None, seat: None });
        }
        if self.end.is_none() {
            self.step(now);
        }
        self.outbox.take()
    }

    /// The record, or everything that stands in the way with its fix; `None` while it lasts.
    #[must_use]
    pub const fn end(&self) -> Option<&Result<Record, Vec<Obstacle>>> {
        self.end.as_ref()
    }

    /// What the operator should know about the record.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn step(&mut self, now: Moment) {
        let late = now.since(self.began) > PATIENCE;
        match self.advance(now) {
            Ok(()) => {}
            Err(Halt::Final(obstacle)) => self.end = Some(Err(vec![obstacle])),
            Err(Halt::Waiting(obstacles)) => self.missing = obstacles,
        }
        if late && self.end.is_none() {
            self.end = Some(Err(std::mem::take(&mut self.missing)));
        }
    }

    fn advance(&mut self, now: Moment) -> Result<(), Halt> {
        let voters = self.voters(now)?;
        if self.record.is_none() {
            let record = self.propose(voters, now)?;
            self.promised(now)?;
            self.record = Some(record);
        }
        let Some(record) = self.record.clone() else { return Ok(()) };
        ask_accept(&self.settings, &self.view, &self.ballot, &record, &mut self.outbox, now);
        let accepted = |node: &NodeId| self.view.answers(node, &self.ballot).is_some_and(|answers| answers.accepted);
        let missing: Vec<&NodeId> = record.voters.keys().filter(|node| !accepted(node)).collect();
        if missing.is_empty() {
            self.end = Some(Ok(record));
            return Ok(());
        }
        Err(Halt::waiting(format!(
            "not accepted yet by {}; their nodes' logs say why, and init can be run again",
            crate::sentence::names(missing)
        )))
    }

    /// Every configured voter must be heard, with an empty ledger.
    fn voters(&self, now: Moment) -> Result<BTreeMap<NodeId, Incarnation>, Halt> {
        let mut voters = BTreeMap::new();
        let mut silent = Vec::new();
        for node in self.settings.nodes() {
            let Some(observation) = self.view.node(node, self.settings.policy.silence, now) else {
                let fix = "start its node, and see that its cluster file is the same";
                silent.push(Obstacle::of(node, format!("{node} is not heard; {fix}")));
                continue;
            };
            if self.record.is_none() && observation.ledger.accepted.is_some() {
                let what =
                    format!("{node} holds a record already: the cluster was born before, and there is nothing to do");
                return Err(Halt::Final(Obstacle::of(node, what)));
            }
            voters.insert(node.clone(), observation.ledger.incarnation);
        }
        if silent.is_empty() { Ok(voters) } else { Err(Halt::Waiting(silent)) }
    }

    fn promised(&mut self, now: Moment) -> Result<(), Halt> {
        let mut missing = Vec::new();
        for node in self.settings.nodes() {
            let answers = self.view.answers(node, &self.ballot);
            if answers.is_some_and(|answers| answers.promise.is_some()) {
                continue;
            }
            if let Some(Refusal::Promised { promised }) = answers.and_then(|answers| answers.refusal.as_ref()) {
                self.ballot.counter = self.ballot.counter.max(promised.counter + 1);
            }
            missing.push(node.clone());
        }
        if missing.is_empty() {
            return Ok(());
        }
        for node in &missing {
            let request = Request::Prepare { ballot: self.ballot.clone(), kind: Kind::Vote, evidence: None };
            self.outbox.ask(node, Topic::Prepare, request, self.settings.policy.repeat, now);
        }
        Err(Halt::waiting(format!(
            "not promised yet by {}; their nodes' logs say why, and init can be run again",
            crate::sentence::names(&missing)
        )))
    }

    fn propose(&mut self, voters: BTreeMap<NodeId, Incarnation>, now: Moment) -> Result<Record, Halt> {
        let silence = self.settings.policy.silence;
        let servers: Vec<&NodeId> = self.settings.servers.keys().collect();
        let unknown: Vec<Obstacle> = servers
            .iter()
            .filter(|node| self.view.facts(node, silence, now).is_none())
            .map(|node| Obstacle::of(node, format!("the server of {node} does not answer its node; start it")))
            .collect();
        if !unknown.is_empty() {
            return Err(Halt::Waiting(unknown));
        }
        let writable: Vec<&NodeId> = servers
            .iter()
            .copied()
            .filter(|node| self.view.facts(node, silence, now).is_some_and(|facts| facts.writable))
            .collect();
        let (primary, observed) = self.only_writable(&writable, now)?;
        let identity = self.view.server(&primary, silence, now).and_then(|server| server.identity.clone());
        let position = self.view.position(&primary).map(|(position, _)| position.executed.clone());
        let Some((identity, set_before)) = identity.zip(position) else {
            let what = format!("the position of {primary} is not known; its node's log says why it cannot be read");
            return Err(Halt::Waiting(vec![Obstacle::of(&primary, what)]));
        };
        let epoch = Epoch(self.ballot.clone());
        let (group, notes) = self.group(&primary, now);
        let acks = group.acks;
        self.notes = observed.into_iter().chain(notes).collect();
        Ok(Record {
            epoch: epoch.clone(),
            primary: primary.clone(),
            opened: true,
            groups: vec![group],
            reigns: vec![Reign { epoch, node: primary, origin: identity.origin, set_before }],
            voters,
            mode: self.settings.mode,
            wanted: acks,
            recent: Vec::new(),
            voters_before: None,
            pause: None,
            planned: None,
        })
    }

    /// The server that clients write to. A set-up that Tasuki must not act on can be born to be observed, and only so; the
    /// notes say why.
    fn only_writable(&self, writable: &[&NodeId], now: Moment) -> Result<(NodeId, Vec<String>), Halt> {
        let mut why_not: Vec<Obstacle> = unsupported(&self.settings, &self.view, None, now)
            .map(|(node, reason)| Obstacle::of(&node, format!("{node} is not supported: {reason}")))
            .into_iter()
            .collect();
        if writable.len() != 1 {
            let found = crate::sentence::names(writable.iter().copied());
            let what = format!("exactly one server must be writable (read_only = 0); found {found}");
            why_not.push(Obstacle::whole(what));
        }
        match writable.first() {
            Some(primary) if why_not.is_empty() || self.settings.mode == Mode::Observe => {
                let notes = why_not.iter().map(|it| format!("observed, never acted on: {}", it.what)).collect();
                Ok(((*primary).clone(), notes))
            }
            Some(_) => {
                let what = "until that is mended, the cluster can only be born with `mode = \"observe\"`";
                why_not.push(Obstacle::whole(what.to_owned()));
                Err(Halt::Waiting(why_not))
            }
            None => Err(Halt::Waiting(why_not)),
        }
    }

    /// The write group as it is: the replicas that acknowledge now and pass every gate.
    fn group(&self, primary: &NodeId, now: Moment) -> (WriteGroup, Vec<String>) {
        let silence = self.settings.policy.silence;
        let address = self.settings.servers.get(primary).map(|server| server.address.into());
        let mut members = BTreeSet::from([primary.clone()]);
        let mut notes = Vec::new();
        for node in self.settings.servers.keys() {
            let Some(facts) = self.view.facts(node, silence, now) else { continue };
            notes.extend(
                facts
                    .failing_gates
                    .iter()
                    .map(|gate| format!("{node}: {} is {}; set {}", gate.setting, gate.found, gate.fix)),
            );
            let follows =
                facts.replication.as_ref().is_some_and(|own| Some(&own.source) == address.as_ref() && !own.filtered);
            if follows && facts.semi_sync.replica_enabled && facts.failing_gates.is_empty() {
                members.insert(node.clone());
            }
        }
        let semi_sync = self.view.facts(primary, silence, now).map(|facts| facts.semi_sync.clone()).unwrap_or_default();
        let wanted = if semi_sync.source_enabled { semi_sync.wait_count.max(1) } else { 0 };
        let acks = wanted.min(u32::try_from(members.len() - 1).unwrap_or(u32::MAX));
        if acks == 0 {
            notes.push(
                "no replica acknowledges writes (k = 0): a crash is failed over with the dead server's own binlog, \
                 a lost host is not"
                    .to_owned(),
            );
            members = BTreeSet::from([primary.clone()]);
        }
        (WriteGroup { primary: primary.clone(), members, acks, leased: false }, notes)
    }
}

/// Why a step of the birth goes no further.
enum Halt {
    Waiting(Vec<Obstacle>),
    Final(Obstacle),
}

impl Halt {
    fn waiting(what: String) -> Self {
        Self::Waiting(vec![Obstacle::whole(what)])
    }
}
