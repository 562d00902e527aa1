//! What a coordinator does and says, in a DBA's words.

use std::collections::BTreeSet;

use tasuki_schemas::command::{Order, RecloneStep, Request};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::Voters;

/// A request; repetitions are told once.
pub(crate) fn spoken(to: &NodeId, request: &Request) -> Option<String> {
    match request {
        Request::Report => None,
        Request::BeginAnew { reason, .. } => Some(format!("anew       {to}: {reason}")),
        Request::CannotLeave { reason, lasts } => {
            let again = if *lasts { "" } else { "; it is tried again" };
            Some(format!("declined   {to}: {reason}{again}"))
        }
        Request::Probe { primary, .. } => Some(format!("probe      {to}: look at {primary}")),
        Request::Prepare { ballot, kind, .. } => Some(format!("prepare    {to}: {kind:?} at {}", ballot.counter)),
        Request::Accept { ballot, record } => {
            let opened = if record.opened { "opened" } else { "named" };
            Some(format!("accept     {to}: {} {opened}, at {}", record.primary, ballot.counter))
        }
        Request::Order { order, .. } => Some(format!("order      {to}: {}", ordered(order))),
    }
}

fn ordered(order: &Order) -> String {
    match order {
        Order::CatchUp { goal, from, how, through } => {
            let through = through.as_ref().map(|leader| format!(" through {leader}")).unwrap_or_default();
            format!("catch up to {goal} from {from} ({how:?}{through})")
        }
        Order::Promote { goal, .. } => format!("promote, once {goal} is applied"),
        Order::Follow { record } => format!("follow {}", record.primary),
        Order::JoinGroup { .. } => "join the group".to_owned(),
        Order::SetWaitCount { acks, .. } => format!("wait for {acks} acknowledgements"),
        Order::CutAcker { refused, removed: Some(node), .. } => {
            format!("refuse {}, and tell what there is without {node}", names(refused))
        }
        Order::CutAcker { refused, removed: None, .. } => format!("refuse {}", names(refused)),
        Order::LeaveGroup { .. } => "acknowledge no more".to_owned(),
        Order::Drain { .. } => "let writes end, then close".to_owned(),
        Order::Reclone { step: RecloneStep::Check { donor }, .. } => format!("say whether {donor} could be copied"),
        Order::Reclone { step: RecloneStep::Copy { donor }, .. } => format!("copy {donor}"),
        Order::Reclone { step: RecloneStep::Exchange { known }, .. } => {
            format!("put the copy in its place, if it holds nothing beyond {known}")
        }
        Order::Archive { holds, beyond, .. } => format!("archive what it has of {holds} beyond {beyond}"),
    }
}

fn names(nodes: &BTreeSet<NodeId>) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
}

/// An event.
pub(crate) fn told(body: &EventBody) -> Option<String> {
    match body {
        EventBody::Diagnosis { sentence, .. } => Some(format!("diagnosis  {sentence}")),
        EventBody::Stage { stage, candidate, reasons, .. } => {
            let candidate = candidate.as_ref().map_or(String::new(), |candidate| format!(" {candidate}"));
            let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
            Some(format!("stage      {stage:?}{candidate}{reasons}"))
        }
        EventBody::Hold { reasons } => Some(format!("hold       {}", reasons.join("; "))),
        EventBody::WouldHave { sentence, .. } => Some(format!("would      {sentence}")),
        EventBody::Forecast { sentence, .. } => Some(format!("forecast   {sentence}")),
        EventBody::Pause { sentence, .. } => Some(format!("pause      {sentence}")),
        EventBody::Fence { sentence, .. } => Some(format!("fence      {sentence}")),
        EventBody::Override { sentence, .. } => Some(format!("override   {sentence}")),
        EventBody::Note { by, text, .. } => Some(format!("note       {by} {text}")),
        EventBody::Act { by, what, .. } => Some(format!("act        {by} {what}")),
        EventBody::Switchover { sentence, .. } => Some(format!("switchover {sentence}")),
        EventBody::Voters { node, sentence } => Some(format!("voters     {node} {sentence}")),
        EventBody::Repair { node, sentence } => Some(format!("repair     {node} {sentence}")),
        EventBody::Decided { ballot, record } => {
            let groups: Vec<String> = record
                .groups
                .iter()
                .map(|group| {
                    let members: Vec<&str> = group.members.iter().map(NodeId::as_str).collect();
                    format!("[{} k={}]", members.join(" "), group.acks)
                })
                .collect();
            let opened = if record.opened { ", opened" } else { "" };
            let names = |voters: &Voters| voters.keys().map(NodeId::as_str).collect::<Vec<_>>().join(" ");
            let change = record.voters_before.as_ref().map_or_else(String::new, |before| {
                format!("; voters {}, with those before: {}", names(&record.voters), names(before))
            });
            Some(format!("decided    at {}: {} {}{opened}{change}", ballot.counter, record.primary, groups.join(" ")))
        }
        EventBody::Leader { leader } => {
            Some(format!("leader     {}", leader.as_ref().map_or("nobody", |leader| leader.as_str())))
        }
        EventBody::Health { .. } | EventBody::Position { .. } => None,
    }
}
