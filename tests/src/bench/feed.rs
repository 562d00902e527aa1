//! What viewers cost: a coordinator's feed beside the official Socket.IO server, both driven by the same viewers.

pub mod crowd;
mod frames;
mod served;

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, interval, sleep};

use crowd::Crowd;
pub use served::{Served, stay_on_the_other_core};

/// Events a second that every viewer gets.
pub const A_SECOND: u32 = 10;
/// After the last event, everybody must have it within this.
const LATE: Duration = Duration::from_secs(10);

/// What one server did for so many viewers.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Messages that reached a viewer.
    pub deliveries: u64,
    /// By each second of its processor time.
    pub deliveries_per_cpu_s: f64,
    /// Milliseconds of processor time for each connection, until it has its snapshot.
    pub connection_cpu_ms: f64,
    /// Kilobytes of memory for each viewer.
    pub viewer_kb: f64,
    /// How much of a core it used while it told events.
    pub busy: f64,
    /// Milliseconds from an event to a viewer: half of them came within.
    pub median_ms: u64,
    /// And 99 of 100.
    pub p99_ms: u64,
}

/// Connects viewers, tells events for a while, and looks whether each of them came to everybody, once and in order.
///
/// # Errors
/// When a viewer is refused, or an event is missing, doubled or out of order.
pub async fn measure(server: &mut Served, viewers: usize, length: Duration) -> Result<Cost> {
    let (cpu, memory) = (server.cpu_seconds()?, server.resident_kb()?);
    let crowd = Crowd::gather(viewers, server.place(), &server.connector()?, served::TOKEN).await?;
    sleep(Duration::from_millis(300)).await;
    let connected = server.cpu_seconds()?;
    until_told(server, &crowd).await?;
    crowd.forget();
    let (began, before) = (Instant::now(), server.cpu_seconds()?);
    let events = u64::from(A_SECOND) * length.as_secs();
    let mut pace = interval(Duration::from_secs(1) / A_SECOND);
    for _ in 0..events {
        pace.tick().await;
        server.tell(0).await?;
    }
    let told = Instant::now();
    while crowd.logs().iter().any(|log| log.events < events) && told.elapsed() < LATE {
        sleep(Duration::from_millis(20)).await;
    }
    let (took, spent) = (began.elapsed(), server.cpu_seconds()? - before);
    let grown = server.resident_kb()? - memory;
    crowd.check()?;
    let logs = crowd.logs();
    for (number, log) in logs.iter().enumerate() {
        ensure!(log.events == events, "viewer {number} got {} of {events} events", log.events);
        ensure!(log.disorder == 0 && Some(log.digest) == logs.first().map(|it| it.digest), "viewer {number}: {log:?}");
    }
    server.keep(crowd.samples());
    let deliveries: u64 = logs.iter().map(|log| log.deliveries).sum();
    Ok(Cost {
        deliveries,
        deliveries_per_cpu_s: deliveries as f64 / spent,
        connection_cpu_ms: (connected - cpu) * 1e3 / viewers as f64,
        viewer_kb: grown / viewers as f64,
        busy: spent / took.as_secs_f64(),
        median_ms: crowd.latency_ms(500),
        p99_ms: crowd.latency_ms(990),
    })
}

/// Tells until it reaches everybody; that is not counted.
async fn until_told(server: &mut Served, crowd: &Crowd) -> Result<()> {
    let began = Instant::now();
    while crowd.logs().iter().any(|log| log.events == 0) {
        ensure!(began.elapsed() < LATE, "what is told does not reach the viewers");
        server.tell(0).await?;
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Deliveries and events a second that one viewer gets while so many servers report.
///
/// # Errors
/// When it is refused.
pub async fn reports_of(server: &mut Served, servers: usize, every: Duration, length: Duration) -> Result<(f64, f64)> {
    let crowd = Crowd::gather(1, server.place(), &server.connector()?, served::TOKEN).await?;
    until_told(server, &crowd).await?;
    let began = Instant::now();
    let mut at = 0;
    // Each at a moment of its own, and the same in each round.
    let mut pace = interval(every / u32::try_from(servers)?);
    crowd.forget();
    while began.elapsed() < length {
        pace.tick().await;
        server.tell(at % servers).await?;
        at += 1;
    }
    let took = began.elapsed().as_secs_f64();
    crowd.check()?;
    let log = crowd.logs().first().copied().unwrap_or_default();
    Ok((log.deliveries as f64 / took, log.events as f64 / took))
}
