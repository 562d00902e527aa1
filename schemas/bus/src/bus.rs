//! The bus of one program in one cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::{Opener, Rejected};
use tasuki_schemas::id::ProgramId;
use tasuki_schemas::message::Message;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bulk::{self, BulkDialler, BulkStream};
use crate::config::{BusConfig, BusError, Peer};
use crate::counters::{Counters, Tally};
use crate::inbox::{Arrived, Inbox};
use crate::mesh::{self, Link, Tls};
use crate::outbox::{self, Identity, Outbox};
use crate::redis::{self, Server};
use crate::stream::{Announcer, Stream};
use crate::window::Windows;

/// How many arrivals wait for the program. One that is slower than that loses the newest, counted as overflow.
const ARRIVALS: usize = 4096;

/// Which carriers live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// Each Redis by host and port: whether the own echo came back through it lately.
    pub redis: BTreeMap<String, bool>,
    /// Each peer that a link of the mesh leads to: whether it speaks on it.
    pub mesh: BTreeMap<ProgramId, bool>,
}

/// Both carriers. Dropping it closes every connection.
pub struct Bus {
    outbox: Arc<Outbox>,
    inbox: Arc<Inbox>,
    tally: Arc<Tally>,
    dialler: BulkDialler,
    bulk: Option<mpsc::Receiver<(ProgramId, BulkStream)>>,
    _tasks: JoinSet<()>,
}

impl Bus {
    /// Starts both carriers and returns at once; they connect by themselves, for as long as the bus lives.
    ///
    /// # Errors
    /// [`BusError`] when the configuration contradicts itself or the mesh's port is taken. A Redis or a peer that is
    /// out of reach is no error.
    pub fn start(config: BusConfig) -> Result<(Self, mpsc::Receiver<Arrived>), BusError> {
        Handle::try_current().map_err(|_| BusError::NoRuntime)?;
        config.check()?;
        let tally = Arc::new(Tally::default());
        let listener = config.listen.map(listen).transpose()?;
        let servers = servers(&config, &tally)?;
        let links = links(&config, &tally);
        let tls = Arc::new(tls(&config, &tally)?);
        let peers = config.peers.iter().filter_map(|peer| Some((peer.program.clone(), peer.address?))).collect();
        let dialler = BulkDialler::new(Arc::clone(&tls), peers);
        let (bulk_tx, bulk) = mpsc::channel(bulk::WAITING);
        let channels = outbox::channels(&config.me, config.role, &config.cluster);

        let (program, arrived) = mpsc::channel(ARRIVALS);
        let BusConfig { me, role, cluster, digest, key, boot, keys, .. } = config;
        let opener = Opener::new(cluster.clone(), digest.clone(), me.clone(), keys).of_run(boot);
        let heard: (Arc<Windows>, _) = Default::default();
        let inbox = Arc::new(Inbox::new(opener, me.clone(), heard.clone(), program, Arc::clone(&tally)));
        let identity = Identity { me, role, cluster, digest, key, boot };
        let peers = links.iter().map(|(link, _)| Arc::clone(link)).collect();
        let outbox = Arc::new(Outbox::new(identity, servers, peers, heard, Arc::clone(&tally)));

        let examiner = Arc::clone(&inbox);
        let mut tasks = JoinSet::new();
        for server in &outbox.servers {
            let (inbox, outbox) = (Arc::clone(&inbox), Arc::clone(&outbox));
            tasks.spawn(redis::publish(Arc::clone(server)));
            tasks.spawn(redis::subscribe(Arc::clone(server), channels.clone(), inbox, outbox));
        }
        for (link, address) in links {
            if let Some(address) = address {
                tasks.spawn(mesh::dial(link, address, Arc::clone(&tls), Arc::clone(&inbox)));
            }
        }
        if let Some(listener) = listener {
            tasks.spawn(mesh::accept(listener, outbox.links.clone(), tls, inbox, bulk_tx));
        }
        Ok((Self { outbox, inbox: examiner, tally, dialler, bulk: Some(bulk), _tasks: tasks }, arrived))
    }

    /// Says something to everybody who listens to the channel. Never waits for a carrier.
    ///
    /// # Errors
    /// [`Rejected::Oversized`] when the message is too large for the carriers.
    pub fn publish(&self, channel: &Channel, message: &Message) -> Result<(), Rejected> {
        self.outbox.publish(channel, message)
    }

