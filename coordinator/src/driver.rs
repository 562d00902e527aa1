//! The one loop of a cluster: one owner, one clock; whatever is slow comes back as an input.

use std::time::Duration;

use tasuki_bus::{Arrived, Bus};
use tasuki_coordinator_core::{Coordinator, Input, Output};
use tasuki_schemas::channel::Channel;
use tasuki_schemas::event::{Event, EventBody};
use tasuki_schemas::id::{ClusterName, CoordinatorId, ProgramId};
use tasuki_schemas::message::Message;
use tokio::sync::mpsc::Receiver;

use crate::clock;
use crate::feed::Feed;

/// Viewers get a whole new snapshot at most this often; events go out at once.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);

/// Turns what arrived into the core's input; `None` for what is none of its business.
#[must_use]
pub fn input(arrived: Arrived) -> Option<Input> {
    let opened = match arrived {
        Arrived::Message(opened) => opened,
        Arrived::Resumed => return Some(Input::Resumed),
    };
    let stamp = (opened.boot, opened.sequence);
    match opened.message {
        Message::Observation(observation) => Some(Input::Observed(observation, stamp)),
        Message::Position(position) => Some(Input::Positioned(position, stamp)),
        Message::Heartbeat(heartbeat) => Some(Input::Beaten(heartbeat)),
        Message::Request(_) | Message::Fetch(_) | Message::Delivery(_) | Message::Event(_) | Message::Echo { .. } => {
            None
        }
    }
}

/// What the driver of one cluster owns.
pub struct Driver {
    cluster: ClusterName,
    me: CoordinatorId,
    core: Coordinator,
    bus: Bus,
    feed: Feed,
    number: u64,
}

impl Driver {
    /// A driver whose core has heard nothing yet.
    #[must_use]
    pub const fn new(cluster: ClusterName, me: CoordinatorId, core: Coordinator, bus: Bus, feed: Feed) -> Self {
        Self { cluster, me, core, bus, feed, number: 0 }
    }

    /// Runs until the bus ends.
    pub async fn run(mut self, mut arrived: Receiver<Arrived>) {
        let mut shown = clock::now();
        loop {
            let now = clock::now();
            let patience = self.core.next_wake(now).since(now);
            let input = tokio::select! {
                biased;
                next = arrived.recv() => match next {
                    Some(next) => input(next),
                    None => return,
                },
                () = tokio::time::sleep(patience) => Some(Input::Woke),
            };
            let Some(input) = input else { continue };
            let now = clock::now();
            let mut news = false;
            for output in self.core.handle(input, now) {
                news |= self.perform(output);
            }
            if news || now.since(shown) >= SNAPSHOT_EVERY {
                shown = now;
                let mut snapshot = self.core.snapshot(now);
                snapshot.number = self.number;
                self.feed.set_snapshot(&snapshot);
            }
        }
    }

    /// Does one thing; true if viewers must see it in the snapshot at once.
    fn perform(&mut self, output: Output) -> bool {
        match output {
            Output::Send { to, request } => {
                send(&self.bus, &ProgramId::from(&to), &Message::Request(request));
                false
            }
            Output::Beat(heartbeat) => {
                publish(&self.bus, &Channel::Coordinator, &Message::Heartbeat(heartbeat));
                false
            }
            Output::Tell(body) => self.tell(*body),
        }
    }

    fn tell(&mut self, body: EventBody) -> bool {
        self.number += 1;
        let event = Event {
            cluster: self.cluster.clone(),
            coordinator: self.me.clone(),
            number: self.number,
            at_ms: clock::wall_ms(),
            body,
        };
        self.feed.publish(&event);
        if matches!(event.body, EventBody::Health { .. } | EventBody::Position { .. }) {
            return false;
        }
        log(&event);
        publish(&self.bus, &Channel::Event, &Message::Event(Box::new(event)));
        true
    }
}

/// Sends to one program; a message that cannot be sealed is a fault of this program, and said.
pub fn send(bus: &Bus, to: &ProgramId, message: &Message) {
    if let Err(error) = bus.send(to, message) {
        tracing::error!(%to, %error, "a message was not sent");
    }
}

/// Publishes to everybody concerned.
pub fn publish(bus: &Bus, channel: &Channel, message: &Message) {
    if let Err(error) = bus.publish(channel, message) {
        tracing::error!(%channel, %error, "a message was not published");
    }
}

/// One line for each event, whole in its field `body`, so that a log alone tells the story of a night.
fn log(event: &Event) {
    let body = serde_json::to_string(&event.body).unwrap_or_else(|error| error.to_string());
    tracing::info!(cluster = %event.cluster, number = event.number, event = event.body.name(), body, "event");
}
