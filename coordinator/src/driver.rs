//! The one loop of a cluster: one owner, one clock; whatever is slow comes back as an input.

use std::path::Path;
use std::time::Duration;

use tasuki_bus::{Arrived, Bus, boot, clock};
use tasuki_config::{ClusterFile, Findings};
use tasuki_coordinator_core::birth::Birth;
use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::settings::Settings;
use tasuki_coordinator_core::{Coordinator, Input, Output};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::Opened;
use tasuki_schemas::errand::Errand;
use tasuki_schemas::event::{Event, EventBody};
use tasuki_schemas::id::{CoordinatorId, Nonce, ProgramId};
use tasuki_schemas::message::Message;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

use crate::control::{Act, Reply, Request};
use crate::errands::{self, Asker, Errands};
use crate::feed::Teller;
use crate::fence::{Asked, Ended, Fencer};
use crate::http::Seats;
use crate::planned;

/// Viewers get a whole new snapshot at most this often; events go out at once.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);

/// Results of fences and readings that wait for the loop.
const FENCES: usize = 16;

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
        Message::Request(_)
        | Message::Fetch(_)
        | Message::Delivery(_)
        | Message::Renew(_)
        | Message::Grant(_)
        | Message::Event(_)
        | Message::Errand(_)
        | Message::ErrandEnd(_)
        | Message::Echo { .. } => None,
    }
}

/// What the driver of one cluster owns.
pub struct Driver {
    file: ClusterFile,
    me: CoordinatorId,
    core: Coordinator,
    bus: Bus,
    seats: Seats,
    teller: Teller,
    /// Notes and acts of people at this coordinator.
    posts: Receiver<EventBody>,
    number: u64,
    /// Under which it tells.
    ballot: Option<Ballot>,
    settings: Settings,
    birth: Option<(Birth, oneshot::Sender<Reply>)>,
    asker: Option<Asker>,
    errands: Errands,
    fencer: Fencer,
    plans: planned::Watch,
    /// What came of fences and readings.
    ended: Receiver<Ended>,
}

impl Driver {
    /// A driver whose core has heard nothing yet.
    #[must_use]
    pub fn new(
        file: ClusterFile,
        settings: Settings,
        state_dir: &Path,
        bus: Bus,
        opened: (Teller, Receiver<EventBody>),
        seats: Seats,
    ) -> Self {
        let (teller, posts) = opened;
        let (tell, ended) = channel(FENCES);
        Self {
            fencer: Fencer::new(&file, state_dir, tell),
            file,
            me: settings.me.clone(),
            core: Coordinator::new(settings.clone(), clock::now()),
            bus,
            seats,
            teller,
            posts,
            number: 0,
            ballot: None,
            settings,
            birth: None,
            asker: None,
            errands: Errands::default(),
            plans: planned::Watch::default(),
            ended,
        }
    }

    /// Runs until the bus ends.
    pub async fn run(mut self, mut arrived: Receiver<Arrived>, mut requests: Receiver<Request>) {
        let mut shown = clock::now();
        loop {
            let now = clock::now();
            self.go_on_errands();
            let wake = self.core.next_wake(now);
            let patience = self.errands.next_wake().map_or(wake, |errand| errand.min(wake)).since(now);
            let input = tokio::select! {
                biased;
                next = arrived.recv() => match next {
                    Some(next) => match self.divert(next) {
                        Some(next) => input(next),
                        None => continue,
                    },
                    None => return,
                },
                Some(body) = self.posts.recv() => {
                    self.post(body);
                    continue;
                }
                Some(request) = requests.recv() => {
                    self.take(request);
                    continue;
                }
                Some(ended) = self.ended.recv() => match ended {
                    Ended::Input(input) => Some(input),
                    Ended::Delivered(to, deliveries) => {
                        for delivery in deliveries {
                            send(&self.bus, &to, &Message::Delivery(delivery));
                        }
                        continue;
                    }
                },
                () = tokio::time::sleep(patience) => Some(Input::Woke),
            };
            let Some(input) = input else { continue };
            let now = clock::now();
            if let Some((birth, asked)) = self.birth.take() {
                self.bear(birth, asked, input);
                continue;
            }
            let mut news = false;
            let before = self.core.ballot().cloned();
            let outputs = self.core.handle(input, now);
            // What is told when an attempt ends is told under its ballot.
            self.ballot = self.core.ballot().cloned().or(before);
            let due = self.plans.due(self.core.planned(), clock::wall_ms(), now);
            let due = due.map(|input| self.core.handle(input, now)).unwrap_or_default();
            for output in outputs.into_iter().chain(due) {
                news |= self.perform(output);
            }
            self.fencer.settle(self.core.attempt());
            if let Some(answer) = self.core.answer()
                && let Some(asker) = self.asker.take()
            {
                let told = self.errands.tell(asker, answer.map(|line| vec![line]));
                self.send_errand(told);
            }
            if news || now.since(shown) >= SNAPSHOT_EVERY {
                shown = now;
                let mut snapshot = self.core.snapshot(now);
                snapshot.number = self.number;
                self.teller.set_snapshot(snapshot);
            }
        }
    }

    /// Takes what is none of the core's business.
    fn divert(&mut self, arrived: Arrived) -> Option<Arrived> {
        let Arrived::Message(opened) = arrived else { return Some(arrived) };
        match opened {
            Opened { message: Message::Event(event), .. } => self.hear(event),
            Opened { sender, message: Message::Fetch(fetch), .. } => self.fencer.deliver(sender, fetch),
            Opened { sender, message: Message::Errand(errand), .. } => self.take_errand(sender, *errand),
            Opened { sender, message: Message::ErrandEnd(end), .. } => self.errands.ended(&sender, *end),
            opened => {
                if let Message::Heartbeat(heartbeat) = &opened.message {
                    self.seats.hear(heartbeat);
                }
                return Some(Arrived::Message(opened));
            }
        }
        None
    }