    /// Says something to one program. Never waits for a carrier.
    ///
    /// # Errors
    /// [`Rejected::Oversized`] when the message is too large for the carriers.
    pub fn send(&self, to: &ProgramId, message: &Message) -> Result<(), Rejected> {
        self.outbox.publish(&Channel::To(to.clone()), message)
    }

    /// What seals messages that are published and kept.
    #[must_use]
    pub fn announcer(&self) -> Announcer {
        Announcer(Arc::clone(&self.outbox))
    }

    /// The streams under a key, one per Redis server.
    #[must_use]
    pub fn streams(&self, key: &str) -> Vec<Stream> {
        let stream = |server: &Arc<Server>| Stream::new(Arc::clone(server), Arc::clone(&self.inbox), key.to_owned());
        self.outbox.servers.iter().map(stream).collect()
    }

    /// What dials other programs for bulk.
    #[must_use]
    pub fn dialler(&self) -> BulkDialler {
        self.dialler.clone()
    }

    /// Connections for bulk that others open, each with its program; whoever takes them serves them. The first time only.
    pub fn take_bulk(&mut self) -> Option<mpsc::Receiver<(ProgramId, BulkStream)>> {
        self.bulk.take()
    }

    /// What shows how the bus is, to whoever does not own it.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge { outbox: Arc::clone(&self.outbox), tally: Arc::clone(&self.tally) }
    }

    /// What was carried and what was dropped since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.snapshot()
    }

    /// Which carriers live now.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        carriers(&self.outbox)
    }
}

/// Shows how a bus is.
#[derive(Clone)]
pub struct Gauge {
    outbox: Arc<Outbox>,
    tally: Arc<Tally>,
}

impl Gauge {
    /// What was carried and what was dropped since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.snapshot()
    }

    /// Which carriers live now.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        carriers(&self.outbox)
    }
}

impl Carriers {
    /// Whether anything can be heard at all.
    #[must_use]
    pub fn any_lives(&self) -> bool {
        self.redis.values().chain(self.mesh.values()).any(|lives| *lives)
    }
}

fn carriers(outbox: &Outbox) -> Carriers {
    Carriers {
        redis: outbox.servers.iter().map(|server| (server.name.clone(), server.live())).collect(),
        mesh: outbox.links.iter().map(|link| (link.program.clone(), link.live())).collect(),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, BusError> {
    let listening = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listening().map_err(|error| BusError::Listen { address, error })
}

fn tls(config: &BusConfig, tally: &Arc<Tally>) -> Result<Tls, BusError> {
    let others = config.keys.iter().filter(|(program, _)| **program != config.me);
    let keys = others.map(|(program, (_, key))| (program.clone(), *key));
    Tls::new(&config.key, keys, Arc::clone(tally)).map_err(BusError::Tls)
}

fn servers(config: &BusConfig, tally: &Arc<Tally>) -> Result<Vec<Arc<Server>>, BusError> {
    let places = &config.redis_subscribe_urls;
    if !places.is_empty() && places.len() != config.redis_urls.len() {
        return Err(BusError::RedisPlaces { servers: config.redis_urls.len(), places: places.len() });
    }
    let server = |(number, url): (usize, &String)| {
        let near = places.get(number - 1).filter(|place| *place != url).map(String::as_str);
        Server::new(url, near, config.redis_ca.as_deref(), Arc::clone(tally))
            .map(Arc::new)
            .map_err(|error| BusError::RedisUrl { number, error: error.to_string() })
    };
    (1..).zip(&config.redis_urls).map(server).collect()
}

/// A link per peer that dials or is dialled, with the address of whom this program dials. Coordinators have none between
/// them.
fn links(config: &BusConfig, tally: &Arc<Tally>) -> Vec<(Arc<Link>, Option<SocketAddr>)> {
    let me = (&config.me, config.role);
    let link = |peer: &Peer| {
        let them = (&peer.program, peer.role);
        let dials = mesh::dials(me, them);
        let link = || Arc::new(Link::new(peer.program.clone(), peer.role, Arc::clone(tally)));
        (dials || mesh::dials(them, me)).then(|| (link(), peer.address.filter(|_| dials)))
    };
    config.peers.iter().filter_map(link).collect()
}
