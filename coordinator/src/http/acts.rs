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
use super::once;
use super::problem::{Body, Problem};
use crate::control::{self, Act};

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

    /// Hands a wish to the cluster's driver, once for each key, and waits for what comes of it.
    async fn ask(&self, visitor: &Visitor, cluster: &str, headers: &HeaderMap, wish: Wish) -> Answer {
        self.allowed(visitor, cluster)?;
        let key = once::key(headers)?.map(|key| format!("{} {key}", visitor.grant.name));
        let requests = self.open.get().map(|open| open.requests.clone()).unwrap_or_default();
        let (name, act) = (cluster.to_owned(), Act::Wish(wish));
        let told = act.line(cluster);
        let act = async move {
            let answered = timeout(PATIENCE, control::hand_over(&name, act, &requests)).await;
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
    let wish = Wish::Switchover(Switchover { to: wish.to, dry_run: wish.dry_run, by, reason });
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
    site.ask(&visitor, &cluster, &headers, Wish::Pause { owner, reason, length }).await
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
    site.ask(&visitor, &cluster, &headers, Wish::Resume).await
}
