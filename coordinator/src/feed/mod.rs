//! The live feed: Socket.IO (protocol 5, and Engine.IO 3 clients) over TLS, for whoever shows a token.
//!
//! A viewer gets a `snapshot` of each cluster, then events by their names. It drops events whose `number` is not
//! greater than its snapshot's: it joined the cluster's room before the snapshot was taken, so it misses none.
//! The feed runs on tasks of its own and cannot slow the driver: its queue is bounded, and a slow viewer is dropped.

mod stream;
mod tokens;
mod viewers;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use serde_json::Value;
use socketioxide::SocketIo;
use tasuki_schemas::event::{Event, Snapshot};
use tasuki_schemas::id::ClusterName;
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

use stream::Unstalled;
pub use tokens::Tokens;

/// Events that wait for the feed's own task.
const QUEUE: usize = 4096;
/// Packets that wait for one viewer; with more it is dropped.
const PER_VIEWER: usize = 512;

/// What a feed needs.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM: certificate and chain.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub private_key: PathBuf,
    /// Who may watch.
    pub tokens: Tokens,
}

/// Why a feed does not start.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The port cannot be listened on.
    #[error("feed.listen = {address}: {error}; another program may use the port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("{} or {}: {error}; both must be PEM, and belong together", certificate.display(), private_key.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
}

type Snapshots = Arc<Mutex<BTreeMap<ClusterName, Value>>>;

/// A running feed. Clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    events: Sender<(ClusterName, &'static str, Value)>,
    snapshots: Snapshots,
    dropped: Arc<AtomicU64>,
    address: SocketAddr,
}

impl Feed {
    /// Listens, and serves until the program ends.
    ///
    /// # Errors
    /// [`FeedError`] names the setting and the fix.
    pub async fn start(config: FeedConfig) -> Result<Self, FeedError> {
        let listen = |error| FeedError::Listen { address: config.listen, error };
        let tls = RustlsConfig::from_pem_file(&config.certificate, &config.private_key).await.map_err(|error| {
            FeedError::Tls { certificate: config.certificate.clone(), private_key: config.private_key.clone(), error }
        })?;
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let snapshots = Snapshots::default();
        let (layer, io) = SocketIo::builder()
            .max_buffer_size(PER_VIEWER)
            .max_payload(64 * 1024)
            .ws_max_message_size(64 * 1024)
            .ws_max_frame_size(64 * 1024)
            .connect_timeout(Duration::from_secs(10))
            .ping_interval(Duration::from_secs(10))
            .ping_timeout(Duration::from_secs(10))
            .build_layer();
        viewers::admit(&io, config.tokens, Arc::clone(&snapshots));
        let (events, queue) = channel(QUEUE);
        tokio::spawn(viewers::emit(io, queue));
        let pages = Router::new().route("/healthz", get(|| async { "ok\n" })).layer(layer);
        let acceptor = RustlsAcceptor::new(tls).handshake_timeout(Duration::from_secs(5)).acceptor(Unstalled);
        let server = axum_server::from_tcp(listener).map_err(listen)?.acceptor(acceptor);
        tokio::spawn(async move {
            if let Err(error) = server.serve(pages.into_make_service()).await {
                tracing::error!(%error, "the feed ended");
            }
        });
        Ok(Self { events, snapshots, dropped: Arc::new(AtomicU64::new(0)), address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Hands an event to the viewers. Never waits: with a full queue the event is dropped and counted.
    pub fn publish(&self, event: &Event) {
        let value = match serde_json::to_value(event) {
            Ok(value) => value,
            Err(error) => return tracing::error!(%error, "an event has no JSON form"),
        };
        let sent = self.events.try_send((event.cluster.clone(), event.body.name(), value));
        if let Err(TrySendError::Full(_)) = sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps the snapshot for viewers to come.
    pub fn set_snapshot(&self, snapshot: &Snapshot) {
        match serde_json::to_value(snapshot) {
            Ok(value) => {
                let mut kept = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
                kept.insert(snapshot.cluster.clone(), value);
            }
            Err(error) => tracing::error!(%error, "a snapshot has no JSON form"),
        }
    }

    /// Events that were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
