//! An exact difference between two sets: what one holds and the other lacks, named for people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Successive transactions of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// `uuid[:tag]` on MySQL, `domain-server` on MariaDB.
    pub source: String,
    /// The first, as text: numbers are 64 bits wide.
    pub first: String,
    /// The last.
    pub last: String,
}

/// Any number of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    pub(super) fn push(&mut self, source: String, first: u64, last: u64) {
        self.0.push(Range { source, first: first.to_string(), last: last.to_string() });
    }

    /// True if nothing is lacking.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range> {
        self.0.iter()
    }

    /// How many transactions.
    #[must_use]
    pub fn count(&self) -> u64 {
        let length = |range: &Range| {
            let (first, last) = (range.first.parse::<u64>().unwrap_or(0), range.last.parse::<u64>().unwrap_or(0));
            last.saturating_sub(first).saturating_add(1)
        };
        self.iter().map(length).fold(0, u64::saturating_add)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Range { source, first, last }) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            // The separator is the flavour's own: `uuid:5`, `0-1-5`.
            let joint = if source.contains('-') && source.len() < 32 { '-' } else { ':' };
            write!(f, "{comma}{source}{joint}{first}")?;
            if first != last {
                write!(f, "..{last}")?;
            }
        }
        Ok(())
    }
}
