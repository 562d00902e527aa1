//! The live feed: Socket.IO (protocol 5, and Engine.IO 3 clients) over TLS, for whoever shows a token.
//!
//! A viewer gets a `snapshot` of each cluster, then what it missed since the incident that it names, then events by their
//! names. The feed runs on tasks of its own, one for each cluster, and cannot slow a driver: its queues are bounded, and a
//! slow viewer is dropped.

mod admit;
mod certificate;
mod frames;
mod hall;
mod journal;
mod keeper;
mod letting_go;
mod ops;
mod origins;
mod packets;
mod peers;
mod posts;
mod serve;
mod stream;
mod tokens;
mod viewers;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use socketioxide::SocketIo;
use tasuki_bus::Bus;
use tasuki_config::{ClusterFile, Limits, Plain};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::{Event, EventBody, PublicId, Snapshot};
use tasuki_schemas::id::{BootId, ClusterName};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::control::Request;
use admit::Door;
pub use admit::Session;
use hall::{Hall, News};
use ops::{Desk, Requests};
use origins::Origins;
pub use peers::peer;
pub use posts::{Posts, Unposted};
use stream::Gate;
pub use tokens::Tokens;

/// Events that wait for the feed's own task.
const QUEUE: usize = 4096;
/// Notes and acts that wait for a driver.
const POSTED: usize = 64;
/// Makes a stock client miss nothing.
const SCRIPT: &str = include_str!("tasuki.js");
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
    /// Where a proxy on this host connects that ends TLS, if there is one.
    pub plain: Option<Plain>,
    /// How many connections there may be.
    pub limits: Limits,
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
        error: io::Error,
    },
    /// The plain listener's place cannot be listened on.
    #[error("feed.plain = {place}: {error}; another program may use it")]
    Plain {
        /// The place.
        place: Plain,
        /// The system's word.
        error: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("{} or {}: {error}; both must be PEM, and belong together", certificate.display(), private_key.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
}

type Snapshots = Arc<Mutex<BTreeMap<ClusterName, Arc<Snapshot>>>>;

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kept(snapshots: &Snapshots, cluster: &ClusterName) -> Option<Arc<Snapshot>> {
    lock(snapshots).get(cluster).cloned()
}

/// Where each cluster's hall takes news.
type Halls = Arc<BTreeMap<ClusterName, Sender<News>>>;

/// A running feed. Clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    io: SocketIo,
    runtime: Handle,
    halls: Halls,
    closed: Arc<Mutex<BTreeMap<ClusterName, Receiver<News>>>>,
    snapshots: Snapshots,
    journals: Arc<Mutex<BTreeMap<ClusterName, PathBuf>>>,
    posts: Posts,
    requests: Requests,
    dropped: Arc<AtomicU64>,
    address: SocketAddr,
}

