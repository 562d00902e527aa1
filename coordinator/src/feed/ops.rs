//! What viewers and operators ask for over Socket.IO, each answered by an acknowledgement: `note` in the namespace of
//! viewers; every act of the HTTP API in `/ops`, which is for operators alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tasuki_config::Role;
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};
use tasuki_schemas::talk::{Answer, NoteAsked, Shown};
use tokio::sync::mpsc::Sender;

use super::admit::{Door, Refused, Viewer};
use super::letting_go::LetGo;
use super::posts::{Posts, Unposted};
use super::viewers;
use crate::control::Request;
use crate::wishes::{self, Asked};

/// Where requests to the clusters' drivers go, once those run.
pub(super) type Requests = Arc<OnceLock<BTreeMap<String, Sender<Request>>>>;

/// Answers notes on a viewer's connection.
pub(super) fn hear_notes(socket: &SocketRef, posts: Posts) {
    socket.on("note", async move |socket: SocketRef, note: TryData<NoteAsked>, ack: AckSender| {
        let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
        let answer = match note.0 {
            Ok(note) => match posts.note(&note.cluster, &viewer.grant, &note.text).await {
                Ok(id) => Answer::Kept { ok: true, id },
                Err(why) => refused(why.to_string()),
            },
            Err(error) => refused(format!("bad_note: {error}; send {{ cluster, text }}")),
        };
        acknowledge(ack, &answer);
    });
}

const fn refused(error: String) -> Answer {
    Answer::Refused { ok: false, error }
}

fn acknowledge(ack: AckSender, answer: &Answer) {
    if let Err(error) = ack.send(answer) {
        tracing::debug!(%error, "somebody asked and left");
    }
}

/// The desk of operators.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) posts: Posts,
    pub(super) requests: Requests,
}

/// Lets operators in.
pub(super) fn admit(io: &SocketIo, door: Door, desk: Desk) {
    let examining = door.clone();
    let examine = move |socket: SocketRef, auth: TryData<Shown>| {
        let result = examining.examine(&socket, auth).and_then(|viewer| {
            if viewer.grant.role < Role::Operator {
                return Err(Refused::NoOperator(viewer.grant.role));
            }
            socket.extensions.insert(viewer);
            Ok(())
        });
        async move { result }
    };
    let welcome = async move |socket: SocketRef| {
        desk.hears::<SwitchoverWish>(&socket);
        desk.hears::<CancelSwitchoverWish>(&socket);
        desk.hears::<FailoverWish>(&socket);
        desk.hears::<OverrideWish>(&socket);
        desk.hears::<RecloneWish>(&socket);
        desk.hears::<PauseWish>(&socket);
        desk.hears::<ResumeWish>(&socket);
        let viewer = socket.extensions.get::<Viewer>();
        if viewer.is_none_or(|viewer| !viewer.still_in(&door.tokens)) {
            viewers::close(socket, LetGo::Revoked);
        }
    };
    io.ns("/ops", welcome.with(examine));
}

impl Desk {
    /// Answers one kind of act on an operator's connection.
    fn hears<W: Asked>(&self, socket: &SocketRef) {
        let desk = self.clone();
        socket.on(W::ACT, async move |socket: SocketRef, asked: TryData<Map<String, Value>>, ack: AckSender| {
            let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
            let answer = match asked.0 {
                Ok(asked) => desk.answer::<W>(&socket, &viewer, asked).await,
                Err(error) => Err(bad(error)),
            };
            acknowledge(ack, &answer.map_or_else(refused, |lines| Answer::Done { ok: true, lines }));
        });
    }

    async fn answer<W: Asked>(
        &self,
        socket: &SocketRef,
        viewer: &Viewer,
        mut asked: Map<String, Value>,
    ) -> Result<Vec<String>, String> {
        let Some(Value::String(cluster)) = asked.remove("cluster") else {
            return Err(bad("cluster: name one"));
        };
        // What is written wrong is refused, as over HTTP: a `dry_run` that is not read would be the act itself.
        let wish: W = serde_json::from_value(Value::Object(asked)).map_err(bad)?;
        let worded = wish.worded(viewer.grant.name.as_str()).map_err(bad)?;
        if !cluster.parse().is_ok_and(|cluster| viewer.grant.sees(&cluster)) {
            return Err(Unposted::UnknownCluster(cluster).to_string());
        }
        let requests = self.requests.get().ok_or("not_ready: the coordinator begins; try again in a moment")?;
        let who = (&viewer.grant, super::peer(&socket.req_parts().extensions));
        let done = wishes::perform(&self.posts, requests, &cluster, who, worded).await;
        done.map_err(|why| why.to_string())?.map_err(|reason| format!("refused: {reason}"))
    }
}

fn bad(wrong: impl std::fmt::Display) -> String {
    format!("bad_request: {wrong}; the feed's description says what each act takes")
}
