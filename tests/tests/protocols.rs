//! The cases of the projects' own test suites for servers, in this repository's words, and how many packets are taken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "feed/viewer.rs"]
#[allow(dead_code, reason = "shared with lab_feed")]
mod viewer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options, npm, tools};

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

fn installed() -> PathBuf {
    npm::installed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")).unwrap()
}

fn generated(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/generated").join(name)
}

fn node(arguments: &[&str], folder: &Path) {
    let done = Command::new(tools::program("node").unwrap()).args(arguments).current_dir(folder).output().unwrap();
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(done.status.success(), "{said}");
}

#[test]
fn the_feeds_types_compile_against_the_official_client() {
    let folder = installed();
    std::fs::copy(generated("tasuki.d.ts"), folder.join("tasuki.d.ts")).unwrap();
    let tsc = "node_modules/typescript/bin/tsc";
    let strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"];
    node(&[&[tsc], &strict[..], &["--skipLibCheck", "false", "types.ts"]].concat(), &folder);
}

#[test]
fn the_feeds_document_is_asyncapi() {
    node(&["documents.mjs", generated("asyncapi.json").to_str().unwrap()], &installed());
}
