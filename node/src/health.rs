//! Port 7301: what proxies, keepalived and Prometheus ask. GET only, plain HTTP, answered from memory.

use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tasuki_schemas::observation::{Connection, Observation, Position, Process, Thread};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the pages are made of.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The latest report.
    pub observation: Option<Observation>,
    /// The latest position.
    pub position: Option<Position>,
    /// Whether the server serves as primary.
    pub serving: bool,
    /// Whether the replica follows the record's primary.
    pub follows: bool,
}

/// Serves the pages until the program ends.
///
/// # Errors
/// The system's, if the port cannot be listened on.
pub async fn serve(address: SocketAddr, shown: watch::Receiver<Shown>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let pages = Router::new()
        .route("/primary", get(primary))
        .route("/replica", get(replica))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(shown);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, pages).await {
            tracing::error!(%error, "the health port ended");
        }
    });
    Ok(())
}

async fn primary(State(shown): State<watch::Receiver<Shown>>) -> Response {
    if shown.borrow().serving {
        (StatusCode::OK, "primary\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not the primary, or closed\n").into_response()
    }
}

#[derive(Deserialize)]
struct Lag {
    max_lag: Option<String>,
}

async fn replica(State(shown): State<watch::Receiver<Shown>>, Query(lag): Query<Lag>) -> Response {
    let limit_ms = match lag.max_lag.as_deref().map(milliseconds) {
        None => None,
        Some(Some(limit)) => Some(limit),
        Some(None) => return (StatusCode::BAD_REQUEST, "max_lag: write e.g. 2s or 500ms\n").into_response(),
    };
    let shown = shown.borrow().clone();
    let facts = shown.observation.and_then(|it| it.server).and_then(|server| server.facts);
    let replication = facts.and_then(|facts| facts.replication);
    let Some(replication) = replication.filter(|_| shown.follows) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not following the primary\n").into_response();
    };
    let running = replication.receiver == Thread::Running && replication.applier == Thread::Running;
    if !running || limit_ms.is_some_and(|limit| replication.quiet_ms > limit) {
        return (StatusCode::SERVICE_UNAVAILABLE, "replication is stopped or behind\n").into_response();
    }
    (StatusCode::OK, "replica\n").into_response()
}

fn milliseconds(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u64>().ok()?.checked_mul(1000),
    }
}

async fn health(State(shown): State<watch::Receiver<Shown>>) -> Response {
    let shown = shown.borrow().clone();
    let Some(observation) = shown.observation else {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing was observed yet\n").into_response();
    };
    let record = observation.ledger.accepted.as_ref().map(|accepted| &accepted.record);
    let page = serde_json::json!({
        "node": observation.node,
        "serving": shown.serving,
        "follows": shown.follows,
        "epoch": record.map(|record| &record.epoch),
        "primary": record.map(|record| &record.primary),
        "position": shown.position,
        "observation": observation,
    });
    Json(page).into_response()
}

async fn metrics(State(shown): State<watch::Receiver<Shown>>) -> String {
    let shown = shown.borrow().clone();
    let server = shown.observation.as_ref().and_then(|observation| observation.server.as_ref());
    let running = server.is_some_and(|server| matches!(server.process, Process::Running { .. }));
    let answering = server.is_some_and(|server| server.connection == Connection::Answering);
    let waiting = server.and_then(|server| server.facts.as_ref()).map_or(0, |facts| facts.semi_sync.waiting);
    let mut page = String::new();
    for (name, help, value) in [
        ("tasuki_serving", "1 if the server serves clients as primary", u32::from(shown.serving)),
        ("tasuki_following", "1 if the replica follows the record's primary", u32::from(shown.follows)),
        ("tasuki_server_running", "1 if the server's process lives", u32::from(running)),
        ("tasuki_server_answering", "1 if the server answered the last probe in time", u32::from(answering)),
        ("tasuki_commits_waiting", "Commits that wait for a replica's acknowledgement", waiting),
    ] {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    page
}
