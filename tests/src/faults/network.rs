//! Links are cut: hosts are lost, isolated, or heard by some only.

use anyhow::{Context as _, Result};

use super::row::Doing;
use super::scene::Scene;
use crate::lab::Options;

/// The port of every server.
const SQL: u16 = 3306;

/// A witness, by which two of the remaining nodes are no majority of their own accord.
pub(super) fn witnessed() -> Options {
    Options { witnesses: 1, ..Options::default() }
}

/// The whole host is gone: its programs, and its plug.
pub(super) fn lose_host(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        scene.network()?.unplug(&old)?;
        scene.kill_host(&old)
    })
}

/// The host is cut off with clients of its own, which go on by the Unix socket.
pub(super) fn isolate(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.network()?.unplug(&scene.old)
    })
}

/// The same, and its sidecar, which would close the server, is stopped.
pub(super) fn isolate_without_sidecar(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        freeze_sidecar(scene)?;
        scene.strike();
        scene.network()?.unplug(&scene.old)
    })
}

fn freeze_sidecar(scene: &Scene) -> Result<()> {
    let node = scene.cluster()?.nodes.iter().find(|node| node.name() == scene.old);
    node.context("the primary has no node")?.freeze()
}

/// Neither coordinator hears the primary's host directly; Redis carries its words.
pub(super) fn part_from_coordinators(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        ["co1", "co2"].iter().try_for_each(|coordinator| scene.network()?.part(coordinator, &scene.old))
    })
}

/// Neither coordinator hears the primary's host at all.
pub(super) fn part_from_coordinators_and_redis(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        ["co1", "co2", "re1"].iter().try_for_each(|host| scene.network()?.part(host, &scene.old))
    })
}

/// The replicas receive nothing; everybody else reaches the primary.
pub(super) fn cut_replication(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.others.iter().try_for_each(|replica| scene.network()?.cut(replica, &scene.old, Some(SQL)))
    })
}

/// Whatever the primary's host sends is lost; it hears everybody.
pub(super) fn cut_outgoing(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        everybody(scene).iter().try_for_each(|host| scene.network()?.cut(&scene.old, host, None))
    })
}

/// Whatever is sent to the primary's host is lost; everybody hears it.
pub(super) fn cut_incoming(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        everybody(scene).iter().try_for_each(|host| scene.network()?.cut(host, &scene.old, None))
    })
}

fn everybody(scene: &Scene) -> Vec<String> {
    let fixed = ["co1", "co2", "re1", "cl1"].map(str::to_owned);
    fixed.into_iter().chain(scene.others.iter().cloned()).collect()
}

/// One replica's host is unplugged.
pub(super) fn lose_replica_host(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.network()?.unplug(&scene.replica(0)?)
    })
}

/// The primary's host and one coordinator's at once.
pub(super) fn lose_host_and_coordinator(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        let old = scene.old.clone();
        scene.network()?.unplug(&old)?;
        scene.network()?.unplug("co1")?;
        scene.kill_host(&old)
    })
}

/// The coordinators lose each other and nobody else.
pub(super) fn part_coordinators(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.network()?.part("co1", "co2")
    })
}

/// The primary's host cannot write to one replica, and that replica not to it.
pub(super) fn part_from_one_replica(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.network()?.part(&scene.old, &scene.replica(0)?)
    })
}
