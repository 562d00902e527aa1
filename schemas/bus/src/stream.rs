//! What is kept on Redis: a stream of sealed messages, each under a mark that its writer chose. One stream per Redis
//! server; a connection is never mended, but made anew.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::StreamRangeReply;
use ::redis::{AsyncConnectionConfig, RedisError, RedisResult};
use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::{Opened, Rejected};
use tasuki_schemas::message::Message;

use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::queue::Frame;
use crate::redis::{Server, bounded};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(500);

/// Orders the entries of a stream: Redis takes none that is not above the last.
pub type Mark = (u64, u64);

/// Why a stream cannot be used now.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StreamError(#[from] RedisError);

/// Seals messages, to be published and kept as they are.
#[derive(Clone)]
pub struct Announcer(pub(crate) Arc<Outbox>);

/// A sealed message.
#[derive(Clone)]
pub struct Sealed(Frame);

impl Announcer {
    /// Seals a message for all readers of a channel.
    ///
    /// # Errors
    /// [`Rejected::Oversized`] when the message is too large for the carriers.
    pub fn seal(&self, channel: &Channel, message: &Message) -> Result<Sealed, Rejected> {
        self.0.seal(channel, message).map(Sealed)
    }

    /// Publishes what was sealed for a channel. Never waits for a carrier.
    pub fn publish(&self, channel: &Channel, sealed: &Sealed) {
        self.0.carry(channel, &sealed.0);
    }
}

/// A stream on one Redis server.
#[derive(Clone)]
pub struct Stream {
    server: Arc<Server>,
    inbox: Arc<Inbox>,
    key: String,
}

impl Stream {
    pub(crate) const fn new(server: Arc<Server>, inbox: Arc<Inbox>, key: String) -> Self {
        Self { server, inbox, key }
    }

    /// The server, by host and port.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server.name
    }

    /// Connects.
    ///
    /// # Errors
    /// That the server cannot be reached.
    pub async fn connect(&self) -> Result<Connected, StreamError> {
        let connection = self.server.connect(AsyncConnectionConfig::new()).await?;
        Ok(Connected { connection, inbox: Arc::clone(&self.inbox), key: self.key.clone() })
    }
}

/// A connection to a stream.
pub struct Connected {
    connection: MultiplexedConnection,
    inbox: Arc<Inbox>,
    key: String,
}

impl Connected {
    /// The last entry's mark; `None` if there is no entry.
    ///
    /// # Errors
    /// That the server did not answer, or refused.
    pub async fn tail(&mut self) -> Result<Option<Mark>, StreamError> {
        let mut command = ::redis::cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let reply: StreamRangeReply = bounded(ANSWER, command.query_async(&mut self.connection)).await?;
        Ok(reply.ids.first().and_then(|entry| mark(&entry.id)))
    }

    /// Appends entries in order, and keeps about so many altogether. One that is not above the last is left out: it is
    /// there, or came too late. Returns how many were taken.
    ///
    /// # Errors
    /// That the server did not answer, or refused.
    pub async fn append(&mut self, entries: &[(Mark, Sealed)], keep: usize) -> Result<usize, StreamError> {
        let mut pipe = ::redis::pipe();
        pipe.ignore_errors();
        for (mark, sealed) in entries {
            pipe.add_command(self.add(*mark, keep, ("e", &sealed.0.text)));
        }
        let replies: Vec<RedisResult<::redis::Value>> = bounded(ANSWER, pipe.query_async(&mut self.connection)).await?;
        let mut taken = 0;
        for reply in replies {
            match reply {
                Ok(_) => taken += 1,
                Err(error) if is_too_low(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }

    /// Has nothing below a mark taken any more.
    ///
    /// # Errors
    /// That the server did not answer, or refused.
    pub async fn fence(&mut self, mark: Mark, keep: usize) -> Result<(), StreamError> {
        let command = self.add(mark, keep, ("fence", ""));
        match bounded(ANSWER, command.query_async::<::redis::Value>(&mut self.connection)).await {
            Err(error) if !is_too_low(&error) => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn add(&self, (high, low): Mark, keep: usize, (field, text): (&str, &str)) -> ::redis::Cmd {
        let mut command = ::redis::cmd("XADD");
        command.arg(&self.key).arg("MAXLEN").arg("~").arg(keep).arg(format!("{high}-{low}")).arg(field).arg(text);
        command
    }

    /// At most so many entries after a mark, in order: each with what it holds, unless that is not genuine.
    ///
    /// # Errors
    /// That the server did not answer, or refused.
    pub async fn after(
        &mut self,
        mark_before: Option<Mark>,
        most: usize,
    ) -> Result<Vec<(Mark, Option<Opened>)>, StreamError> {
        let begin = mark_before.map_or_else(|| "-".to_owned(), |(high, low)| format!("({high}-{low}"));
        let mut command = ::redis::cmd("XRANGE");
        command.arg(&self.key).arg(begin).arg("+").arg("COUNT").arg(most);
        let reply: StreamRangeReply = bounded(ANSWER, command.query_async(&mut self.connection)).await?;
        let entry = |entry: ::redis::streams::StreamId| {
            let text: Option<String> = entry.get("e");
            Some((mark(&entry.id)?, text.and_then(|text| self.inbox.examine(&text))))
        };
        Ok(reply.ids.into_iter().filter_map(entry).collect())
    }
}

/// What Redis says of an entry that is not above the last.
fn is_too_low(error: &RedisError) -> bool {
    error.to_string().contains("equal or smaller")
}

fn mark(id: &str) -> Option<Mark> {
    let (high, low) = id.split_once('-')?;
    Some((high.parse().ok()?, low.parse().ok()?))
}
