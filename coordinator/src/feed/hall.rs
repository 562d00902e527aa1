//! The hall of one cluster: the one task that hands out its incidents, in the order of its history, and that lets its
//! viewers in between two of them, so that none of them misses one or gets one twice.

mod guests;
mod tick;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use tasuki_bus::{Announcer, Bus, Sealed, clock};
use tasuki_config::ClusterFile;
use tasuki_coordinator_core::annals::{Annals, Do};
use tasuki_coordinator_core::chain::Chain;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::event::{Event, EventBody, EventId, PublicId, Snapshot};
use tasuki_schemas::id::{BootId, ClusterName, Nonce};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tokio::sync::mpsc::{Receiver, Sender, error::TrySendError};
use tokio::sync::oneshot;

use super::Snapshots;
use super::admit::Viewer;
use super::journal::Journal;
use super::keeper::{Keeper, Marks, Order, Report};
use super::letting_go::LetGo;
use super::viewers;
use guests::Guest;
use tick::Tick;

/// So many of the latest incidents are at hand for viewers that come back.
const AT_HAND: usize = 2000;
/// Notes and acts that are not in history yet.
const POSTS: usize = 256;
/// They are posted again after this.
const POST_AGAIN: Duration = Duration::from_secs(1);
/// Viewers that wait to be let in.
const WAITING: usize = 4096;

/// What reaches the hall.
pub(super) enum News {
    /// This coordinator tells an incident: under its ballot, or as one that sees it and does not lead. Then `led` says
    /// whether anybody does.
    Told { event: Box<Event>, ballot: Option<Ballot>, led: bool },
    /// Another coordinator tells one.
    Heard(Box<Event>),
    /// Telemetry: for who watches now.
    Seen(Box<Event>),
    /// The first snapshot: those who came before it have none.
    First(Arc<Snapshot>),
    /// A viewer wants in, which has seen everything up to `since`; it may have its snapshot already.
    Join { socket: SocketRef, viewer: Viewer, since: Option<PublicId>, greeted: bool },
    /// Somebody says or does something; `kept` is told its place in history.
    Post { nonce: Nonce, body: Box<EventBody>, kept: oneshot::Sender<EventId> },
    /// A keeper reports.
    Kept(usize, Report),
}

struct Server {
    orders: Sender<Order>,
    live: bool,
    /// Answers to what was fetched that are still to come.
    awaited: usize,
}

/// An own incident that is offered, and how many servers may still take it.
struct Offered {
    id: EventId,
    sealed: Sealed,
    asked: usize,
}

/// What was said or done here and is not in history yet.
struct Post {
    body: EventBody,
    kept: oneshot::Sender<EventId>,
    again_at: Moment,
}

/// The hall.
pub(super) struct Hall {
    cluster: ClusterName,
    /// This run of the coordinator.
    run: BootId,
    io: SocketIo,
    snapshots: Snapshots,
    annals: Annals,
    journal: Journal,
    announcer: Announcer,
    servers: Vec<Server>,
    offered: Option<Offered>,
    guests: Vec<Guest>,
    tick: Tick,
    leads: bool,
    posts: BTreeMap<Nonce, Post>,
    /// To the driver, which knows who leads.
    driver: Sender<EventBody>,
    own: Sender<News>,
}

impl Hall {
    /// Opens the hall of a cluster with what its journal holds.
    ///
    /// # Errors
    /// The journal cannot be used.
    pub(super) fn open(
        file: &ClusterFile,
        run: BootId,
        state_dir: &Path,
        bus: &Bus,
        (io, snapshots, news): (SocketIo, Snapshots, Sender<News>),
        driver: Sender<EventBody>,
    ) -> std::io::Result<Self> {
        let path = state_dir.join(format!("history-{}.jsonl", file.name));
        let (journal, found) = Journal::open(&path, AT_HAND)?;
        let marks = Marks::new(file.coordinators.iter().map(|it| it.name.clone()).collect());
        let keeper = |(number, stream)| Keeper {
            number,
            stream,
            announcer: bus.announcer(),
            journal: path.clone(),
            marks: marks.clone(),
            hall: news.clone(),
        };
        let streams = bus.streams(&Channel::history(&file.name)).into_iter().enumerate();
        let servers = streams.map(|it| Server { orders: keeper(it).begin(), live: false, awaited: 0 }).collect();
        Ok(Self {
            cluster: file.name.clone(),
            run,
            io,
            snapshots,
            annals: Annals::new(Chain::of(found.latest, found.more, AT_HAND)),
            journal,
            announcer: bus.announcer(),
            servers,
            offered: None,
            guests: Vec::new(),
            tick: Tick::new(file.policy.heartbeat),
            leads: false,
            posts: BTreeMap::new(),
            driver,
            own: news,
        })
    }

