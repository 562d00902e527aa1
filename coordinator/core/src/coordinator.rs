//! One cluster, as one coordinator decides about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Request;
use tasuki_schemas::event::{Diagnosis, EventBody, StageName};
use tasuki_schemas::id::{CoordinatorId, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Observation;
use tasuki_schemas::record::{Accepted, Mode, Record};

use crate::awake::Awake;
use crate::failover::Attempt;
use crate::flapping::Calm;
use crate::foresight::Foresight;
use crate::input::Input;
use crate::leading::{Incident, Leading, Next};
use crate::outbox::{Outbox, Output, Topic};
use crate::overrule::Case;
use crate::pause::Pauses;
use crate::planned::Plans;
use crate::propose::{Progress as Proposing, Proposal, Purpose};
use crate::random::Random;
use crate::reclone::Reclones;
use crate::settings::{Policy, Settings};
use crate::switchover::Handing;
use crate::verdict::Verdicts;
use crate::view::View;
use crate::voters::Seats;

/// Heartbeats for which a coordinator that has begun, or was frozen, listens before it looks.
const LISTENING: u32 = 3;

/// What this coordinator is doing. A stage owns its data.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Following,
    Proposing(Box<Proposal>, Option<Incident>),
    Failing(Box<Attempt>),
    Leading(Box<Leading>),
}

/// The decisions of one coordinator about one cluster.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) view: View,
    /// The record that the last look went by.
    pub(crate) known: Option<Arc<Record>>,
    pub(crate) role: Role,
    pub(crate) outbox: Outbox,
    pub(crate) verdicts: Verdicts,
    pub(crate) beat_at: Moment,
    /// Nothing changes until then unless something is heard; `None` while something is wrong or under way.
    pub(crate) rests_until: Option<Moment>,
    pub(crate) counter: u64,
    pub(crate) unled_since: Option<Moment>,
    pub(crate) retry_at: Moment,
    /// The failover under way over several ballots: when it began, and whether the tail was given up.
    pub(crate) incident: Option<(Moment, bool)>,
    /// The same, for people: an operator may answer for it.
    pub(crate) case: Option<Case>,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) told_diagnosis: Diagnosis,
    pub(crate) holds: Vec<String>,
    awake: Awake,
    seats: Seats,
    pub(crate) told_leader: Option<CoordinatorId>,
    pub(crate) excluded: BTreeMap<NodeId, Moment>,
    pub(crate) foresight: Foresight,
    pub(crate) pauses: Pauses,
    pub(crate) calm: Calm,
    pub(crate) handing: Option<Handing>,
    /// When a primary that is about to be stopped was last told why it cannot hand over.
    pub(crate) declined: Option<(Moment, String)>,
    pub(crate) reclones: Reclones,
    pub(crate) plans: Plans,
}

impl Coordinator {
    /// A coordinator that has heard nothing yet.
    #[must_use]
    pub fn new(settings: Settings, now: Moment) -> Self {
        Self {
            random: Random::new(settings.seed),
            view: View::new(settings.me.clone(), now),
            known: None,
            role: Role::Following,
            outbox: Outbox::default(),
            verdicts: Verdicts::default(),
            beat_at: now,
            rests_until: None,
            counter: 0,
            unled_since: None,
            retry_at: now,
            incident: None,
            case: None,
            diagnosis: Diagnosis::Unborn,
            told_diagnosis: Diagnosis::Unborn,
            holds: Vec::new(),
            awake: Awake::begun(now),
            seats: Seats::default(),
            told_leader: None,
            excluded: BTreeMap::new(),
            foresight: Foresight::default(),
            pauses: Pauses::default(),
            calm: Calm::default(),
            handing: None,
            declined: None,
            reclones: Reclones::default(),
            plans: Plans::default(),
            settings,
        }
    }

