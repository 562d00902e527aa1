//! The demo without a terminal: kills the primary at a random moment, waits for recovery and rejoin, and checks.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::report::{Run, Summary, milliseconds};
use super::scene::{Scene, say};
use super::settings::Settings;
use crate::lab::{drill, history};

/// Writes that each run acknowledges at least.
const LEAST_ACKNOWLEDGED: u64 = 501;
/// Acknowledgements a second that are needed before and after, for the figures to mean something.
const LEAST_RATE: f64 = 200.0;
/// How long the rate is measured after writing goes on.
const AFTER: Duration = Duration::from_secs(1);

/// Runs as often as asked; true if nothing was lost and the cluster was whole each time.
///
/// # Errors
/// When something does not start, or cannot be asked.
pub async fn play(settings: Settings) -> Result<bool> {
    let mut scene = Scene::start(settings.flavour).await?;
    let mut runs = Vec::new();
    for number in 1..=settings.runs {
        let run = one(&mut scene, settings).await.with_context(|| format!("run {number}"));
        let good = run.as_ref().is_ok_and(Run::is_good);
        if !good {
            scene.lab.run().keep();
            say(&format!("the programs' logs end with\n{}", scene.lab.logs(30)));
        }
        let run = run?;
        if settings.runs > 1 {
            print(&run)?;
        }
        runs.push(run);
        if !good {
            break;
        }
    }
    let whole = check(&scene, 0).await;
    drop(scene);
    let whole = whole?;
    let good = runs.iter().all(Run::is_good) && whole.lost.is_empty() && whole.doubled.is_empty();
    if settings.runs > 1 {
        print(&Summary::of(&runs, whole.lost.len(), whole.doubled.len()))?;
    } else if let Some(run) = runs.first() {
        print(run)?;
    }
    Ok(good)
}

async fn one(scene: &mut Scene, settings: Settings) -> Result<Run> {
    let (begun, first, before) = (Instant::now(), scene.cluster()?.ids.next(), scene.writers.acknowledged());
    sleep(random_pause()?).await;
    let old = scene.cluster()?.primary().await?;
    let fault = scene.cluster_mut()?.server_mut(&old)?.kill9()?;
    say(&format!("kill -9 of {old}"));
    let mut run = Run {
        fault: "kill-9",
        flavour: settings.flavour,
        gap_ms: None,
        acked: 0,
        lost_acked: 0,
        doubled: 0,
        new_primary: String::new(),
        rejoined: false,
    };
    match recover(scene, &old, fault, before).await {
        Ok(new_primary) => run.new_primary = new_primary,
        Err(error) => {
            say(&format!("no recovery: {error:#}"));
            return Ok(run);
        }
    }
    tell_rates(scene, begun, fault);
    match drill::brought_back(scene.cluster_mut()?, &old).await {
        Ok(()) => run.rejoined = true,
        Err(error) => say(&format!("{old} did not come back: {error:#}")),
    }
    run.gap_ms = scene.gap(fault).map(milliseconds);
    say(&format!("failover from {old} to {}\n{}", run.new_primary, scene.waterfall(fault)));
    let found = check(scene, first).await?;
    (run.acked, run.lost_acked, run.doubled) = (found.acknowledged, found.lost.len(), found.doubled.len());
    Ok(run)
}

/// Waits until the writers write to another server, and have written enough.
async fn recover(scene: &Scene, old: &str, fault: Instant, before: u64) -> Result<String> {
    let new = drill::taken_over(scene.cluster()?, &scene.writers, old, fault).await?;
    sleep(AFTER).await;
    let acknowledged = scene.writers.acknowledged() - before;
    drill::acknowledged(&scene.writers, LEAST_ACKNOWLEDGED.saturating_sub(acknowledged)).await?;
    Ok(new)
}

fn tell_rates(scene: &Scene, begun: Instant, fault: Instant) {
    let log = scene.writers.since(begun);
    let now = Instant::now();
    let (before, after) = (history::rate(&log, begun, fault), history::rate(&log, now - AFTER, now));
    say(&format!("{before:.0} acknowledged writes a second before, {after:.0} after"));
    if before < LEAST_RATE || after < LEAST_RATE {
        say(&format!(
            "WARNING: fewer than {LEAST_RATE:.0} a second: this machine is too busy for the figures to mean much"
        ));
    }
}

/// Compares what was acknowledged from the id `first` on with the table on the primary.
async fn check(scene: &Scene, first: u64) -> Result<history::History> {
    let log = scene.writers.log();
    let primary = scene.cluster()?.primary().await?;
    history::check(&scene.cluster()?.server(&primary)?.sql(), &log, first).await
}

/// Between 0.8 and 2 seconds, so that the fault falls into any phase of anything periodic.
fn random_pause() -> Result<Duration> {
    Ok(Duration::from_micros(800_000 + getrandom::u64()? % 1_200_000))
}

fn print(object: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(object)?)?;
    out.flush()?;
    Ok(())
}
