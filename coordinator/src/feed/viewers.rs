//! Viewers: who is admitted, what they get first, and what becomes of slow ones.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SendError, SocketError};
use tasuki_schemas::id::ClusterName;
use tokio::sync::mpsc::Receiver;

use super::Snapshots;
use super::tokens::Tokens;

/// Why a viewer was refused. Reaches it as the message of `connect_error`.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("unauthorized: no token was shown; connect with auth: {{ token: '…' }}")]
    NoToken,
    #[error("unauthorized: the token is not known here; ask for one that is in the coordinator's token file")]
    UnknownToken,
    #[error("unknown cluster: this coordinator does not serve {0}; leave `cluster` out to see all of them")]
    UnknownCluster(String),
}

#[derive(Default, serde::Deserialize)]
struct Auth {
    token: Option<String>,
    cluster: Option<String>,
}

fn room(cluster: &ClusterName) -> String {
    format!("cluster:{cluster}")
}

/// What the viewer showed: `auth` (3.x and 4.x clients), a bearer header, or the query's token (2.x clients).
fn shown(socket: &SocketRef, auth: TryData<Auth>) -> Auth {
    let mut shown = auth.0.unwrap_or_default();
    let parts = socket.req_parts();
    let bearer = parts.headers.get("authorization").and_then(|header| header.to_str().ok());
    let query = parts.uri.query().unwrap_or_default();
    let from_query = || query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned);
    let from_header = || bearer.and_then(|header| header.strip_prefix("Bearer ")).map(str::to_owned);
    shown.token = shown.token.or_else(from_header).or_else(from_query);
    shown
}

/// Lets viewers in.
pub(super) fn admit(io: &SocketIo, tokens: Tokens, snapshots: Snapshots) {
    let known = Arc::clone(&snapshots);
    let examine = move |socket: SocketRef, auth: TryData<Auth>| {
        let result = examined(&shown(&socket, auth), &tokens, &known);
        async move { result }
    };
    let welcome = move |socket: SocketRef, auth: TryData<Auth>| {
        let wanted = shown(&socket, auth).cluster;
        let snapshots = Arc::clone(&snapshots);
        async move {
            let wanted = |cluster: &ClusterName| wanted.as_ref().is_none_or(|wanted| wanted == cluster.as_str());
            // The room first, the snapshot afterwards: an event in between comes twice, and is dropped by its number.
            let clusters: Vec<ClusterName> = kept(&snapshots).into_keys().filter(wanted).collect();
            for cluster in &clusters {
                socket.join(room(cluster));
            }
            for (_, snapshot) in kept(&snapshots).into_iter().filter(|(cluster, _)| clusters.contains(cluster)) {
                if let Err(error) = socket.emit("snapshot", &snapshot) {
                    tracing::debug!(%error, "a viewer left before its snapshot");
                }
            }
        }
    };
    io.ns("/", welcome.with(examine));
}

fn examined(shown: &Auth, tokens: &Tokens, known: &Snapshots) -> Result<(), Refused> {
    let token = shown.token.as_deref().ok_or(Refused::NoToken)?;
    if !tokens.admit(token) {
        return Err(Refused::UnknownToken);
    }
    match &shown.cluster {
        Some(cluster) if !kept(known).keys().any(|name| name.as_str() == cluster) => {
            Err(Refused::UnknownCluster(cluster.clone()))
        }
        Some(_) | None => Ok(()),
    }
}

fn kept(snapshots: &Snapshots) -> BTreeMap<ClusterName, Value> {
    snapshots.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Hands events to the viewers of their cluster.
pub(super) async fn emit(io: SocketIo, mut queue: Receiver<(ClusterName, &'static str, Value)>) {
    while let Some((cluster, name, event)) = queue.recv().await {
        for socket in io.to(room(&cluster)).sockets() {
            if let Err(SendError::Socket(SocketError::InternalChannelFull)) = socket.emit(name, &event) {
                drop_slow(socket, &cluster);
            }
        }
    }
}

/// A viewer whose buffer is full gets nothing more, and is disconnected as soon as the layer takes the request: with a
/// full buffer it refuses that as well.
fn drop_slow(socket: SocketRef, cluster: &ClusterName) {
    socket.leave(room(cluster));
    tracing::info!(viewer = %socket.id, "a viewer was too slow and is dropped");
    tokio::spawn(async move {
        for _ in 0..100 {
            if socket.clone().disconnect().is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}
