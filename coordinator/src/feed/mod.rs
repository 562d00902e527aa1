//! The live feed: Socket.IO (protocol 5, and Engine.IO 3 clients) over TLS, for whoever shows a token.
//!
//! A viewer gets a `snapshot` of each cluster, then events by their names. It drops events whose `number` is not
//! greater than its snapshot's: it joined the cluster's room before the snapshot was taken, so it misses none.
//! The feed runs on tasks of its own and cannot slow the driver: its queue is bounded, and a slow viewer is dropped.

mod admit;
mod origins;
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
use axum::middleware::from_fn_with_state;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use socketioxide::SocketIo;
use tasuki_schemas::event::{Event, Snapshot};
use tasuki_schemas::id::ClusterName;
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

use admit::Door;
pub use admit::Session;
use origins::Origins;
use stream::Unstalled;
pub use tokens::Tokens;
use viewers::News;

/// Events that wait for the feed's own task.
const QUEUE: usize = 4096;
/// Packets that wait for one viewer; with more it is dropped.
const PER_VIEWER: usize = 512;

/// What a feed needs.
pub struct FeedConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM: certificate and chain.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub private_key: PathBuf,
    /// Who may watch.
    pub tokens: Tokens,
    /// Whether a token may stand in the query.
    pub query_tokens: bool,
    /// Pages of which origins may watch, besides those of the own host.
    pub allowed_origins: Vec<String>,
    /// The clusters that there are.
    pub clusters: Vec<ClusterName>,
    /// What is served beside Socket.IO.
    pub pages: Router,
    /// Who logged in with a browser.
    pub session: Session,
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

type Snapshots = Arc<Mutex<BTreeMap<ClusterName, Arc<Snapshot>>>>;

fn kept(snapshots: &Snapshots, cluster: &ClusterName) -> Option<Arc<Snapshot>> {
    snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned()
}

/// A running feed. Clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    news: Sender<News>,
    snapshots: Snapshots,
    dropped: Arc<AtomicU64>,
    io: SocketIo,
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
        let (engine, io) = SocketIo::builder()
            .max_buffer_size(PER_VIEWER)
            .max_payload(64 * 1024)
            .ws_max_message_size(64 * 1024)
            .ws_max_frame_size(64 * 1024)
            .connect_timeout(Duration::from_secs(10))
            .ping_interval(Duration::from_secs(10))
            .ping_timeout(Duration::from_secs(10))
            .build_svc();
        let door = Door {
            tokens: config.tokens,
            clusters: config.clusters.into(),
            query_tokens: config.query_tokens,
            session: config.session,
        };
        viewers::admit(&io, door.clone(), Arc::clone(&snapshots));
        let (news, queue) = channel(QUEUE);
        tokio::spawn(viewers::expel(io.clone(), door));
        tokio::spawn(viewers::emit(io.clone(), queue));
        let engine = Router::new().route_service("/socket.io/", engine);
        let site = engine
            .layer(from_fn_with_state(Origins::new(config.allowed_origins), origins::examine))
            .merge(config.pages)
            .into_make_service_with_connect_info::<SocketAddr>();
        let acceptor = RustlsAcceptor::new(tls).handshake_timeout(Duration::from_secs(5)).acceptor(Unstalled);
        let server = axum_server::from_tcp(listener).map_err(listen)?.acceptor(acceptor);
        tokio::spawn(async move {
            if let Err(error) = server.serve(site).await {
                tracing::error!(%error, "the feed ended");
            }
        });
        Ok(Self { news, snapshots, dropped: Arc::new(AtomicU64::new(0)), io, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Hands an event to the viewers. Never waits: with a full queue the event is dropped and counted.
    pub fn publish(&self, event: &Event) {
        self.hand_over(News::Event(Box::new(event.clone())));
    }

    /// Keeps the snapshot for viewers to come; those who came before the first get that as well.
    pub fn set_snapshot(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.insert(snapshot.cluster.clone(), Arc::clone(&snapshot)).is_none() {
            self.hand_over(News::First(snapshot));
        }
    }

    /// A cluster as it was a moment ago; `None` before the first look at it, and for a cluster that there is not.
    #[must_use]
    pub fn snapshot(&self, cluster: &ClusterName) -> Option<Arc<Snapshot>> {
        kept(&self.snapshots, cluster)
    }

    fn hand_over(&self, news: News) {
        if let Err(TrySendError::Full(_)) = self.news.try_send(news) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many watch here.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.io.sockets().len()
    }

    /// Events that were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
