//! A stock Socket.IO client as a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::{Lab, tools};

/// Where the clients' files are.
pub(crate) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("feed")
}

/// The clients, installed once per machine from the checked-in lock file.
fn clients() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = tools::cache().unwrap().join("feed");
        std::fs::create_dir_all(&folder).unwrap();
        let differs = |name: &&str| {
            std::fs::read(source().join(name)).unwrap() != std::fs::read(folder.join(name)).unwrap_or_default()
        };
        let files = ["package.json", "package-lock.json", "viewer.mjs", "follower.mjs", "protocol.mjs"];
        let changed: Vec<&str> = files.into_iter().filter(differs).collect();
        for name in &changed {
            std::fs::copy(source().join(name), folder.join(name)).unwrap();
        }
        let installed = folder.join("node_modules/socket.io-client/package.json").exists();
        if !installed || changed.contains(&"package-lock.json") {
            let mut npm = Command::new(tools::program("npm").unwrap());
            let done = npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).status().unwrap();
            assert!(done.success(), "npm ci failed in {}: is the npm registry reached?", folder.display());
        }
        folder
    })
}

/// What a viewer with the lab's token passes to `io`.
pub(crate) fn with_token(transport: &str) -> Value {
    showing(transport, VIEWER_TOKEN)
}

/// What a viewer passes to `io` that shows another token.
pub(crate) fn showing(transport: &str, token: &str) -> Value {
    json!({ "transports": [transport], "auth": { "token": token } })
}

/// A viewer: whatever it gets is a line.
pub(crate) struct Viewer {
    child: Child,
    lines: Receiver<Value>,
}

impl Viewer {
    /// Watches the feed of `co1`.
    pub(crate) fn watch(lab: &Lab, options: &Value) -> Self {
        Self::at(lab, &format!("https://{}", lab.files().feed("co1").unwrap()), options)
    }

    /// Watches a feed by its address.
    pub(crate) fn at(lab: &Lab, url: &str, options: &Value) -> Self {
        Self::node("viewer.mjs", lab, url, &[&options.to_string()])
    }

    /// Runs one of the clients' scripts.
    pub(crate) fn node(script: &str, lab: &Lab, url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(tools::program("node").unwrap());
        // Clients before 4.x take no authority of their own for polling.
        command.env("NODE_EXTRA_CA_CERTS", lab.files().certificate());
        command.arg(script).arg(url).arg(lab.files().certificate()).args(arguments);
        Self::run(command.current_dir(clients()))
    }

    /// Runs a program that prints what it gets as `viewer.mjs` does.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
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
    pub(crate) fn until<T>(&self, what: &str, look: impl FnMut(&Value) -> Option<T>) -> T {
        self.within(Duration::from_secs(20), what, look)
    }

    /// The same with another patience.
    pub(crate) fn within<T>(&self, patience: Duration, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        let mut last = Value::Null;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come after {last}"));
            last.clone_from(&line);
            if let Some(found) = look(&line) {
                return found;
            }
        }
    }

    /// The next that comes under a name.
    pub(crate) fn named(&self, name: &str) -> Value {
        self.until(name, |line| (line["name"] == name).then(|| line["value"].clone()))
    }

    /// Everything that has come, and that comes within a while.
    pub(crate) fn during(&self, length: Duration) -> Vec<Value> {
        let deadline = Instant::now() + length;
        let next = || self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).collect()
    }

    /// Emits an event, and returns what it is acknowledged with.
    pub(crate) fn ask(&mut self, event: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{event}").unwrap();
        self.named("ack")
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page that follows by way of `tasuki.js`, and the incidents that it was handed.
pub(crate) struct Follower {
    viewer: Viewer,
    /// Their ids, in order.
    pub(crate) ids: Vec<String>,
}

impl Follower {
    /// Begins to follow at an address.
    pub(crate) fn begin(lab: &Lab, url: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/src/feed/tasuki.js");
        let viewer = Viewer::node("follower.mjs", lab, url, &[VIEWER_TOKEN, script.to_str().unwrap()]);
        Self { viewer, ids: Vec::new() }
    }

    /// Waits for the first snapshot.
    pub(crate) fn until_greeted(&self) {
        self.viewer.named("snapshot");
    }

    /// Reads on until a pause for this reason is told.
    pub(crate) fn until_pause(&mut self, reason: &str) {
        let ids = &mut self.ids;
        self.viewer.until(reason, |line| {
            let id = line["value"]["id"].as_str().filter(|_| line["name"] != "snapshot");
            ids.extend(id.map(str::to_owned));
            let paused = line["name"] == "pause" && line["value"]["pause"]["reason"] == reason;
            paused.then_some(())
        });
    }

    /// How many incidents it was handed twice.
    pub(crate) fn doubles(&self) -> usize {
        let once: std::collections::BTreeSet<&String> = self.ids.iter().collect();
        self.ids.len() - once.len()
    }
}
