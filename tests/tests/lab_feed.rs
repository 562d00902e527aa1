//! The live feed, followed by the stock client of Socket.IO over TLS while a primary dies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "feed/clients.rs"]
mod clients;
#[path = "feed/hostile.rs"]
mod hostile;
#[path = "feed/http.rs"]
mod http;
#[path = "feed/operators.rs"]
mod operators;
#[path = "feed/people.rs"]
mod people;
#[path = "feed/serving.rs"]
mod serving;
#[path = "feed/slow.rs"]
mod slow;
#[path = "feed/viewer.rs"]
#[allow(dead_code, reason = "shared with lab_history")]
mod viewer;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasuki_config::{Clusters, Grant, Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options, drill};
use viewer::{Viewer, showing, with_token};

#[tokio::test]
async fn lab_a_stock_client_follows_a_failover_over_tls() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let writers = lab.clusters[0].write(8, 300).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let viewers = ["websocket", "polling"].map(|transport| Viewer::watch(&lab, &with_token(transport)));
    // One that stops reading disturbs nobody.
    let mut deafening = with_token("websocket");
    deafening["pause"] = json!(1500);
    let deaf = Viewer::watch(&lab, &deafening);
    deaf.named("snapshot");
    let mut last = Vec::new();
    for viewer in &viewers {
        let snapshot = viewer.named("snapshot");
        assert_eq!(snapshot["cluster"], "mariadb");
        assert_eq!(snapshot["nodes"].as_object().unwrap().len(), 3, "{snapshot}");
        last.push(snapshot["id"].as_str().unwrap().to_owned());
        viewer.named("telemetry");
    }
    let old = lab.clusters[0].primary().await.unwrap();
    lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    for (viewer, mut last) in viewers.iter().zip(last) {
        let mut stages = Vec::new();
        viewer.until("the failover's end", |line| {
            // Each incident names the one before it.
            if let Some(id) = line["value"]["id"].as_str() {
                assert_eq!(line["value"]["after"], last.as_str(), "{line}");
                last = id.to_owned();
            }
            let stage = (line["name"] == "stage").then(|| line["value"]["stage"].as_str().map(str::to_owned)).flatten();
            stages.extend(stage.clone());
            (stage.as_deref() == Some("finished")).then_some(())
        });
        stages.retain(|stage| stage != "catching_up");
        // On a slow machine the first write may wait for more than a second; then it is opened anew, without waiting.
        stages.dedup();
        assert_eq!(stages, ["recruiting", "promoting", "opened", "finished"]);
    }
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
}

#[tokio::test]
async fn lab_a_viewer_without_a_good_token_is_refused_with_the_fix() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let refused = |options: Value| Viewer::watch(&lab, &options).named("connect_error").as_str().unwrap().to_owned();
    let message = refused(showing("websocket", "wrong"));
    assert!(message.starts_with("unauthorized: the token is not known here; ask for one that is in"), "{message}");
    let message = refused(json!({ "transports": ["polling"] }));
    assert!(message.starts_with("unauthorized: no token was shown; connect with auth"), "{message}");
    // A page of another origin, and a client that could show its token otherwise.
    let message = refused(json!({ "transports": ["polling"], "query": { "token": VIEWER_TOKEN } }));
    assert!(message.contains("no token was shown"), "{message}");
    for transport in ["polling", "websocket"] {
        let mut page = with_token(transport);
        page["extraHeaders"] = json!({ "origin": "https://elsewhere.example.org" });
        let message = refused(page.clone());
        assert!(message.contains("error"), "the crate's own words, since the handshake is refused: {message}");
        page["extraHeaders"] = json!({ "origin": format!("https://{}", lab.files().feed("co1").unwrap()) });
        Viewer::watch(&lab, &page).named("snapshot");
    }
}

/// Roles and clusters of tokens, and their end.
#[tokio::test]
async fn lab_a_token_opens_its_clusters_to_its_role_until_it_is_revoked() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb, Flavour::Mysql], &Options::default()).await.unwrap();
    let file = lab.files().tokens();
    let before = std::fs::read_to_string(&file).unwrap();
    let printed = lab.coordinators[0].run(&["token", "wall", "--role", "viewer", "--clusters", "mysql"]).await.unwrap();
    let wall = printed.trim();
    assert!(wall.len() == 64 && !std::fs::read_to_string(&file).unwrap().contains(wall), "{wall}");
    let clusters = Clusters::Named(["mariadb".parse().unwrap()].into());
    let public = Grant { name: "passers-by".parse().unwrap(), role: Role::Public, clusters };
    add_token(&file, &public, "everybody").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let whole = Viewer::watch(&lab, &with_token("websocket"));
    let one = Viewer::watch(&lab, &showing("websocket", wall));
    let passer = Viewer::watch(&lab, &showing("polling", "everybody"));
    one.named("snapshot");
    let snapshot = passer.named("snapshot");
    let servers = snapshot["servers"].as_array().unwrap();
    assert_eq!(servers.iter().filter(|server| server["part"] == "primary").count(), 1, "{snapshot}");
    let mut other = showing("websocket", wall);
    other["auth"]["cluster"] = json!("mariadb");
    let message = Viewer::watch(&lab, &other).named("connect_error");
    assert!(
        message.as_str().unwrap().starts_with("unknown_cluster: mariadb is no cluster that this token"),
        "{message}"
    );
    let primary = lab.clusters[0].primary().await.unwrap();
    lab.coordinators[0].run(&["pause", "mariadb", "--for", "1m", "--reason", "disks", "--owner", "ann"]).await.unwrap();
    assert_eq!(whole.named("pause")["pause"]["owner"], "ann");

    let seen = one.during(Duration::from_secs(2));
    let clusters: Vec<&Value> = seen.iter().map(|line| &line["value"]["cluster"]).filter(|it| !it.is_null()).collect();
    assert!(clusters.len() > 3 && clusters.iter().all(|cluster| **cluster == "mysql"), "{clusters:?}");
    let seen = passer.during(Duration::from_secs(2));
    for line in &seen {
        let text = line.to_string();
        assert!(!text.contains("mysql") && !text.contains("ann") && !text.contains("127.0.0.1"), "{text}");
        assert!(!text.contains(&format!("\"{primary}\"")), "{text}");
    }
    assert!(seen.iter().any(|line| line["name"] == "pause" && line["value"]["for_ms"] == 60_000), "{seen:?}");

    let began = Instant::now();
    std::fs::write(&file, before).unwrap();
    for viewer in [&one, &passer] {
        assert_eq!(viewer.named("closing")["code"], "revoked");
        viewer.named("disconnect");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let telemetry = whole.named("telemetry");
    assert_eq!(telemetry["events"][0]["cluster"], telemetry["cluster"], "{telemetry}");
    let message = Viewer::watch(&lab, &showing("websocket", wall)).named("connect_error");
    assert!(message.as_str().unwrap().contains("ask for one"), "{message}");
    for coordinator in &lab.coordinators {
        let log = std::fs::read_to_string(coordinator.log()).unwrap();
        assert!(!log.contains(wall) && !log.contains(VIEWER_TOKEN), "a token is in {}", coordinator.log().display());
    }
}
