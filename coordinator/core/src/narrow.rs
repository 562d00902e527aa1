//! The write group gets narrower, the server before the record: a member that acknowledges nothing for long can acknowledge
//! no more, then what it acknowledged is with enough of the others, then the record is decided without it.
//!
//! Servers outside the group are kept away from the primary, until each has said at this ballot that its semi-sync side is off.

use std::collections::BTreeSet;

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::command::{Order, OrderName};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, CutStrength};

use crate::leading::{Leading, Next};
use crate::outbox::Outbox;
use crate::propose::Purpose;
use crate::settings::Settings;
use crate::view::View;

/// The removal of one member, as far as it got at this ballot.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    node: Option<NodeId>,
    /// What the primary was last asked to refuse, and for whose removal.
    asked: Option<(BTreeSet<NodeId>, Option<NodeId>)>,
    /// When the member was first seen cut off: only later positions show coverage.
    cut_at: Option<Moment>,
    told: BTreeSet<(NodeId, String)>,
}

impl Removal {
    /// Whether this is the member being removed.
    #[must_use]
    pub fn is_of(&self, node: &NodeId) -> bool {
        self.node.as_ref() == Some(node)
    }
}

/// How a member is kept from acknowledging.
enum Means {
    /// The primary's node refuses its address in the kernel.
    Rules,
    /// Its own node switches its semi-sync side off, or says that its server is gone.
    Itself,
}

