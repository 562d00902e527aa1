//! The mesh as a carrier: TLS between programs, authenticated by the keys of the cluster file.
//!
//! A coordinator dials nodes; among nodes the smaller name dials. A newer connection of a key replaces the older one, so
//! a peer that lost its side unnoticed is never locked out.

mod link;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tasuki_schemas::id::ProgramId;
use tasuki_schemas::message::Role;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsStream;

pub(crate) use self::link::Link;
pub(crate) use self::tls::Tls;
use crate::bulk::{self, BulkStream};
use crate::counters::Reason;
use crate::inbox::Inbox;
use crate::jitter::jitter;

/// How long connecting and greeting may take.
const GREETING: Duration = Duration::from_secs(1);

/// The pause between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// How many accepted connections live at once; more are dropped at the door.
const MAX_ACCEPTED: usize = 256;

/// When unsent or unacknowledged bytes end a connection.
const USER_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether `me` is the one who dials this peer.
pub(crate) fn dials(me: (&ProgramId, Role), peer: (&ProgramId, Role)) -> bool {
    match (me.1, peer.1) {
        (Role::Coordinator, Role::Node) => true,
        (Role::Node, Role::Node) => me.0 < peer.0,
        (Role::Coordinator | Role::Node, Role::Coordinator) => false,
    }
}

/// Keeps a connection to one peer, for ever.
pub(crate) async fn dial(link: Arc<Link>, address: SocketAddr, tls: Arc<Tls>, inbox: Arc<Inbox>) {
    loop {
        if let Ok(Ok(stream)) = timeout(GREETING, connect(address, &tls)).await {
            if tls.peer_of(&stream).as_ref() == Some(&link.program) {
                link::serve(stream, &link, &inbox).await;
            } else {
                tracing::warn!(peer = %link.program, %address, "somebody else answers at this mesh address");
                inbox.tally.dropped(Reason::WrongPeer);
            }
        }
        sleep(jitter(PAUSE)).await;
    }
}

async fn connect(address: SocketAddr, tls: &Tls) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    tune(&stream)?;
    let name = ServerName::from(address.ip());
    Ok(TlsStream::from(tls.connector.connect(name, stream).await?))
}

/// Serves whoever dials, for ever.
pub(crate) async fn accept(
    listener: TcpListener,
    links: Vec<Arc<Link>>,
    tls: Arc<Tls>,
    inbox: Arc<Inbox>,
    bulk: mpsc::Sender<(ProgramId, BulkStream)>,
) {
    let links: Arc<[Arc<Link>]> = links.into();
    let mut accepted = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Descriptors are exhausted, for one: they come back only with time.
            sleep(jitter(PAUSE)).await;
            continue;
        };
        while accepted.try_join_next().is_some() {}
        if accepted.len() >= MAX_ACCEPTED || tune(&stream).is_err() {
            continue;
        }
        let (links, tls, inbox, bulk) = (Arc::clone(&links), Arc::clone(&tls), Arc::clone(&inbox), bulk.clone());
        accepted.spawn(async move {
            let Ok(Ok(stream)) = timeout(GREETING, tls.acceptor.accept(stream)).await else {
                return;
            };
            let stream = TlsStream::from(stream);
            let peer = tls.peer_of(&stream);
            if let Some(peer) = peer.clone().filter(|_| Tls::is_bulk(&stream)) {
                return bulk::hand_over(stream, peer, &bulk);
            }
            if let Some(link) = links.iter().find(|link| peer.as_ref() == Some(&link.program)) {
                link::serve(stream, link, &inbox).await;
            }
        });
    }
}

/// Small frames leave at once, and a peer that vanished is noticed.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT))
}
