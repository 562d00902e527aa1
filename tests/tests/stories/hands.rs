//! Fences from outside, and operators' overrides, as a story sets them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::fence::{Fenced, Means};
use tasuki_coordinator_core::reading::{Files, Unread};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::grounds::Override;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::{IncidentId, NodeId};

use crate::script::millis;

/// How a reading ends: after so many milliseconds, on a host that has been up for so long.
type Way = (u64, Result<Duration, Unread>);

/// What each fence of a server will lead to, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    /// How the next fences end, in order; the last way stays.
    ways: BTreeMap<(NodeId, Means), VecDeque<(u64, Fenced)>>,
    /// How the next readings of a server's files end, in order; the last way stays.
    readings: BTreeMap<NodeId, VecDeque<Way>>,
    under_way: Vec<(u64, NodeId, bool, Input)>,
}

impl Hands {
    /// `fence by ssh succeeds after 300ms`, `fence by hook fails after 2s: no route`; true if it was that.
    pub(crate) fn read(&mut self, node: &NodeId, words: &[&str]) -> bool {
        if let ["reading", "by", "ssh", rest @ ..] = words {
            let time = |time: &str| millis(time.trim_end_matches(':'));
            let way = match rest {
                ["succeeds", "after", after] => (time(after), Ok(Duration::from_secs(86_400))),
                ["succeeds", "after", after, "on", "a", "host", "up", "for", up] => {
                    (time(after), Ok(Duration::from_millis(millis(up))))
                }
                ["fails", "after", after, reason @ ..] => (time(after), Err(Unread::Unreadable(reason.join(" ")))),
                ["is", "lost", "after", after, reason @ ..] => (time(after), Err(Unread::Unreached(reason.join(" ")))),
                other => panic!("no reading does so: {other:?}"),
            };
            self.readings.entry(node.clone()).or_default().push_back(way);
            return true;
        }
        let ["fence", "by", means, rest @ ..] = words else { return false };
        let means = if *means == "ssh" { Means::Ssh } else { Means::Hook };
        let way = match rest {
            ["succeeds", "after", time] => (millis(time), Ok(())),
            ["fails", "after", time, reason @ ..] => (millis(time.trim_end_matches(':')), Err(reason.join(" "))),
            other => panic!("no fence does so: {other:?}"),
        };
        self.ways.entry((node.clone(), means)).or_default().push_back(way);
        true
    }

    pub(crate) fn begin(&mut self, ballot: Ballot, node: NodeId, how: Means, now_ms: u64) {
        let ways = self.ways.get_mut(&(node.clone(), how)).expect("the story says how this fence ends");
        let (delay, outcome) = ways.front().cloned().unwrap();
        if ways.len() > 1 {
            ways.pop_front();
        }
        let done = outcome.is_ok();
        let input = Input::Fenced { ballot, node: node.clone(), how, outcome };
        self.under_way.push((now_ms + delay, node, done, input));
    }

    pub(crate) fn read_files(&mut self, ballot: Ballot, node: NodeId, executed: GtidSet, now_ms: u64) {
        let ways = self.readings.get_mut(&node).expect("the story says how this reading ends");
        let (delay, way) = ways.front().cloned().unwrap();
        if ways.len() > 1 {
            ways.pop_front();
        }
        let reading = way.map(|up| Files { executed, up });
        let input = Input::Read { ballot, node: node.clone(), reading };
        self.under_way.push((now_ms + delay, node, false, input));
    }

    /// What has ended by now: the server, whether it was ended, and what the coordinator is told.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<(NodeId, bool, Input)> {
        let (ended, rest) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= now_ms);
        self.under_way = rest;
        ended.into_iter().map(|(_, node, done, input)| (node, done, input)).collect()
    }
}

/// `it fenced db1 loss accepted: reason`; `it` is the incident that is open, any other word an older one.
pub(crate) fn overriding(by: &str, claims: &[&str], open: Option<IncidentId>) -> Override {
    let incident = open.filter(|_| claims[0] == "it").unwrap_or(IncidentId(0xdead));
    let fenced = claims.iter().position(|word| *word == "fenced").map(|at| claims[at + 1].parse().unwrap());
    let accept_loss = claims.windows(2).any(|words| words == ["accept", "loss"]);
    Override { incident, fenced, accept_loss, by: by.to_owned(), reason: "the plug is out".to_owned() }
}
