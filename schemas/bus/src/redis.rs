//! Redis as a carrier: the only code of Tasuki that speaks it for messages.
//!
//! Each server has two tasks with a connection each, one to publish and one to subscribe. A connection is never mended:
//! whatever looks wrong, it is thrown away and made anew, since a Redis that is stopped, half open, or that silently
//! forgot a subscription shows no error. What tells is the own echo: published every [`ECHO_EVERY`], and heard again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, Msg, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, TlsCertificates,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::counters::{Reason, Tally};
use crate::inbox::Inbox;
use crate::jitter::jitter;
use crate::outbox::Outbox;
use crate::queue::{Frame, Queue};

/// How often a program speaks to itself.
const ECHO_EVERY: Duration = Duration::from_millis(250);

/// After this long without an echo a subscription counts as dead.
const ECHO_PATIENCE: Duration = Duration::from_secs(1);

/// While a subscription is on a server whose replica was lost, that is tried again so often.
const RETURN_EVERY: Duration = Duration::from_secs(5);

/// How many echoes are waited for at most; more are out within the patience only if the own clock stood still.
const ECHOES: usize = 8;

/// How long an answer to a command may take.
const ANSWER: Duration = Duration::from_millis(500);

/// How long connecting may take, TLS and login included.
const CONNECT: Duration = Duration::from_secs(1);

/// The pause between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(150));

/// How many messages go out in one round trip.
const BATCH: usize = 16;

/// How many received messages wait to be verified.
const BACKLOG: usize = 1024;

/// Whether the URL of a Redis server can be understood. Connects to nothing.
///
/// # Errors
/// What is wrong with it, without the URL: it may hold a password.
pub fn check_redis_url(url: &str) -> Result<(), String> {
    url.into_connection_info().map(drop).map_err(|error| error.to_string())
}

/// One Redis server.
pub(crate) struct Server {
    /// Host and port, without a secret.
    pub(crate) name: String,
    pub(crate) queue: Queue,
    client: Client,
    /// A replica of it to subscribe on, while that brings back what is published here.
    replica: Option<Client>,
    live: AtomicBool,
    tally: Arc<Tally>,
}

impl Server {
    /// A server by its URL, and a replica of it to subscribe on; `ca` in PEM replaces the system's certificates for
    /// `rediss://`. Connects to nothing yet.
    pub(crate) fn new(url: &str, replica: Option<&str>, ca: Option<&[u8]>, tally: Arc<Tally>) -> RedisResult<Self> {
        let (name, client) = Self::client(url, ca)?;
        let replica = replica.map(|url| Self::client(url, ca)).transpose()?.map(|(_, client)| client);
        Ok(Self { name, queue: Queue::new(Arc::clone(&tally)), client, replica, live: AtomicBool::new(false), tally })
    }

    fn client(url: &str, ca: Option<&[u8]>) -> RedisResult<(String, Client)> {
        let parsed = url.into_connection_info()?;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(1))
            .with_interval(Duration::from_secs(1))
            .with_retries(2);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(Duration::from_millis(1500))
            .set_keepalive(keepalive);
        let resp3 = parsed.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = parsed.set_tcp_settings(tcp).set_redis_settings(resp3);
        let name = info.addr().to_string();
        let client = match (info.addr(), ca) {
            (ConnectionAddr::TcpTls { .. }, Some(ca)) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) })?
            }
            (_, _) => Client::open(info)?,
        };
        Ok((name, client))
    }

    /// Whether the own echo came back through it lately.
    pub(crate) fn live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) async fn connect(&self, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        connect(&self.client, config).await
    }

    /// Waits until the replica brings back the echoes that are published here.
    async fn replica_returns(&self, echoes: &[String]) {
        let Some(replica) = &self.replica else { return std::future::pending().await };
        loop {
            sleep(RETURN_EVERY).await;
            let (pushes, mut pushed) = mpsc::channel::<PushInfo>(ECHOES);
            let config = AsyncConnectionConfig::new().set_push_sender(move |push| {
                // One is enough.
                drop(pushes.try_send(push));
                Ok::<(), Infallible>(())
            });
            let Ok(mut connection) = connect(replica, config).await else { continue };
            if bounded(ANSWER, connection.subscribe(echoes)).await.is_err() {
                continue;
            }
            let echo = async {
                while let Some(push) = pushed.recv().await {
                    if push.kind == PushKind::Message {
                        return true;
                    }
                }
                false
            };
            if timeout(ECHO_PATIENCE, echo).await == Ok(true) {
                return;
            }
        }
    }
}

async fn connect(client: &Client, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
    let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
    bounded(CONNECT, client.get_multiplexed_async_connection_with_config(&config)).await
}

