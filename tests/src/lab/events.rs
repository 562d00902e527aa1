//! What the coordinators tell, heard on Redis as it comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use serde_json::Value;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::event::Event;
use tasuki_schemas::id::ClusterName;
use tasuki_schemas::message::Message;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Before another try when Redis is gone.
const AGAIN: Duration = Duration::from_millis(100);

/// An event and when it was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// By this process's clock.
    pub at: Instant,
    /// The event.
    pub event: Event,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    task: AbortHandle,
}

impl Listener {
    /// Listens to a cluster's events on one Redis server.
    ///
    /// # Errors
    /// When the name of the cluster is none.
    pub fn begin(on: &Handle, url: String, cluster: &str) -> Result<Self> {
        let name: ClusterName = cluster.parse()?;
        let channel = Channel::Event.name(&name);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shelf = Arc::clone(&heard);
        let task = on.spawn(async move {
            loop {
                if let Err(error) = listen(&url, &channel, &shelf).await {
                    tracing::debug!(%error, "events are not heard");
                }
                sleep(AGAIN).await;
            }
        });
        Ok(Self { heard, task: task.abort_handle() })
    }

    /// What was heard since a moment, oldest first.
    #[must_use]
    pub fn since(&self, moment: Instant) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|heard| heard.at >= moment).cloned().collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(url: &str, channel: &str, shelf: &Mutex<Vec<Heard>>) -> Result<()> {
    let mut subscription = redis::Client::open(url)?.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    let mut messages = subscription.into_on_message();
    while let Some(message) = messages.next().await {
        let at = Instant::now();
        match read(message.get_payload_bytes()) {
            Ok(event) => shelf.lock().unwrap_or_else(PoisonError::into_inner).push(Heard { at, event }),
            Err(error) => tracing::warn!(%error, "no event"),
        }
    }
    Ok(())
}

/// The lab trusts its own Redis and does not verify signatures.
fn read(envelope: &[u8]) -> Result<Event> {
    let value: Value = serde_json::from_slice(envelope)?;
    let body = value.pointer("/signed/body").context("no envelope")?;
    match serde_json::from_value(body.clone())? {
        Message::Event(event) => Ok(*event),
        other @ (Message::Observation(_)
        | Message::Position(_)
        | Message::Heartbeat(_)
        | Message::Request(_)
        | Message::Fetch(_)
        | Message::Delivery(_)
        | Message::Renew(_)
        | Message::Grant(_)
        | Message::Errand(_)
        | Message::ErrandEnd(_)
        | Message::Echo { .. }) => anyhow::bail!("something else than an event: {other:?}"),
    }
}