    /// Where the journal is.
    pub(super) fn journal(&self) -> &Path {
        self.journal.path()
    }

    /// Hands out news until nobody brings any.
    pub(super) async fn run(mut self, mut news: Receiver<News>) {
        loop {
            let now = clock::now();
            let guests = self.guests.iter().map(|guest| guest.until);
            let posts = self.posts.values().map(|post| post.again_at);
            let wake = self.annals.next_wake().into_iter().chain(self.tick.due()).chain(guests).chain(posts).min();
            let patience = wake.map_or(Duration::from_secs(3600), |wake| wake.since(now));
            let next = tokio::time::timeout(patience, news.recv()).await;
            let now = clock::now();
            let todo = match next {
                Ok(None) => return,
                Ok(Some(news)) => self.take(news, now),
                Err(_) => self.annals.woke(now),
            };
            self.perform(todo, now);
            viewers::hand_out_together(&self.io, &self.cluster, self.tick.take_due(now));
            self.let_in(now);
            self.post_again(now);
        }
    }

    fn take(&mut self, news: News, now: Moment) -> Vec<Do> {
        match news {
            News::Told { event, ballot: Some(ballot), .. } => {
                let nonce = event.body.posted();
                let known = nonce.is_some() && self.annals.chain().last(|it| it.body.posted() == nonce).is_some();
                return if known { Vec::new() } else { self.annals.tell(ballot, *event, now) };
            }
            News::Told { event, ballot: None, led } => {
                self.publish(&Message::Event(event.clone()));
                if !led {
                    self.show(&event, now);
                }
                self.annals.saw(*event);
            }
            News::Heard(event) => return self.annals.hear(*event, now),
            News::Seen(event) => self.tick.add(*event),
            News::First(snapshot) => viewers::show_first(&self.io, &snapshot),
            News::Join { socket, viewer, since, greeted } => {
                if self.guests.len() < WAITING {
                    self.guests.push(Guest { socket, viewer, since, greeted, until: now + guests::AHEAD });
                } else {
                    viewers::close(socket, LetGo::Crowded);
                }
            }
            News::Post { nonce, body, kept } => {
                if self.posts.len() < POSTS {
                    self.posts.insert(nonce, Post { body: *body, kept, again_at: now });
                }
            }
            News::Kept(number, report) => return self.kept(number, report, now),
        }
        Vec::new()
    }

    fn kept(&mut self, number: usize, report: Report, now: Moment) -> Vec<Do> {
        match report {
            Report::Up => {
                self.live(number, true);
                let head = self.annals.chain().head().cloned();
                self.order(number, Order::Lead(self.leads));
                self.order(number, Order::Fetch(head));
            }
            Report::Down => {
                self.live(number, false);
                return self.annals.fetched(Vec::new(), self.all_answered(), now);
            }
            Report::Answered(id, taken) => return self.answered(&id, taken, now),
            Report::Fetched(events, last) => {
                if let Some(server) = self.servers.get_mut(number) {
                    server.awaited = server.awaited.saturating_sub(usize::from(last));
                }
                return self.annals.fetched(events, self.all_answered(), now);
            }
        }
        Vec::new()
    }

    fn live(&mut self, number: usize, live: bool) {
        if let Some(server) = self.servers.get_mut(number) {
            (server.live, server.awaited) = (live, 0);
        }
    }

    /// Whether nobody owes an answer to what was fetched.
    fn all_answered(&self) -> bool {
        self.servers.iter().all(|server| server.awaited == 0)
    }

