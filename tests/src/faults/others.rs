//! Tasuki's own programs and Redis die, alone or together with the primary.

use std::time::Duration;

use tasuki_schemas::event::StageName;
use tokio::time::sleep;

use super::row::Doing;
use super::scene::Scene;
use crate::lab::{Options, Outside};

/// Until everybody has noticed.
const NOTICED: Duration = Duration::from_secs(3);

pub(super) fn kill_redis(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.lab.redis.iter_mut().for_each(crate::lab::redis::Redis::kill9);
        Ok(())
    })
}

pub(super) fn kill_redis_and_primary(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.lab.redis.iter_mut().for_each(crate::lab::redis::Redis::kill9);
        sleep(NOTICED).await;
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

pub(super) fn freeze_redis_and_kill_primary(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.lab.redis.iter().try_for_each(crate::lab::redis::Redis::freeze)?;
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

pub(super) fn kill_leader(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        end_leader(scene)
    })
}

pub(super) fn kill_leader_recruiting(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_leader_at(scene, StageName::Recruiting).await })
}

pub(super) fn kill_leader_catching_up(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_leader_at(scene, StageName::CatchingUp).await })
}

pub(super) fn kill_leader_promoting(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_leader_at(scene, StageName::Promoting).await })
}

pub(super) fn kill_leader_opened(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move { kill_leader_at(scene, StageName::Opened).await })
}

/// The leader hangs in the middle, and goes on when another has taken over.
pub(super) fn freeze_leader_promoting(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        scene.reaches(StageName::Recruiting).await?;
        for leader in scene.lab.coordinators.iter().take(1) {
            leader.freeze()?;
            sleep(NOTICED).await;
            leader.thaw()?;
        }
        Ok(())
    })
}

async fn kill_leader_at(scene: &mut Scene, stage: StageName) -> anyhow::Result<()> {
    scene.strike();
    scene.kill_server(&scene.old.clone())?;
    scene.reaches(stage).await?;
    end_leader(scene)
}

/// The first by rank leads from the birth on.
fn end_leader(scene: &mut Scene) -> anyhow::Result<()> {
    scene.lab.coordinators.iter_mut().take(1).try_for_each(|leader| leader.kill9().map(|_| ()))
}

pub(super) fn kill_sidecar(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        scene.cluster_mut()?.node_mut(&old)?.kill9().map(|_| ())
    })
}

/// As systemd does: the sidecar is started again.
pub(super) fn restart_sidecar(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        let node = scene.cluster_mut()?.node_mut(&old)?;
        node.kill9()?;
        node.start()
    })
}

pub(super) fn kill_sidecar_then_server(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let old = scene.old.clone();
        scene.cluster_mut()?.node_mut(&old)?.kill9()?;
        sleep(NOTICED).await;
        scene.strike();
        scene.kill_server(&old)
    })
}

/// Asynchronous, fenced through ssh, where a loss is accepted.
pub(super) fn by_ssh() -> Options {
    let outside = Outside { ssh: true, max_loss: Some("unreceived_tail"), ..Outside::default() };
    Options { asynchronous: true, outside, ..Options::default() }
}

/// Nobody hears an asynchronous primary's host, and its sshd greets nobody.
pub(super) fn hang_ssh(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        for sshd in &scene.lab.sshds {
            sshd.signal(rustix::process::Signal::STOP)?;
        }
        let old = scene.old.clone();
        scene.cluster_mut()?.node_mut(&old)?.kill9()?;
        scene.strike();
        scene.cluster()?.server(&old)?.freeze()
    })
}

/// The same, and ssh works.
pub(super) fn reach_by_ssh(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let old = scene.old.clone();
        scene.cluster_mut()?.node_mut(&old)?.kill9()?;
        scene.strike();
        scene.network()?.cut_all_but(&old, 22)
    })
}
