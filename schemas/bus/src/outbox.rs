//! The one way out: a message is sealed once, and the same text goes to both carriers.

use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::{Rejected, Sealer};
use tasuki_schemas::id::{Boot, ClusterName, Nonce, ProgramId};
use tasuki_schemas::message::{Message, Role};

use crate::counters::{Tally, lock};
use crate::known::Known;
use crate::mesh::Link;
use crate::queue::{Frame, Queue};
use crate::redis::Server;
use crate::window::{Window, Windows};

pub(crate) struct Outbox {
    me: ProgramId,
    role: Role,
    cluster: ClusterName,
    sealer: Mutex<Sealer>,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) links: Vec<Arc<Link>>,
    windows: Arc<Windows>,
    known: Arc<Mutex<Known>>,
    tally: Arc<Tally>,
}

/// Who signs.
pub(crate) struct Identity {
    pub(crate) me: ProgramId,
    pub(crate) role: Role,
    pub(crate) cluster: ClusterName,
    pub(crate) digest: String,
    pub(crate) key: SigningKey,
    pub(crate) boot: Boot,
}

impl Outbox {
    pub(crate) fn new(
        identity: Identity,
        servers: Vec<Arc<Server>>,
        links: Vec<Arc<Link>>,
        (windows, known): (Arc<Windows>, Arc<Mutex<Known>>),
        tally: Arc<Tally>,
    ) -> Self {
        let Identity { me, role, cluster, digest, key, boot } = identity;
        let sealer = Mutex::new(Sealer::new(key, cluster.clone(), digest, me.clone(), boot));
        Self { me, role, cluster, sealer, servers, links, windows, known, tally }
    }

    /// Seals a message and hands it to everything that carries it to the channel's readers.
    pub(crate) fn publish(&self, channel: &Channel, message: &Message) -> Result<(), Rejected> {
        let frame = self.seal(channel, message)?;
        self.carry_unless(channel, &frame, self.spares_redis(channel, message));
        Ok(())
    }

    /// Hands a sealed message to everything that carries it to the channel's readers.
    pub(crate) fn carry(&self, channel: &Channel, frame: &Frame) {
        self.carry_unless(channel, frame, false);
    }

    fn carry_unless(&self, channel: &Channel, frame: &Frame, spare_redis: bool) {
        if matches!(channel, Channel::Coordinator | Channel::Event) {
            // It comes back: coordinators read what they say there.
            lock(&self.known).keep(&frame.text);
        }
        for link in self.links.iter().filter(|link| carries(channel, link)) {
            link.queue.push(frame.clone());
        }
        if !spare_redis {
            for server in &self.servers {
                server.queue.push(frame.clone());
            }
        }
        self.tally.add(|counters| counters.published += 1);
    }

    /// The pieces of a rescued tail can be a hundred megabytes, and Redis is not ours alone: they go there only where no
    /// link of the mesh lives. One that is lost is asked for again.
    fn spares_redis(&self, channel: &Channel, message: &Message) -> bool {
        let piece = matches!(message, Message::Delivery(delivery) if delivery.piece.is_some());
        piece && self.links.iter().any(|link| carries(channel, link) && link.live())
    }

    /// Speaks to oneself through one Redis; returns the text that must come back. Sealing cannot fail for so small a
    /// message; if it did, the missing echo would tell.
    pub(crate) fn echo(&self, queue: &Queue) -> Option<Arc<str>> {
        let nonce = Nonce(getrandom::u64().unwrap_or_default());
        let frame = self.seal(&Channel::Echo(self.me.clone()), &Message::Echo { nonce }).ok()?;
        let text = Arc::clone(&frame.text);
        queue.push(frame);
        Some(text)
    }

    /// Where the own echoes are heard.
    pub(crate) fn echo_channel(&self) -> Vec<String> {
        vec![Channel::Echo(self.me.clone()).name(&self.cluster)]
    }

    /// The run of another program that was heard last. Coordinators command, and hear everybody all the time; nodes hear of
    /// each other only what they ask, so that one which began anew could never be asked again.
    fn run_of(&self, program: &ProgramId) -> Option<Boot> {
        let commands = self.role == Role::Coordinator;
        commands.then(|| lock(&self.windows).get(program).map(Window::run)).flatten()
    }

    pub(crate) fn seal(&self, channel: &Channel, message: &Message) -> Result<Frame, Rejected> {
        let target = match channel {
            Channel::To(program) => Some((program, self.run_of(program))),
            Channel::Health | Channel::Position | Channel::Coordinator | Channel::Event | Channel::Echo(_) => None,
        };
        let text = lock(&self.sealer).seal(target, message)?;
        Ok(Frame::new(channel.name(&self.cluster), text))
    }
}

/// Whether a link leads to a reader of this channel. Events are for viewers, who hear them from Redis.
fn carries(channel: &Channel, link: &Link) -> bool {
    match channel {
        Channel::Health | Channel::Position => link.role == Role::Coordinator,
        Channel::Coordinator => link.role == Role::Node,
        Channel::To(program) => link.program == *program,
        Channel::Event | Channel::Echo(_) => false,
    }
}

/// What a program listens to on Redis.
pub(crate) fn channels(me: &ProgramId, role: Role, cluster: &ClusterName) -> Vec<String> {
    let mut channels = vec![Channel::To(me.clone()), Channel::Coordinator, Channel::Echo(me.clone())];
    if role == Role::Coordinator {
        channels.extend([Channel::Health, Channel::Position, Channel::Event]);
    }
    channels.iter().map(|channel| channel.name(cluster)).collect()
}
