//! The objects that the demo prints, one per line.

use serde::Serialize;
use tasuki_schemas::gtid::Flavour;

/// One failover.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// What was done to the primary.
    pub fault: &'static str,
    /// MariaDB or MySQL.
    pub flavour: Flavour,
    /// The longest time without any acknowledgement, in milliseconds; `null` if writing did not go on.
    pub gap_ms: Option<f64>,
    /// Writes that were acknowledged in this run.
    pub acked: usize,
    /// Of these, missing on the new primary.
    pub lost_acked: usize,
    /// Writes of this run that are there more than once.
    pub doubled: usize,
    /// Who took over; empty if nobody did.
    pub new_primary: String,
    /// Whether the old primary follows again.
    pub rejoined: bool,
}

impl Run {
    /// Nothing was lost or doubled, writing went on, and the cluster is whole again.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.lost_acked == 0 && self.doubled == 0 && self.rejoined && self.gap_ms.is_some()
    }
}

/// All failovers of a demo.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many there were.
    pub runs: usize,
    /// The shortest gap.
    pub gap_ms_min: Option<f64>,
    /// The middle gap, or the mean of the two in the middle.
    pub gap_ms_median: Option<f64>,
    /// 99 of 100 gaps are not longer.
    pub gap_ms_p99: Option<f64>,
    /// Lost writes of all runs.
    pub lost_acked: usize,
    /// Doubled writes of all runs.
    pub doubled: usize,
    /// Whether the old primary followed again in every run.
    pub rejoined: bool,
}

impl Summary {
    /// Sums up. Losses are those that the last look at the whole history found, if it found more than the runs.
    #[must_use]
    pub fn of(runs: &[Run], lost_in_all: usize, doubled_in_all: usize) -> Self {
        let mut gaps: Vec<f64> = runs.iter().filter_map(|run| run.gap_ms).collect();
        gaps.sort_by(f64::total_cmp);
        Self {
            runs: runs.len(),
            gap_ms_min: gaps.first().copied(),
            gap_ms_median: median(&gaps),
            gap_ms_p99: percentile(&gaps, 99),
            lost_acked: lost_in_all.max(runs.iter().map(|run| run.lost_acked).sum()),
            doubled: doubled_in_all.max(runs.iter().map(|run| run.doubled).sum()),
            rejoined: runs.iter().all(|run| run.rejoined),
        }
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (lower, upper) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some((lower.midpoint(*upper) * 100.0).round() / 100.0)
}

/// The smallest value that at least `percent` of the sorted values do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Milliseconds with two decimals.
#[must_use]
pub fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(gap_ms: f64) -> Run {
        Run {
            fault: "kill-9",
            flavour: Flavour::Mariadb,
            gap_ms: Some(gap_ms),
            acked: 600,
            lost_acked: 0,
            doubled: 0,
            new_primary: "db2".into(),
            rejoined: true,
        }
    }

    #[test]
    fn a_run_is_printed_as_it_was_agreed() {
        let text = serde_json::to_string(&run(81.25)).unwrap();
        let agreed = r#"{"fault":"kill-9","flavour":"mariadb","gap_ms":81.25,"acked":600,"lost_acked":0,"doubled":0,"new_primary":"db2","rejoined":true}"#;
        assert_eq!(text, agreed);
    }

    #[test]
    fn the_summary_has_the_least_the_middle_and_the_almost_worst_gap() {
        let runs: Vec<Run> = (1..=20).rev().map(|gap| run(f64::from(gap))).collect();
        let summary = Summary::of(&runs, 0, 0);
        assert_eq!(
            (summary.gap_ms_min, summary.gap_ms_median, summary.gap_ms_p99),
            (Some(1.0), Some(10.5), Some(20.0))
        );
        assert_eq!(Summary::of(&runs[..3], 0, 0).gap_ms_median, Some(19.0));
        assert_eq!(Summary::of(&[], 0, 0).gap_ms_median, None);
    }

    #[test]
    fn one_lost_write_or_absent_server_spoils_a_run() {
        assert!(run(1.0).is_good());
        assert!(!Run { lost_acked: 1, ..run(1.0) }.is_good());
        assert!(!Run { doubled: 1, ..run(1.0) }.is_good());
        assert!(!Run { rejoined: false, ..run(1.0) }.is_good());
        assert!(!Run { gap_ms: None, ..run(1.0) }.is_good());
        let runs = [run(1.0), Run { rejoined: false, lost_acked: 2, ..run(2.0) }];
        let summary = Summary::of(&runs, 3, 0);
        assert_eq!((summary.lost_acked, summary.rejoined), (3, false));
    }
}
