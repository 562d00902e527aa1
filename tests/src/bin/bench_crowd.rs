//! `make bench-feed`, its second part: failovers with nobody watching and, in turn, with thousands of viewers at the
//! coordinators.
//!
//! `VIEWERS=10000 ROUNDS=5 FLAVOUR=mariadb` are how many, how often each is measured, and of which flavour the servers are.
#![expect(clippy::print_stdout, reason = "the figures are the program's result")]

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::bench::beside::{Watching, failover};
use tasuki_tests::faults::judge::median;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options};
use tokio_rustls::rustls::crypto::ring;

/// The median may be so many times that with nobody watching, where viewers and servers share the cores.
const SLOWER: f64 = 2.0;

fn main() -> Result<()> {
    ring::default_provider().install_default().map_err(|_| anyhow!("another TLS provider was installed before"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench())
}

async fn bench() -> Result<()> {
    let set = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let viewers: usize = set("VIEWERS", "10000").parse()?;
    let rounds: usize = set("ROUNDS", "5").parse()?;
    let flavour: Flavour = serde_json::from_value(set("FLAVOUR", "mariadb").into())?;
    let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await?;
    let names = ["co1", "co2"];
    let files = names.map(|name| lab.files().local(name));
    for (file, coordinator) in files.iter().zip(&mut lab.coordinators) {
        fs::File::options().append(true).open(file)?.write_all(b"max_connections_per_address = 20000\n")?;
        coordinator.kill9()?;
        coordinator.start()?;
    }
    let feeds = names.iter().map(|name| lab.files().feed(name)).collect::<Result<Vec<_>>>()?;
    let certificate = lab.files().certificate();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let cluster = lab.clusters.first_mut().context("no cluster")?;
        alone.push(told("nobody watches", failover(cluster).await?));
        let watching = Watching::begin(viewers, feeds.clone(), certificate.clone())?;
        beside.push(told(&format!("{viewers} viewers"), failover(cluster).await?));
        let logs = watching.end()?;
        println!("{:>24} each was handed {} incidents", "", logs.first().map_or(0, |log| log.alone));
    }
    let middle = |mut gaps: Vec<f64>| {
        gaps.sort_by(f64::total_cmp);
        median(&gaps).context("ROUNDS is 0: write 1 or more")
    };
    let (alone, beside) = (middle(alone)?, middle(beside)?);
    let times = beside / alone;
    println!("medians: {alone:.0} ms with nobody watching, {beside:.0} beside {viewers} viewers: {times:.2} times");
    ensure!(times < SLOWER, "beside {viewers} viewers a failover takes {times:.2} times as long");
    Ok(())
}

/// In milliseconds.
fn told(who: &str, gap: Duration) -> f64 {
    let gap = gap.as_secs_f64() * 1e3;
    println!("{who:>24} {gap:>6.0} ms without an acknowledged write");
    gap
}
