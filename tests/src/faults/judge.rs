//! What a run gave, and how it differs from what its row expects.

use super::heal::{QUARANTINED, WHOLE_AGAIN};
use super::mute::Mute;
use super::row::{Bound, Outcome, Row};
use tasuki_schemas::gtid::Flavour;

/// Diagnoses that are told only when something is wrong with a primary, or with everything. A row must name those that it
/// allows. `primary_refusing` is none of them: each server that ends closes its port first.
const GRAVE: [&str; 12] = [
    "unborn",
    "primary_crashed",
    "primary_stopped",
    "primary_closed",
    "primary_hung",
    "primary_host_lost",
    "primary_unseen",
    "primary_isolated",
    "replication_only_partition",
    "sidecar_lost",
    "two_primaries",
    "unsupported",
];

/// One run of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was told between the fault and the outcome.
    pub told: Vec<String>,
    /// The gap that the row's outcome defines, in milliseconds.
    pub gap_ms: Option<f64>,
    /// How much of the gap the new primary applied a dead one's tail.
    pub applied_ms: Option<f64>,
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Of these, missing in the end.
    pub lost: usize,
    /// Writes that are there more than once.
    pub doubled: usize,
    /// How long the old side had been mute before the new one acknowledged; `None` if nobody else did.
    pub mute: Option<Mute>,
    /// What the failover rested on; empty without one.
    pub proof: String,
    /// What the cluster was after healing.
    pub whole: String,
    /// What went otherwise than expected and has no figure: deadlines that passed, a wrong primary.
    pub wrong: Vec<String>,
}

impl Report {
    /// Every difference from what the row expects. `patience` is how many times the bounds count.
    #[must_use]
    pub fn differences(&self, row: &Row, flavour: Flavour, patience: u32) -> Vec<String> {
        let mut all = self.wrong.clone();
        let untold: Vec<&str> =
            row.told.iter().copied().filter(|name| !self.told.iter().any(|told| told == name)).collect();
        if !untold.is_empty() {
            all.push(format!("not told: {}", untold.join(" ")));
        }
        let allowed = |name: &str| row.told.contains(&name) || row.may_tell.contains(&name);
        let grave: Vec<&str> =
            self.told.iter().map(String::as_str).filter(|name| GRAVE.contains(name) && !allowed(name)).collect();
        if !grave.is_empty() {
            all.push(format!("told, and not expected: {}", grave.join(" ")));
        }
        let bound =
            f64::from(u32::try_from(Bound::of(row.bound.most, flavour)).unwrap_or(u32::MAX)) * f64::from(patience);
        let applied = self.applied_ms.unwrap_or(0.0);
        if self.gap_ms.is_some_and(|gap| gap - applied > bound) {
            let besides = if row.applies { " besides applying" } else { "" };
            all.push(format!("the gap is longer than {bound} ms{besides}"));
        }
        if row.applies && self.applied_ms.is_none() {
            all.push("no tail was applied".to_owned());
        }
        if self.gap_ms.is_none() && all.is_empty() {
            all.push("nothing was acknowledged afterwards".to_owned());
        }
        if self.lost + self.doubled > 0 {
            all.push(format!("lost {}, doubled {}", self.lost, self.doubled));
        }
        if let Some(Mute { late, .. }) = self.mute.filter(|mute| mute.late > 0) {
            all.push(format!("two primaries: the old one acknowledged {late} writes that began after the new one had"));
        }
        if row.outcome == Outcome::FailsOver && self.proof != row.proof {
            all.push(format!("it rested on {}, and not on {}", self.proof, row.proof));
        }
        let whole = self.whole == WHOLE_AGAIN || row.quarantines && self.whole == QUARANTINED;
        if !whole && self.wrong.is_empty() {
            all.push(format!("after healing the cluster was {}", self.whole));
        }
        all
    }
}

/// The middle one of sorted figures, or the mean of the two in the middle.
#[must_use]
pub fn median(sorted: &[f64]) -> Option<f64> {
    let (lower, upper) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some(lower.midpoint(*upper))
}

#[cfg(test)]
mod tests {
    use super::super::rows::ROWS;
    use super::*;

    fn good() -> Report {
        let told = vec!["primary_crashed".to_owned(), "degraded".to_owned()];
        let mute = Some(Mute { before_ms: 60.0, late: 0 });
        let (proof, whole) = ("sets".to_owned(), WHOLE_AGAIN.to_owned());
        Report { told, gap_ms: Some(60.0), acknowledged: 300, mute, proof, whole, ..Report::default() }
    }

    fn differences(report: &Report) -> Vec<String> {
        report.differences(&ROWS[0], Flavour::Mariadb, 1)
    }

    #[test]
    fn what_applying_a_tail_takes_is_no_part_of_the_bound() {
        let row = Row { applies: true, ..ROWS[0] };
        let found = |gap, applied_ms| {
            let report = Report { gap_ms: Some(gap), applied_ms, ..good() };
            report.differences(&row, Flavour::Mariadb, 1).join("; ")
        };
        let bound = row.bound.most[0] as f64;
        assert_eq!(found(bound + 9000.0, Some(9000.0)), "");
        assert_eq!(found(bound + 9001.0, Some(9000.0)), format!("the gap is longer than {bound} ms besides applying"));
        assert_eq!(found(bound, None), "no tail was applied");
    }

    #[test]
    fn a_run_as_expected_differs_in_nothing_and_each_deviation_is_named() {
        assert_eq!(ROWS[0].name, "kill-9");
        assert_eq!(differences(&good()), Vec::<String>::new());
        for (report, named) in [
            (Report { lost: 1, ..good() }, "lost 1"),
            (Report { doubled: 2, ..good() }, "doubled 2"),
            (Report { gap_ms: Some(5000.0), ..good() }, "the gap is longer"),
            (Report { gap_ms: None, ..good() }, "nothing was acknowledged"),
            (Report { told: vec!["primary_hung".to_owned()], ..good() }, "not told: primary_crashed"),
            (Report { told: vec!["primary_crashed".into(), "two_primaries".into()], ..good() }, "not expected: two_p"),
            (Report { mute: Some(Mute { before_ms: -5.0, late: 1 }), ..good() }, "two primaries"),
            (Report { proof: "fence: operator".to_owned(), ..good() }, "it rested on fence"),
            (Report { whole: QUARANTINED.to_owned(), ..good() }, "after healing the cluster was quarantined"),
            (Report { wrong: vec!["no primary".to_owned()], ..good() }, "no primary"),
        ] {
            let found = differences(&report).join("; ");
            assert!(found.contains(named), "{named}: {found}");
        }
    }

    #[test]
    fn the_middle_of_an_even_number_is_between_the_two() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}
