//! Ballots and epochs: who may speak, and whose reign it is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{BootId, CoordinatorId};

/// The authority of one attempt of one coordinator, compared counter first.
///
/// The boot id is part of the order, so that a coordinator which was restarted, or cloned, never shares a ballot with
/// its former self. A ballot carries at most one accepted record and names at most one candidate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Ballot {
    /// Above every counter heard from the voters.
    pub counter: u64,
    /// The proposer.
    pub coordinator: CoordinatorId,
    /// The proposer's run.
    pub boot: BootId,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.counter, self.coordinator, self.boot)
    }
}

/// The ballot at which a primary was named: it marks a reign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub Ballot);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
