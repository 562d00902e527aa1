//! Waiting with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two looks that cost the programs under test something.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` gives a value; its last refusal is the text of the failure.
///
/// # Errors
/// When the deadline passes first.
pub async fn until<T>(what: &str, deadline: Duration, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    until_each(PAUSE, what, deadline, look).await
}

/// As [`until`], for looks that would slow down what they look at.
///
/// # Errors
/// When the deadline passes first.
pub async fn until_slowly<T>(what: &str, deadline: Duration, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    until_each(LONG_PAUSE, what, deadline, look).await
}

async fn until_each<T>(
    pause: Duration,
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => {
                tracing::debug!(what, ms = begun.elapsed().as_millis(), "waited");
                return Ok(found);
            }
            Err(refusal) if begun.elapsed() > deadline => {
                bail!("waited {deadline:?} for {what}; the last look said: {refusal:#}")
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
    }
}
