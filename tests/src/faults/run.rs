//! One run of a row: a fresh lab, the fault, the outcome, healing, and the judgement of the history.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::record::Record;
use tokio::time::sleep;

use super::heal::{heal, whole_again};
use super::judge::Report;
use super::mute::{executed, mute};
use super::row::{Outcome, Row, SETS};
use super::scene::Scene;
use super::told;
use crate::lab::waiting::until;
use crate::lab::writer::{Attempt, Writers};
use crate::lab::{drill, history};

/// The longest wait for an outcome; what is too long for the row is told by its gap.
const OUTCOME: Duration = Duration::from_secs(90);
/// How long a cluster is watched where nothing must happen.
const WATCHED: Duration = Duration::from_secs(4);
/// Where nobody can write, nothing is acknowledged in the last part of it.
const SILENT: Duration = Duration::from_secs(1);
/// Writes that must be acknowledged after an outcome.
const AFTER: u64 = 100;

/// Runs a row once.
///
/// # Errors
/// When the lab itself does not do what it should: what the cluster does wrong is in the report.
pub async fn once(row: &Row, flavour: Flavour, patience: u32) -> Result<Report> {
    let mut scene = Scene::start(row, flavour).await.context("the lab does not start")?;
    let mut report = Report::default();
    if let Err(error) = play(row, &mut scene, &mut report).await {
        report.wrong.push(format!("{error:#}"));
    }
    if !report.differences(row, flavour, patience).is_empty() {
        scene.lab.run().keep();
    }
    Ok(report)
}

async fn play(row: &Row, scene: &mut Scene, report: &mut Report) -> Result<()> {
    scene.strike();
    (row.act)(scene).await.context("the fault could not be made")?;
    let ended = outcome(row, scene, report).await;
    report.told = told::diagnoses(&scene.mark.since());
    ended?;
    let until_now = Instant::now();
    let started = heal(scene).await.context("the fault could not be undone")?;
    if matches!(row.outcome, Outcome::Holds(_)) {
        report.gap_ms = Some(first_write(scene, Instant::now()).await?);
    }
    report.whole = whole_again(scene, row, &started).await?.to_owned();
    drill::acknowledged(&scene.writers, AFTER).await.context("after healing")?;
    judge_history(scene, report, until_now).await
}

/// What became of every write.
async fn judge_history(scene: &Scene, report: &mut Report, until_now: Instant) -> Result<()> {
    let cluster = scene.cluster()?;
    let primary = cluster.server(&cluster.primary().await?)?;
    let log = scene.log();
    let found = history::check(&primary.sql(), &log, 0).await?;
    (report.acknowledged, report.lost, report.doubled) = (found.acknowledged, found.lost.len(), found.doubled.len());
    if !found.lost.is_empty() || !found.doubled.is_empty() {
        report.wrong.push(format!("lost {:?}, doubled {:?}", found.lost, found.doubled));
    }
    if let Some((question, expected)) = &scene.expected {
        let found = primary.sql().value(question).await?;
        ensure!(found == *expected, "{found} instead of {expected}");
    }
    let old = cluster.server(&scene.old)?.id();
    let log: Vec<Attempt> = log.into_iter().filter(|attempt| attempt.end > scene.reigns_since).collect();
    report.mute = mute(&log, &executed(primary).await?, old, until_now);
    Ok(())
}

