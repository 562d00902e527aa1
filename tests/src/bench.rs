//! What the bench measures besides the lab: how fast and how cheaply is decided.

pub mod beside;
pub mod cpu;
pub mod feed;
pub mod fleet;
pub mod many;
pub mod model;
mod redis;

use std::fmt::Write as _;

/// One figure beside its limit.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much it was.
    pub value: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// The most that it may be; `None` for figures that only explain others.
    pub limit: Option<f64>,
}

impl Figure {
    /// A figure that must keep a limit.
    #[must_use]
    pub fn limited(name: &str, value: f64, unit: &'static str, limit: f64) -> Self {
        Self { name: name.to_owned(), value, unit, limit: Some(limit) }
    }

    /// A figure that only explains.
    #[must_use]
    pub fn plain(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, limit: None }
    }

    /// Whether it is above its limit.
    #[must_use]
    pub fn is_above(&self) -> bool {
        self.limit.is_some_and(|limit| self.value > limit)
    }

    /// One line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{:<72} {:>10.3} {:<4}", self.name, self.value, self.unit);
        if let Some(limit) = self.limit {
            let verdict = if self.is_above() { "ABOVE" } else { "ok" };
            let _ = write!(line, " limit {limit:>8.1}  {verdict}");
        }
        line
    }
}

/// The value below which so many of a hundred lie.
#[must_use]
pub fn percentile(values: &mut [u64], hundredths: usize) -> u64 {
    values.sort_unstable();
    let at = (values.len() * hundredths / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0)
}
