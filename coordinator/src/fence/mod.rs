//! Fences from outside, as the core asks for them, and the reading of what was ended. Each runs beside the loop, within its
//! limit, and comes back as an input.

mod copies;
mod hook;
mod reading;
mod ssh;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssh::Session;
use tasuki_config::{ClusterFile, Fences, Server};
use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::fence::{Fenced, Means};
use tasuki_coordinator_core::reading::{Files, Reading, Unread};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Delivery, Fetch, UNDER_WAY};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::{NodeId, ProgramId};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use copies::{Copies, Folder};

/// What a fence has to know of a server.
#[derive(Clone, Debug)]
struct Target {
    address: SocketAddr,
    ssh: SocketAddr,
    data_dir: Option<PathBuf>,
    binlog_index: Option<PathBuf>,
}

impl Target {
    fn of(server: &Server) -> Self {
        Self {
            address: server.address,
            ssh: server.ssh.unwrap_or_else(|| SocketAddr::new(server.address.ip(), 22)),
            data_dir: server.data_dir.clone(),
            binlog_index: server.binlog_index.clone(),
        }
    }

    /// Where the list of its binlog's files is: the cluster file says so, or its node did.
    fn index(&self, told: Option<String>) -> Option<String> {
        self.binlog_index.as_ref().map(|path| path.to_string_lossy().into_owned()).or(told)
    }
}

/// A connection that is kept for the reading that follows a fence.
type Warm = Arc<Mutex<Option<Session>>>;

/// A fence that is asked for.
pub struct Asked {
    /// By which attempt.
    pub ballot: Ballot,
    /// Of which server.
    pub node: NodeId,
    /// How.
    pub how: Means,
    /// Only if its binlog's files are there to be read.
    pub only_readable: bool,
    /// Where its node said that their list is.
    pub index: Option<String>,
}

/// What comes of the work.
#[derive(Debug)]
pub enum Ended {
    /// An input of the core.
    Input(Input),
    /// Answers to a candidate's question.
    Delivered(ProgramId, Vec<Delivery>),
}

/// The fences of one cluster.
#[derive(Debug)]
pub struct Fencer {
    fences: Fences,
    flavour: Flavour,
    targets: BTreeMap<NodeId, Target>,
    /// Two attempts do not fence one server in one way at the same time.
    turns: BTreeMap<(NodeId, Means), Warm>,
    /// Copies of a dead server's files are in here.
    rescue: PathBuf,
    /// The attempt that reads, and what does it.
    reading: Vec<(Ballot, JoinHandle<()>)>,
    copies: Shared,
    questions: Sender<(ProgramId, Fetch)>,
    ended: Sender<Ended>,
}

/// What one attempt read.
type Shared = Arc<Mutex<Option<Arc<Copies>>>>;

impl Fencer {
    /// The fences that a cluster file names. What comes of them is sent to `ended`. Copies that an earlier run left in the
    /// state directory are removed. To be called within a runtime.
    #[must_use]
    pub fn new(cluster: &ClusterFile, state_dir: &Path, ended: Sender<Ended>) -> Self {
        let targets: BTreeMap<NodeId, Target> =
            cluster.servers.iter().map(|server| (server.name.clone(), Target::of(server))).collect();
        let pairs = targets.keys().flat_map(|node| [Means::Ssh, Means::Hook].map(|means| (node.clone(), means)));
        let turns = pairs.map(|pair| (pair, Arc::default())).collect();
        let rescue = state_dir.join("rescue").join(cluster.name.as_str());
        if let Err(error) = copies::clear(&rescue) {
            tracing::warn!(folder = %rescue.display(), %error, "copies of a dead server's binlog were not removed");
        }
        let (fences, flavour) = (cluster.fences.clone(), cluster.flavour);
        let copies = Shared::default();
        let (questions, asked) = channel(UNDER_WAY);
        tokio::spawn(answer(Arc::clone(&copies), asked, ended.clone()));
        Self { fences, flavour, targets, turns, rescue, reading: Vec::new(), copies, questions, ended }
    }

    /// The limit of each way that is there: what the core is told at start.
    #[must_use]
    pub fn limits(fences: &Fences) -> BTreeMap<Means, Duration> {
        let ssh = fences.ssh.as_ref().map(|ssh| (Means::Ssh, ssh.limit));
        let hook = fences.shutdown.as_ref().map(|hook| (Means::Hook, hook.limit));
        ssh.into_iter().chain(hook).collect()
    }

    /// Begins a fence.
    pub fn begin(&self, asked: Asked) {
        let (fences, ended) = (self.fences.clone(), self.ended.clone());
        let target = self.targets.get(&asked.node).cloned();
        let turn = self.turns.get(&(asked.node.clone(), asked.how)).cloned();
        tokio::spawn(async move {
            let outcome = fence(&fences, target, turn, &asked).await;
            let Asked { ballot, node, how, .. } = asked;
            tracing::info!(%node, ?how, ?outcome, "a fence has ended");
            // The loop may have ended; then nobody wants to know.
            drop(ended.send(Ended::Input(Input::Fenced { ballot, node, how, outcome })).await);
        });
    }

