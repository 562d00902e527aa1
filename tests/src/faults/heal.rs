//! Everything is put right again; then everybody follows, or is known to be ahead.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::sleep;

use super::row::Row;
use super::scene::Scene;
use super::told::sentences;
use crate::lab::waiting::until_slowly;
use crate::lab::wire::channel;

/// The longest wait for everybody to follow.
const WHOLE: Duration = Duration::from_secs(60);

/// A server that was killed through ssh is kept from starting for so long, also where a long tail was read.
const KEPT_DOWN: Duration = Duration::from_secs(150);

/// Whatever waited for a disk has gone on within this.
const DISK: Duration = Duration::from_millis(500);

/// What the cluster is in the end.
pub(super) const WHOLE_AGAIN: &str = "yes";
/// A server holds more than the cluster, and is kept out and closed.
pub(super) const QUARANTINED: &str = "quarantined";

/// Undoes every fault: whatever was cut, frozen or ended goes on. Returns the servers that were started again.
pub(super) async fn heal(scene: &mut Scene) -> Result<Vec<String>> {
    // A server that returns is not written to but by the proxy's choice.
    scene.locals.pause(true);
    scene.held.clear();
    if let Ok(network) = scene.lab.net().namespaces() {
        network.heal()?;
    }
    for redis in &mut scene.lab.redis {
        if redis.thaw().is_err() {
            redis.start().await?;
        }
    }
    for sshd in &scene.lab.sshds {
        sshd.signal(rustix::process::Signal::CONT)?;
    }
    for coordinator in &mut scene.lab.coordinators {
        if coordinator.thaw().is_err() {
            coordinator.start()?;
        }
    }
    let mut started = Vec::new();
    let cluster = scene.cluster_mut()?;
    for server in &mut cluster.servers {
        if let Some(disk) = server.disk() {
            disk.heal();
            // A server that was killed while its disk hung ends now.
            sleep(DISK).await;
        }
        drop(server.thaw());
        if !server.is_running() {
            server.start()?;
            started.push(server.name().to_owned());
        }
    }
    for node in &mut cluster.nodes {
        if node.thaw().is_err() {
            node.start()?;
        }
    }
    for server in &mut cluster.servers {
        if started.iter().any(|name| name == server.name())
            && let Err(error) = server.ready().await
        {
            // One that was fenced through ssh is kept from starting for a while; the wait for everybody starts it again.
            ensure!(!server.is_running(), error);
        }
    }
    for (server, sql) in &scene.undo {
        scene.cluster()?.server(server)?.sql().run(sql).await?;
    }
    Ok(started)
}

/// Waits until the cluster is whole, or as whole as the row allows. A server that was replaced and started again must be
/// closed at every look. One that its own node ends meanwhile is started again, as its service manager would.
pub(super) async fn whole_again(scene: &mut Scene, row: &Row, started: &[String]) -> Result<&'static str> {
    let returned: Vec<String> = started.iter().filter(|name| scene.lost.contains(*name)).cloned().collect();
    let mut opened = None;
    let kept = if (row.options)().outside.ssh { KEPT_DOWN } else { Duration::ZERO };
    let whole = until_slowly("everybody to follow", WHOLE + kept, async || {
        for server in &mut scene.cluster_mut()?.servers {
            if !server.is_running() {
                server.start()?;
            }
        }
        let cluster = scene.cluster()?;
        let primary = cluster.primary().await?;
        for name in &returned {
            if *name != primary && cluster.server(name)?.sql().value("SELECT @@read_only = 1").await? != "1" {
                opened = Some(name.clone());
            }
        }
        match cluster.wait_whole(Duration::ZERO).await {
            Ok(_) => Ok(WHOLE_AGAIN),
            Err(error) if row.quarantines => quarantined(scene, &primary).await.with_context(|| format!("{error:#}")),
            Err(error) => Err(error),
        }
    })
    .await?;
    ensure!(opened.is_none(), "{opened:?} was writable while it came back");
    Ok(whole)
}

/// Who may be ahead is closed and named with what it holds, and everybody else follows.
async fn quarantined(scene: &Scene, primary: &str) -> Result<&'static str> {
    let cluster = scene.cluster()?;
    let source = cluster.server(primary)?.address().to_string();
    for server in cluster.servers.iter().filter(|server| server.name() != primary) {
        if scene.ahead.contains(server.name()) {
            ensure!(server.sql().value("SELECT @@read_only = 1").await? == "1", "{} is writable", server.name());
            let told = sentences(&scene.mark.since());
            ensure!(told.iter().any(|it| it.contains("quarantined: it holds transactions")), "nothing is told of it");
            continue;
        }
        let found = channel(server).await?.with_context(|| format!("{} follows nobody", server.name()))?;
        if found.source != source || !found.runs {
            bail!("{} follows {}: {}", server.name(), found.source, found.error);
        }
    }
    Ok(QUARANTINED)
}
