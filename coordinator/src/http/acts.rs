//! What operators do: the same wishes as on the command line, answered when they have ended.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use tasuki_config::Role;
use tasuki_schemas::api::Granted;

use super::Site;
use super::access::Visitor;
use super::history::refusal;
use super::once;
use super::problem::{Body, Problem};
use crate::control::Act;
use crate::wishes::{self, Asked, Undone, Worded};

type Answer = Result<Json<Granted>, Problem>;

fn bad(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text)
}

fn undone(why: &Undone) -> Problem {
    match why {
        Undone::Refused(why) => refusal(why),
        Undone::Late => Problem::new(StatusCode::GATEWAY_TIMEOUT, why.to_string()),
    }
}

impl Site {
    fn allowed(&self, visitor: &Visitor, cluster: &str) -> Result<(), Problem> {
        self.snapshot(visitor, cluster)?;
        visitor.must_be(Role::Operator)
    }

    /// Records that a wish was asked for and hands it to the cluster's driver, once for each key, then waits for what comes
    /// of it. A dry run is no act.
    async fn ask(&self, visitor: &Visitor, cluster: &str, headers: &HeaderMap, worded: Worded) -> Answer {
        self.allowed(visitor, cluster)?;
        let key = once::key(headers)?.map(|key| format!("{} {key}", visitor.grant.name));
        let (posts, requests) = (self.feed()?.posts(), self.open.get().map(|open| open.requests.clone()));
        let (name, grant, address) = (cluster.to_owned(), visitor.grant.clone(), visitor.address);
        let told = match &worded {
            Worded::Act { wish, .. } => Act::Wish(wish.clone()).line(cluster),
            Worded::Told(line) => line.clone(),
        };
        let act = async move {
            let done = wishes::perform(&posts, &requests.unwrap_or_default(), &name, (&grant, address), worded).await;
            done.map_err(|why| undone(&why))?.map_err(|reason| Problem::new(StatusCode::CONFLICT, reason))
        };
        self.once.perform(key, told, act).await.map(|lines| Json(Granted { lines }))
    }
}

/// The path of one kind of act.
pub(super) fn route<W: Asked>() -> Router<Site> {
    Router::new().route(&format!("/clusters/{{cluster}}/{}", W::ACT), post(act::<W>))
}

async fn act<W: Asked>(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<W>,
) -> Answer {
    let worded = wish.worded(visitor.grant.name.as_str()).map_err(bad)?;
    site.ask(&visitor, &cluster, &headers, worded).await
}
