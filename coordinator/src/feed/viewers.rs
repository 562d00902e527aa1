//! Viewers: how they come in, what each role is handed, and what becomes of slow and unwanted ones.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SendError, SocketError, SocketIo};
use tasuki_config::Role;
use tasuki_schemas::event::{Event, EventId, Snapshot};
use tasuki_schemas::id::ClusterName;
use tasuki_schemas::talk::Shown;

use super::Halls;
use super::admit::{Door, Refused, Viewer};
use super::hall::News;
use super::posts::Posts;

/// Why the feed closes a connection, told right before.
#[derive(Serialize)]
pub(super) struct Closing {
    code: &'static str,
    why: &'static str,
}

/// The token is gone.
pub(super) const REVOKED: Closing = Closing {
    code: "revoked",
    why: "the token no longer opens what it opened; connect again, or ask for another token",
};
/// Too many want in at the same time.
pub(super) const CROWDED: Closing =
    Closing { code: "crowded", why: "too many viewers want in at the same time; connect again in a moment" };
/// What was missed takes too long to hand over.
pub(super) const SLOW: Closing =
    Closing { code: "slow", why: "what was missed is not taken fast enough; connect again with `since`" };
/// What was missed cannot be read.
pub(super) const UNREADABLE: Closing =
    Closing { code: "unreadable", why: "the history here cannot be read; connect to another coordinator" };

/// A viewer that takes nothing for so long is given up while it is told what it missed.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Whoever sees all of a cluster is in one room, the public in another.
pub(super) fn room(cluster: &ClusterName, role: Role) -> String {
    match role {
        Role::Public => format!("public:{cluster}"),
        Role::Viewer | Role::Operator | Role::Admin => format!("cluster:{cluster}"),
    }
}

/// Lets viewers in.
pub(super) fn admit(io: &SocketIo, door: Door, halls: Halls, posts: Posts) {
    let examining = door.clone();
    let examine = move |socket: SocketRef, auth: TryData<Shown>| {
        let result: Result<(), Refused> = examining.examine(&socket, auth).map(|viewer| {
            socket.extensions.insert(viewer);
        });
        async move { result }
    };
    let welcome = move |socket: SocketRef| {
        let (door, halls) = (door.clone(), Arc::clone(&halls));
        super::ops::hear_notes(&socket, posts.clone());
        async move {
            let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
            for (cluster, hall) in halls.iter().filter(|(cluster, _)| viewer.sees(cluster)) {
                let since = viewer.since.get(cluster).copied();
                let join = News::Join { socket: socket.clone(), viewer: viewer.clone(), since, greeted: false };
                if hall.try_send(join).is_err() {
                    return close(socket, &CROWDED);
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

/// Disconnects those whose token was revoked, or opens something else now.
pub(super) async fn expel(io: SocketIo, mut door: Door) {
    while door.tokens.changed().await {
        let operators = io.of("/ops").map(|ops| ops.sockets()).unwrap_or_default();
        for socket in io.sockets().into_iter().chain(operators) {
            let viewer = socket.extensions.get::<Viewer>();
            if viewer.is_some_and(|viewer| !viewer.still_in(&door.tokens)) {
                tracing::info!(viewer = %socket.id, "a viewer's token was revoked");
                close(socket, &REVOKED);
            }
        }
    }
}

/// Hands an event to the viewers of its cluster.
pub(super) fn hand_out(io: &SocketIo, event: &Event) {
    spread(io, room(&event.cluster, Role::Viewer), event.body.name(), event);
    if let Some(shown) = event.public() {
        spread(io, room(&event.cluster, Role::Public), event.body.name(), &shown);
    }
}

/// Hands a cluster's first snapshot to those who came before it.
pub(super) fn show_first(io: &SocketIo, snapshot: &Snapshot) {
    spread(io, room(&snapshot.cluster, Role::Viewer), "snapshot", snapshot);
    spread(io, room(&snapshot.cluster, Role::Public), "snapshot", &snapshot.public());
}

fn spread<T: Serialize>(io: &SocketIo, room: String, name: &str, told: &T) {
    for socket in io.to(room).sockets() {
        if let Err(SendError::Socket(SocketError::InternalChannelFull)) = socket.emit(name, told) {
            tracing::info!(viewer = %socket.id, "a viewer was too slow and is dropped");
            drop_out(socket);
        }
    }
}

/// Hands a cluster's snapshot to one viewer, with the last incident that it contains.
pub(super) fn show(socket: &SocketRef, viewer: &Viewer, snapshot: &Snapshot, id: Option<EventId>) {
    let snapshot = Snapshot { id, ..snapshot.clone() };
    let shown = match viewer.grant.role {
        Role::Public => socket.emit("snapshot", &snapshot.public()),
        Role::Viewer | Role::Operator | Role::Admin => socket.emit("snapshot", &snapshot),
    };
    if let Err(error) = shown {
        tracing::debug!(%error, "a viewer left before its snapshot");
    }
}

/// Hands an event to one viewer; false if its buffer is full.
pub(super) fn hand_to(socket: &SocketRef, viewer: &Viewer, event: &Event) -> bool {
    let name = event.body.name();
    let done = match viewer.grant.role {
        Role::Public => event.public().map_or(Ok(()), |shown| socket.emit(name, &shown)),
        Role::Viewer | Role::Operator | Role::Admin => socket.emit(name, event),
    };
    !matches!(done, Err(SendError::Socket(SocketError::InternalChannelFull)))
}

/// The same, as fast as the viewer takes it; false if it takes nothing any more.
pub(super) async fn hand_slowly(socket: &SocketRef, viewer: &Viewer, event: &Event) -> bool {
    let handing = async {
        while socket.connected() && !hand_to(socket, viewer, event) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TAKEN_WITHIN, handing).await.is_ok()
}

/// Tells a viewer why, and disconnects it.
pub(super) fn close(socket: SocketRef, why: &Closing) {
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
