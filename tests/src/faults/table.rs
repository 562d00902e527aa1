//! The table that `make faults` prints: one line for each row and flavour.

use tasuki_schemas::gtid::Flavour;

use super::judge::{Report, median};
use super::row::{Bound, Outcome, Row};

/// The columns' names.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<40} {:<8} {:<13} {:>5} {:>5} {:>5} ms {:>5} {:>4} {:>4} {:>7} {:<12} {:<11} told",
        "fault",
        "flavour",
        "outcome",
        "min",
        "med",
        "max",
        "acked",
        "lost",
        "dbl",
        "mute ms",
        "rests on",
        "whole again",
    )
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::FailsOver => "fails over",
        Outcome::GoesOn => "goes on",
        Outcome::Holds(_) => "holds",
        Outcome::WritesAgain => "writes again",
    }
}

/// What the runs of a row gave with a flavour.
#[must_use]
pub fn line(row: &Row, flavour: Flavour, reports: &[Report]) -> String {
    let gaps = gaps(reports);
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let mute = reports.iter().filter_map(|it| it.mute).map(|it| it.before_ms).min_by(f64::total_cmp);
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let texts = |of: fn(&Report) -> &str| {
        let mut all: Vec<&str> = reports.iter().map(of).filter(|text| !text.is_empty()).collect();
        all.sort_unstable();
        all.dedup();
        if all.is_empty() { "-".to_owned() } else { all.join("/") }
    };
    let mut told: Vec<&str> = Vec::new();
    for name in reports.iter().flat_map(|it| &it.told) {
        if !told.contains(&name.as_str()) {
            told.push(name);
        }
    }
    let applied = reports.iter().filter_map(|it| it.applied_ms).map(|ms| format!("applied in {ms:.0} ms"));
    let applied: Vec<String> = applied.collect();
    told.extend(applied.iter().map(String::as_str));
    format!(
        "{:<40} {:<8} {:<13} {:>5} {:>5} {:>5}    {:>5} {:>4} {:>4} {:>7} {:<12} {:<11} {}",
        row.name,
        flavour.to_string(),
        word(row.outcome),
        figure(gaps.first().copied()),
        figure(median(&gaps)),
        figure(gaps.last().copied()),
        sum(|it| it.acknowledged),
        sum(|it| it.lost),
        sum(|it| it.doubled),
        figure(mute),
        texts(|it| &it.proof),
        texts(|it| &it.whole),
        told.join(" "),
    )
}

fn gaps(reports: &[Report]) -> Vec<f64> {
    let mut gaps: Vec<f64> = reports.iter().filter_map(|it| it.gap_ms).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

/// The difference of several runs' middle gap, if there are enough of them to have one.
#[must_use]
pub fn too_slow(row: &Row, flavour: Flavour, reports: &[Report]) -> Option<String> {
    let bound = Bound::of(row.bound.median?, flavour);
    let middle = median(&gaps(reports)).filter(|_| reports.len() >= 5)?;
    (middle > f64::from(u32::try_from(bound).unwrap_or(u32::MAX)))
        .then(|| format!("the middle gap of {} runs is {middle:.0} ms, and may be {bound} ms", reports.len()))
}