impl Feed {
    /// Listens, and serves until the program ends, on the runtime that this is called on.
    ///
    /// # Errors
    /// [`FeedError`] names the setting and the fix.
    pub async fn start(config: FeedConfig) -> Result<Self, FeedError> {
        let listen = |error| FeedError::Listen { address: config.listen, error };
        let tls = RustlsConfig::from_pem_file(&config.certificate, &config.private_key).await.map_err(|error| {
            FeedError::Tls { certificate: config.certificate.clone(), private_key: config.private_key.clone(), error }
        })?;
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (engine, io) = SocketIo::builder()
            .max_buffer_size(PER_VIEWER)
            .max_payload(packets::LARGEST as u64)
            .ws_max_message_size(packets::LARGEST)
            .ws_max_frame_size(packets::LARGEST)
            .connect_timeout(Duration::from_secs(10))
            .ping_interval(Duration::from_secs(10))
            .ping_timeout(Duration::from_secs(10))
            .build_svc();
        let door = Door {
            tokens: config.tokens,
            clusters: config.clusters.clone().into(),
            query_tokens: config.query_tokens,
            session: config.session,
        };
        let (mut halls, mut closed) = (BTreeMap::new(), BTreeMap::new());
        for cluster in config.clusters {
            let (news, queue) = channel(QUEUE);
            halls.insert(cluster.clone(), news);
            closed.insert(cluster, queue);
        }
        let halls = Arc::new(halls);
        let (posts, requests) = (Posts::new(Arc::clone(&halls)), Requests::default());
        viewers::admit(&io, door.clone(), Arc::clone(&halls), posts.clone());
        ops::admit(&io, door.clone(), Desk { posts: posts.clone(), requests: Arc::clone(&requests) });
        tokio::spawn(viewers::expel(io.clone(), door));
        let passing = engine.clone();
        let engine = Router::new()
            .route_service(origins::ENGINE, engine)
            .layer(from_fn(move |request, next| packets::pass(passing.clone(), request, next)));
        let script = ([(CONTENT_TYPE, "text/javascript"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")], SCRIPT);
        let site = engine
            .merge(config.pages)
            .layer(from_fn_with_state(Origins::new(config.allowed_origins), origins::examine))
            .route("/tasuki.js", get(move || async move { script }));
        let gate = Gate::new(config.limits);
        if let Some(plain) = config.plain {
            serve::plain(plain, site.clone(), gate.clone())?;
        }
        tokio::spawn(certificate::follow(tls.clone(), config.certificate, config.private_key));
        serve::tls(listener, site, gate, tls).map_err(listen)?;
        let closed = Arc::new(Mutex::new(closed));
        Ok(Self {
            io,
            runtime: Handle::current(),
            halls,
            closed,
            snapshots: Snapshots::default(),
            journals: Arc::default(),
            posts,
            requests,
            dropped: Arc::default(),
            address,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Opens the hall of a cluster: from now on viewers are let in. Returns what its driver tells through.
    ///
    /// # Errors
    /// The journal in the state directory cannot be used.
    pub fn open(
        &self,
        file: &ClusterFile,
        run: BootId,
        state_dir: &Path,
        bus: &Bus,
    ) -> io::Result<(Teller, Receiver<EventBody>)> {
        let news = self.halls.get(&file.name).cloned();
        let queue = lock(&self.closed).remove(&file.name);
        let (Some(news), Some(queue)) = (news, queue) else {
            return Err(io::Error::other(format!("the feed has no hall for {}, or it is open", file.name)));
        };
        let (io, snapshots) = (self.io.clone(), Arc::clone(&self.snapshots));
        let (driver, posted) = channel(POSTED);
        let hall = Hall::open(file, run, state_dir, bus, (io, snapshots, news.clone()), driver)?;
        lock(&self.journals).insert(file.name.clone(), hall.journal().to_owned());
        self.runtime.spawn(hall.run(queue));
        let teller = Teller { news, snapshots: Arc::clone(&self.snapshots), dropped: Arc::clone(&self.dropped) };
        Ok((teller, posted))
    }

    /// The drivers run: operators may ask them for something. Once.
    pub fn operate(&self, requests: BTreeMap<String, Sender<Request>>) {
        drop(self.requests.set(requests));
    }

    /// What takes notes, and records acts.
    #[must_use]
    pub fn posts(&self) -> Posts {
        self.posts.clone()
    }

    /// How many watch here.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.io.sockets().len()
    }

    /// Tells all viewers to go elsewhere, a share at a time, and waits a while until they went.
    pub async fn lead_away(&self, elsewhere: impl Fn() -> Option<String>) {
        viewers::lead_away(&self.io, elsewhere).await;
    }

    /// The history of a cluster as the journal here has it: what came after an incident, or the latest; at most so many.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn history(&self, cluster: &ClusterName, since: Option<PublicId>, most: usize) -> io::Result<Vec<Event>> {
        let path = lock(&self.journals).get(cluster).cloned();
        let Some(path) = path else { return Ok(Vec::new()) };
        let read = move || match since {
            Some(since) => journal::read(&path, Some(&since), most),
            None => journal::latest(&path, most),
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// A cluster as it was a moment ago; `None` before the first look at it, and for a cluster that there is not.
    #[must_use]
    pub fn snapshot(&self, cluster: &ClusterName) -> Option<Arc<Snapshot>> {
        kept(&self.snapshots, cluster)
    }

    /// Events that were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What the driver of a cluster tells through. Nothing of it waits: with a full queue news is dropped and counted.
pub struct Teller {
    news: Sender<News>,
    snapshots: Snapshots,
    dropped: Arc<AtomicU64>,
}

impl Teller {
    /// Tells an incident: under this coordinator's ballot, or as one that it sees without one; then `led` says whether
    /// anybody leads, who tells the same.
    pub fn tell(&self, event: Event, ballot: Option<Ballot>, led: bool) {
        self.hand_over(News::Told { event: Box::new(event), ballot, led });
    }

    /// Another coordinator tells an incident.
    pub fn hear(&self, event: Box<Event>) {
        self.hand_over(News::Heard(event));
    }

    /// Telemetry.
    pub fn show(&self, event: Event) {
        self.hand_over(News::Seen(Box::new(event)));
    }

    /// Keeps the snapshot for viewers to come; those who came before the first get that as well.
    pub fn set_snapshot(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let mut kept = lock(&self.snapshots);
        if kept.insert(snapshot.cluster.clone(), Arc::clone(&snapshot)).is_none() {
            self.hand_over(News::First(snapshot));
        }
    }

    fn hand_over(&self, news: News) {
        if let Err(TrySendError::Full(_)) = self.news.try_send(news) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
