//! The time that this process spent on a processor.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// Seconds of processor time so far, of all threads.
///
/// # Errors
/// Never on Linux; kept for systems without that clock.
pub fn seconds() -> Result<f64> {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Ok(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9)
}
