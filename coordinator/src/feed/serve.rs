//! The feed's listeners: its own port with TLS, and a plain one for a proxy on this host.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Address, Server};
use tasuki_config::Plain;

use super::FeedError;
use super::peers;
use super::stream::Gate;

/// A TLS handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Nor does the head of a request, the first of a connection and each later one.
const HEAD: Duration = Duration::from_secs(10);

/// Whoever connects and says nothing does not stay.
fn impatient<A: Address, T>(server: Server<A, T>) -> Server<A, T> {
    let mut server = server.first_request_timeout(HEAD);
    server.http_builder().http1().header_read_timeout(HEAD);
    server
}

/// Serves with TLS.
pub(super) fn tls(listener: TcpListener, site: Router, gate: Gate, tls: RustlsConfig) -> io::Result<()> {
    let site = site.layer(from_fn(peers::direct)).into_make_service_with_connect_info::<SocketAddr>();
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE).acceptor(gate);
    let server = impatient(axum_server::from_tcp(listener)?).acceptor(acceptor);
    tokio::spawn(async move { ended(server.serve(site).await) });
    Ok(())
}

/// Serves a proxy on this host, which tells whom it stands for.
pub(super) fn plain(place: Plain, site: Router, gate: Gate) -> Result<(), FeedError> {
    let site = site.layer(from_fn(peers::forwarded)).into_make_service();
    let listening = match &place {
        Plain::Tcp(address) => TcpListener::bind(address).and_then(axum_server::from_tcp).map(|server| {
            let server = impatient(server).acceptor(gate.unaddressed());
            tokio::spawn(async move { ended(server.serve(site).await) });
        }),
        // It belongs to this user and group alone.
        Plain::Unix(path) => tasuki_bus::local::listen(path, 0o660).and_then(axum_server::from_unix).map(|server| {
            let server = impatient(server).acceptor(gate);
            tokio::spawn(async move { ended(server.serve(site).await) });
        }),
    };
    listening.map_err(|error| FeedError::Plain { place, error })
}

fn ended(how: io::Result<()>) {
    if let Err(error) = how {
        tracing::error!(%error, "the feed ended");
    }
}
