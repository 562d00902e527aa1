//! The lease of a primary that acknowledges writes without replicas (k = 0): what nodes say to each other about it, and
//! the arithmetic that makes it end at its holder before it ends at its grantors.
//!
//! No two clocks are compared. The holder counts from the moment when it *asked*; a grantor from the moment when it
//! *answered*, which is later; a coordinator from the moment when it *heard* how much of a grant is left, which is later
//! still. Only the rates of clocks matter, and those are allowed to differ by one percent each.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Epoch;
use crate::id::Incarnation;

/// The primary's node asks a voter: may its server go on serving for another lease?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renew {
    /// The reign that the lease is for.
    pub epoch: Epoch,
    /// Names the question. A grant counts only for a question that its holder remembers.
    pub number: u64,
    /// A guard holds the server's process and ends it at the lease's end, whatever becomes of the asker.
    pub guarded: bool,
}

/// A voter's yes. A no is silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Echo of the question.
    pub epoch: Epoch,
    /// Echo of the question.
    pub number: u64,
    /// The ledger of the voter: one that lost it is another voter.
    pub incarnation: Incarnation,
}

/// A lease as its holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseView {
    /// Milliseconds that are left of it; 0 if there is none.
    pub rest_ms: u64,
    /// The guard has confirmed that it ends the server then.
    pub guarded: bool,
}

/// How long a lease lasts, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms(Duration);

/// Numbers that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease of {lease_ms} ms is too short for a heartbeat of {heartbeat_ms} ms: the primary must be able to miss two renewals and a slow answer; write {least_ms} or more"
)]
pub struct TooShort {
    /// The lease.
    pub lease_ms: u128,
    /// Between two renewals.
    pub heartbeat_ms: u128,
    /// What would do.
    pub least_ms: u128,
}

/// The guard may wake so late, on a busy host, and the killed process may run so long.
const LATE: Duration = Duration::from_millis(100);
/// The longest that a voter may take for an answer, its busy loop and disk included: two renewals may be lost, and the
/// third may take this long.
pub const ANSWER: Duration = Duration::from_millis(300);

impl LeaseTerms {
    /// Terms for a lease that is renewed every `heartbeat`.
    ///
    /// # Errors
    /// [`TooShort`], with what would do.
    pub fn new(length: Duration, heartbeat: Duration) -> Result<Self, TooShort> {
        let terms = Self(length);
        let needed = heartbeat * 3 + ANSWER;
        if terms.closing() >= needed {
            return Ok(terms);
        }
        // closing() is 0.75 of the length less LATE.
        let least_ms = ((needed + LATE).as_millis() * 4).div_ceil(3);
        Err(TooShort { lease_ms: length.as_millis(), heartbeat_ms: heartbeat.as_millis(), least_ms })
    }

    /// What a grantor counts, from its answer on.
    #[must_use]
    pub const fn length(self) -> Duration {
        self.0
    }

    /// What the holder counts, from its question on: at its end the guard kills the server. Five percent less than the
    /// grantors count, and the time that a kill may take: with clocks that differ by two percent it ends before theirs.
    #[must_use]
    pub fn usable(self) -> Duration {
        (self.0 - self.0 / 20).saturating_sub(LATE)
    }

    /// When the holder, if it can, closes its server by itself, so that the guard need not kill it.
    #[must_use]
    pub fn closing(self) -> Duration {
        self.usable().saturating_sub(self.0 / 5)
    }

    /// How long a coordinator waits that has just heard how much of a grant is left.
    #[must_use]
    pub fn wait_for(rest: Duration) -> Duration {
        rest + rest / 40 + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(200);

    #[test]
    fn a_lease_ends_at_its_holder_first_whatever_the_clocks_rates() {
        // The most that two clocks may differ: while a second passes, one counts 0.99 s and the other 1.01 s.
        let (slow, fast) = (0.99, 1.01);
        for ms in [1400, 2000, 3000, 10_000] {
            let terms = LeaseTerms::new(Duration::from_millis(ms), HEARTBEAT).unwrap();
            let holder = terms.usable().as_secs_f64() / slow + LATE.as_secs_f64();
            assert!(holder <= terms.length().as_secs_f64() / fast, "{ms}");
            let rest = Duration::from_millis(ms);
            assert!(LeaseTerms::wait_for(rest).as_secs_f64() / fast >= rest.as_secs_f64() / slow, "{ms}");
        }
    }

    #[test]
    fn numbers_that_cannot_work_are_refused_with_some_that_can() {
        let short = LeaseTerms::new(Duration::from_millis(1000), HEARTBEAT).unwrap_err();
        assert!(LeaseTerms::new(Duration::from_millis(u64::try_from(short.least_ms).unwrap()), HEARTBEAT).is_ok());
        assert!(short.to_string().contains("write 1334 or more"), "{short}");
    }
}
