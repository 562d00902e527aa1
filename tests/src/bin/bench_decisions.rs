//! `make bench`, second part: how fast one observation is decided, what many clusters cost, and a mass loss of primaries.
//! `PART=handle`, `PART=many` and `PART=fleet` run one of them.
#![expect(clippy::print_stdout, reason = "the figures are the program's result")]

use anyhow::{Result, ensure};
use tasuki_tests::bench::{Figure, fleet, many, percentile};
use tasuki_tests::sim::decision_times;

/// Limits: microseconds for an observation, processor seconds per second, seconds until a hundred are decided.
const HANDLE_US: f64 = 200.0;
const CPU: f64 = 0.5;
const MASS_S: f64 = 5.0;

/// Servers of the clusters in the first two parts.
const SERVERS: usize = 5;

type Part = fn() -> Result<Vec<Figure>>;

fn main() -> Result<()> {
    let part = std::env::var("PART").unwrap_or_default();
    // Others on this machine slow everything down; processor seconds suffer least.
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let mut above = Vec::new();
    let parts: [(&str, Part); 3] = [("handle", handle), ("many", many_clusters), ("fleet", mass)];
    for (_, run) in parts.into_iter().filter(|(name, _)| name.contains(&part)) {
        for figure in run()? {
            println!("{}", figure.line());
            above.extend(figure.is_above().then_some(figure.name));
        }
    }
    ensure!(above.is_empty(), "above the limits: {}", above.join("; "));
    Ok(())
}

fn handle() -> Result<Vec<Figure>> {
    let mut times = decision_times(SERVERS, 60);
    let mut figures = Vec::new();
    for (state, values) in [("healthy", &mut times.healthy), ("failover", &mut times.failing)] {
        ensure!(values.len() > 1000, "only {} observations while {state}", values.len());
        let mut figure = |what: &str, hundredths, limit| {
            let us = percentile(values, hundredths) as f64 / 1e3;
            let name = format!("one observation to its commands, {SERVERS} servers, {state}, {what}");
            figures.push(Figure { limit, ..Figure::plain(&name, us, "us") });
        };
        figure("median", 50, Some(HANDLE_US));
        figure("p99", 99, Some(HANDLE_US));
    }
    Ok(figures)
}

fn many_clusters() -> Result<Vec<Figure>> {
    let cost = many::cost(1000, SERVERS, 10)?;
    Ok(vec![
        Figure::limited("1,000 healthy clusters of 5, CPU seconds per second", cost.coordinator(), "s", CPU),
        Figure::plain("  of which opening 5,000 envelopes that came over the mesh", cost.open, "s"),
        Figure::plain("  (verifying them as well, where Redis alone carries them)", cost.verify, "s"),
        Figure::plain(&format!("  of which deciding: 5,000 observations, {:.0} wakes", cost.wakes), cost.handle, "s"),
        Figure::plain(&format!("  of which sealing {:.0} heartbeats and requests", cost.sealed), cost.seal, "s"),
        Figure::plain("  (5,000 nodes spend on sealing, elsewhere)", cost.nodes, "s"),
    ])
}

fn mass() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let clusters = std::env::var("CLUSTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let lost = clusters / 3;
    let mut mass = runtime.block_on(fleet::mass_loss(clusters, lost))?;
    let seconds = |hundredths, values: &mut Vec<u64>| percentile(values, hundredths) as f64 / 1e3;
    Ok(vec![
        Figure::plain(
            &format!("{clusters} clusters of 3 over one Redis, CPU seconds per second of all programs"),
            mass.busy,
            "s",
        ),
        Figure::plain(
            &format!("{lost} primaries lost at once, decided: median"),
            seconds(50, &mut mass.decided_ms),
            "s",
        ),
        Figure::limited(
            &format!("{lost} primaries lost at once, decided: all"),
            seconds(100, &mut mass.decided_ms),
            "s",
            MASS_S,
        ),
    ])
}
