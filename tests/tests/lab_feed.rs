//! The live feed, followed by the stock client of Socket.IO over TLS while a primary dies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options, drill, tools};

/// The client, installed once per machine from the checked-in lock file.
fn client() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("feed");
    let folder = tools::cache().unwrap().join("feed");
    std::fs::create_dir_all(&folder).unwrap();
    let same =
        |name: &str| std::fs::read(source.join(name)).unwrap() == std::fs::read(folder.join(name)).unwrap_or_default();
    let installed = folder.join("node_modules/socket.io-client/package.json").exists() && same("package-lock.json");
    for name in ["package.json", "package-lock.json", "viewer.mjs"] {
        std::fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    if !installed {
        let npm = tools::program("npm").unwrap();
        let done = Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).status().unwrap();
        assert!(done.success(), "npm ci failed in {}: is the npm registry reached?", folder.display());
    }
    folder
}

struct Viewer {
    child: Child,
    lines: Receiver<Value>,
}

impl Viewer {
    fn watch(lab: &Lab, arguments: &[&str]) -> Self {
        let feed = lab.files().feed("co1").unwrap();
        let mut child = Command::new(tools::program("node").unwrap())
            .arg("viewer.mjs")
            .arg(format!("https://{feed}"))
            .arg(lab.files().certificate())
            .args(arguments)
            .current_dir(client())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    /// Reads on until something is found.
    fn until<T>(&self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come"));
            if let Some(found) = look(&line) {
                return found;
            }
        }
    }

    fn named(&self, name: &str) -> Value {
        self.until(name, |line| (line["name"] == name).then(|| line["value"].clone()))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn lab_a_stock_client_follows_a_failover_over_tls() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let writers = lab.clusters[0].write(8, 300).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let viewers = [Viewer::watch(&lab, &["websocket", VIEWER_TOKEN]), Viewer::watch(&lab, &["polling", VIEWER_TOKEN])];
    // One that stops reading disturbs nobody.
    let deaf = Viewer::watch(&lab, &["websocket", VIEWER_TOKEN, "1500"]);
    deaf.named("snapshot");
    let mut numbers = Vec::new();
    for viewer in &viewers {
        let snapshot = viewer.named("snapshot");
        assert_eq!(snapshot["cluster"], "mariadb");
        assert_eq!(snapshot["nodes"].as_object().unwrap().len(), 3, "{snapshot}");
        numbers.push(snapshot["number"].as_u64().unwrap());
        viewer.named("position");
    }
    let old = lab.clusters[0].primary().await.unwrap();
    lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    for (viewer, seen) in viewers.iter().zip(numbers) {
        let mut last = seen;
        let mut stages = Vec::new();
        viewer.until("the failover's end", |line| {
            // Events of the other coordinator are relayed with numbers of their own.
            let own = line["value"]["coordinator"] == "co1";
            if let Some(number) = line["value"]["number"].as_u64().filter(|number| own && *number > last) {
                assert!(number == last + 1 || last == seen, "{last} was followed by {number}");
                last = number;
            }
            let stage = (line["name"] == "stage").then(|| line["value"]["stage"].as_str().map(str::to_owned)).flatten();
            stages.extend(stage.clone());
            (stage.as_deref() == Some("finished")).then_some(())
        });
        stages.retain(|stage| stage != "catching_up");
        assert_eq!(stages, ["recruiting", "promoting", "opened", "finished"]);
    }
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
}

#[tokio::test]
async fn lab_a_viewer_without_a_good_token_is_refused_with_the_fix() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let message = Viewer::watch(&lab, &["websocket", "wrong"]).named("connect_error");
    assert!(message.as_str().unwrap().contains("ask for one that is in the coordinator's token file"), "{message}");
    let message = Viewer::watch(&lab, &["polling", ""]).named("connect_error");
    assert!(message.as_str().unwrap().contains("connect with auth"), "{message}");
}
