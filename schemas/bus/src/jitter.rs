//! Random pauses, so that programs that lost the same peer do not come back all at once.

use std::time::Duration;

/// A pause between the two bounds.
pub(crate) fn jitter((least, most): (Duration, Duration)) -> Duration {
    let share = getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX));
    least + most.saturating_sub(least).mul_f64(share)
}
