//! Effects: acts on the node's own server, each with a deadline, each ended by exactly one [`Ended`].

mod archive;
mod change;
mod drain;
mod extras;
mod fence;
mod promote;
mod receive;
mod relay;
mod spool;
mod steps;
mod tail;
mod telling;
mod unread;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tasuki_config::{Secret, ServerConfig};
use tasuki_node_core::statements::{Dialect, Source};
use tasuki_node_core::{Effect, EffectId, Ended, Input};
use tasuki_schemas::id::NodeId;
use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::binlog::{Extra, Kept};
use crate::cut::Cut;
use crate::dial;
use crate::probe::Shared;
use crate::server::{ServerError, Session, options};

pub(crate) use fence::{end_clients, is_gone, verified};
pub use spool::spool_thread;
pub(crate) use steps::{Failed, channel, position};

/// Statements that only read or set something.
pub(crate) const QUICK: Duration = Duration::from_millis(500);
/// Statements that stop or start threads: MariaDB's STOP takes two seconds when its source is silent.
pub(crate) const SLOW: Duration = Duration::from_secs(4);

/// A server that serves writes lets go of a killed connection within this.
const LET_GO: Duration = Duration::from_secs(2);

/// What every effect needs.
pub struct Hands {
    /// This node.
    pub me: NodeId,
    /// How to reach the server.
    pub config: ServerConfig,
    /// Its statements.
    pub dialect: Dialect,
    /// The replication account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// What the probe knows of the server.
    pub shared: Shared,
    /// The kernel's rules.
    pub cut: Mutex<Cut>,
    /// Where results go.
    pub inputs: Sender<Input>,
    /// Where relay files are kept.
    pub archive: std::path::PathBuf,
    /// Where the tail of a dead server is kept until it is applied.
    pub spool: std::path::PathBuf,
    /// The tail of this dead server, as it was asked for last.
    pub tail: Kept,
    /// A warm connection for the next effect.
    pub warm: Mutex<Option<Session>>,
    /// Where this node keeps what must outlive it.
    pub state_dir: std::path::PathBuf,
    /// Nodes that may ask for a copy of this server: those of the cluster's other servers.
    pub peers: std::collections::BTreeSet<NodeId>,
    /// The re-clone of this server.
    pub reclone: crate::reclone::Recloner,
}

impl Hands {
    /// A session, warm if one is at hand.
    pub(crate) async fn session(&self) -> Session {
        self.warm.lock().await.take().unwrap_or_else(|| Session::new(options(&self.config)))
    }

    /// Keeps a session for the next effect.
    pub(crate) async fn keep(&self, session: Session) {
        if session.is_open() {
            *self.warm.lock().await = Some(session);
        }
    }

    /// Has a connection ready before it is needed, and finds out that a kept one died.
    pub async fn warm_up(&self) {
        let mut session = self.session().await;
        if session.run(self.dialect.ping(), QUICK).await.is_err() {
            session.close();
        }
        self.keep(session).await;
    }

    /// Tells whom the kernel keeps away from the server.
    pub(crate) async fn tell_refused(&self) {
        let refused = self.cut.lock().await.state().refused_servers.clone();
        let _ = self.inputs.send(Input::Refused(refused)).await;
    }

    /// Sees that the kernel's rules still stand: reloading a firewall often throws away every table. Tells who is refused.
    pub async fn keep_cut(&self) {
        let mut cut = self.cut.lock().await;
        if cut.is_to_be_kept()
            && let Err(error) = cut.assert().await
        {
            tracing::warn!(%error, "the kernel's rules cannot be looked at; see that nft runs for this node's user");
        }
        drop(cut);
        self.tell_refused().await;
    }

    /// How to log in at a source.
    pub(crate) fn source(&self, address: std::net::SocketAddr) -> Source<'_> {
        Source { address, user: &self.user, password: self.password.expose() }
    }
}

/// Runs one effect to its end and reports it. Cancelled, its connection is killed and seen gone first.
pub async fn execute(hands: Arc<Hands>, id: EffectId, effect: Effect, cancel: CancellationToken) {
    if let Effect::Look { address } = effect {
        let look = dial::look(address).await;
        let _ = hands.inputs.send(Input::Ended(id, Ended::Looked(look))).await;
        return;
    }
    let mut session = hands.session().await;
    let connection = session.id();
    let began = std::time::Instant::now();
    let (name, serves) = (name(&effect), serves(&effect));
    let ended = tokio::select! {
        ended = carry_out(&hands, id, effect, &mut session) => ended,
        () = cancel.cancelled() => {
            let left = connection.load(Ordering::Acquire);
            session.close();
            end_connection(&hands, left, serves).await;
            end_rescue(&hands).await;
            Ended::Cancelled
        }
    };
    if matches!(ended, Ended::Failed(_)) && !session.is_open() {
        // A statement without an answer may go on in the server.
        end_connection(&hands, connection.load(Ordering::Acquire), serves).await;
    }
    match &ended {
        Ended::Failed(reason) => {
            tracing::warn!(effect = name, reason, took_ms = began.elapsed().as_secs_f64() * 1e3, "an effect failed")
        }
        Ended::Looked(_) | Ended::Done(_) | Ended::Kept(_) | Ended::Gone(_) | Ended::Cancelled => {
            tracing::info!(effect = name, took_ms = began.elapsed().as_secs_f64() * 1e3, "an effect ended");
        }
    }
    hands.keep(session).await;
    hands.tell_refused().await;
    let _ = hands.inputs.send(Input::Ended(id, ended)).await;
}

