//! What the coordinators told, read from their logs: these have every event whole, also while nothing else carries it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tasuki_schemas::event::EventBody;

use crate::lab::Lab;

/// Where the logs stood at a moment.
#[derive(Clone, Debug, Default)]
pub struct Mark(Vec<(PathBuf, usize)>);

impl Mark {
    /// Where they stand now.
    #[must_use]
    pub fn now(lab: &Lab) -> Self {
        let length =
            |path: &Path| fs::metadata(path).map_or(0, |data| usize::try_from(data.len()).unwrap_or(usize::MAX));
        Self(lab.coordinators.iter().map(|it| (it.log().to_owned(), length(it.log()))).collect())
    }

    /// Every event that was told since, in the order of the logs' times.
    #[must_use]
    pub fn since(&self) -> Vec<EventBody> {
        let mut lines: Vec<String> = Vec::new();
        for (path, length) in &self.0 {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(text.get(*length..).unwrap_or_default()).into_owned();
            lines.extend(text.lines().map(str::to_owned));
        }
        // A line begins with its time.
        lines.sort();
        lines.iter().filter_map(|line| read(line)).collect()
    }
}

/// The event of a line, if it has one.
fn read(line: &str) -> Option<EventBody> {
    let line: Value = serde_json::from_str(line).ok()?;
    serde_json::from_str(line.pointer("/fields/body")?.as_str()?).ok()
}

/// The names of the diagnoses that were told, each once, oldest first.
#[must_use]
pub fn diagnoses(events: &[EventBody]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for event in events {
        let EventBody::Diagnosis { diagnosis, .. } = event else { continue };
        let value = serde_json::to_value(diagnosis).unwrap_or(Value::Null);
        let Some(name) = value.get("diagnosis").and_then(Value::as_str) else { continue };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Every sentence that says why nothing is done, or what is wrong.
#[must_use]
pub fn sentences(events: &[EventBody]) -> Vec<String> {
    events
        .iter()
        .flat_map(|event| match event {
            EventBody::Hold { reasons } => reasons.clone(),
            EventBody::Diagnosis { sentence, .. }
            | EventBody::WouldHave { sentence, .. }
            | EventBody::Repair { sentence, .. }
            | EventBody::Forecast { sentence, .. }
            | EventBody::Pause { sentence, .. }
            | EventBody::Fence { sentence, .. }
            | EventBody::Override { sentence, .. }
            | EventBody::Switchover { sentence, .. }
            | EventBody::Voters { sentence, .. } => vec![sentence.clone()],
            EventBody::Stage { reasons, .. } => reasons.clone(),
            EventBody::Note { .. }
            | EventBody::Act { .. }
            | EventBody::Decided { .. }
            | EventBody::Leader { .. }
            | EventBody::Health { .. }
            | EventBody::Position { .. } => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_is_read_as_the_event_that_it_holds() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","fields":{"message":"event","cluster":"mariadb","number":3,"event":"hold","body":"{\"event\":\"hold\",\"reasons\":[\"nobody – as yet\"]}"},"target":"tasuki_coordinator::driver"}"#;
        let event = read(line).unwrap();
        assert_eq!(sentences(&[event]), ["nobody – as yet"]);
        assert_eq!(read(r#"{"timestamp":"2026-01-01T00:00:00.000000Z","fields":{"message":"it runs"}}"#), None);
    }

    #[test]
    fn diagnoses_are_named_once_in_their_order() {
        let told = |text: &str| {
            serde_json::from_str(&format!(r#"{{"event":"diagnosis","sentence":"","diagnosis":{text}}}"#)).unwrap()
        };
        let crashed = r#"{"diagnosis":"primary_crashed","primary":"db1"}"#;
        let events = [told(crashed), told(r#"{"diagnosis":"healthy"}"#), told(crashed)];
        assert_eq!(diagnoses(&events), ["primary_crashed", "healthy"]);
    }
}
