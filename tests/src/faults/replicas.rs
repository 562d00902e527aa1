//! Replicas die, lag, filter, or hold what they should not; then, mostly, the primary dies.

use std::time::Duration;

use anyhow::{Result, ensure};
use tasuki_schemas::gtid::Flavour;
use tokio::time::sleep;

use super::row::Doing;
use super::scene::Scene;
use crate::lab::waiting::until;
use crate::lab::{Options, drill};

/// Until the coordinators have seen what a replica is like.
const SEEN: Duration = Duration::from_secs(3);
/// Until a replica has received and applied what waits for another one.
const RECEIVED: Duration = Duration::from_millis(200);
/// Until a replica that was started again follows.
const FOLLOWS: Duration = Duration::from_secs(30);

pub(super) fn kill_one(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.kill_server(&scene.replica(0)?)
    })
}

pub(super) fn kill_both(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.kill_server(&scene.replica(0)?)?;
        scene.kill_server(&scene.replica(1)?)
    })
}

/// The second has received what the primary writes meanwhile and cannot commit: two must have it.
pub(super) fn kill_one_and_then_the_other(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.kill_server(&scene.replica(0)?)?;
        sleep(RECEIVED).await;
        scene.kill_server(&scene.replica(1)?)
    })
}

pub(super) fn hold_for_two() -> Options {
    Options { degraded: Some("hold"), ..super::crash::wait_for_two() }
}

/// The last replica is lost, and writing waits for it: the policy `hold`.
pub(super) fn hold() -> Options {
    Options { degraded: Some("hold"), ..Options::default() }
}

/// A replica is started again, and follows when the primary dies.
pub(super) fn restart_one_then_kill(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let replica = scene.replica(0)?;
        let server = scene.cluster_mut()?.server_mut(&replica)?;
        server.kill9()?;
        server.start()?;
        server.ready().await?;
        scene.cluster()?.wait_whole(FOLLOWS).await?;
        drill::acknowledged(&scene.writers, 50).await?;
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

/// A replica is started again, and the primary dies before that one follows.
pub(super) fn kill_while_one_restarts(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let replica = scene.replica(0)?;
        let server = scene.cluster_mut()?.server_mut(&replica)?;
        server.kill9()?;
        server.start()?;
        server.ready().await?;
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

/// A replica's host dies with its node; later, the primary's server.
pub(super) fn lose_one_then_kill(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let replica = scene.replica(0)?;
        scene.kill_host(&replica)?;
        scene.lost.insert(replica);
        sleep(SEEN).await;
        scene.strike();
        scene.kill_server(&scene.old.clone())
    })
}

/// One replica applies nothing for a while: it has everything, and much to do.
pub(super) fn kill_while_one_lags(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let replica = scene.replica(0)?;
        let server = scene.cluster()?.server(&replica)?;
        let sql = server.sql();
        // The row that it will wait for is locked by somebody.
        scene
            .cluster()?
            .server(&scene.old)?
            .sql()
            .run("CREATE TABLE lab.held (id INT PRIMARY KEY, n INT) ENGINE=InnoDB; INSERT INTO lab.held VALUES (1, 0)")
            .await?;
        until("the row at the replica", FOLLOWS, async || {
            ensure!(sql.value("SELECT COUNT(*) FROM lab.held").await? == "1", "it is not there");
            Ok(())
        })
        .await?;
        let locker = sql.clone();
        tokio::spawn(async move {
            locker.run("SET sql_log_bin=0; BEGIN; SELECT * FROM lab.held WHERE id = 1 FOR UPDATE; DO SLEEP(15)").await
        });
        sleep(Duration::from_millis(300)).await;
        scene.cluster()?.server(&scene.old)?.sql().run("UPDATE lab.held SET n = 1 WHERE id = 1").await?;
        sleep(SEEN).await;
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        scene.lost.insert(replica);
        Ok(())
    })
}

/// db2, the first replica, is never promoted.
pub(super) fn never_db2() -> Options {
    Options { never: Some("db2"), ..Options::default() }
}

/// The most advanced replica is the one that is never promoted: the other one receives nothing for a while.
pub(super) fn kill_with_never_ahead(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let (never, behind) = (scene.replica(0)?, scene.replica(1)?);
        scene.network()?.part(&behind, &scene.old)?;
        drill::acknowledged(&scene.writers, 50).await?;
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        // It is heard again by everybody but the dead one.
        scene.network()?.mend()?;
        scene.lost.insert(never);
        Ok(())
    })
}

/// The first replica has a transaction of its own.
pub(super) fn kill_with_errant(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let replica = scene.replica(0)?;
        let open = match scene.cluster()?.flavour {
            Flavour::Mariadb => "SET GLOBAL read_only=0",
            Flavour::Mysql => "SET GLOBAL super_read_only=0",
        };
        let sql = scene.cluster()?.server(&replica)?.sql();
        sql.run(&format!("{open}; CREATE TABLE lab.errant (id INT)")).await?;
        sleep(SEEN).await;
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        scene.ahead.insert(replica.clone());
        scene.lost.insert(replica);
        Ok(())
    })
}

/// The first replica acknowledges everything, and does not apply the writers' table.
pub(super) fn kill_with_filter(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        let (replica, flavour) = (scene.replica(0)?, scene.cluster()?.flavour);
        let filter = |table: &str| match flavour {
            Flavour::Mariadb => {
                format!("STOP SLAVE SQL_THREAD; SET GLOBAL replicate_ignore_table='{table}'; START SLAVE SQL_THREAD")
            }
            Flavour::Mysql => format!(
                "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE=({table}); \
                 START REPLICA SQL_THREAD"
            ),
        };
        scene.cluster()?.server(&replica)?.sql().run(&filter("lab.other")).await?;
        scene.undo.push((replica.clone(), filter("")));
        sleep(SEEN).await;
        scene.strike();
        scene.kill_server(&scene.old.clone())?;
        scene.lost.insert(replica);
        Ok(())
    })
}

/// A witness ends.
pub(super) fn kill_witness(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.strike();
        scene.cluster_mut()?.node_mut("w1")?.kill9().map(|_| ())
    })
}

/// A witness has ended when the primary dies.
pub(super) fn kill_witness_and_primary(scene: &mut Scene) -> Doing<'_> {
    Box::pin(async move {
        scene.cluster_mut()?.node_mut("w1")?.kill9()?;
        sleep(SEEN).await;
        scene.strike();
        kill_primary(scene)
    })
}

fn kill_primary(scene: &mut Scene) -> Result<()> {
    scene.kill_server(&scene.old.clone())
}