/// Publishes what the server's queue holds, for ever.
pub(crate) async fn publish(server: Arc<Server>) {
    let mut pending = Vec::new();
    let mut complained = false;
    loop {
        let failed = match server.connect(AsyncConnectionConfig::new()).await {
            Ok(mut connection) => loop {
                match publish_some(&server, &mut connection, &mut pending).await {
                    Ok(()) => complained = false,
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        if !complained {
            tracing::warn!(redis = %server.name, error = %failed, "publishing on Redis fails");
        }
        complained = true;
        sleep(jitter(PAUSE)).await;
    }
}

/// Publishes some frames. After an error they are still in `pending`: sending them twice does no harm.
async fn publish_some(
    server: &Server,
    connection: &mut MultiplexedConnection,
    pending: &mut Vec<Frame>,
) -> RedisResult<()> {
    if pending.is_empty() {
        pending.push(server.queue.pop().await);
    }
    while pending.len() < BATCH
        && let Some(frame) = server.queue.try_pop()
    {
        pending.push(frame);
    }
    let mut pipe = ::redis::pipe();
    pending.retain(|frame| {
        let expired = frame.expired();
        if expired {
            server.tally.dropped(Reason::Expired);
        } else {
            pipe.publish(&*frame.channel, &*frame.text).ignore();
        }
        !expired
    });
    if pending.is_empty() {
        return Ok(());
    }
    match bounded(ANSWER, pipe.query_async::<()>(connection)).await {
        Ok(()) => {}
        // The server's own words: it was asked and said no, so asking again is in vain.
        Err(error) if error.code().is_some() && !error.is_io_error() => {
            tracing::warn!(redis = %server.name, %error, "Redis refused to publish");
            server.tally.dropped(Reason::Refused);
        }
        Err(error) => return Err(error),
    }
    pending.clear();
    Ok(())
}

/// Keeps a living subscription, for ever.
pub(crate) async fn subscribe(server: Arc<Server>, channels: Vec<String>, inbox: Arc<Inbox>, outbox: Arc<Outbox>) {
    let mut complained = false;
    let mut on_replica = server.replica.is_some();
    loop {
        let Err(error) = listen(&server, on_replica, &channels, &inbox, &outbox).await;
        let was_live = server.live.swap(false, Ordering::Relaxed);
        if was_live || !complained {
            tracing::warn!(redis = %server.name, on_replica, %error, "the subscription on Redis is lost");
        }
        complained = true;
        // Whatever became of the one, the other is next.
        on_replica = !on_replica && server.replica.is_some();
        sleep(jitter(PAUSE)).await;
    }
}

/// One connection's life as a subscription, on the server or its replica.
async fn listen(
    server: &Server,
    on_replica: bool,
    channels: &[String],
    inbox: &Inbox,
    outbox: &Outbox,
) -> RedisResult<Infallible> {
    let (pushes, mut pushed) = mpsc::channel::<PushInfo>(BACKLOG);
    let tally = Arc::clone(&server.tally);
    let config = AsyncConnectionConfig::new().set_push_sender(move |push| {
        if let Err(mpsc::error::TrySendError::Full(_)) = pushes.try_send(push) {
            tally.dropped(Reason::Overflow);
        }
        Ok::<(), Infallible>(())
    });
    let client = server.replica.as_ref().filter(|_| on_replica).unwrap_or(&server.client);
    let mut connection = connect(client, config).await?;
    bounded(ANSWER, connection.subscribe(channels)).await?;
    let echoes = outbox.echo_channel();
    let returns =
        async { if on_replica { std::future::pending().await } else { server.replica_returns(&echoes).await } };
    tokio::pin!(returns);
    let mut ticks = interval(ECHO_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    let mut awaited: VecDeque<Arc<str>> = VecDeque::new();
    loop {
        let push = tokio::select! {
            push = pushed.recv() => push,
            () = &mut returns => return Err(silent("its replica is back, and is subscribed on instead")),
            _ = ticks.tick() => {
                if heard_at.elapsed() > ECHO_PATIENCE {
                    return Err(silent("no echo came back"));
                }
                awaited.extend(outbox.echo(&server.queue));
                awaited.drain(..awaited.len().saturating_sub(ECHOES));
                continue;
            }
        };
        let Some(push) = push.filter(|push| push.kind != PushKind::Disconnection) else {
            return Err(silent("the connection ended"));
        };
        let Some(message) = Msg::from_push_info(push) else { continue };
        let text = message.get_payload_bytes();
        // Whoever brings back the very text that went out a moment ago has carried it: nothing is left to verify.
        let Some(at) = awaited.iter().position(|echo| echo.as_bytes() == text) else {
            inbox.take(None, text);
            continue;
        };
        awaited.drain(..=at);
        heard_at = Instant::now();
        if !server.live.swap(true, Ordering::Relaxed) {
            tracing::info!(redis = %server.name, on_replica, "the subscription on Redis lives");
            inbox.resumed();
        }
    }
}

/// Bounds a wait; the crate's own limits leave gaps.
pub(crate) async fn bounded<T>(limit: Duration, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(silent("no answer in time")))
}

fn silent(what: &'static str) -> RedisError {
    RedisError::from((::redis::ErrorKind::Io, what))
}
