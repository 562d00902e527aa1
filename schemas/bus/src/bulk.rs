//! Bulk between two programs of a cluster: a connection of its own for each use, under the same keys as the mesh and through
//! the same port. What it carries waits in no queue of the bus, and whoever serves it does that on a thread of its own: no
//! heartbeat and no order stands behind it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tasuki_schemas::id::ProgramId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use crate::mesh::Tls;

/// A connection that carries bulk.
pub type BulkStream = TlsStream<TcpStream>;

/// How long connecting and greeting may take.
const GREETING: Duration = Duration::from_secs(3);

/// A peer takes its time to write what it got to its disk.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that wait to be served; more are dropped at the door.
pub(crate) const WAITING: usize = 4;

/// Dials other programs for bulk.
#[derive(Clone)]
pub struct BulkDialler {
    tls: Arc<Tls>,
    peers: Arc<BTreeMap<ProgramId, SocketAddr>>,
}

impl BulkDialler {
    pub(crate) fn new(tls: Arc<Tls>, peers: BTreeMap<ProgramId, SocketAddr>) -> Self {
        Self { tls, peers: Arc::new(peers) }
    }

    /// A connection to a program that listens.
    ///
    /// # Errors
    /// The system's; [`ErrorKind::PermissionDenied`] if somebody else answers, [`ErrorKind::Unsupported`] if the program is
    /// of a version without bulk.
    pub async fn dial(&self, peer: &ProgramId) -> io::Result<BulkStream> {
        let address = *self.peers.get(peer).ok_or(ErrorKind::NotFound)?;
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::from(address.ip());
            Ok::<_, io::Error>(TlsStream::from(self.tls.bulk_connector.connect(name, stream).await?))
        };
        let stream = timeout(GREETING, connect).await.map_err(|_| ErrorKind::TimedOut)??;
        if self.tls.peer_of(&stream).as_ref() != Some(peer) {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "somebody else answers at its mesh address"));
        }
        if !Tls::is_bulk(&stream) {
            return Err(io::Error::new(ErrorKind::Unsupported, "its node is of an older version; upgrade it"));
        }
        tune(&stream)?;
        Ok(stream)
    }
}

/// Hands a connection to whoever serves bulk here; dropped where nobody does, or too many wait.
pub(crate) fn hand_over(stream: BulkStream, peer: ProgramId, to: &mpsc::Sender<(ProgramId, BulkStream)>) {
    if tune(&stream).is_ok() && to.try_send((peer, stream)).is_err() {
        tracing::warn!("a connection for bulk was dropped: too many wait, or this program serves none");
    }
}

fn tune(stream: &BulkStream) -> io::Result<()> {
    let (tcp, _) = stream.get_ref();
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(USER_TIMEOUT))
}
