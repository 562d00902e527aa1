//! What only a dead primary has: fifty thousand transactions, 100 MB, in its binlog.

use anyhow::Result;

use super::row::Doing;
use super::scene::Scene;
use crate::lab::tail::{ROWS, TRANSACTIONS, load, rows, until_alone};
use crate::lab::{Options, Outside};

/// Asynchronous, fenced through ssh, and no loss is accepted.
pub(super) fn by_ssh_alone() -> Options {
    let outside = Outside { ssh: true, max_loss: Some("none"), ..Outside::default() };
    Options { asynchronous: true, coordinators: 1, outside, ..Options::default() }
}

/// Asynchronous, and nothing outside helps.
pub(super) fn alone() -> Options {
    Options { asynchronous: true, coordinators: 1, ..Options::default() }
}

/// Its host and its sidecar live.
pub(super) fn kill_with_long_tail(scene: &mut Scene) -> Doing<'_> {
    Box::pin(kill(scene, false))
}

/// It dies with its sidecar.
pub(super) fn kill_with_sidecar_and_long_tail(scene: &mut Scene) -> Doing<'_> {
    Box::pin(kill(scene, true))
}

async fn kill(scene: &mut Scene, with_sidecar: bool) -> Result<()> {
    let old = until_alone(&scene.lab, &[&scene.writers, &scene.locals]).await?;
    let sql = scene.cluster()?.server(&old)?.sql();
    load(&sql, TRANSACTIONS).await?;
    scene.expected = Some((ROWS, rows(&sql).await?));
    scene.writers.pause(false);
    scene.locals.pause(false);
    crate::lab::drill::acknowledged(&scene.writers, 20).await?;
    scene.strike();
    if with_sidecar {
        scene.cluster_mut()?.node_mut(&old)?.kill9()?;
    }
    scene.kill_server(&old)?;
    for coordinator in &scene.lab.coordinators {
        coordinator.thaw()?;
    }
    Ok(())
}