    /// Begins to read what a server that was ended through ssh holds, of which others have `have`.
    pub fn read(&mut self, ballot: Ballot, node: NodeId, index: Option<String>, have: GtidSet) {
        let known = self.targets.get(&node).cloned().zip(self.fences.ssh.clone());
        let turn = self.turns.get(&(node.clone(), Means::Ssh)).cloned();
        let (flavour, folder) = (self.flavour, self.rescue.join(node.as_str()));
        let (copies, ended, asked_by) = (Arc::clone(&self.copies), self.ended.clone(), ballot.clone());
        let task = tokio::spawn(async move {
            let reading = match known.zip(turn) {
                Some(((target, ssh), turn)) => {
                    let index = target.index(index);
                    let wanted = reading::Wanted { target: &target, index, flavour, have };
                    let late = || {
                        let limit = ssh.read_limit.as_secs();
                        Err(Unread::Unreadable(format!("its files did not come within {limit} s (ssh.read_limit_s)")))
                    };
                    let reading = timeout(ssh.read_limit, read(&ssh, &wanted, &turn, folder)).await;
                    reading.unwrap_or_else(|_| late())
                }
                None => Err(Unread::Unreadable(format!("the cluster file names no ssh for {node}"))),
            };
            let reading: Reading = match reading {
                Ok((files, folder)) => {
                    *copies.lock().await = Some(Arc::new(Copies::new(ballot.clone(), flavour, folder)));
                    Ok(files)
                }
                Err(unread) => Err(unread),
            };
            tracing::info!(%node, ?reading, "a reading has ended");
            drop(ended.send(Ended::Input(Input::Read { ballot, node, reading })).await);
        });
        self.reading.push((asked_by, task));
    }

    /// A candidate asks for a part of what was read.
    pub fn deliver(&self, to: ProgramId, fetch: Fetch) {
        // Without room it is asked again.
        drop(self.questions.try_send((to, fetch)));
    }

    /// What was begun for other attempts than this one is given up, and its copies are removed.
    pub fn settle(&mut self, attempt: Option<&Ballot>) {
        if self.reading.is_empty() || self.reading.iter().all(|(ballot, _)| Some(ballot) == attempt) {
            return;
        }
        let (reading, over) = self.reading.drain(..).partition(|(ballot, _)| Some(ballot) == attempt);
        self.reading = reading;
        let over: Vec<(Ballot, JoinHandle<()>)> = over;
        for (_, task) in &over {
            task.abort();
        }
        let copies = Arc::clone(&self.copies);
        tokio::spawn(async move {
            let mut copies = copies.lock().await;
            if copies.as_ref().is_some_and(|copies| over.iter().any(|(ballot, _)| ballot == copies.ballot())) {
                *copies = None;
            }
        });
    }
}

/// Answers one question after the other: a piece that comes before its turn is not taken, and is asked for again later.
async fn answer(copies: Shared, mut asked: Receiver<(ProgramId, Fetch)>, ended: Sender<Ended>) {
    while let Some((to, fetch)) = asked.recv().await {
        let copies = copies.lock().await.clone().filter(|copies| *copies.ballot() == fetch.ballot);
        // What is not there was read for another attempt, which is over: it is not answered.
        let Some(copies) = copies else { continue };
        let deliveries = copies.deliver(fetch).await;
        if ended.send(Ended::Delivered(to, deliveries)).await.is_err() {
            return;
        }
    }
}

async fn fence(fences: &Fences, target: Option<Target>, turn: Option<Warm>, asked: &Asked) -> Fenced {
    let unknown = || format!("the cluster file names no such fence of {}", asked.node);
    let (target, turn) = target.zip(turn).ok_or_else(unknown)?;
    let limit = *Fencer::limits(fences).get(&asked.how).ok_or_else(unknown)?;
    let work = async {
        let mut warm = turn.lock().await;
        match (asked.how, &fences.ssh, &fences.shutdown) {
            (Means::Ssh, Some(access), _) => {
                let began = Instant::now();
                let session = ssh::connect(access, &target).await?;
                tracing::info!(host = %target.ssh, took_ms = millis(began), "ssh is connected");
                let index = target.index(asked.index.clone());
                ssh::kill(&session, &target, asked.only_readable, index.as_deref()).await?;
                *warm = Some(session);
                Ok(())
            }
            (Means::Hook, _, Some(hook)) => hook::shut_down(hook, target.address).await,
            (Means::Ssh, None, _) | (Means::Hook, _, None) => Err(unknown()),
        }
    };
    let late = || format!("it did not end within {} ms", limit.as_millis());
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// Reads through the connection of the fence, or through another if that has ended.
async fn read(
    ssh: &tasuki_config::Ssh,
    wanted: &reading::Wanted<'_>,
    turn: &Warm,
    folder: PathBuf,
) -> Result<(Files, Folder), Unread> {
    let warm = turn.lock().await.take();
    let session = match warm {
        Some(session) if session.check().await.is_ok() => session,
        Some(_) | None => ssh::connect(ssh, wanted.target).await.map_err(Unread::Unreached)?,
    };
    let unkept = |error: std::io::Error| {
        let what = "copies cannot be kept on the coordinator's host";
        Unread::Unreadable(format!("{}: {what}: {error}", folder.display()))
    };
    let folder = Folder::create(folder.clone()).map_err(unkept)?;
    let files = reading::read(&session, wanted, &folder).await?;
    // What was read stays read, whether or not the connection ends in order.
    drop(session.close().await);
    Ok((files, folder))
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// The end of what a program said, as one line for people.
fn last_words(output: &[u8]) -> String {
    const LONGEST: usize = 300;
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_told_whatever_a_program_prints() {
        assert_eq!(last_words(b"one\ntwo\n\n"), "two");
        assert_eq!(last_words(b""), "it said nothing");
        assert_eq!(last_words(b"\xff\x1b[31mred"), "\u{fffd}[31mred");
        assert_eq!(last_words(&vec![b'x'; 1_000_000]).len(), 300);
    }
}
