//! `make bench`: what the programs cost while nothing happens, from a release build, and the gap of a crash.
#![expect(clippy::print_stdout, reason = "the figures are the program's result")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::programs::Program;
use tasuki_tests::lab::{Lab, Options, drill};

/// How long the idle programs are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Limits of the issue that asked for them: resident megabytes and percent of a core.
const NODE: (f64, f64) = (20.0, 1.5);
const COORDINATOR_MB: f64 = 40.0;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench())
}

async fn bench() -> Result<()> {
    let flavours = [Flavour::Mariadb, Flavour::Mysql];
    let mut lab = Lab::start(Kind::Loopback, &flavours, &Options::default()).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // HAProxy asks each node 50 times a second here. That is no idleness: it is measured apart.
    for cluster in &mut lab.clusters {
        cluster.haproxy.kill9();
    }
    let idle = used(&lab).await?;
    for cluster in &mut lab.clusters {
        cluster.haproxy.start().await?;
    }
    let asked = used(&lab).await?;
    println!(
        "{:<12} {:<8} {:>12} {:>16} {:>18}",
        "beside", "program", "resident MB", "% of a core idle", "asked 50 times/s"
    );
    let mut too_much = Vec::new();
    for (((kind, program), idle), asked) in programs(&lab).zip(idle).zip(asked) {
        let resident = resident_mb(program)?;
        println!("{kind:<12} {:<8} {resident:>12.1} {idle:>16.2} {asked:>18.2}", program.name());
        let (most_mb, most_cpu) = if kind == "coordinator" { (COORDINATOR_MB, f64::MAX) } else { NODE };
        if resident > most_mb || idle > most_cpu {
            too_much.push(program.name().to_owned());
        }
    }
    for cluster in &mut lab.clusters {
        let writers = cluster.write(8, 400)?;
        drill::acknowledged(&writers, 400).await?;
        let old = cluster.primary().await?;
        let fault: Instant = cluster.server_mut(&old)?.kill9()?;
        drill::taken_over(cluster, &writers, &old, fault).await?;
        drill::acknowledged(&writers, 100).await?;
        println!(
            "{:<12} kill -9: {:.0} ms without an acknowledged write",
            cluster.name,
            drill::gap(&writers, fault)?.as_secs_f64() * 1e3
        );
    }
    ensure!(too_much.is_empty(), "above the limits: {}", too_much.join(", "));
    Ok(())
}

fn programs(lab: &Lab) -> impl Iterator<Item = (&str, &Program)> {
    let coordinators = lab.coordinators.iter().map(|program| ("coordinator", program));
    let nodes = lab.clusters.iter().flat_map(|cluster| cluster.nodes.iter().map(|node| (cluster.name.as_str(), node)));
    coordinators.chain(nodes)
}

/// What each program uses of a core, in percent.
async fn used(lab: &Lab) -> Result<Vec<f64>> {
    let seconds = || programs(lab).map(|(_, program)| cpu_seconds(program)).collect::<Result<Vec<f64>>>();
    let before = seconds()?;
    tokio::time::sleep(WATCHED).await;
    let used = |(after, before): (f64, f64)| (after - before) / WATCHED.as_secs_f64() * 100.0;
    Ok(seconds()?.into_iter().zip(before).map(used).collect())
}

fn resident_mb(program: &Program) -> Result<f64> {
    let pid = program.pid().context("it ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// User and system time, fields 14 and 15 of the stat line, in ticks of 10 ms.
fn cpu_seconds(program: &Program) -> Result<f64> {
    let pid = program.pid().context("it ended")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field is missing")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