async fn carry_out(hands: &Arc<Hands>, id: EffectId, effect: Effect, session: &mut Session) -> Ended {
    let done = match effect {
        Effect::Look { address } => return Ended::Looked(dial::look(address).await),
        Effect::Fence { was_primary, let_in, source } => {
            let let_in = let_in.iter().map(std::net::SocketAddr::ip).collect();
            return fence::fence(hands, session, was_primary, &let_in, source).await;
        }
        Effect::ReadFiles { was_primary } => return fence::gone(hands, was_primary).await,
        Effect::StopReceiving { source, drain } => receive::stop(hands, session, source, drain).await,
        Effect::Follow { source, acknowledging } => change::follow(hands, session, source, acknowledging).await,
        Effect::JoinGroup { source } => change::join(hands, session, source).await,
        Effect::SetWaitCount { acks, floor, epoch, outside } => {
            promote::set_wait_count(hands, session, acks, floor, &epoch, &outside).await
        }
        Effect::CutAcker { refused, barrier } => promote::cut_acker(hands, session, &refused, barrier.as_ref()).await,
        Effect::CutStrangers { connections, hosts } => fence::cut_strangers(hands, session, &connections, &hosts).await,
        Effect::LeaveGroup if is_gone(hands) => return fence::gone(hands, false).await,
        Effect::LeaveGroup => change::leave(hands, session).await,
        Effect::Drain { within, let_in } => return drain::drain(hands, session, within, &let_in).await,
        Effect::Archive { holds, beyond } => return extras::archive(hands, session, Extra { holds, beyond }).await,
        Effect::Reclone { step, address, primary } => {
            return crate::reclone::step(hands, session, step, address, primary).await;
        }
        Effect::Replicate { source, goal } => change::replicate(hands, session, source, &goal).await,
        Effect::Apply { have, tail } => tail::apply(hands, session, id, have, &tail).await,
        Effect::Promote { epoch, goal, acks, outside } => {
            promote::promote(hands, session, id, promote::Reign { epoch, goal, acks, outside }).await
        }
    };
    match done {
        Ok(holdings) => Ended::Done(holdings),
        Err(error) => Ended::Failed(error.to_string()),
    }
}

/// Kills a connection and waits until the server no longer shows it, however long that takes: until then nothing newer
/// may be promised. A server that is gone shows nothing; one that was to serve writes and does not let go is ended: while
/// commits wait for lost replicas, MariaDB keeps whoever asks for its position, and nobody else could take over.
async fn end_connection(hands: &Hands, connection: u64, serves: bool) {
    if connection == 0 {
        return;
    }
    let began = std::time::Instant::now();
    let mut control = Session::new(options(&hands.config));
    loop {
        let killed = control.run(&hands.dialect.kill(connection), QUICK).await;
        let shown = match killed {
            Ok(()) | Err(ServerError::Refused { .. }) => {
                control.row(&hands.dialect.is_connected(connection), QUICK).await
            }
            Err(other) => Err(other),
        };
        match shown {
            Ok(row) if row.get("n").is_some_and(|n| n == "0") => return,
            Err(ServerError::Closed(_)) => return,
            Ok(_) | Err(ServerError::Refused { .. } | ServerError::Silent(_) | ServerError::Broken(_)) => {}
        }
        if serves && began.elapsed() > LET_GO {
            tracing::warn!(connection, "a killed connection does not go away; the server is killed");
            match fence::kill(hands).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the server could not be killed"),
            }
        }
        let pause = if began.elapsed() < Duration::from_secs(1) { 1 } else { 200 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if pause > 1 {
            tracing::warn!(
                connection,
                "a killed connection does not go away; nothing newer is promised before it does"
            );
        }
    }
}

/// Whether an effect is one of a server that serves writes, or is about to.
const fn serves(effect: &Effect) -> bool {
    match effect {
        Effect::Promote { .. } | Effect::SetWaitCount { .. } | Effect::CutAcker { .. } => true,
        Effect::Look { .. }
        | Effect::StopReceiving { .. }
        | Effect::Fence { .. }
        | Effect::ReadFiles { .. }
        | Effect::Follow { .. }
        | Effect::JoinGroup { .. }
        | Effect::CutStrangers { .. }
        | Effect::LeaveGroup
        | Effect::Drain { .. }
        | Effect::Replicate { .. }
        | Effect::Archive { .. }
        | Effect::Reclone { .. }
        | Effect::Apply { .. } => false,
    }
}

/// What a rescue's applier does ends with the effect, however long that takes. A server that is gone applies nothing.
async fn end_rescue(hands: &Hands) {
    let mut session = Session::new(options(&hands.config));
    loop {
        match relay::end(hands, &mut session).await {
            Ok(()) | Err(Failed::Server(ServerError::Closed(_))) => return,
            Err(error) => tracing::warn!(%error, "a rescue does not end; nothing newer is promised before it does"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Look { .. } => "look",
        Effect::StopReceiving { .. } => "stop_receiving",
        Effect::Fence { .. } => "fence",
        Effect::ReadFiles { .. } => "read_files",
        Effect::Follow { .. } => "follow",
        Effect::JoinGroup { .. } => "join_group",
        Effect::SetWaitCount { .. } => "set_wait_count",
        Effect::CutAcker { .. } => "cut_acker",
        Effect::CutStrangers { .. } => "cut_strangers",
        Effect::LeaveGroup => "leave_group",
        Effect::Drain { .. } => "drain",
        Effect::Archive { .. } => "archive",
        Effect::Reclone { .. } => "reclone",
        Effect::Replicate { .. } => "replicate",
        Effect::Apply { .. } => "apply",
        Effect::Promote { .. } => "promote",
    }
}
