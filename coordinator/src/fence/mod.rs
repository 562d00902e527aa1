//! Fences from outside, as the core asks for them. Each runs beside the loop, within its limit, and comes back as an input.

mod hook;
mod ssh;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasuki_config::{ClusterFile, Fences, Server};
use tasuki_coordinator_core::Input;
use tasuki_coordinator_core::fence::{Fenced, Means};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::id::NodeId;
use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

/// What a fence has to know of a server.
#[derive(Clone, Debug)]
struct Target {
    address: SocketAddr,
    ssh: SocketAddr,
    data_dir: Option<PathBuf>,
}

impl Target {
    fn of(server: &Server) -> Self {
        let ssh = server.ssh.unwrap_or_else(|| SocketAddr::new(server.address.ip(), 22));
        Self { address: server.address, ssh, data_dir: server.data_dir.clone() }
    }
}

/// The fences of one cluster.
#[derive(Clone, Debug)]
pub struct Fencer {
    fences: Fences,
    targets: BTreeMap<NodeId, Target>,
    /// Two attempts do not fence one server in one way at the same time.
    turns: BTreeMap<(NodeId, Means), Arc<Mutex<()>>>,
}

impl Fencer {
    /// The fences that a cluster file names.
    #[must_use]
    pub fn new(cluster: &ClusterFile) -> Self {
        let targets: BTreeMap<NodeId, Target> =
            cluster.servers.iter().map(|server| (server.name.clone(), Target::of(server))).collect();
        let pairs = targets.keys().flat_map(|node| [Means::Ssh, Means::Hook].map(|means| (node.clone(), means)));
        let turns = pairs.map(|pair| (pair, Arc::default())).collect();
        Self { fences: cluster.fences.clone(), targets, turns }
    }

    /// The limit of each way that is there: what the core is told at start.
    #[must_use]
    pub fn limits(fences: &Fences) -> BTreeMap<Means, Duration> {
        let ssh = fences.ssh.as_ref().map(|ssh| (Means::Ssh, ssh.limit));
        let hook = fences.shutdown.as_ref().map(|hook| (Means::Hook, hook.limit));
        ssh.into_iter().chain(hook).collect()
    }

    /// Begins a fence; what comes of it is sent to `ended`.
    pub fn begin(&self, ballot: Ballot, node: NodeId, how: Means, ended: Sender<Input>) {
        let this = self.clone();
        tokio::spawn(async move {
            let outcome = this.fence(&node, how).await;
            tracing::info!(%node, ?how, ?outcome, "a fence has ended");
            // The loop may have ended; then nobody wants to know.
            drop(ended.send(Input::Fenced { ballot, node, how, outcome }).await);
        });
    }

    async fn fence(&self, node: &NodeId, how: Means) -> Fenced {
        let unknown = || format!("the cluster file names no such fence of {node}");
        let target = self.targets.get(node).ok_or_else(unknown)?;
        let turn = self.turns.get(&(node.clone(), how)).ok_or_else(unknown)?;
        let limit = *Self::limits(&self.fences).get(&how).ok_or_else(unknown)?;
        let work = async {
            let _turn = turn.lock().await;
            match (how, &self.fences.ssh, &self.fences.shutdown) {
                (Means::Ssh, Some(ssh), _) => ssh::kill(ssh, target).await,
                (Means::Hook, _, Some(hook)) => hook::shut_down(hook, target.address).await,
                (Means::Ssh, None, _) | (Means::Hook, _, None) => Err(unknown()),
            }
        };
        let late = || format!("it did not end within {} ms", limit.as_millis());
        timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
    }
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