    /// An operator asks for something. What comes of it is told when it has come.
    fn take(&mut self, request: Request) {
        match request.act {
            Act::Init => self.birth = Some((Birth::new(self.settings.clone(), clock::now()), request.reply)),
            Act::Wish(wish) => match self.leader_for(&wish) {
                Some((leader, errand)) => self.errands.bring(leader, errand, request.reply, clock::now()),
                None => self.ask(wish, Asker::Here(request.reply)),
            },
        }
    }

    /// Who is to be asked instead, if only the leader can grant a wish, another one leads, and something leads there.
    fn leader_for(&self, wish: &Wish) -> Option<(CoordinatorId, Errand)> {
        let wanted = errands::wanted(wish)?;
        let snapshot = self.core.snapshot(clock::now());
        let leader = snapshot.leader.filter(|leader| *leader != self.me)?;
        let carried = self.bus.carriers().redis.values().any(|lives| *lives);
        let id = boot::random().ok().filter(|_| carried)?;
        Some((leader, Errand { id: Nonce(id), under: snapshot.epoch, wanted }))
    }

    fn ask(&mut self, wish: Wish, asker: Asker) {
        self.core.ask(wish, clock::now());
        if let Some(before) = self.asker.replace(asker) {
            let told = self.errands.displace(before);
            self.send_errand(told);
        }
    }

    /// Another coordinator brings what was asked there.
    fn take_errand(&mut self, sender: ProgramId, errand: Errand) {
        let (id, under) = (errand.id, errand.under.clone());
        match self.errands.arrived(&sender, errand) {
            errands::Arrived::New(wish) if under == self.core.snapshot(clock::now()).epoch => {
                self.ask(wish, Asker::Away(sender, id));
            }
            errands::Arrived::New(_) => {
                let told = self.errands.overtaken(Asker::Away(sender, id));
                self.send_errand(told);
            }
            errands::Arrived::Ended(end) => self.send_errand(Some((sender, Message::ErrandEnd(Box::new(end))))),
            errands::Arrived::Known => {}
        }
    }

    fn go_on_errands(&mut self) {
        let due = self.errands.woke(clock::now());
        self.send_errand(due);
    }

    fn send_errand(&self, told: Option<(ProgramId, Message)>) {
        if let Some((to, message)) = told {
            send(&self.bus, &to, &message);
        }
    }

    /// One step of a birth. Until the cluster is born its core has nothing to do.
    fn bear(&mut self, mut birth: Birth, asked: oneshot::Sender<Reply>, input: Input) {
        for output in birth.handle(input, clock::now()) {
            self.perform(output);
        }
        match end_of(&birth, &self.file) {
            // The asker may have left; the record is decided all the same.
            Some(reply) => drop(asked.send(reply)),
            None => self.birth = Some((birth, asked)),
        }
    }

    /// Does one thing; true if viewers must see it in the snapshot at once.
    fn perform(&mut self, output: Output) -> bool {
        match output {
            Output::Send { to, request } => {
                send(&self.bus, &ProgramId::from(&to), &Message::Request(request));
                false
            }
            Output::Beat(mut heartbeat) => {
                heartbeat.seat = self.seats.own().map(Box::new);
                publish(&self.bus, &Channel::Coordinator, &Message::Heartbeat(heartbeat));
                false
            }
            Output::Tell(body) => self.tell(*body),
            Output::Fence { ballot, node, how, only_readable, index } => {
                self.fencer.begin(Asked { ballot, node, how, only_readable, index });
                false
            }
            Output::Read { ballot, node, index, have } => {
                self.fencer.read(ballot, node, index, *have);
                false
            }
        }
    }

    /// Another coordinator tells something. What people posted there is told by whoever leads.
    fn hear(&mut self, event: Box<Event>) {
        if event.id.is_some() || event.body.posted().is_none() {
            self.teller.hear(event);
        } else if self.core.ballot().is_some() {
            self.post(event.body);
        }
    }

    /// What people post is told by the leader, or brought to it.
    fn post(&mut self, body: EventBody) {
        self.ballot = self.core.ballot().cloned();
        if self.ballot.is_some() {
            self.tell(body);
        } else {
            let event = self.event(body);
            publish(&self.bus, &Channel::Event, &Message::Event(Box::new(event)));
        }
    }

    fn tell(&mut self, body: EventBody) -> bool {
        let event = self.event(body);
        if event.body.is_telemetry() {
            self.teller.show(event);
            return false;
        }
        log(&event);
        self.teller.tell(event, self.ballot.clone(), self.core.is_led());
        true
    }

    fn event(&mut self, body: EventBody) -> Event {
        self.number += 1;
        Event {
            cluster: self.file.name.clone(),
            coordinator: self.me.clone(),
            number: self.number,
            at_ms: clock::wall_ms(),
            id: None,
            after: None,
            body,
        }
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

/// What the operator is told at the end of a birth.
#[must_use]
pub fn end_of(birth: &Birth, file: &ClusterFile) -> Option<Reply> {
    Some(match birth.end()? {
        Err(obstacles) => {
            let findings = obstacles.iter().map(|it| file.finding(it.node.as_ref(), it.what.clone()));
            Err(Findings(findings.collect()).to_string())
        }
        Ok(record) => {
            let (members, acks) = record.group().map_or((0, 0), |group| (group.members.len(), group.acks));
            let born = format!(
                "born: {} is primary, {members} servers in the write group, {acks} acknowledgements required",
                record.primary
            );
            Ok(std::iter::once(born).chain(birth.notes().iter().cloned()).collect())
        }
    })
}
