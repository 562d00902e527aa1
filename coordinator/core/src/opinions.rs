//! Fresh opinions: before a verdict from silence, voters look at the primary themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::answer::Look;
use tasuki_schemas::command::Request;
use tasuki_schemas::id::{NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::outbox::{Outbox, Topic};
use crate::settings::Settings;
use crate::view::View;

/// Opinions older than this are asked for anew.
const FRESH: Duration = Duration::from_millis(400);
/// While the primary greets, its silence is looked at less and less often, but at least so often: each look counts as an
/// interrupted login, and a server blocks a host after a hundred of them (`max_connect_errors`).
const SELDOM: Duration = Duration::from_secs(10);

/// One round of looks.
#[derive(Clone, Copy, Debug)]
struct Round {
    nonce: Nonce,
    asked_at: Moment,
}

/// What the voters said when they were asked last.
#[derive(Debug, Default)]
pub(crate) struct Opinions {
    round: Option<Round>,
    /// Who was greeted, once a majority of the voters has looked; with the moment at which it was asked to.
    formed: Option<(BTreeSet<NodeId>, Moment)>,
    pause: Duration,
    draws: u64,
}

impl Opinions {
    pub(crate) const fn are_asked_for(&self) -> bool {
        self.round.is_some()
    }

    pub(crate) fn forget(&mut self) {
        (self.round, self.formed, self.pause) = (None, None, Duration::ZERO);
    }

    /// The voters whom the primary greeted; `None` while too few have looked.
    pub(crate) fn greeted(&self) -> Option<&BTreeSet<NodeId>> {
        self.formed.as_ref().map(|(greeted, _)| greeted)
    }

    /// A majority of the voters looked a moment ago, and nobody was greeted.
    pub(crate) fn confirm_silence(&self, now: Moment) -> bool {
        self.formed.as_ref().is_some_and(|(greeted, at)| greeted.is_empty() && now.since(*at) <= FRESH)
    }

    /// Asks the voters to look, and reads what they saw.
    pub(crate) fn ask(&mut self, settings: &Settings, view: &View, record: &Record, outbox: &mut Outbox, now: Moment) {
        if self.round.is_none_or(|round| now.since(round.asked_at) > self.pause.max(FRESH)) {
            let greeted = self.greeted().is_some_and(|greeted| !greeted.is_empty());
            self.pause = if greeted { (self.pause * 2).clamp(FRESH * 2, SELDOM) } else { Duration::ZERO };
            self.draws += 1;
            self.round = Some(Round { nonce: Nonce(settings.boot.0.wrapping_add(self.draws)), asked_at: now });
        }
        let Some(Round { nonce, asked_at }) = self.round else { return };
        let councils = record.councils().flat_map(|voters| voters.keys());
        let voters: BTreeSet<&NodeId> = councils.filter(|node| **node != record.primary).collect();
        let looks: Vec<(&NodeId, Look)> = voters
            .iter()
            .filter_map(|node| {
                let answer = view.any_answers(node)?.probe.as_ref().filter(|probe| probe.nonce == nonce)?;
                Some((*node, answer.look))
            })
            .collect();
        for node in voters.into_iter().filter(|voter| !looks.iter().any(|(node, _)| node == voter)) {
            let request = Request::Probe { nonce, primary: record.primary.clone() };
            outbox.ask(node, Topic::Probe, request, settings.policy.repeat * 4, now);
        }
        if !record.has_quorum(|node, _| looks.iter().any(|(looker, _)| *looker == node)) {
            return;
        }
        let greeted: BTreeSet<NodeId> =
            looks.iter().filter(|(_, look)| *look == Look::Greeted).map(|(node, _)| (*node).clone()).collect();
        self.formed = Some((greeted, asked_at));
    }
}
