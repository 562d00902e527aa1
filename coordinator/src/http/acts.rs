//! What operators do: the same wishes as on the command line, answered when they have ended.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use tasuki_config::Role;
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, Granted, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};

use super::Site;
use super::access::Visitor;
use super::history::refusal;
use super::once;
use super::problem::{Body, Problem};
use crate::control::Act;
use crate::wishes::{self, Undone, Worded};

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
        let told = Act::Wish(worded.wish.clone()).line(cluster);
        let act = async move {
            let done = wishes::perform(&posts, &requests.unwrap_or_default(), &name, (&grant, address), worded).await;
            done.map_err(|why| undone(&why))?.map_err(|reason| Problem::new(StatusCode::CONFLICT, reason))
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
    let worded = wishes::switchover(wish, visitor.grant.name.as_str()).map_err(bad)?;
    site.ask(&visitor, &cluster, &headers, worded).await
}

pub(super) async fn cancel_switchover(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(CancelSwitchoverWish {}): Body<CancelSwitchoverWish>,
) -> Answer {
    site.ask(&visitor, &cluster, &headers, wishes::cancel_switchover()).await
}

pub(super) async fn failover(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<FailoverWish>,
) -> Answer {
    let worded = wishes::failover(wish.dry_run, &wish.reason).map_err(bad)?;
    site.ask(&visitor, &cluster, &headers, worded).await
}

pub(super) async fn overriding(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<OverrideWish>,
) -> Answer {
    let worded = wishes::overriding(wish, visitor.grant.name.as_str()).map_err(bad)?;
    site.ask(&visitor, &cluster, &headers, worded).await
}

pub(super) async fn reclone(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<RecloneWish>,
) -> Answer {
    let worded = wishes::reclone(wish.node, wish.dry_run, visitor.grant.name.as_str(), &wish.reason).map_err(bad)?;
    site.ask(&visitor, &cluster, &headers, worded).await
}

pub(super) async fn pause(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    Body(wish): Body<PauseWish>,
) -> Answer {
    let worded = wishes::pause(wish.for_s, visitor.grant.name.as_str(), &wish.reason).map_err(bad)?;
    if wish.dry_run {
        site.allowed(&visitor, &cluster)?;
        let line = format!("no failover of {cluster} would begin for {} s; nothing was changed", wish.for_s);
        return Ok(Json(Granted { lines: vec![line] }));
    }
    site.ask(&visitor, &cluster, &headers, worded).await
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
    site.ask(&visitor, &cluster, &headers, wishes::resume("")).await
}
