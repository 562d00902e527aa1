//! An attempt's acts from outside: fences, and the reading of what a fenced server holds.

use std::time::Duration;

use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;

use super::Attempt;
use crate::cover::Evidence;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::view::View;

impl Attempt {
    /// Servers whose nodes do not fence them are fenced from outside, where that would prove something.
    pub(super) fn fence(&mut self, settings: &Settings, view: &View, awaited: bool, outbox: &mut Outbox, now: Moment) {
        let accepted = self.promises.base().or_else(|| view.highest_accepted());
        let Some(record) = accepted.map(|accepted| &accepted.record) else { return };
        let silent = |node: &NodeId| view.silence_of(node, now) >= settings.policy.silence;
        let evidence = Evidence { promises: &self.promises, fences: &self.fences, policy: &settings.policy, now };
        for (node, accepted) in evidence.worth_fencing(record, silent, awaited) {
            let index = index_of(view, &node, now);
            self.fences.ask(&settings.policy, &node, (accepted, index), outbox, now);
        }
        // Whatever is struck may end at any moment: it is chosen only if nobody else can be.
        let struck = settings.servers.keys().filter(|node| self.fences.strike(node));
        self.doubts.failed.extend(struck.cloned());
    }

    /// What a server that was ended through ssh holds is read there, once it is known what the others hold.
    pub(super) fn read(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) {
        let sets = self.promises.iter().filter_map(|(node, _)| self.promises.holding(node).cloned());
        let Some(have) = sets.reduce(|all, set| all.union(&set).unwrap_or(all)) else { return };
        for node in settings.servers.keys() {
            self.fences.read(&settings.policy, node, (&have, index_of(view, node, now)), outbox, now);
        }
    }

    /// An operator answers for its incident.
    pub(crate) fn vouch(&mut self, word: Option<Override>) {
        self.fences.vouch(word);
    }
}

/// Where a node last said that the list of its server's binlog files is.
fn index_of(view: &View, node: &NodeId, now: Moment) -> Option<String> {
    view.server(node, Duration::MAX, now)?.identity.as_ref()?.binlog_index.clone()
}
