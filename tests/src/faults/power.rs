//! Hosts are rebooted, and everything loses power at once and comes back in each order.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::row::Doing;
use super::scene::Scene;

/// Until the next host is up.
const LATER: Duration = Duration::from_secs(3);

/// The primary's host reboots: all its programs end, and are started again.
pub(super) fn reboot_primary(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        scene.network()?.unplug(&old)?;
        scene.kill_host(&old)?;
        sleep(LATER).await;
        scene.network()?.plug(&old)?;
        boot(scene, &old).await
    })
}

pub(super) fn cut_power_primary_first(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let order = [scene.old.clone(), scene.replica(0)?, scene.replica(1)?];
        power_cut(scene, &order).await
    })
}

pub(super) fn cut_power_primary_last(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let order = [scene.replica(1)?, scene.replica(0)?, scene.old.clone()];
        power_cut(scene, &order).await
    })
}

/// The primary's host stays off.
pub(super) fn cut_power_primary_missing(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let order = [scene.replica(0)?, scene.replica(1)?];
        power_cut(scene, &order).await
    })
}

/// A replica's host stays off.
pub(super) fn cut_power_replica_missing(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let order = [scene.replica(0)?, scene.old.clone()];
        power_cut(scene, &order).await
    })
}

/// Only the primary's host comes back.
pub(super) fn cut_power_two_missing(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let order = [scene.old.clone()];
        power_cut(scene, &order).await
    })
}

/// Every program but the clients' ends at once. The coordinators and Redis are back first, then these hosts one by one,
/// each with its server and its node. The mark is when the last of them is up.
async fn power_cut(scene: &mut Scene, order: &[String]) -> Result<()> {
    scene.strike();
    for redis in &mut scene.lab.redis {
        redis.kill9();
    }
    for coordinator in &mut scene.lab.coordinators {
        coordinator.kill9()?;
    }
    let names: Vec<String> = scene.others.iter().cloned().chain([scene.old.clone()]).collect();
    for name in &names {
        scene.kill_host(name)?;
    }
    sleep(LATER).await;
    for redis in &mut scene.lab.redis {
        redis.start().await?;
    }
    for coordinator in &mut scene.lab.coordinators {
        coordinator.start()?;
    }
    for (number, name) in order.iter().enumerate() {
        if number > 0 {
            sleep(LATER).await;
        }
        boot(scene, name).await?;
    }
    scene.strike_again();
    Ok(())
}

/// The host's server and its node are started, as its service manager would.
async fn boot(scene: &mut Scene, name: &str) -> Result<()> {
    let cluster = scene.cluster_mut()?;
    cluster.node_mut(name)?.start()?;
    let server = cluster.server_mut(name)?;
    server.start()?;
    server.ready().await
}
