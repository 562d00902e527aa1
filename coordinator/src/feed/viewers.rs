//! Viewers: how they come in, what each role is handed, and what becomes of slow and unwanted ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SendError, SocketError, SocketIo};
use tasuki_config::Role;
use tasuki_schemas::event::{Event, EventId, Snapshot, Telemetry};
use tasuki_schemas::id::ClusterName;
use tasuki_schemas::talk::Shown;

use super::Halls;
use super::admit::{Door, Refused, Viewer};
use super::hall::News;
use super::letting_go::LetGo;
use super::posts::Posts;

/// Viewers are led away one share after the other, so that nobody has to receive all of them at once.
const SHARE: Duration = Duration::from_millis(100);
/// So many at a time, or this part of all.
const LEAST: usize = 200;
const PART: usize = 30;
/// Whoever was told to go and stays is waited for no longer.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// Leading away ends after this, however many new viewers come meanwhile.
const LED_WITHIN: Duration = Duration::from_secs(15);

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
                    return close(socket, LetGo::Crowded);
                }
            }
            // It was not among the viewers yet if its token was revoked meanwhile.
            if !viewer.still_in(&door.tokens) {
                close(socket, LetGo::Revoked);
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
                close(socket, LetGo::Revoked);
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

/// Hands telemetry of a cluster to its viewers, all of it in one delivery.
pub(super) fn hand_out_together(io: &SocketIo, cluster: &ClusterName, events: Vec<Event>) {
    if events.is_empty() {
        return;
    }
    let all = Telemetry { cluster: cluster.clone(), events };
    spread(io, room(cluster, Role::Viewer), Telemetry::NAME, &all);
    if let Some(shown) = all.public() {
        spread(io, room(cluster, Role::Public), Telemetry::NAME, &shown);
    }
}

/// Hands a cluster's first snapshot to those who came before it.
pub(super) fn show_first(io: &SocketIo, snapshot: &Snapshot) {
    spread(io, room(&snapshot.cluster, Role::Viewer), "snapshot", snapshot);
    spread(io, room(&snapshot.cluster, Role::Public), "snapshot", &snapshot.public());
}

/// Written once, however many watch.
fn spread<T: Serialize>(io: &SocketIo, room: String, name: &str, told: &T) {
    let sockets = io.to(room).sockets();
    if sockets.is_empty() {
        return;
    }
    let written: Box<RawValue> = match to_raw_value(told) {
        Ok(written) => written,
        Err(error) => return tracing::error!(name, %error, "an event cannot be written"),
    };
    for socket in sockets {
        if is_full(&socket.emit(name, &written)) {
            tracing::info!(viewer = %socket.id, "a viewer was too slow and is dropped");
            close(socket, LetGo::Slow);
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
    !is_full(&done)
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

/// A viewer gets nothing more but why, and is disconnected. With a full buffer the layer refuses both: then as soon as it
/// takes them. Whoever takes nothing at all is cut off by its stream.
pub(super) fn close(socket: SocketRef, why: LetGo) {
    socket.leave_all();
    let closing = why.told(None);
    tokio::spawn(async move {
        let mut told = false;
        for _ in 0..100 {
            told = told || !is_full(&socket.emit("closing", &closing));
            if told && socket.clone().disconnect().is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

const fn is_full(done: &Result<(), SendError>) -> bool {
    matches!(done, Err(SendError::Socket(SocketError::InternalChannelFull)))
}

/// Tells every viewer to go elsewhere, and waits until they went. It is not disconnected: the official clients connect
/// again by themselves only where nobody told them to leave.
pub(super) async fn lead_away(io: &SocketIo, elsewhere: impl Fn() -> Option<String>) {
    let mut told = BTreeSet::new();
    let end = Instant::now() + LED_WITHIN;
    let mut patient = Instant::now() + GONE_WITHIN;
    loop {
        let sockets = io.sockets();
        let share = LEAST.max(sockets.len().div_ceil(PART));
        for socket in sockets.iter().filter(|socket| told.insert(socket.id.to_string())).take(share) {
            if let Err(error) = socket.emit("closing", &LetGo::Stopping.told(elsewhere())) {
                tracing::debug!(%error, "a viewer is not told where to go");
            }
            patient = Instant::now() + GONE_WITHIN;
        }
        if sockets.is_empty() || patient.min(end) < Instant::now() {
            return;
        }
        tokio::time::sleep(SHARE).await;
    }
}
