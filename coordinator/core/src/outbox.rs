//! What the core wants done, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Heartbeat, OrderName, Request};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;

use crate::fence::Means;

/// A node that was asked for its report is not asked again before this.
const REPORT_AGAIN: Duration = Duration::from_millis(100);

/// One thing to do. None of them is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a request to a node.
    Send {
        /// The node.
        to: NodeId,
        /// The request.
        request: Request,
    },
    /// Tell all nodes and coordinators that this one lives.
    Beat(Heartbeat),
    /// Tell viewers.
    Tell(Box<EventBody>),
    /// Make a server unable to serve, from outside; what came of it comes back as an input.
    Fence {
        /// The attempt that asks: its result goes back with it.
        ballot: Ballot,
        /// The server.
        node: NodeId,
        /// How.
        how: Means,
        /// Nobody accepts a loss: it is ended only if its binlog's files are there to be read.
        only_readable: bool,
        /// Where its node last said that the list of those is.
        index: Option<String>,
    },
    /// Read the files of a server that was ended through ssh, and keep what others lack for whoever asks for it; what came of
    /// it comes back as an input.
    Read {
        /// The attempt that asks: its result goes back with it.
        ballot: Ballot,
        /// The server.
        node: NodeId,
        /// Where its node last said that the list of its binlog's files is.
        index: Option<String>,
        /// What others hold together.
        have: Box<GtidSet>,
    },
}

/// What a request is about, so that the same one is not repeated too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Prepare,
    Accept,
    /// Each order of its own: two that are due at once must not take turns in being news.
    Order(OrderName),
    Probe,
    Report,
    BeginAnew,
    CannotLeave,
}

/// Collects outputs, and spaces repetitions of requests that were not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    outputs: Vec<Output>,
    sent: BTreeMap<(NodeId, Topic), (Request, Moment)>,
}

impl Outbox {
    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn beat(&mut self, heartbeat: Heartbeat) {
        self.outputs.push(Output::Beat(heartbeat));
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(crate) fn tell(&mut self, body: EventBody) {
        self.outputs.push(Output::Tell(Box::new(body)));
    }

    /// Asks a node for an observation and a position before they are due.
    pub(crate) fn ask_report(&mut self, of: &NodeId, now: Moment) {
        self.ask(of, Topic::Report, Request::Report, REPORT_AGAIN, now);
    }

    /// Sends a request, unless the same one went to that node less than `repeat` ago.
    pub(crate) fn ask(&mut self, to: &NodeId, topic: Topic, request: Request, repeat: Duration, now: Moment) {
        let key = (to.clone(), topic);
        if let Some((last, at)) = self.sent.get(&key)
            && now.since(*at) < repeat
            && *last == request
        {
            return;
        }
        self.sent.insert(key, (request.clone(), now));
        self.outputs.push(Output::Send { to: to.clone(), request });
    }
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::id::Incarnation;

    use super::*;

    const REPEAT: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    /// How many requests went out since the last look.
    fn sent(outbox: &mut Outbox) -> usize {
        outbox.take().len()
    }

    #[test]
    fn a_request_is_repeated_only_after_its_pause_which_begins_anew_with_each() {
        let mut outbox = Outbox::default();
        let mut ask = |ms| {
            outbox.ask(&node("db1"), Topic::Report, Request::Report, REPEAT, at(ms));
            sent(&mut outbox)
        };
        let went: Vec<usize> = [0, 49, 50, 99, 100].into_iter().map(&mut ask).collect();
        assert_eq!(went, [1, 0, 1, 0, 1]);
    }

    #[test]
    fn news_waits_for_nothing_and_replaces_what_was_asked_before() {
        let mut outbox = Outbox::default();
        let mut ask = |number: u64| {
            let request = Request::BeginAnew { incarnation: Incarnation(number), reason: String::new() };
            outbox.ask(&node("db1"), Topic::BeginAnew, request, REPEAT, at(0));
            sent(&mut outbox)
        };
        assert_eq!((ask(1), ask(2), ask(2), ask(1)), (1, 1, 0, 1));
    }

    #[test]
    fn each_node_and_each_topic_has_a_pause_of_its_own() {
        let mut outbox = Outbox::default();
        for name in ["db1", "db2"] {
            outbox.ask(&node(name), Topic::Report, Request::Report, REPEAT, at(0));
            outbox.ask(&node(name), Topic::Probe, Request::Report, REPEAT, at(0));
        }
        assert_eq!(sent(&mut outbox), 4);
    }

    #[test]
    fn a_report_is_asked_for_ten_times_a_second_at_most() {
        let mut outbox = Outbox::default();
        (0..1000).for_each(|ms| outbox.ask_report(&node("db1"), at(ms)));
        assert_eq!(sent(&mut outbox), 10);
    }
}
