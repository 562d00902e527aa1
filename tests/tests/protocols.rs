//! The cases of the projects' own test suites for servers, in this repository's words, and how many packets are taken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "feed/viewer.rs"]
#[allow(dead_code, reason = "shared with lab_feed")]
mod viewer;

use std::time::Duration;

use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options};

use viewer::Viewer;

#[tokio::test]
async fn lab_both_protocols_are_spoken_case_by_case() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let url = format!("https://{}", lab.files().feed("co1").unwrap());
    let tried = Viewer::node("protocol.mjs", &lab, &url, &[VIEWER_TOKEN]);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let told = tried.within(Duration::from_secs(60), "the last case", |line| {
        if line["name"] == "case" {
            seen += 1;
            wrong.extend(line["value"]["wrong"].as_str().map(|why| format!("{}: {why}", line["value"]["case"])));
        }
        (line["name"] == "done").then(|| line["value"].as_u64().unwrap())
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(told == seen && seen > 50, "{seen} of {told} cases");
}
