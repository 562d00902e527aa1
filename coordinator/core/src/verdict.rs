//! From a diagnosis to a verdict: at once where the evidence is certain, after fresh opinions where it is silence, and
//! after a pause where it may only be a probe that is a moment old.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::answer::Look;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::Request;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::{NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::outbox::{Outbox, Topic};
use crate::settings::Settings;
use crate::view::View;

/// Whether a failover is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Certain,
    /// Perhaps: voters are being asked to look themselves.
    Asking,
    /// No.
    No,
}

/// A closed primary is believed after so long: a promotion and its probe overtake each other.
const CLOSED_FOR: Duration = Duration::from_millis(600);
/// Opinions older than this are asked for anew.
const OPINION: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    closed_since: Option<Moment>,
    asked: Option<(Nonce, Moment)>,
    greeted: BTreeSet<NodeId>,
    news: Option<(Epoch, NodeId)>,
    draws: u64,
}

impl Verdicts {
    pub(crate) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The voters whom the silent primary greets.
    pub(crate) const fn greeted(&self) -> &BTreeSet<NodeId> {
        &self.greeted
    }

    /// True once for each primary of each epoch: a decision that is only told is told once.
    pub(crate) fn is_news(&mut self, record: &Record) -> bool {
        let key = Some((record.epoch.clone(), record.primary.clone()));
        let news = self.news != key;
        self.news = key;
        news
    }

    pub(crate) fn verdict(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        diagnosis: &Diagnosis,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Verdict {
        if !matches!(diagnosis, Diagnosis::PrimaryClosed { .. }) {
            self.closed_since = None;
        }
        if !matches!(diagnosis, Diagnosis::PrimaryHostLost { .. } | Diagnosis::PrimaryUnseen { .. }) {
            self.asked = None;
            self.greeted.clear();
        }
        if matches!(diagnosis, Diagnosis::Healthy) {
            self.news = None;
        }
        match diagnosis {
            Diagnosis::PrimaryCrashed { .. } | Diagnosis::PrimaryHung { .. } => Verdict::Certain,
            Diagnosis::PrimaryClosed { .. } => {
                let since = *self.closed_since.get_or_insert(now);
                if now.since(since) >= CLOSED_FOR { Verdict::Certain } else { Verdict::No }
            }
            Diagnosis::PrimaryHostLost { primary, .. } | Diagnosis::PrimaryUnseen { primary, .. } => {
                self.ask(settings, view, record, primary, outbox, now)
            }
            Diagnosis::Unborn
            | Diagnosis::CoordinatorBlind { .. }
            | Diagnosis::Healthy
            | Diagnosis::PrimaryRefusing { .. }
            | Diagnosis::ReplicationOnlyPartition { .. }
            | Diagnosis::SidecarLost { .. }
            | Diagnosis::AttemptUnfinished { .. }
            | Diagnosis::TwoPrimaries { .. }
            | Diagnosis::Degraded { .. }
            | Diagnosis::GroupTooSmall { .. }
            | Diagnosis::Unsupported { .. }
            | Diagnosis::ReplicaStray { .. }
            | Diagnosis::ErrantTransactions { .. } => Verdict::No,
        }
    }

    /// Silence is not death: a majority of the voters must have looked themselves, and none may have been greeted.
    fn ask(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        primary: &NodeId,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Verdict {
        if self.asked.is_none_or(|(_, at)| now.since(at) > OPINION) {
            self.draws += 1;
            self.asked = Some((Nonce(settings.boot.0.wrapping_add(self.draws)), now));
        }
        let Some((nonce, _)) = self.asked else { return Verdict::Asking };
        let voters: BTreeSet<&NodeId> = record.voters.keys().filter(|node| *node != primary).collect();
        let looks: Vec<(&NodeId, Look)> = voters
            .iter()
            .filter_map(|node| {
                let answer = view.any_answers(node)?.probe.as_ref().filter(|probe| probe.nonce == nonce)?;
                Some((*node, answer.look))
            })
            .collect();
        for node in voters {
            let request = Request::Probe { nonce, primary: primary.clone() };
            outbox.ask(node, Topic::Probe, request, settings.policy.repeat * 4, now);
        }
        if looks.len() < record.majority() {
            return Verdict::Asking;
        }
        self.greeted =
            looks.iter().filter(|(_, look)| *look == Look::Greeted).map(|(node, _)| (*node).clone()).collect();
        if self.greeted.is_empty() { Verdict::Certain } else { Verdict::Asking }
    }
}
