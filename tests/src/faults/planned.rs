//! The primary's server is stopped as its packaged unit does it: `tasuki-node hand-over` first, then SIGTERM.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::row::Doing;
use super::scene::Scene;
use crate::lab::drill;
use crate::lab::waiting::until;

/// Until the next thing is done by hand.
const LATER: Duration = Duration::from_secs(1);
/// Commits that were under way have ended, one way or the other.
const SETTLED: Duration = Duration::from_millis(1500);
/// The longest wait for writes to be blocked.
const BLOCKED: Duration = Duration::from_secs(10);
/// So many more clients that most of the blocked commits are one group of the binlog.
const CROWD: (u32, u32) = (40, 5);

/// The stop of a unit with the drop-in.
async fn stop(scene: &mut Scene, within: &str) -> Result<String> {
    let old = scene.old.clone();
    let said = scene.cluster_mut()?.node_mut(&old)?.run(&["hand-over", "--within", within]).await?;
    scene.cluster_mut()?.server_mut(&old)?.stop().await?;
    Ok(said)
}

/// The database's package is upgraded: its unit is stopped and started.
pub(super) fn upgrade(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let said = stop(scene, "10s").await?;
        ensure!(said.contains("is the primary"), "nobody took over: {said}");
        sleep(LATER).await;
        let old = scene.old.clone();
        let server = scene.cluster_mut()?.server_mut(&old)?;
        server.start()?;
        server.ready().await
    })
}

/// The primary's host is rebooted in order: its units are stopped, the network goes, and all comes back.
pub(super) fn reboot(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let said = stop(scene, "10s").await?;
        ensure!(said.contains("is the primary"), "nobody took over: {said}");
        let old = scene.old.clone();
        scene.cluster_mut()?.node_mut(&old)?.stop().await?;
        scene.network()?.unplug(&old)?;
        sleep(LATER).await;
        scene.network()?.plug(&old)?;
        let cluster = scene.cluster_mut()?;
        cluster.node_mut(&old)?.start()?;
        let server = cluster.server_mut(&old)?;
        server.start()?;
        server.ready().await
    })
}

/// Commits wait for replicas that are gone when the primary is stopped: nobody may be told OK.
pub(super) fn stop_blocked(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let crowd = scene.cluster()?.write_locally(&scene.old, CROWD.0, CROWD.1)?;
        drill::acknowledged(&crowd, u64::from(CROWD.0)).await?;
        scene.kill_server(&scene.replica(0)?)?;
        scene.kill_server(&scene.replica(1)?)?;
        until("writes that wait", BLOCKED, async || {
            let late = Instant::now().checked_sub(SETTLED);
            let written = scene.writers.since(late.unwrap_or(scene.fault)).iter().any(|it| it.acknowledged);
            ensure!(!written, "writes are acknowledged");
            Ok(())
        })
        .await?;
        scene.strike();
        let said = stop(scene, "1s").await?;
        ensure!(said.contains("nobody took over"), "{said}");
        sleep(SETTLED).await;
        for writers in [&scene.writers, &scene.locals, &crowd] {
            let answered = writers.log().into_iter().find(|it| it.acknowledged && it.end > scene.fault);
            ensure!(answered.is_none(), "{answered:?} was answered OK, and no replica has it");
        }
        Ok(())
    })
}