    /// Takes one thing that happened and returns, in order, what to do about it.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Output> {
        let Policy { silence, heartbeat, .. } = self.settings.policy;
        // So late that whoever was heard just before counts as silent.
        if self.awake.look(silence.saturating_sub(heartbeat).max(silence / 2), now) {
            self.rests_until = None;
            self.ask_everybody(now);
        }
        match input {
            Input::Woke if self.rests_until.is_some_and(|end| now < end) => {
                self.beat(now);
                return self.outbox.take();
            }
            Input::Woke => {}
            Input::Observed(observation, stamp) => {
                let observation: Arc<Observation> = Arc::from(observation);
                let changed = self.view.node(&observation.node, Duration::MAX, now) != Some(&*observation);
                if self.view.observed(Arc::clone(&observation), stamp, now) && changed {
                    self.outbox.tell(EventBody::Health { observation });
                }
            }
            Input::Positioned(position, stamp) => {
                if self.view.positioned((*position).clone(), stamp, now) {
                    self.outbox.tell(EventBody::Position { position: *position });
                }
            }
            Input::PlanDue { set_at, late } => self.plan_is_due(set_at, late),
            Input::Beaten(heartbeat) => self.view.beaten(heartbeat, now),
            Input::Fenced { ballot, node, how, outcome } => {
                if let Role::Failing(attempt) = &mut self.role {
                    attempt.fences.hear(&ballot, &node, how, outcome, &mut self.outbox);
                }
            }
            Input::Read { ballot, node, reading } => {
                if let Role::Failing(attempt) = &mut self.role {
                    attempt.fences.hear_reading(&self.view, (&ballot, &node, reading), &mut self.outbox, now);
                }
            }
            Input::Resumed => self.ask_everybody(now),
        }
        self.beat(now);
        if self.listens(now) {
            return self.outbox.take();
        }
        self.step(now);
        self.rests_until = self.rest(now);
        self.outbox.take()
    }

    /// Whether a coordinator that has begun, or was frozen, has to listen first. It measured its own silence and nobody
    /// else's, and what was said meanwhile lies unread.
    fn listens(&self, now: Moment) -> bool {
        self.awake.lasts(now) < self.settings.policy.heartbeat * LISTENING
    }

    fn ask_everybody(&mut self, now: Moment) {
        for node in self.settings.nodes() {
            self.outbox.ask(node, Topic::Report, Request::Report, self.settings.policy.repeat, now);
        }
    }

    /// The ballot that this coordinator owns, unless it is blind.
    #[must_use]
    pub fn ballot(&self) -> Option<&Ballot> {
        match &self.role {
            Role::Following => None,
            Role::Proposing(proposal, _) => Some(proposal.ballot()),
            Role::Failing(attempt) => Some(attempt.ballot()),
            Role::Leading(leading) => Some(leading.ballot()),
        }
    }

    /// The attempt to replace the primary that is under way.
    #[must_use]
    pub fn attempt(&self) -> Option<&Ballot> {
        match &self.role {
            Role::Failing(attempt) => Some(attempt.ballot()),
            Role::Following | Role::Proposing(..) | Role::Leading(_) => None,
        }
    }

    /// The record to go by: the highest accepted that anybody reported, or this leader's own.
    pub(crate) fn record(&self) -> Option<&Record> {
        let heard = self.view.highest_accepted();
        match &self.role {
            Role::Leading(leading) if heard.is_none_or(|heard| heard.ballot <= *leading.ballot()) => {
                Some(leading.record())
            }
            Role::Following | Role::Proposing(..) | Role::Failing(_) | Role::Leading(_) => {
                heard.map(|accepted| &accepted.record)
            }
        }
    }

    fn step(&mut self, now: Moment) {
        if self.known.as_deref() != self.record() {
            self.known = self.record().cloned().map(Arc::new);
        }
        let record = self.known.clone();
        let record = record.as_deref();
        self.diagnose(record, now);
        self.look_at_pause(record, now);
        self.look_at_switchover(record, now);
        if self.diagnosis == Diagnosis::Healthy {
            self.holds.clear();
        }
        // Every transition below goes on at once; the bound is against a fault in this very loop.
        for _ in 0..6 {
            if !self.advance(record, now) {
                break;
            }
        }
        self.tell_leader(now);
        self.foresee(record, now);
    }

    /// One transition; true if another may follow at once.
    fn advance(&mut self, record: Option<&Record>, now: Moment) -> bool {
        if matches!(self.diagnosis, Diagnosis::CoordinatorBlind { .. } | Diagnosis::Unborn) {
            self.role = Role::Following;
            self.unled_since = None;
            return false;
        }
        let Some(record) = record else { return false };
        if self.must_admit(record, now) {
            return self.begin_proposal(Purpose::TakeOver, None, None, now);
        }
        match std::mem::replace(&mut self.role, Role::Following) {
            Role::Following => self.follow(record, now),
            Role::Proposing(proposal, incident) => self.propose(proposal, incident, record, now),
            Role::Failing(attempt) => self.fail_over(attempt, now),
            Role::Leading(leading) => self.lead(leading, now),
        }
    }

    /// Others go first; when nobody leads for long enough, this one begins.
    fn follow(&mut self, record: &Record, now: Moment) -> bool {
        let policy = &self.settings.policy;
        let led = self.view.leader(policy.leader_patience, now).is_some();
        if led {
            (self.unled_since, self.incident, self.case) = (None, None, None);
            // An operator's wish is worth another leader.
            let due = if self.has_wish() && now >= self.retry_at { self.due(record) } else { None };
            let of = self.view.highest_accepted().cloned();
            return due.is_some_and(|purpose| self.begin_proposal(purpose, of, None, now));
        }
        let since = *self.unled_since.get_or_insert(now);
        let patience = policy.leader_patience + self.settings.rank_delay();
        if now.since(since) < patience || now < self.retry_at {
            return false;
        }
        if self.must_fail_over(record, true, now) {
            return self.begin_failover(record, now);
        }
        self.begin_proposal(Purpose::TakeOver, None, None, now)
    }

    fn begin_proposal(
        &mut self,
        purpose: Purpose,
        of: Option<Accepted>,
        incident: Option<Incident>,
        now: Moment,
    ) -> bool {
        let ballot = self.next_ballot();
        let mut proposal = Box::new(Proposal::new(ballot, purpose, of, now));
        proposal.admit(self.admitted());
        self.role = Role::Proposing(proposal, incident);
        true
    }

    pub(crate) fn next_ballot(&mut self) -> Ballot {
        let heard = self.view.highest_ballot().map_or(0, |ballot| ballot.counter);
        self.counter = self.counter.max(heard) + 1;
        Ballot { counter: self.counter, coordinator: self.settings.me.clone(), boot: self.settings.boot }
    }

    fn propose(
        &mut self,
        mut proposal: Box<Proposal>,
        incident: Option<Incident>,
        record: &Record,
        now: Moment,
    ) -> bool {
        if self.must_fail_over(record, false, now) {
            return self.begin_failover(record, now);
        }
        match proposal.step(&self.settings, &self.view, &mut self.outbox, now) {
            Proposing::Pending => {
                self.role = Role::Proposing(proposal, incident);
                false
            }
            Proposing::Decided(decided) => {
                self.tell_decided(proposal.ballot().clone(), &decided);
                self.granted(proposal.purpose(), &decided);
                let mut leading = Leading::new(proposal.ballot().clone(), *decided, None, now);
                leading.incident = incident;
                if leading.record().opened {
                    leading.tell_stage(StageName::Finished, &mut self.outbox, now);
                    leading.incident = None;
                }
                self.role = Role::Leading(Box::new(leading));
                true
            }
            Proposing::Lost => self.back_off(now),
            Proposing::Late => {
                if let Some(accepted) = self.view.highest_accepted() {
                    self.seats.unable(&self.settings, &self.view, accepted, &mut self.outbox, now);
                }
                self.back_off(now)
            }
            Proposing::Unfinished if record.mode == Mode::Armed => self.begin_failover(record, now),
            Proposing::Unfinished => self.back_off(now),
        }
    }

    fn lead(&mut self, mut leading: Box<Leading>, now: Moment) -> bool {
        if self.view.highest_ballot().is_some_and(|highest| highest > leading.ballot()) {
            return self.back_off(now);
        }
        if self.must_fail_over(leading.record(), false, now) {
            return self.begin_failover(leading.record(), now);
        }
        if self.drains() {
            return self.drain(leading, now);
        }
        if matches!(self.diagnosis, Diagnosis::Unsupported { .. }) && leading.record().opened {
            // Only a promotion under way goes on; everyday care would be an act on what is only observed.
            self.role = Role::Leading(leading);
            return false;
        }
        leading.retiring = self.retiring(leading.record(), now);
        let next = leading.step(&self.settings, &self.view, &mut self.outbox, now);
        self.foresight.measure(&leading, now);
        match next {
            Next::Stay => {
                if leading.record().opened && self.begins_switchover(&mut leading, now) {
                    self.role = Role::Leading(leading);
                    return true;
                }
                if leading.record().opened {
                    self.tend_reclones(&mut leading, now);
                }
                let record = leading.record();
                let settled = record.opened && self.calm.look(&self.settings, &self.view, record, now);
                let settles = settled.then_some(Purpose::Settle);
                if let Some(purpose) = settles.or_else(|| self.due(record)) {
                    return self.change(purpose, leading, now);
                }
                self.role = Role::Leading(leading);
                false
            }
            Next::Hold(reason) => {
                self.hold(vec![reason]);
                self.role = Role::Leading(leading);
                false
            }
            Next::Propose(purpose) => self.change(purpose, leading, now),
            Next::GiveUp(node, reason) => {
                self.hold(vec![format!("{node} did not open: {reason}")]);
                self.diagnosis = Diagnosis::PrimaryClosed { primary: node.clone() };
                self.excluded.insert(node, now);
                self.begin_failover(leading.record(), now)
            }
        }
    }

    /// The leader changes its record.
    fn change(&mut self, purpose: Purpose, mut leading: Box<Leading>, now: Moment) -> bool {
        self.begin_proposal(purpose, Some(leading.accepted()), leading.incident.take(), now)
    }

    /// Steps back for a random while, so that duelling coordinators settle.
    pub(crate) fn back_off(&mut self, now: Moment) -> bool {
        self.role = Role::Following;
        self.retry_at = now + Duration::from_millis(20 + self.random.next() % 180);
        self.unled_since = None;
        false
    }
}