async fn outcome(row: &Row, scene: &Scene, report: &mut Report) -> Result<()> {
    let measured = if row.local { &scene.locals } else { &scene.writers };
    match row.outcome {
        Outcome::FailsOver => {
            let new = another_primary(scene, &scene.lost).await?;
            drill::acknowledged(&scene.writers, AFTER).await?;
            report.gap_ms = longest(measured, scene.fault);
            report.proof = proof(&scene.cluster()?.record(&new).await?);
            if row.applies {
                report.applied_ms = scene.lab.applied_ms();
            }
        }
        Outcome::WritesAgain => {
            report.gap_ms = Some(first_write(scene, scene.fault).await?);
            drill::acknowledged(&scene.writers, AFTER).await?;
        }
        Outcome::GoesOn => {
            sleep(WATCHED).await;
            report.gap_ms = longest(measured, scene.fault);
            let record = latest_record(scene).await?;
            ensure!(record.epoch == scene.epoch, "{} was named primary", record.primary);
        }
        Outcome::Holds(words) => {
            sleep(WATCHED).await;
            let late = Instant::now().checked_sub(SILENT).unwrap_or(scene.fault).max(scene.fault);
            let written =
                [&scene.writers, &scene.locals].iter().flat_map(|it| it.since(late)).any(|it| it.acknowledged);
            ensure!(!written, "writes are acknowledged");
            if let Ok(primary) = scene.cluster()?.primary().await {
                ensure!(primary == scene.old, "{primary} was promoted");
            }
            let told = told::sentences(&scene.mark.since());
            ensure!(told.iter().any(|it| it.contains(words)), "nobody was told {words:?}, but {told:?}");
        }
    }
    Ok(())
}

/// Waits until a server that the fault left over is the primary.
async fn another_primary(scene: &Scene, lost: &BTreeSet<String>) -> Result<String> {
    let cluster = scene.cluster()?;
    until("another primary", OUTCOME, async || {
        let primary = cluster.primary().await?;
        ensure!(!lost.contains(&primary), "{primary} still serves");
        Ok(primary)
    })
    .await
}

/// Milliseconds from a moment to the end of the first acknowledged write that began after it.
async fn first_write(scene: &Scene, from: Instant) -> Result<f64> {
    until("an acknowledged write", OUTCOME, async || {
        let fresh = |attempt: &&Attempt| attempt.acknowledged && attempt.start > from;
        let first = scene.writers.since(from).iter().filter(fresh).map(|it| it.end).min();
        Ok(ms(first.context("none as yet")?.duration_since(from)))
    })
    .await
}

/// The longest time without an acknowledgement since the fault, the one that lasts now included.
fn longest(writers: &Writers, fault: Instant) -> Option<f64> {
    let now = Instant::now();
    let log = writers.since(fault.checked_sub(Duration::from_secs(5)).unwrap_or(fault));
    let last = log.iter().filter(|it| it.acknowledged).map(|it| it.end).max()?;
    let lasting = now.saturating_duration_since(last.max(fault));
    let gap = history::gap(&log, fault, now).unwrap_or_default();
    // A writer's own pace is no gap.
    Some(ms(gap.max(lasting)))
}

/// The highest record that a node tells.
async fn latest_record(scene: &Scene) -> Result<Record> {
    let cluster = scene.cluster()?;
    let mut records = Vec::new();
    for node in &cluster.nodes {
        records.extend(cluster.record(node.name()).await.ok());
    }
    records.into_iter().max_by(|a, b| a.epoch.cmp(&b.epoch)).context("no node tells a record")
}

/// What the latest failover of a record rested on.
fn proof(record: &Record) -> String {
    let Some(past) = record.recent.last() else { return String::new() };
    let by = |how| serde_json::to_value(how).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let fences: Vec<String> = past.grounds.iter().map(|grounds| by(grounds.how)).collect();
    if fences.is_empty() { SETS.to_owned() } else { fences.join("+") }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What came of several rows.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The lines of the table.
    pub lines: Vec<String>,
    /// Every difference from what a row expects.
    pub differences: Vec<String>,
}

/// Runs every row of these once, with each of its flavours.
///
/// # Errors
/// When a lab does not do what it should.
pub async fn all(rows: &[&Row], patience: u32) -> Result<Found> {
    let mut found = Found::default();
    for row in rows {
        for flavour in [Flavour::Mariadb, Flavour::Mysql].into_iter().filter(|flavour| row.speaks(*flavour)) {
            let report = once(row, flavour, patience).await.with_context(|| format!("{} on {flavour}", row.name))?;
            let differences = report.differences(row, flavour, patience);
            found.differences.extend(differences.into_iter().map(|it| format!("{} on {flavour}: {it}", row.name)));
            found.lines.push(super::table::line(row, flavour, &[report]));
        }
    }
    Ok(found)
}
