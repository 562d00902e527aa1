//! What viewers and operators ask for over Socket.IO, each answered by an acknowledgement: `note` in the namespace of
//! viewers; `switchover`, `pause` and `resume` in `/ops`, which is for operators alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tasuki_config::Role;
use tasuki_schemas::api::SwitchoverWish;
use tasuki_schemas::talk::{ActAsked, Answer, NoteAsked, Shown};
use tokio::sync::mpsc::Sender;

use super::admit::{Door, Refused, Viewer};
use super::letting_go::LetGo;
use super::posts::{Posts, Unposted};
use super::viewers;
use crate::control::Request;
use crate::wishes;

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
        for act in ["switchover", "pause", "resume"] {
            let desk = desk.clone();
            socket.on(act, async move |socket: SocketRef, asked: TryData<ActAsked>, ack: AckSender| {
                let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
                let answer = match asked.0 {
                    Ok(asked) => desk.answer(&socket, &viewer, act, asked).await,
                    Err(error) => Err(format!("bad_request: {error}; send {{ cluster, reason, … }}")),
                };
                acknowledge(ack, &answer.map_or_else(refused, |lines| Answer::Done { ok: true, lines }));
            });
        }
        let viewer = socket.extensions.get::<Viewer>();
        if viewer.is_none_or(|viewer| !viewer.still_in(&door.tokens)) {
            viewers::close(socket, LetGo::Revoked);
        }
    };
    io.ns("/ops", welcome.with(examine));
}

impl Desk {
    async fn answer(
        &self,
        socket: &SocketRef,
        viewer: &Viewer,
        act: &str,
        asked: ActAsked,
    ) -> Result<Vec<String>, String> {
        let ActAsked { cluster, to, dry_run, for_s, reason } = asked;
        let name = viewer.grant.name.as_str();
        let worded = match act {
            "switchover" => wishes::switchover(SwitchoverWish { to, at: None, dry_run, reason }, name),
            "pause" => wishes::pause(for_s, name, &reason),
            _ => Ok(wishes::resume(&reason)),
        };
        let worded = worded.map_err(|wrong| format!("bad_request: {wrong}"))?;
        if !cluster.parse().is_ok_and(|cluster| viewer.grant.sees(&cluster)) {
            return Err(Unposted::UnknownCluster(cluster).to_string());
        }
        if dry_run && act != "switchover" {
            return Ok(vec![format!("{} of {cluster} would be asked for; nothing was changed", worded.what)]);
        }
        let requests = self.requests.get().ok_or("not_ready: the coordinator begins; try again in a moment")?;
        let who = (&viewer.grant, super::peer(&socket.req_parts().extensions));
        let done = wishes::perform(&self.posts, requests, &cluster, who, worded).await;
        done.map_err(|why| why.to_string())?.map_err(|reason| format!("refused: {reason}"))
    }
}
