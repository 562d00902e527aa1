//! The primary's server dies, is stopped, hangs, or has no connections left.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tasuki_schemas::gtid::Flavour;
use tokio::time::sleep;

use super::row::Doing;
use super::scene::Scene;
use crate::lab::Options;
use crate::lab::server::relayed;
use crate::lab::waiting::until;
use crate::lab::writer::{self, Target};

/// A clock is set by so many seconds.
const HOUR: i64 = 3600;
/// Until the next one is.
const SOAKED: Duration = Duration::from_millis(1500);
/// The longest wait for everybody to follow.
const WHOLE: Duration = Duration::from_secs(50);
/// The largest part of a transaction that replicas hold when its server dies.
const PART: u64 = 4 << 20;

/// Wall clocks that can be set.
pub(super) fn clocks() -> Options {
    Options { clocks: true, ..Options::default() }
}

/// Clocks are set by an hour on several hosts, forwards and back again, and nothing comes of it.
pub(super) fn clocks_jump(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let replica = scene.replica(0)?;
        let (net, old) = (scene.lab.net(), scene.old.as_str());
        for [primary, coordinator, replica_s] in [[HOUR, -HOUR, 0], [-HOUR, HOUR, HOUR], [0, 0, -HOUR], [HOUR, HOUR, 0]]
        {
            net.clocks()?.set(old, primary)?;
            net.clocks()?.set("co1", coordinator)?;
            net.clocks()?.set(&replica, replica_s)?;
            sleep(SOAKED).await;
        }
        Ok(())
    })
}

/// The same, and then the primary dies.
pub(super) fn clocks_jump_and_kill(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        clocks_jump(scene).await?;
        kill(scene).await
    })
}

pub(super) fn kill(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

/// A transaction of 40 MB is under way to the replicas: each holds the beginning of it.
pub(super) fn kill_in_large_transaction(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        // What writers write meanwhile would be ordered behind it.
        scene.writers.pause(true);
        scene.locals.pause(true);
        let replica = scene.cluster()?.server(&scene.replica(0)?)?.folder().to_owned();
        let sql = scene.cluster()?.server(&scene.old)?.sql();
        sql.run("CREATE TABLE lab.large (id INT PRIMARY KEY, body LONGTEXT)").await?;
        let rows: Vec<String> = (0..40).map(|id| format!("({id}, REPEAT('x', 1000000))")).collect();
        let insert = format!("INSERT INTO lab.large VALUES {}", rows.join(", "));
        let before = relayed(&replica);
        let large = tokio::spawn(async move { sql.run(&insert).await });
        until("a part of the transaction at the replicas", Duration::from_secs(20), async || {
            ensure!(relayed(&replica) >= before + PART, "{} bytes", relayed(&replica) - before);
            Ok(())
        })
        .await?;
        scene.writers.pause(false);
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        ensure!(large.await?.is_err(), "a transaction was acknowledged that no replica had received");
        Ok(())
    })
}

/// A bare SIGTERM, as an operator without the packaged units would send. On MySQL while nobody writes: that would answer
/// OK to blocked commits, which no manager can mend.
pub(super) fn stop(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let old = scene.old.clone();
        let quiet = scene.cluster()?.flavour == Flavour::Mysql;
        scene.writers.pause(quiet);
        scene.locals.pause(quiet);
        sleep(Duration::from_millis(if quiet { 300 } else { 0 })).await;
        scene.strike();
        let server = scene.cluster()?.server(&old)?;
        server.ask_to_stop()?;
        scene.writers.pause(false);
        scene.lost.insert(old);
        Ok(())
    })
}

pub(super) fn freeze(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.cluster()?.server(&scene.old)?.freeze()
    })
}

pub(super) fn hang_disk(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.cluster()?.server(&scene.old)?.disk().context("it has no disk of its own")?.hang()
    })
}

pub(super) fn fill_disk(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.cluster()?.server(&scene.old)?.disk().context("it has no disk of its own")?.fill()
    })
}

/// Each write waits for both replicas. MariaDB waits for one at most.
pub(super) fn wait_for_two() -> Options {
    let option = "--loose-rpl-semi-sync-source-wait-for-replica-count=2";
    Options { server_options: vec![option.to_owned()], ..Options::default() }
}

/// Few connections, so that they are soon taken.
pub(super) fn few_connections() -> Options {
    Options { server_options: vec!["--max-connections=40".to_owned()], ..Options::default() }
}

/// Clients take every connection that the primary has for them.
pub(super) fn take_all_connections(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let target = Target::Local(scene.cluster()?.server(&scene.old)?.socket());
        scene.strike();
        scene.held = writer::take_all(&target).await?;
        Ok(())
    })
}

/// The server is started again before anybody took over.
pub(super) fn kill_and_return(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        scene.kill_server(&old)?;
        scene.cluster_mut()?.server_mut(&old)?.start()
    })
}

/// The second primary dies before the first commit was acknowledged by the new group.
pub(super) fn kill_twice_before_opened(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_in_a_row(scene, false, 2).await })
}

pub(super) fn kill_twice_after_opened(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_in_a_row(scene, true, 2).await })
}

/// All three, one right after the other: nobody is left, and each comes back.
pub(super) fn kill_all_in_a_row(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_in_a_row(scene, true, 3).await })
}

/// One server is never promoted, so that the others take turns, as often as the cluster file lets them by default.
pub(super) fn take_turns() -> Options {
    Options { never: Some("db3"), flap_limit: 2, ..Options::default() }
}

/// The primary, once everybody follows it. A server that its node ends meanwhile is started again, as its service manager
/// would.
async fn settled(scene: &mut Scene) -> anyhow::Result<String> {
    until("everybody to follow", WHOLE, async || {
        for server in scene.cluster_mut()?.servers.iter_mut() {
            if !server.is_running() {
                server.start()?;
            }
        }
        scene.cluster()?.wait_whole(Duration::ZERO).await
    })
    .await
}

/// Whoever serves is killed, four times in a row, and started again; then the first one once more.
pub(super) fn flap(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        for _ in 0..4 {
            let old = settled(scene).await?;
            // Nothing is under way that only the old primary would have.
            scene.writers.pause(true);
            scene.locals.pause(true);
            sleep(Duration::from_millis(300)).await;
            scene.cluster_mut()?.server_mut(&old)?.kill9()?;
            until("another primary", WHOLE, async || {
                let primary = scene.cluster()?.primary().await?;
                ensure!(primary != old, "{primary} still serves");
                Ok(())
            })
            .await?;
            let server = scene.cluster_mut()?.server_mut(&old)?;
            server.start()?;
            server.ready().await?;
            scene.writers.pause(false);
        }
        let first = settled(scene).await?;
        ensure!(first == scene.old, "{first} serves");
        scene.reigns_since = Instant::now();
        scene.locals.pause(false);
        scene.strike();
        scene.kill_server(&first)
    })
}

async fn kill_in_a_row(scene: &mut Scene, opened: bool, times: usize) -> anyhow::Result<()> {
    scene.strike();
    let mut next = scene.old.clone();
    for left in (0..times).rev() {
        scene.strike_again();
        scene.kill_server(&next)?;
        if left > 0 {
            next = scene.named(opened).await?;
        }
    }
    Ok(())
}
