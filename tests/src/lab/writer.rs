//! Writers: stock clients that know one address and nothing of Tasuki. Each keeps a log of what was acknowledged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::template::{WRITER_PASSWORD, WRITER_USER};

/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// The longest that a statement may take.
const STATEMENT: Duration = Duration::from_secs(3);
/// More connections than a server of the lab gives.
const MOST_HELD: usize = 500;
/// After an error.
const AGAIN: Duration = Duration::from_millis(2);
/// A write's `writer` is its writer's number, and so many times the `server_id` of the server that executed it.
pub const PER_SERVER: u32 = 1000;

/// Where writers write.
#[derive(Clone, Debug)]
pub enum Target {
    /// Through a proxy, a VIP, or straight to a server.
    Tcp(SocketAddr),
    /// On the server's own host, as root.
    Socket(PathBuf),
    /// On the server's own host, with no more rights than others.
    Local(PathBuf),
}

/// One insert that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Its id; no id is ever used twice.
    pub id: u64,
    /// When it was sent.
    pub start: Instant,
    /// When it was answered or given up.
    pub end: Instant,
    /// Whether the server said OK.
    pub acknowledged: bool,
}

#[derive(Debug, Default)]
struct Shared {
    paused: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    log: Mutex<Vec<Attempt>>,
}

/// Ids for all writers of a table.
#[derive(Clone, Debug)]
pub struct Ids(Arc<AtomicU64>);

impl Default for Ids {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1)))
    }
}

impl Ids {
    /// The id that the next attempt will have, or a later one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// A pool of writers; they end when it is dropped.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

impl Writers {
    /// Lets `count` writers aim at `rate` acknowledged inserts a second together.
    #[must_use]
    pub fn begin(on: &Handle, target: &Target, ids: &Ids, count: u32, rate: u32) -> Self {
        Self::retrying(on, target, ids, (count, rate), None)
    }

    /// The same writers; what fails is sent once more after `again`, if that is given, on a new connection, and only failed
    /// if that fails as well.
    #[must_use]
    pub fn retrying(
        on: &Handle,
        target: &Target,
        ids: &Ids,
        (count, rate): (u32, u32),
        again: Option<Duration>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let pace = Duration::from_secs(1) * count / rate.max(1);
        let options = connection(target);
        let tasks = (0..count)
            .map(|number| {
                // The phases differ, so that a fault finds the writers at different points of their commits.
                let delay = pace * number / count;
                let (options, ids, shared) = (options.clone(), ids.clone(), Arc::clone(&shared));
                let writer = Writer { number, pace, again, options, ids, shared };
                on.spawn(writer.write(delay)).abort_handle()
            })
            .collect();
        Self { shared, tasks }
    }

    /// Inserts acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Connections and inserts that failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Every insert that was answered or given up so far.
    #[must_use]
    pub fn log(&self) -> Vec<Attempt> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The inserts that were answered or given up after a moment.
    #[must_use]
    pub fn since(&self, moment: Instant) -> Vec<Attempt> {
        let log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        // The log is in the order of the ends, but for threads that overtake each other: they do so by far less.
        let enough = moment.checked_sub(CONNECT).unwrap_or(moment);
        let late: Vec<Attempt> = log.iter().rev().take_while(|attempt| attempt.end >= enough).copied().collect();
        late.into_iter().rev().filter(|attempt| attempt.end >= moment).collect()
    }

    /// Lets them rest, or go on.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::SeqCst);
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn connection(target: &Target) -> Opts {
    let options = OptsBuilder::default()
        .prefer_socket(false)
        .tcp_nodelay(true)
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(28_800))
        // Read once: MySQL makes whoever reads a server's setting wait while one is changed.
        .init(vec!["SET @server := @@server_id"]);
    match target {
        Target::Tcp(address) => options
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(Some(WRITER_USER))
            .pass(Some(WRITER_PASSWORD)),
        Target::Socket(path) => options.socket(path.to_str()).user(Some("root")),
        Target::Local(path) => options.socket(path.to_str()).user(Some(WRITER_USER)).pass(Some(WRITER_PASSWORD)),
    }
    .into()
}

/// Takes every connection that a server gives to clients.
///
/// # Errors
/// When it gives more than a server of the lab has.
pub async fn take_all(target: &Target) -> Result<Vec<Conn>> {
    let (options, mut held) = (connection(target), Vec::new());
    while let Ok(Ok(connection)) = timeout(CONNECT, Conn::new(options.clone())).await {
        held.push(connection);
        ensure!(held.len() < MOST_HELD, "{MOST_HELD} connections, and it gives more");
    }
    Ok(held)
}

struct Writer {
    number: u32,
    pace: Duration,
    again: Option<Duration>,
    options: Opts,
    ids: Ids,
    shared: Arc<Shared>,
}

impl Writer {
    async fn write(self, delay: Duration) {
        sleep(delay).await;
        let mut connection: Option<Conn> = None;
        loop {
            if self.shared.paused.load(Ordering::SeqCst) {
                sleep(AGAIN).await;
                continue;
            }
            let Some(mut open) = connection.take() else {
                connection = self.connect().await;
                continue;
            };
            let attempt = self.insert(&mut open).await;
            if attempt.acknowledged {
                connection = Some(open);
                sleep((attempt.start + self.pace).saturating_duration_since(Instant::now())).await;
            } else {
                sleep(AGAIN).await;
            }
        }
    }

    async fn connect(&self) -> Option<Conn> {
        if let Ok(Ok(connection)) = timeout(CONNECT, Conn::new(self.options.clone())).await {
            return Some(connection);
        }
        self.shared.failed.fetch_add(1, Ordering::SeqCst);
        sleep(AGAIN).await;
        None
    }

    async fn insert(&self, connection: &mut Conn) -> Attempt {
        let (id, start) = (self.ids.take(), Instant::now());
        let statement =
            format!("INSERT INTO lab.writes (id, writer) VALUES ({id}, @server * {PER_SERVER} + {})", self.number);
        let mut acknowledged = matches!(timeout(STATEMENT, connection.query_drop(&statement)).await, Ok(Ok(())));
        if let Some(again) = self.again.filter(|_| !acknowledged) {
            sleep(again).await;
            acknowledged = self.insert_again(connection, id, &statement).await;
        }
        let attempt = Attempt { id, start, end: Instant::now(), acknowledged };
        let count = if acknowledged { &self.shared.acknowledged } else { &self.shared.failed };
        count.fetch_add(1, Ordering::SeqCst);
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        attempt
    }

    /// Sends an insert once more on a new connection, unless its id shows that the first one arrived after all.
    async fn insert_again(&self, connection: &mut Conn, id: u64, statement: &str) -> bool {
        let Ok(Ok(fresh)) = timeout(CONNECT, Conn::new(self.options.clone())).await else { return false };
        *connection = fresh;
        let look = connection.query_first(format!("SELECT id FROM lab.writes WHERE id = {id}"));
        match timeout(STATEMENT, look).await {
            Ok(Ok(Some::<u64>(_))) => true,
            Ok(Ok(None)) => matches!(timeout(STATEMENT, connection.query_drop(statement)).await, Ok(Ok(()))),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
