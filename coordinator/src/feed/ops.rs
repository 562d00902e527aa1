//! What viewers and operators ask for over Socket.IO, each answered by an acknowledgement: `note` in the namespace of
//! viewers; `switchover`, `pause` and `resume` in `/ops`, which is for operators alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tasuki_config::Role;
use tasuki_coordinator_core::pause::{LONGEST, Wish};
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::event::EventId;
use tasuki_schemas::id::NodeId;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::admit::{Auth, Door, Refused, Viewer};
use super::posts::{Posts, Unposted};
use super::viewers;
use crate::control::{self, Act, Request};

/// A switchover or a vote ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where requests to the clusters' drivers go, once those run.
pub(super) type Requests = Arc<OnceLock<BTreeMap<String, Sender<Request>>>>;

/// What an asker is acknowledged with.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Answer {
    Kept { ok: bool, id: EventId },
    Done { ok: bool, lines: Vec<String> },
    Refused { ok: bool, error: String },
}

impl Answer {
    const fn refused(error: String) -> Self {
        Self::Refused { ok: false, error }
    }
}

#[derive(Deserialize)]
struct Note {
    cluster: String,
    text: String,
}

/// What an operator sends along; what an act does not need is left out.
#[derive(Deserialize)]
struct Asked {
    cluster: String,
    #[serde(default)]
    to: Option<NodeId>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    for_s: u64,
    #[serde(default)]
    reason: String,
}

/// Answers notes on a viewer's connection.
pub(super) fn hear_notes(socket: &SocketRef, posts: Posts) {
    socket.on("note", async move |socket: SocketRef, note: TryData<Note>, ack: AckSender| {
        let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
        let answer = match note.0 {
            Ok(note) => match posts.note(&note.cluster, &viewer.grant, &note.text).await {
                Ok(id) => Answer::Kept { ok: true, id },
                Err(why) => Answer::refused(why.to_string()),
            },
            Err(error) => Answer::refused(format!("bad_note: {error}; send {{ cluster, text }}")),
        };
        acknowledge(ack, &answer);
    });
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
    let examine = move |socket: SocketRef, auth: TryData<Auth>| {
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
            socket.on(act, async move |socket: SocketRef, asked: TryData<Asked>, ack: AckSender| {
                let Some(viewer) = socket.extensions.get::<Viewer>() else { return };
                let answer = match asked.0 {
                    Ok(asked) => desk.answer(&socket, &viewer, act, asked).await,
                    Err(error) => Err(format!("bad_request: {error}; send {{ cluster, reason, … }}")),
                };
                acknowledge(ack, &answer.map_or_else(Answer::refused, |lines| Answer::Done { ok: true, lines }));
            });
        }
        let viewer = socket.extensions.get::<Viewer>();
        if viewer.is_none_or(|viewer| !viewer.still_in(&door.tokens)) {
            viewers::close(socket, &viewers::REVOKED);
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
        asked: Asked,
    ) -> Result<Vec<String>, String> {
        let (cluster, dry_run) = (asked.cluster.clone(), asked.dry_run);
        let (wish, what) = wish(act, asked, viewer.grant.name.as_str())?;
        if dry_run && act != "switchover" {
            return Ok(vec![format!("{what} of {cluster} would be asked for; nothing was changed")]);
        }
        let requests = self.requests.get().ok_or("not_ready: the coordinator begins; try again in a moment")?;
        if !dry_run {
            let address = super::peer(&socket.req_parts().extensions);
            // An act counts for more than its record: with nobody to keep that, it is in the log.
            match self.posts.act(&cluster, &viewer.grant, address, what.clone()).await {
                Ok(_) => {}
                Err(Unposted::NotKept) => {
                    tracing::warn!(by = %viewer.grant.name, ?address, %cluster, what, "an act is in no history");
                }
                Err(why) => return Err(why.to_string()),
            }
        } else if !viewer
            .grant
            .sees(&cluster.parse().map_err(|_| Unposted::UnknownCluster(cluster.clone()).to_string())?)
        {
            return Err(Unposted::UnknownCluster(cluster).to_string());
        }
        let done = timeout(PATIENCE, control::hand_over(&cluster, Act::Wish(wish), requests)).await;
        done.unwrap_or_else(|_| Err("it did not end in time; the events tell what becomes of it".to_owned()))
            .map_err(|reason| format!("refused: {reason}"))
    }
}

/// What an operator wishes, and the same in words.
fn wish(act: &str, asked: Asked, by: &str) -> Result<(Wish, String), String> {
    let Asked { to, dry_run, for_s, reason, .. } = asked;
    let reason = reason.trim().replace(char::is_control, " ");
    let said = |reason: String| match reason.chars().count() {
        1..=200 => Ok(reason),
        _ => Err("bad_request: `reason` has 1 to 200 characters, for everybody who wonders".to_owned()),
    };
    Ok(match act {
        "switchover" => {
            let reason = said(reason)?;
            let target = to.as_ref().map_or_else(|| "the best".to_owned(), ToString::to_string);
            let what = format!("switchover to {target}: {reason}");
            (Wish::Switchover(Switchover { to, dry_run, by: by.to_owned(), reason }), what)
        }
        "pause" => {
            let (reason, length) = (said(reason)?, Duration::from_secs(for_s));
            if length.is_zero() || length > LONGEST {
                return Err(format!("bad_request: `for_s` lies between 1 and {}", LONGEST.as_secs()));
            }
            let what = format!("pause for {for_s} s: {reason}");
            (Wish::Pause { owner: by.to_owned(), reason, length }, what)
        }
        _ => (Wish::Resume, if reason.is_empty() { "resume".to_owned() } else { format!("resume: {reason}") }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_ask_for_is_read_with_the_fix_where_it_is_wrong() {
        let asked = |text: &str| serde_json::from_str::<Asked>(text).unwrap();
        let said = |act, text| wish(act, asked(text), "ann").map(|(_, what)| what);
        let to = r#"{"cluster":"main","to":"db2","reason":" new\nkernel "}"#;
        assert_eq!(said("switchover", to), Ok("switchover to db2: new kernel".to_owned()));
        let pause = r#"{"cluster":"main","for_s":60,"reason":"disks"}"#;
        assert_eq!(said("pause", pause), Ok("pause for 60 s: disks".to_owned()));
        assert_eq!(said("resume", r#"{"cluster":"main"}"#), Ok("resume".to_owned()));
        for (act, wrong) in [("switchover", r#"{"cluster":"main"}"#), ("pause", r#"{"cluster":"main","for_s":9}"#)] {
            assert!(said(act, wrong).unwrap_err().contains("`reason` has 1 to 200 characters"));
        }
        let long = r#"{"cluster":"main","for_s":90000,"reason":"disks"}"#;
        assert_eq!(said("pause", long), Err("bad_request: `for_s` lies between 1 and 86400".to_owned()));
    }
}