    /// Asks a keeper; false if that is in vain.
    fn order(&mut self, number: usize, order: Order) -> bool {
        let Some(server) = self.servers.get_mut(number).filter(|server| server.live) else { return false };
        let fetches = matches!(order, Order::Fetch(_));
        match server.orders.try_send(order) {
            Ok(()) => {
                server.awaited += usize::from(fetches);
                true
            }
            // It hangs, and the journal fills its server when it is back.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                (server.live, server.awaited) = (false, 0);
                false
            }
        }
    }

    fn perform(&mut self, mut todo: Vec<Do>, now: Moment) {
        while !todo.is_empty() {
            for one in std::mem::take(&mut todo) {
                match one {
                    Do::Out { event, own } => self.out(&event, own, now),
                    Do::Fence(ballot) => {
                        for number in 0..self.servers.len() {
                            self.order(number, Order::Fence(ballot.clone()));
                        }
                    }
                    Do::Offer(event) => todo.extend(self.offer(&event, now)),
                    Do::Fetch(since) => {
                        let numbers = 0..self.servers.len();
                        let asked = numbers.filter(|number| self.order(*number, Order::Fetch(since.clone()))).count();
                        if asked == 0 {
                            todo.extend(self.annals.fetched(Vec::new(), true, now));
                        }
                    }
                }
            }
        }
    }

    /// Has the servers keep an own incident.
    fn offer(&mut self, event: &Arc<Event>, now: Moment) -> Vec<Do> {
        let Some(id) = event.id.clone() else { return Vec::new() };
        let sealed = match self.announcer.seal(&Channel::Event, &Message::Event(Box::new((**event).clone()))) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(%error, "an incident cannot be told");
                return self.annals.answered(&id, false, now);
            }
        };
        let numbers = 0..self.servers.len();
        let asked = numbers.filter(|number| self.order(*number, Order::Append(id.clone(), sealed.clone()))).count();
        self.offered = Some(Offered { id: id.clone(), sealed, asked });
        if asked == 0 { self.annals.answered(&id, true, now) } else { Vec::new() }
    }

    /// One server that takes it is enough; if all of them refuse it, another leader was before.
    fn answered(&mut self, id: &EventId, taken: bool, now: Moment) -> Vec<Do> {
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.id == *id) else { return Vec::new() };
        offered.asked = offered.asked.saturating_sub(1);
        if taken || offered.asked == 0 { self.annals.answered(id, taken, now) } else { Vec::new() }
    }

    /// The next incident of history.
    fn out(&mut self, event: &Arc<Event>, own: bool, now: Moment) {
        if !self.journal.append(event) {
            tracing::error!(id = ?event.id, "an incident is not in the journal: the disk is too slow");
        }
        if self.leads != own {
            self.leads = own;
            for number in 0..self.servers.len() {
                self.order(number, Order::Lead(own));
            }
        }
        if own && let Some(offered) = self.offered.take_if(|offered| Some(&offered.id) == event.id.as_ref()) {
            self.announcer.publish(&Channel::Event, &offered.sealed);
        }
        self.show(event, now);
        if let Some(post) = event.body.posted().and_then(|nonce| self.posts.remove(&nonce))
            && let Some(id) = event.id.clone()
        {
            // The asker may have left.
            drop(post.kept.send(id));
        }
    }

    /// Tells the other coordinators what is no history.
    fn publish(&self, message: &Message) {
        match self.announcer.seal(&Channel::Event, message) {
            Ok(sealed) => self.announcer.publish(&Channel::Event, &sealed),
            Err(error) => tracing::error!(%error, "an incident was not published"),
        }
    }

    /// Posts what is not in history yet, until nobody waits for that any more.
    fn post_again(&mut self, now: Moment) {
        self.posts.retain(|_, post| !post.kept.is_closed());
        for post in self.posts.values_mut().filter(|post| post.again_at <= now) {
            post.again_at = now + POST_AGAIN;
            if self.driver.try_send(post.body.clone()).is_err() {
                tracing::warn!("a note waits: the driver has too many already");
            }
        }
    }

    /// What was seen before an incident is shown before it.
    fn show(&mut self, event: &Event, now: Moment) {
        viewers::hand_out_together(&self.io, &self.cluster, self.tick.take(now));
        viewers::hand_out(&self.io, event);
    }
}