impl Leading {
    /// Brings the primary's rules to what the record asks for; `removed` is a member that must leave the group. The change of
    /// the record, once that is due.
    pub(crate) fn tend_refused(
        &mut self,
        settings: &Settings,
        view: &View,
        removed: Option<&NodeId>,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Option<Next> {
        let primary = self.record.primary.clone();
        let members = self.record.group().map(|group| group.members.clone()).filter(|_| self.record.opened)?;
        let server = view.server(&primary, settings.policy.silence, now)?;
        let standing = server.refused.clone();
        for stranger in &server.strangers {
            self.say(&primary, stranger.clone(), outbox);
        }
        if removed.is_none() {
            self.removal.node = None;
        }
        let removed = removed.and_then(|node| self.remove(settings, view, node, outbox, now));
        let mut refused: BTreeSet<NodeId> = standing
            .iter()
            .filter(|node| !members.contains(*node) && !self.has_left(settings, view, node, outbox, now))
            .cloned()
            .collect();
        if let Some((node, Means::Rules)) = &removed {
            refused.insert(node.clone());
        }
        let removed = removed.map(|(node, _)| node);
        if refused == standing && removed.is_none() {
            self.removal.asked = None;
            return None;
        }
        let asked = Some((refused.clone(), removed.clone()));
        if self.removal.asked != asked {
            self.forget(&primary, OrderName::CutAcker);
            (self.removal.asked, self.removal.cut_at) = (asked, None);
        }
        let order = Order::CutAcker { record: Box::new(self.record.clone()), refused, removed: removed.clone() };
        match (self.order(settings, view, &primary, order, outbox, now), removed) {
            (Some(Outcome::Done { holdings: Some(holdings), .. }), Some(node)) => {
                let cut_at = *self.removal.cut_at.get_or_insert(now);
                let covered = self.is_covered(view, &node, &holdings.executed, cut_at);
                if covered {
                    return Some(Next::Propose(Purpose::Narrow(node)));
                }
                for other in members.iter().filter(|other| **other != node && **other != primary) {
                    outbox.ask_report(other, now);
                }
            }
            (Some(Outcome::Done { .. } | Outcome::Failed { .. }), _) => self.renew(&primary, OrderName::CutAcker, now),
            (Some(Outcome::Running { .. }) | None, _) => {}
        }
        None
    }

    /// Whether as many of the others as must acknowledge have what the primary had when the member was cut off.
    fn is_covered(&self, view: &View, node: &NodeId, end: &GtidSet, cut_at: Moment) -> bool {
        let Some(group) = self.record.group() else { return false };
        let holds = |other: &&NodeId| {
            **other != *node
                && **other != group.primary
                && view.position(other).is_some_and(|(position, at)| {
                    at > cut_at && position.received.known().is_some_and(|set| set.contains(end) == Ok(true))
                })
        };
        let covering = group.members.iter().filter(holds).count();
        u32::try_from(covering).unwrap_or(u32::MAX) >= group.acks
    }

    /// Begins a removal, or goes on with it. How the member is kept from acknowledging, unless that is still to come.
    fn remove(
        &mut self,
        settings: &Settings,
        view: &View,
        node: &NodeId,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Option<(NodeId, Means)> {
        if self.removal.node.as_ref() != Some(node) {
            // What it said in an earlier removal of this ballot no longer holds: it may have joined again.
            for name in [OrderName::LeaveGroup, OrderName::Follow, OrderName::JoinGroup] {
                self.forget(node, name);
            }
            // A member that left before is told of again.
            self.removal.told.retain(|(told, _)| told != node);
            self.removal.node = Some(node.clone());
        }
        let patience = settings.policy.narrow_patience.as_secs_f64();
        let why = match &self.retiring {
            Some(retiring) if retiring == node => "is to be re-cloned".to_owned(),
            Some(_) | None => format!("acknowledged nothing for {patience} s"),
        };
        if self.has_rules(settings, view, node, now) {
            self.say(node, format!("{why}; it leaves the write group"), outbox);
            return Some((node.clone(), Means::Rules));
        }
        if self.can_answer(settings, view, node, now) {
            self.say(node, format!("{why}; it leaves the write group"), outbox);
            return self.leaves(settings, view, node, outbox, now).then(|| (node.clone(), Means::Itself));
        }
        let primary = &self.record.primary;
        let sentence = format!(
            "{why} and stays in the write group: {primary} has no kernel rules against its address, and its own node is silent, so that nothing shows that it acknowledges no more; set cut = \"kernel\" in the node.toml of {primary}, or bring {node} back"
        );
        self.say(node, sentence, outbox);
        None
    }

    /// Whether the primary's node can refuse a server by its address alone.
    fn has_rules(&self, settings: &Settings, view: &View, node: &NodeId, now: Moment) -> bool {
        let server = view.server(&self.record.primary, settings.policy.silence, now);
        let address = |node: &NodeId| settings.servers.get(node).map(|server| server.address.ip());
        let shared = settings.servers.keys().any(|other| other != node && address(other) == address(node));
        server.is_some_and(|server| server.cut == CutStrength::Kernel) && address(node).is_some() && !shared
    }

    fn can_answer(&self, settings: &Settings, view: &View, node: &NodeId, now: Moment) -> bool {
        view.server(node, settings.policy.silence, now)
            .is_some_and(|server| server.process.has_exited() || server.connection == Connection::Answering)
    }

    /// Whether a server outside the group has said at this ballot, after it accepted this record, that it acknowledges
    /// nothing. Asks for that.
    fn has_left(&mut self, settings: &Settings, view: &View, node: &NodeId, outbox: &mut Outbox, now: Moment) -> bool {
        self.can_answer(settings, view, node, now) && self.leaves(settings, view, node, outbox, now)
    }

    fn leaves(&mut self, settings: &Settings, view: &View, node: &NodeId, outbox: &mut Outbox, now: Moment) -> bool {
        let order = Order::LeaveGroup { record: Box::new(self.record.clone()) };
        match self.order(settings, view, node, order, outbox, now) {
            Some(Outcome::Done { .. }) => true,
            Some(Outcome::Failed { .. }) => {
                self.renew(node, OrderName::LeaveGroup, now);
                false
            }
            Some(Outcome::Running { .. }) | None => false,
        }
    }

    fn say(&mut self, node: &NodeId, sentence: String, outbox: &mut Outbox) {
        if self.removal.told.insert((node.clone(), sentence.clone())) {
            outbox.tell(EventBody::Repair { node: node.clone(), sentence });
        }
    }
}
