//! What a failover takes while thousands of viewers watch it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::feed::crowd::{self, Crowd, Log};
use crate::lab::config::VIEWER_TOKEN;
use crate::lab::{Cluster, drill};

/// The longest that all viewers may take to get in.
const IN: Duration = Duration::from_secs(120);
/// After a failover everybody has been told of it within this.
const TOLD: Duration = Duration::from_secs(30);

/// Viewers on a thread of their own, which gets what everything else leaves: they stand for other machines.
pub struct Watching {
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<Vec<Log>>>,
}

impl Watching {
    /// Connects so many, in turn to each of these feeds, and returns when each has its snapshot.
    ///
    /// # Errors
    /// When one is refused, or they take too long.
    pub fn begin(viewers: usize, feeds: Vec<SocketAddr>, certificate: PathBuf) -> Result<Self> {
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let watch = move || -> Result<Vec<Log>> {
            step_back()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(LocalSet::new().run_until(async {
                let connector = crowd::connector(&certificate)?;
                let turn = std::rc::Rc::new(std::cell::Cell::new(0));
                let place = async move || {
                    turn.set(turn.get() + 1);
                    feeds.get(turn.get() % feeds.len()).copied().context("no feed")
                };
                let crowd = Crowd::gather(viewers, place, &connector, VIEWER_TOKEN).await;
                let crowd = match crowd {
                    Ok(crowd) => crowd,
                    Err(error) => {
                        let _ = tell.send(Err(anyhow!("{error:#}")));
                        return Err(error);
                    }
                };
                crowd.forget();
                let _ = tell.send(Ok(()));
                let _ = ended.await;
                everybody_told(&crowd).await
            }))
        };
        let thread = std::thread::Builder::new().name("crowd".to_owned()).spawn(watch)?;
        told.recv_timeout(IN).context("not all viewers got in")??;
        Ok(Self { end, thread })
    }

    /// What each of them got, once all got the same; they leave then.
    ///
    /// # Errors
    /// When one was dropped, or some were not told what others were.
    pub fn end(self) -> Result<Vec<Log>> {
        let _ = self.end.send(());
        self.thread.join().map_err(|_| anyhow!("the viewers' thread panicked"))?
    }
}

/// Has this thread run only where nothing else wants to: what stands for other machines delays nothing on this one.
fn step_back() -> Result<()> {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let done = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .status()
        .context("chrt is missing: install util-linux")?;
    ensure!(done.success(), "chrt ended with {done}");
    Ok(())
}

/// Waits until every viewer was handed as many incidents as every other.
async fn everybody_told(crowd: &Crowd) -> Result<Vec<Log>> {
    let began = Instant::now();
    loop {
        crowd.check()?;
        let logs = crowd.logs();
        let (least, most) =
            logs.iter().fold((u64::MAX, 0), |(least, most), log| (least.min(log.alone), most.max(log.alone)));
        if least == most && most > 0 {
            return Ok(logs);
        }
        ensure!(began.elapsed() < TOLD, "some viewers were told of {least} incidents, others of {most}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Kills the primary under load and brings it back; how long nothing was acknowledged.
///
/// # Errors
/// When nobody takes over, or something was lost or doubled.
pub async fn failover(cluster: &mut Cluster) -> Result<Duration> {
    let writers = cluster.write(4, 200)?;
    drill::acknowledged(&writers, 200).await?;
    let old = cluster.primary().await?;
    let fault = cluster.server_mut(&old)?.kill9()?;
    drill::taken_over(cluster, &writers, &old, fault).await?;
    drill::acknowledged(&writers, 100).await?;
    let gap = drill::gap(&writers, fault)?;
    drill::brought_back(cluster, &old).await?;
    drill::all_there(cluster, &[&writers]).await?;
    Ok(gap)
}
