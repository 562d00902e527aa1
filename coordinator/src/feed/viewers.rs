//! Viewers: what they get first, what they get then, and what becomes of slow and unwanted ones.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SendError, SocketError, SocketIo};
use tasuki_config::Role;
use tasuki_schemas::event::{Event, Snapshot};
use tasuki_schemas::id::ClusterName;
use tokio::sync::mpsc::Receiver;

use super::Snapshots;
use super::admit::{Auth, Door, Refused, Viewer};

/// What the feed's own task has to hand out.
pub(super) enum News {
    /// Something happened.
    Event(Box<Event>),
    /// The first snapshot of a cluster: those who came before it have none.
    First(Arc<Snapshot>),
}

/// Why the feed closes a connection, told right before.
#[derive(Serialize)]
struct Closing {
    code: &'static str,
    why: &'static str,
}

const REVOKED: Closing = Closing {
    code: "revoked",
    why: "the token no longer opens what it opened; connect again, or ask for another token",
};

/// Whoever sees all of a cluster is in the first room, the public in the second.
fn rooms(cluster: &ClusterName) -> [String; 2] {
    [format!("cluster:{cluster}"), format!("public:{cluster}")]
}

fn room(cluster: &ClusterName, role: Role) -> String {
    let [whole, public] = rooms(cluster);
    if role == Role::Public { public } else { whole }
}

/// Lets viewers in.
pub(super) fn admit(io: &SocketIo, door: Door, snapshots: Snapshots) {
    let examining = door.clone();
    let examine = move |socket: SocketRef, auth: TryData<Auth>| {
        let result: Result<(), Refused> = examining.examine(&socket, auth).map(|viewer| {
            socket.extensions.insert(viewer);
        });
        async move { result }
    };
    let welcome = move |socket: SocketRef| {
        let (door, snapshots) = (door.clone(), Arc::clone(&snapshots));
        async move {
            let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
            // The room first, the snapshot afterwards: an event in between comes twice, and is dropped by its number.
            for cluster in door.clusters.iter().filter(|cluster| viewer.sees(cluster)) {
                socket.join(room(cluster, viewer.grant.role));
                if let Some(snapshot) = super::kept(&snapshots, cluster) {
                    show(&socket, &viewer, &snapshot);
                }
            }
            // It was not among the viewers yet if its token was revoked meanwhile.
            if !viewer.still_in(&door.tokens) {
                close(socket, &REVOKED);
            }
        }
    };
    io.ns("/", welcome.with(examine));
}

fn show(socket: &SocketRef, viewer: &Viewer, snapshot: &Snapshot) {
    let shown = match viewer.grant.role {
        Role::Public => socket.emit("snapshot", &snapshot.public()),
        Role::Viewer | Role::Operator | Role::Admin => socket.emit("snapshot", snapshot),
    };
    if let Err(error) = shown {
        tracing::debug!(%error, "a viewer left before its snapshot");
    }
}

/// Disconnects those whose token was revoked, or opens something else now.
pub(super) async fn expel(io: SocketIo, mut door: Door) {
    while door.tokens.changed().await {
        for socket in io.sockets() {
            let viewer = socket.extensions.get::<Viewer>();
            if viewer.is_some_and(|viewer| !viewer.still_in(&door.tokens)) {
                tracing::info!(viewer = %socket.id, "a viewer's token was revoked");
                close(socket, &REVOKED);
            }
        }
    }
}

/// Hands news to the viewers of their cluster.
pub(super) async fn emit(io: SocketIo, mut queue: Receiver<News>) {
    while let Some(news) = queue.recv().await {
        match news {
            News::Event(event) => {
                let [whole, public] = rooms(&event.cluster);
                hand_out(&io, whole, event.body.name(), &*event);
                if let Some(shown) = event.public() {
                    hand_out(&io, public, event.body.name(), &shown);
                }
            }
            News::First(snapshot) => {
                let [whole, public] = rooms(&snapshot.cluster);
                hand_out(&io, whole, "snapshot", &*snapshot);
                hand_out(&io, public, "snapshot", &snapshot.public());
            }
        }
    }
}

fn hand_out<T: Serialize>(io: &SocketIo, room: String, name: &str, told: &T) {
    for socket in io.to(room).sockets() {
        if let Err(SendError::Socket(SocketError::InternalChannelFull)) = socket.emit(name, told) {
            tracing::info!(viewer = %socket.id, "a viewer was too slow and is dropped");
            drop_out(socket);
        }
    }
}

fn close(socket: SocketRef, why: &Closing) {
    if let Err(error) = socket.emit("closing", why) {
        tracing::debug!(%error, "a viewer is not told why it is disconnected");
    }
    drop_out(socket);
}

/// A viewer gets nothing more, and is disconnected as soon as the layer takes the request: with a full buffer it refuses
/// that as well.
fn drop_out(socket: SocketRef) {
    socket.leave_all();
    tokio::spawn(async move {
        for _ in 0..100 {
            if socket.clone().disconnect().is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}
