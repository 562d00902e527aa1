//! What is asked and changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tasuki_config::Role;
use tasuki_schemas::api::{Endpoint, Summary};
use tasuki_schemas::event::Snapshot;
use tasuki_schemas::forecast::Forecast;
use tasuki_schemas::id::ClusterName;

use super::Site;
use super::access::Visitor;
use super::problem::Problem;

impl Site {
    /// The clusters that there are.
    pub(super) fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.open.get().into_iter().flat_map(|open| open.gauges.keys())
    }

    /// A cluster as it was a moment ago.
    pub(super) fn shown(&self, cluster: &ClusterName) -> Option<Arc<Snapshot>> {
        self.open.get()?.feed.snapshot(cluster)
    }

    /// A cluster that the visitor may see. Whether there is one that the token does not open is not told.
    pub(super) fn snapshot(&self, visitor: &Visitor, name: &str) -> Result<Arc<Snapshot>, Problem> {
        let sees = |cluster: &&ClusterName| cluster.as_str() == name && visitor.grant.sees(cluster);
        let unknown = || {
            let text = format!("{name} is no cluster that this token opens here; GET /api/v1/me lists them");
            Problem::new(StatusCode::NOT_FOUND, text)
        };
        let early = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the cluster was not looked at yet; ask again");
        self.shown(self.clusters().find(sees).ok_or_else(unknown)?).ok_or_else(early)
    }
}

fn summary(snapshot: &Snapshot) -> Summary {
    let record = snapshot.record.as_ref();
    Summary {
        cluster: snapshot.cluster.clone(),
        diagnosis: snapshot.diagnosis.clone(),
        sentence: snapshot.sentence.clone(),
        primary: record.map(|record| record.primary.clone()),
        leader: snapshot.leader.clone(),
        guarantee: snapshot.forecast.as_ref().map(|forecast| forecast.guarantee),
        stage: snapshot.stage,
        pause: record.and_then(|record| record.pause.clone()),
        holds: snapshot.holds.clone(),
    }
}

pub(super) async fn clusters(State(site): State<Site>, visitor: Visitor) -> Result<Json<Vec<Summary>>, Problem> {
    visitor.must_be(Role::Viewer)?;
    let seen = site.clusters().filter(|cluster| visitor.grant.sees(cluster));
    Ok(Json(seen.filter_map(|cluster| site.shown(cluster)).map(|snapshot| summary(&snapshot)).collect()))
}

pub(super) async fn cluster(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = site.snapshot(&visitor, &cluster)?;
    let whole = visitor.grant.role >= Role::Viewer;
    Ok(if whole { Json(&*snapshot).into_response() } else { Json(snapshot.public()).into_response() })
}

pub(super) async fn forecast(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
) -> Result<Json<Forecast>, Problem> {
    visitor.must_be(Role::Viewer)?;
    let snapshot = site.snapshot(&visitor, &cluster)?;
    let none = || {
        let text = format!("there is no forecast while no primary serves: {}", snapshot.sentence);
        Problem::new(StatusCode::NOT_FOUND, text)
    };
    snapshot.forecast.clone().map(Json).ok_or_else(none)
}

pub(super) async fn endpoint(
    State(site): State<Site>,
    _visitor: Visitor,
    headers: HeaderMap,
) -> Result<Json<Endpoint>, Problem> {
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).map(|host| format!("https://{host}"));
    let unknown = || {
        let text = "no coordinator knows the address that viewers reach it at; set public_url in [feed]";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
    };
    let (coordinator, seat) = site.seats.best(asked).ok_or_else(unknown)?;
    Ok(Json(Endpoint { url: seat.url, coordinator, viewers: seat.viewers, version: seat.version }))
}
