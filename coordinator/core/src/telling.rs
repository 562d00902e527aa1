//! What a coordinator tells: the diagnosis, who leads, why nothing is done, and the snapshot.

use std::collections::BTreeMap;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Heartbeat;
use tasuki_schemas::event::{Diagnosis, EventBody, Snapshot};
use tasuki_schemas::id::{CoordinatorId, NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::coordinator::{Coordinator, Role};
use crate::diagnose::{diagnose, is_news};
use crate::propose::Purpose;
use crate::sentence::sentence;

impl Coordinator {
    pub(crate) fn diagnose(&mut self, record: Option<&Record>, now: Moment) {
        let mut diagnosis = diagnose(&self.settings, &self.view, record, self.ballot(), now);
        diagnosis = self.verdicts.refine(&self.settings, &self.view, record, diagnosis, now);
        if matches!(
            diagnosis,
            Diagnosis::Healthy
                | Diagnosis::ReplicaStray { .. }
                | Diagnosis::ReplicaBroken { .. }
                | Diagnosis::ReplicaLagging { .. }
                | Diagnosis::Degraded { .. }
                | Diagnosis::GroupTooSmall { .. }
        ) && let Some((node, (extras, archive))) = self.quarantine().into_iter().next()
        {
            diagnosis = Diagnosis::ErrantTransactions { node, extras, archive };
        }
        diagnosis = self.expected(diagnosis);
        // What an attempt does to the servers is no news of their health, and one that a living leader makes is not left
        // unfinished.
        let unfinished = matches!(diagnosis, Diagnosis::AttemptUnfinished { .. });
        let attempting = !matches!(diagnosis, Diagnosis::CoordinatorBlind { .. })
            && (matches!(self.role, Role::Failing(_)) || unfinished && self.leader(now).is_some());
        if !attempting && is_news(&self.told_diagnosis, &diagnosis) {
            self.told_diagnosis = diagnosis.clone();
            if Self::is_serving(&diagnosis) {
                self.holds.clear();
            }
            self.outbox.tell(EventBody::Diagnosis { diagnosis: diagnosis.clone(), sentence: sentence(&diagnosis) });
        }
        self.diagnosis = diagnosis;
    }

    /// The primary serves: whatever nothing was done about is over.
    pub(crate) const fn is_serving(diagnosis: &Diagnosis) -> bool {
        matches!(
            diagnosis,
            Diagnosis::Healthy
                | Diagnosis::Degraded { .. }
                | Diagnosis::GroupTooSmall { .. }
                | Diagnosis::ReplicaStray { .. }
                | Diagnosis::ReplicaBroken { .. }
                | Diagnosis::ReplicaLagging { .. }
                | Diagnosis::PrimaryOverloaded { .. }
                | Diagnosis::ErrantTransactions { .. }
        )
    }

    /// The heartbeat, when it is due.
    pub(crate) fn beat(&mut self, now: Moment) {
        if now < self.beat_at {
            return;
        }
        self.beat_at = now + self.settings.policy.heartbeat;
        let nonce = Nonce(self.random.next());
        self.view.sent_nonce(nonce);
        let leading = self.ballot().cloned();
        self.outbox.beat(Heartbeat { coordinator: self.settings.me.clone(), nonce, leading, seat: None });
    }

    /// Holds for a reason that ends with time: told once, and kept current for snapshots.
    pub(crate) fn hold_for(&mut self, reason: &str, rest: &str) {
        let text = format!("{reason}; {rest}");
        if self.holds.first().is_some_and(|held| held.starts_with(reason)) {
            self.holds = vec![text];
        } else {
            self.hold(vec![text]);
        }
    }

    pub(crate) fn hold(&mut self, reasons: Vec<String>) {
        if self.holds != reasons {
            self.holds.clone_from(&reasons);
            self.outbox.tell(EventBody::Hold { reasons });
        }
    }

    pub(crate) fn tell_decided(&mut self, ballot: Ballot, record: &Record) {
        self.outbox.tell(EventBody::Decided { ballot, record: Box::new(record.clone()) });
        self.tell_admitted(record);
    }

    pub(crate) fn tell_leader(&mut self, now: Moment) {
        let leader = self.leader(now);
        if leader != self.told_leader {
            self.told_leader.clone_from(&leader);
            self.outbox.tell(EventBody::Leader { leader });
        }
    }

    /// Whether anybody leads, as far as this coordinator has told.
    #[must_use]
    pub const fn is_led(&self) -> bool {
        self.told_leader.is_some()
    }

    fn leader(&self, now: Moment) -> Option<CoordinatorId> {
        match &self.role {
            Role::Leading(_) | Role::Failing(_) => Some(self.settings.me.clone()),
            Role::Proposing(proposal, _) if *proposal.purpose() != Purpose::TakeOver => Some(self.settings.me.clone()),
            Role::Following | Role::Proposing(..) => {
                self.view.leader(self.settings.policy.leader_patience, now).map(|(name, _)| name.clone())
            }
        }
    }

    fn quarantine(&self) -> BTreeMap<NodeId, (String, Option<String>)> {
        match &self.role {
            Role::Leading(leading) => leading.quarantine(),
            Role::Following | Role::Proposing(..) | Role::Failing(_) => BTreeMap::new(),
        }
    }

    /// Everything that a viewer needs. The shell fills in the number of the last event.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let record = self.record().cloned();
        let (stage, goal) = match &self.role {
            Role::Failing(attempt) => (Some(attempt.stage()), attempt.goal().cloned()),
            Role::Leading(leading) => (leading.stage(), None),
            Role::Following | Role::Proposing(..) => (None, None),
        };
        Snapshot {
            cluster: self.settings.cluster.clone(),
            coordinator: self.settings.me.clone(),
            number: 0,
            id: None,
            leader: self.leader(now),
            epoch: record.as_ref().map(|record| record.epoch.clone()),
            record,
            diagnosis: self.diagnosis.clone(),
            sentence: sentence(&self.diagnosis),
            holds: self.holds.clone(),
            incident: self.incident_id(),
            nodes: self.view.nodes(),
            positions: self.view.positions(),
            quarantine: self.quarantine().into_iter().map(|(node, (extras, _))| (node, extras)).collect(),
            stage,
            goal,
            forecast: self.forecast().cloned(),
        }
    }
}
