//! The history on one Redis server: read from it, appended to it by the coordinator that leads, and written to it anew
//! when it came back with less than the journal holds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasuki_bus::{Announcer, Connected, Mark, Sealed, Stream, StreamError};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::Opened;
use tasuki_schemas::event::{Event, EventId};
use tasuki_schemas::id::CoordinatorId;
use tasuki_schemas::message::Message;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::hall::News;
use super::journal;

/// What is asked of a keeper and waits for it; with more it is made to connect anew.
const ORDERS: usize = 1024;
/// Entries that are read, or written, at a time.
const SOME: usize = 500;
/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(150);
/// An idle connection is looked at so often: a Redis that came back empty must not wait for the next incident.
const IDLE: Duration = Duration::from_millis(500);

/// What is asked of a keeper.
pub(super) enum Order {
    /// Append an own incident.
    Append(EventId, Sealed),
    /// Take nothing of lower ballots any more.
    Fence(Ballot),
    /// Read what is kept after an incident.
    Fetch(Option<EventId>),
    /// This coordinator leads: what the server lacks is written from the journal.
    Lead(bool),
}

/// What a keeper reports.
pub(super) enum Report {
    /// It is connected.
    Up,
    /// It is no more. Whatever was asked of it comes to nothing.
    Down,
    /// An incident is kept, or was refused: a higher ballot was there before.
    Answered(EventId, bool),
    /// What was asked for; true with the last piece.
    Fetched(Vec<Event>, bool),
}

/// Marks of incidents: those of one counter are ordered by the coordinators' names, as their ballots are.
#[derive(Clone)]
pub(super) struct Marks(Arc<[CoordinatorId]>);

impl Marks {
    pub(super) fn new(mut coordinators: Vec<CoordinatorId>) -> Self {
        coordinators.sort();
        Self(coordinators.into())
    }

    pub(super) fn of(&self, id: &EventId) -> Mark {
        let rank = self.0.partition_point(|name| *name < id.ballot.coordinator).min(255) as u64;
        let low = rank << 56 | (id.ballot.boot.0 >> 48) << 40 | id.number.min((1 << 40) - 1);
        (id.ballot.counter, low)
    }
}

/// Who keeps the history on one server.
pub(super) struct Keeper {
    pub(super) number: usize,
    pub(super) stream: Stream,
    pub(super) announcer: Announcer,
    pub(super) journal: PathBuf,
    pub(super) marks: Marks,
    pub(super) hall: Sender<News>,
}

impl Keeper {
    /// Begins, and returns where orders are taken.
    pub(super) fn begin(self) -> Sender<Order> {
        let (orders, ordered) = channel(ORDERS);
        tokio::spawn(self.run(ordered));
        orders
    }

    async fn run(self, mut orders: Receiver<Order>) {
        let (mut leads, mut complained) = (false, false);
        loop {
            match self.stream.connect().await {
                Ok(connection) => {
                    // What was asked while nobody was connected was given up by the hall.
                    while let Ok(order) = orders.try_recv() {
                        if let Order::Lead(now) = order {
                            leads = now;
                        }
                    }
                    complained = false;
                    if !self.report(Report::Up).await {
                        return;
                    }
                    let ended = self.serve(connection, &mut orders, &mut leads).await;
                    if !self.report(Report::Down).await {
                        return;
                    }
                    match ended {
                        Ok(()) => return,
                        Err(error) => {
                            tracing::warn!(redis = self.stream.server(), %error, "the history on Redis cannot be used");
                        }
                    }
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(redis = self.stream.server(), %error, "the history on Redis is out of reach");
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn report(&self, report: Report) -> bool {
        self.hall.send(News::Kept(self.number, report)).await.is_ok()
    }

    /// Does what is asked until the connection fails; `Ok` when nobody asks any more.
    async fn serve(
        &self,
        mut redis: Connected,
        orders: &mut Receiver<Order>,
        leads: &mut bool,
    ) -> Result<(), StreamError> {
        // The server's last entry, once it was filled; with less than that it was emptied meanwhile.
        let mut filled: Option<Option<Mark>> = None;
        loop {
            if *leads && (filled.is_none() || Some(redis.tail().await?) < filled) {
                filled = Some(self.fill(&mut redis).await?);
            }
            let order = match timeout(IDLE, orders.recv()).await {
                Ok(Some(order)) => order,
                Ok(None) => return Ok(()),
                Err(_) if *leads => continue,
                Err(_) => {
                    redis.tail().await?;
                    continue;
                }
            };
            match order {
                Order::Lead(now) => (*leads, filled) = (now, None),
                Order::Fetch(since) => self.fetch(&mut redis, since.as_ref()).await?,
                Order::Append(id, sealed) => {
                    if filled.is_none() {
                        filled = Some(self.fill(&mut redis).await?);
                    }
                    let mark = self.marks.of(&id);
                    let taken = redis.append(&[(mark, sealed)], journal::MOST).await? > 0;
                    filled = filled.max(Some(Some(mark)));
                    self.report(Report::Answered(id, taken)).await;
                }
                Order::Fence(ballot) => {
                    if filled.is_none() {
                        filled = Some(self.fill(&mut redis).await?);
                    }
                    redis.fence(self.marks.of(&EventId { ballot, number: 0 }), journal::MOST).await?;
                }
            }
        }
    }

    /// Reads what is kept after an incident.
    async fn fetch(&self, redis: &mut Connected, since: Option<&EventId>) -> Result<(), StreamError> {
        let mut mark = since.map(|id| self.marks.of(id));
        loop {
            let entries = redis.after(mark, SOME).await?;
            let last = entries.len() < SOME;
            mark = entries.last().map(|(mark, _)| *mark).or(mark);
            let event = |(_, opened): (Mark, Option<Opened>)| {
                let Message::Event(event) = opened?.message else { return None };
                Some(*event)
            };
            let events = entries.into_iter().filter_map(event).collect();
            self.report(Report::Fetched(events, last)).await;
            if last {
                return Ok(());
            }
        }
    }

    /// Writes what the journal holds beyond the server's last entry; returns the mark of the last entry then.
    async fn fill(&self, redis: &mut Connected) -> Result<Option<Mark>, StreamError> {
        let mut tail = redis.tail().await?;
        let (marks, last) = (self.marks.clone(), tail);
        let seen = move |id: &EventId| last.is_some_and(|last| marks.of(id) <= last);
        let mut pieces = journal::pieces(self.journal.clone(), SOME, seen);
        let mut written = 0_usize;
        while let Some(events) = pieces.recv().await {
            let beyond = events.into_iter().filter_map(|event| {
                let mark = self.marks.of(event.id.as_ref()?);
                if tail.is_some_and(|tail| mark <= tail) {
                    return None;
                }
                let retold = Message::Event(Box::new(event));
                Some((mark, self.announcer.seal(&Channel::Event, &retold).ok()?))
            });
            let beyond: Vec<_> = beyond.collect();
            if let Some((mark, _)) = beyond.last() {
                redis.append(&beyond, journal::MOST).await?;
                written += beyond.len();
                tail = Some(*mark);
            }
        }
        if written > 0 {
            tracing::info!(redis = self.stream.server(), written, "the history on Redis was filled from the journal");
        }
        Ok(tail)
    }
}
