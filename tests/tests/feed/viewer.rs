//! A stock Socket.IO client as a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::{Lab, tools};

/// The clients, installed once per machine from the checked-in lock file.
fn clients() -> PathBuf {
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

/// What a viewer with the lab's token passes to `io`.
pub fn with_token(transport: &str) -> Value {
    showing(transport, VIEWER_TOKEN)
}

/// What a viewer passes to `io` that shows another token.
pub fn showing(transport: &str, token: &str) -> Value {
    json!({ "transports": [transport], "auth": { "token": token } })
}

/// A viewer: whatever it gets is a line.
pub struct Viewer {
    child: Child,
    lines: Receiver<Value>,
}

impl Viewer {
    /// Watches the feed of `co1`.
    pub fn watch(lab: &Lab, options: &Value) -> Self {
        Self::at(lab, &format!("https://{}", lab.files().feed("co1").unwrap()), options)
    }

    /// Watches a feed by its address.
    pub fn at(lab: &Lab, url: &str, options: &Value) -> Self {
        let mut command = Command::new(tools::program("node").unwrap());
        command.arg("viewer.mjs").arg(url).arg(lab.files().certificate()).arg(options.to_string());
        Self::run(command.current_dir(clients()))
    }

    /// Runs a program that prints what it gets as `viewer.mjs` does.
    pub fn run(command: &mut Command) -> Self {
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
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come"));
            if let Some(found) = look(&line) {
                return found;
            }
        }
    }

    /// The next that comes under a name.
    pub fn named(&self, name: &str) -> Value {
        self.until(name, |line| (line["name"] == name).then(|| line["value"].clone()))
    }

    /// Everything that has come, and that comes within a while.
    pub fn during(&self, length: Duration) -> Vec<Value> {
        let deadline = Instant::now() + length;
        let next = || self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).collect()
    }

    /// Emits an event, and returns what it is acknowledged with.
    pub fn ask(&mut self, event: &Value) -> Value {
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
