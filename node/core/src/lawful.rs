//! Whether an order fits the promise, the record that it carries, and this node.

use tasuki_schemas::answer::Refusal;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Order;
use tasuki_schemas::record::{Mode, Record};

use crate::node::Node;

impl Node {
    /// Why an order is not obeyed, if so.
    pub(crate) fn unlawful(&self, ballot: &Ballot, order: &Order) -> Option<Refusal> {
        if let Some(promised) = self.memory.promised.clone().filter(|promised| promised > ballot) {
            return Some(Refusal::Promised { promised });
        }
        let at_ballot = self.memory.accepted.as_ref().filter(|accepted| accepted.ballot == *ballot);
        if at_ballot.zip(carried(order)).is_some_and(|(accepted, record)| accepted.record != *record) {
            let reason = "this ballot carries another record already".to_owned();
            return Some(Refusal::Unlawful { reason });
        }
        let record = carried(order).or_else(|| self.record());
        if record.is_none_or(|record| record.mode == Mode::Observe) {
            return Some(Refusal::Observed);
        }
        let wrong = |reason: &str| Some(Refusal::Unlawful { reason: reason.to_owned() });
        let me = &self.settings.me;
        if !self.settings.has_server() {
            return wrong("a witness has no server");
        }
        if self.memory.accepted.is_none() {
            // Nor has it promised anything that keeps it from whatever was ordered long ago and is brought again.
            return wrong("it has accepted no record yet");
        }
        match order {
            Order::Promote { record, .. } if record.primary != *me => wrong("the record names another primary"),
            Order::Promote { .. } if self.may_be_stopped() => wrong("its server is about to be stopped"),
            Order::Follow { record } if record.primary == *me => wrong("the primary follows nobody"),
            Order::JoinGroup { record } if !record.group().is_some_and(|group| group.members.contains(me)) => {
                wrong("the record's group does not have this server")
            }
            Order::Follow { record } if !self.settings.servers.contains_key(&record.primary) => {
                wrong("the record's primary is not in this cluster file")
            }
            Order::CatchUp { from, .. } if !self.settings.servers.contains_key(from) => {
                wrong("the donor is not in this cluster file")
            }
            Order::SetWaitCount { record, .. } if record.primary != *me => wrong("the record names another primary"),
            Order::SetWaitCount { record, acks } if record.group().is_none_or(|group| *acks < group.acks) => {
                wrong("the record's group asks for more acknowledgements")
            }
            Order::CutAcker { record, .. } if record.primary != *me => wrong("the record names another primary"),
            Order::CutAcker { refused, .. } => self.unreachable_by_rules(refused).and_then(|reason| wrong(&reason)),
            Order::Drain { record, .. } if record.primary != *me || !record.opened => {
                wrong("the record does not name this server as an opened primary")
            }
            Order::LeaveGroup { record } if record.primary == *me => wrong("the primary acknowledges nothing"),
            Order::Archive { record, .. } if record.primary == *me => wrong("the primary holds nothing in excess"),
            Order::Reclone { record, step } => self.unclonable(record, step).and_then(|reason| wrong(&reason)),
            Order::Promote { .. }
            | Order::Follow { .. }
            | Order::JoinGroup { .. }
            | Order::SetWaitCount { .. }
            | Order::LeaveGroup { .. }
            | Order::Drain { .. }
            | Order::Archive { .. }
            | Order::CatchUp { .. } => None,
        }
    }
}

/// The decided record that justifies an order.
pub(crate) fn carried(order: &Order) -> Option<&Record> {
    match order {
        Order::CatchUp { .. } => None,
        Order::Promote { record, .. }
        | Order::Follow { record }
        | Order::JoinGroup { record }
        | Order::LeaveGroup { record }
        | Order::Drain { record, .. }
        | Order::Archive { record, .. }
        | Order::Reclone { record, .. }
        | Order::CutAcker { record, .. }
        | Order::SetWaitCount { record, .. } => Some(record),
    }
}
