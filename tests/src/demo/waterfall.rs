//! Where the milliseconds of a failover went, as the coordinators told it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tasuki_schemas::event::EventBody;

use super::report::milliseconds;
use crate::lab::events::Heard;
use crate::lab::writer::Attempt;

/// The longest bar.
const WIDTH: u32 = 40;

/// One line per step: when it was heard after the fault, and a bar up to there, full at the failover's end. What both
/// coordinators see is written once.
pub(super) fn draw(events: &[Heard], log: &[Attempt], fault: Instant, gap: Option<Duration>) -> String {
    let after = |heard: &Heard| milliseconds(heard.at.saturating_duration_since(fault));
    let mut told = BTreeSet::new();
    let steps: Vec<(f64, String)> = events
        .iter()
        .filter_map(|heard| Some((after(heard), step(&heard.event.body)?)))
        .filter(|(_, name)| told.insert(name.clone()))
        .collect();
    let stages = events.iter().filter(|heard| matches!(heard.event.body, EventBody::Stage { .. }));
    let longest = stages.map(after).fold(1.0, f64::max);
    let mut text = String::new();
    for (after, name) in &steps {
        let bar: String =
            (0..WIDTH).filter(|cell| f64::from(*cell) / f64::from(WIDTH) < after / longest).map(|_| '▇').collect();
        writeln!(text, "  {after:>9.1} ms  {bar:<40}  {name}").ok();
    }
    let fresh = log.iter().filter(|attempt| attempt.acknowledged && attempt.start > fault);
    if let Some(first) = fresh.min_by_key(|attempt| attempt.end) {
        // Sent long before its answer, it waited in the server; sent late, its client had not come through.
        let [sent, answered] = [first.start, first.end].map(|moment| milliseconds(moment.duration_since(fault)));
        text += &format!("  {answered:>9.1} ms  first acknowledged write, sent at {sent:.1} ms\n");
    }
    match gap {
        Some(gap) => text += &format!("  {:>9.1} ms  without an acknowledged write\n", milliseconds(gap)),
        None => text += "  no write was acknowledged since\n",
    }
    text
}

fn step(body: &EventBody) -> Option<String> {
    match body {
        EventBody::Diagnosis { sentence, .. } => Some(format!("diagnosis: {sentence}")),
        EventBody::Stage { stage, candidate, .. } => {
            let stage = format!("{stage:?}").to_lowercase();
            Some(candidate.as_ref().map_or_else(|| stage.clone(), |candidate| format!("{stage} {candidate}")))
        }
        EventBody::Hold { reasons } => Some(format!("holds: {}", reasons.join("; "))),
        EventBody::Repair { node, sentence } | EventBody::Voters { node, sentence } => {
            Some(format!("{node}: {sentence}"))
        }
        EventBody::Pause { sentence, .. }
        | EventBody::Fence { sentence, .. }
        | EventBody::Switchover { sentence, .. }
        | EventBody::Override { sentence, .. } => Some(sentence.clone()),
        EventBody::Note { by, text, .. } => Some(format!("{by}: {text}")),
        EventBody::Act { by, what, .. } => Some(format!("{by}: {what}")),
        EventBody::Decided { .. }
        | EventBody::Forecast { .. }
        | EventBody::WouldHave { .. }
        | EventBody::Leader { .. }
        | EventBody::Health { .. }
        | EventBody::Position { .. } => None,
    }
}
