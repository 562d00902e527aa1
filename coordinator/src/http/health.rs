//! How the coordinator itself is: for load balancers and Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tasuki_schemas::event::{Diagnosis, Snapshot};
use tasuki_schemas::forecast::Guarantee;

use super::access::{Visitor, is_local};
use super::{Open, Seats, Site};

/// Ready: every cluster is heard of through a carrier that lives.
pub(super) async fn ready(State(site): State<Site>) -> Response {
    if site.seats.is_leaving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the coordinator stops\n").into_response();
    }
    let Some(open) = site.open.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the coordinator starts\n").into_response();
    };
    let deaf: Vec<String> = open
        .gauges
        .iter()
        .filter(|(_, gauge)| !gauge.carriers().any_lives())
        .map(|(cluster, _)| format!("{cluster}: neither Redis nor a node of it is reached\n"))
        .collect();
    if deaf.is_empty() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, deaf.concat()).into_response()
    }
}

/// Prometheus' text, for this machine or whoever shows a token.
pub(super) async fn metrics(State(site): State<Site>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if !is_local(&parts)
        && let Err(problem) = Visitor::from_request_parts(&mut parts, &site).await
    {
        return problem.into_response();
    }
    let mut page = Page::default();
    if let Some(open) = site.open.get() {
        clusters(&mut page, &site);
        programs(&mut page, open, &site.seats);
    }
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

fn clusters(page: &mut Page, site: &Site) {
    let snapshots: Vec<Arc<Snapshot>> = site.clusters().filter_map(|cluster| site.shown(cluster)).collect();
    let mut each = |name: &str, help: &str, value: &dyn Fn(&Snapshot) -> Option<u64>| {
        page.family(name, "gauge", help);
        for snapshot in &snapshots {
            if let Some(value) = value(snapshot) {
                page.sample(name, &[("cluster", snapshot.cluster.as_str())], value);
            }
        }
    };
    let flag = |holds: bool| Some(u64::from(holds));
    each("tasuki_cluster_healthy", "1 if nothing is wrong with the cluster", &|it| {
        flag(it.diagnosis == Diagnosis::Healthy)
    });
    each("tasuki_cluster_lossless", "1 if no acknowledged write is lost with the primary", &|it| {
        flag(it.forecast.as_ref().is_some_and(|forecast| forecast.guarantee == Guarantee::Lossless))
    });
    each("tasuki_cluster_paused", "1 while no failover begins", &|it| {
        flag(it.record.as_ref().is_some_and(|record| record.pause.is_some()))
    });
    each("tasuki_cluster_failing_over", "1 while a failover is under way", &|it| flag(it.stage.is_some()));
    each("tasuki_cluster_holds", "Reasons for which nothing is done", &|it| u64::try_from(it.holds.len()).ok());
    each("tasuki_cluster_leading", "1 if this coordinator leads the cluster", &|it| {
        flag(it.leader.as_ref() == Some(&it.coordinator))
    });
    each("tasuki_cluster_expected_failover_ms", "What a failover after a crash would take now", &|it| {
        it.forecast.as_ref()?.crash.expected_ms
    });
}

fn programs(page: &mut Page, open: &Open, seats: &Seats) {
    page.family("tasuki_viewers", "gauge", "Viewers that are connected here");
    page.sample("tasuki_viewers", &[], u64::from(seats.viewers()));
    page.family("tasuki_events_dropped_total", "counter", "Events that no viewer got: the feed's queue was full");
    page.sample("tasuki_events_dropped_total", &[], open.feed.dropped());
    page.family("tasuki_carrier_alive", "gauge", "1 if messages come through this Redis server or link");
    for (cluster, gauge) in &open.gauges {
        let carriers = gauge.carriers();
        for (redis, alive) in &carriers.redis {
            let labels = [("cluster", cluster.as_str()), ("carrier", "redis"), ("to", redis)];
            page.sample("tasuki_carrier_alive", &labels, u64::from(*alive));
        }
        for (program, alive) in &carriers.mesh {
            let labels = [("cluster", cluster.as_str()), ("carrier", "mesh"), ("to", program.as_str())];
            page.sample("tasuki_carrier_alive", &labels, u64::from(*alive));
        }
    }
    page.family("tasuki_messages_dropped_total", "counter", "Messages that were dropped, by reason");
    for (cluster, gauge) in &open.gauges {
        for (reason, count) in &gauge.counters().dropped {
            page.sample(
                "tasuki_messages_dropped_total",
                &[("cluster", cluster.as_str()), ("reason", reason.name())],
                *count,
            );
        }
    }
}

/// The text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}={text:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
