//! What operators do: the same wishes as on the command line, answered when they have ended.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use tasuki_config::Role;
use tasuki_coordinator_core::pause::{LONGEST, Wish};
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::api::{Granted, PauseWish, ResumeWish, SwitchoverWish};
use tokio::time::timeout;

use super::Site;
use super::access::Visitor;
use super::history::refusal;
use super::once;
use super::problem::{Body, Problem};
use crate::control::{self, Act};
use crate::feed::Unposted;

/// A switchover or a vote ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Json<Granted>, Problem>;

fn bad(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text)
}

/// A few words that others will read.
fn words(text: &str) -> Result<String, Problem> {
    let words = text.trim();
    let fits = !words.is_empty() && words.chars().count() <= 200;
    if fits { Ok(words.replace(char::is_control, " ")) } else { Err(bad("reason: write 1 to 200 characters")) }
}

impl Site {
    fn allowed(&self, visitor: &Visitor, cluster: &str) -> Result<(), Problem> {
        self.snapshot(visitor, cluster)?;
        visitor.must_be(Role::Operator)
    }

    /// Records that a wish was asked for and hands it to the cluster's driver, once for each key, then waits for what comes
    /// of it. A dry run is no act.
    async fn ask(
        &self,
        visitor: &Visitor,
        cluster: &str,
        headers: &HeaderMap,
        (wish, what): (Wish, Option<String>),
    ) -> Answer {
        self.allowed(visitor, cluster)?;
        let key = once::key(headers)?.map(|key| format!("{} {key}", visitor.grant.name));
        let (posts, requests) = (self.feed()?.posts(), self.open.get().map(|open| open.requests.clone()));
        let (name, grant, address, act) = (cluster.to_owned(), visitor.grant.clone(), visitor.address, Act::Wish(wish));
        let told = act.line(cluster);
        let act = async move {
            if let Some(what) = what {
                match posts.act(&name, &grant, address, what.clone()).await {
                    Ok(_) => {}
                    // An act counts for more than its record: with nobody to keep that, it is in the log.
                    Err(Unposted::NotKept) => {
                        tracing::warn!(by = %grant.name, ?address, cluster = name, what, "an act is in no history");
                    }
                    Err(why) => return Err(refusal(&why)),
                }
            }
            let answered = timeout(PATIENCE, control::hand_over(&name, act, &requests.unwrap_or_default())).await;
            let late = |_| Problem::new(StatusCode::GATEWAY_TIMEOUT, "it did not end in time; see the events");
            answered.map_err(late)?.map_err(|reason| Problem::new(StatusCode::CONFLICT, reason))
        };
        self.once.perform(key, told, act).await.map(|lines| Json(Granted { lines }))
    }
}

pub(super) async fn switchover(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<SwitchoverWish>,
) -> Answer {
    let (by, reason) = (visitor.grant.name.to_string(), words(&wish.reason)?);
    let to = wish.to.as_ref().map_or_else(|| "the best".to_owned(), ToString::to_string);
    let what = (!wish.dry_run).then(|| format!("switchover to {to}: {reason}"));
    let wish = (Wish::Switchover(Switchover { to: wish.to, dry_run: wish.dry_run, by, reason }), what);
    site.ask(&visitor, &cluster, &headers, wish).await
}

pub(super) async fn pause(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<PauseWish>,
) -> Answer {
    let (owner, reason, length) =
        (visitor.grant.name.to_string(), words(&wish.reason)?, Duration::from_secs(wish.for_s));
    if length.is_zero() || length > LONGEST {
        return Err(bad(format!("for_s: write 1 to {}", LONGEST.as_secs())));
    }
    if wish.dry_run {
        site.allowed(&visitor, &cluster)?;
        let line = format!("no failover of {cluster} would begin for {} s; nothing was changed", wish.for_s);
        return Ok(Json(Granted { lines: vec![line] }));
    }
    let what = Some(format!("pause for {} s: {reason}", wish.for_s));
    site.ask(&visitor, &cluster, &headers, (Wish::Pause { owner, reason, length }, what)).await
}

pub(super) async fn resume(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<ResumeWish>,
) -> Answer {
    if wish.dry_run {
        site.allowed(&visitor, &cluster)?;
        let line = format!("failovers of {cluster} would go on; nothing was changed");
        return Ok(Json(Granted { lines: vec![line] }));
    }
    site.ask(&visitor, &cluster, &headers, (Wish::Resume, Some("resume".to_owned()))).await
}
