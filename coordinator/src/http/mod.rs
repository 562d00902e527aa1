//! What browsers, scripts and Prometheus get over HTTP, on the feed's own port: the dashboard, the API under `/api/v1`,
//! and how the coordinator itself is.
//!
//! Nothing here decides anything, and nothing here can slow a driver: what operators ask for goes the way of
//! `tasuki-coordinator switchover`, through the bounded queue of the cluster's driver.

mod access;
mod acts;
mod health;
mod history;
mod once;
mod pages;
mod problem;
mod reads;
mod seats;
mod sessions;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tasuki_bus::Gauge;
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};
use tasuki_schemas::id::{ClusterName, CoordinatorId};
use tokio::sync::mpsc::Sender;

use crate::control::Request;
use crate::feed::{Feed, Session, Tokens};

use once::Once;
pub use seats::Seats;
pub use sessions::Sessions;

/// A request has some short sentences.
const BODY: usize = 16 * 1024;

/// What the pages are made of. Clones are the same site.
#[derive(Clone)]
pub struct Site {
    name: CoordinatorId,
    tokens: Tokens,
    sessions: Sessions,
    seats: Seats,
    once: Once,
    open: Arc<OnceLock<Open>>,
}

/// What exists once the drivers run.
struct Open {
    feed: Feed,
    requests: BTreeMap<String, Sender<Request>>,
    gauges: BTreeMap<ClusterName, Gauge>,
}

impl Site {
    /// A site that knows no cluster yet: it is not ready.
    #[must_use]
    pub fn new(name: CoordinatorId, tokens: Tokens, sessions: Sessions, seats: Seats) -> Self {
        Self { name, tokens, sessions, seats, once: Once::default(), open: Arc::default() }
    }

    /// Which token a browser that logged in stands for.
    #[must_use]
    pub fn session(&self) -> Session {
        let sessions = self.sessions.clone();
        Arc::new(move |headers| sessions.token(headers))
    }

    /// The drivers run: there is something to show, and somebody to ask. Once.
    pub fn open(&self, feed: Feed, requests: BTreeMap<String, Sender<Request>>, gauges: BTreeMap<ClusterName, Gauge>) {
        tokio::spawn(self.seats.clone().count(feed.clone()));
        drop(self.open.set(Open { feed, requests, gauges }));
    }
}

/// Everything that is served beside Socket.IO.
pub fn routes(site: Site) -> Router {
    let api = Router::new()
        .route("/login", post(access::login))
        .route("/logout", post(access::logout))
        .route("/me", get(access::me))
        .route("/endpoint", get(reads::endpoint))
        .route("/openapi.json", get(pages::openapi))
        .route("/asyncapi.json", get(pages::asyncapi))
        .route("/clusters", get(reads::clusters))
        .route("/clusters/{cluster}", get(reads::cluster))
        .route("/clusters/{cluster}/forecast", get(reads::forecast))
        .route("/clusters/{cluster}/history", get(history::history))
        .route("/clusters/{cluster}/incidents", get(history::incidents))
        .route("/clusters/{cluster}/notes", post(history::note))
        .merge(acts::route::<SwitchoverWish>())
        .merge(acts::route::<CancelSwitchoverWish>())
        .merge(acts::route::<FailoverWish>())
        .merge(acts::route::<OverrideWish>())
        .merge(acts::route::<RecloneWish>())
        .merge(acts::route::<PauseWish>())
        .merge(acts::route::<ResumeWish>())
        .fallback(problem::no_such_path);
    pages::routes()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .nest("/api/v1", api)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(site)
}
