//! The dashboard in a real browser, beside real clusters. Needs chromium: `make test-all` runs it, `make test` does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tasuki_config::{Role, add_token};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::{VIEWER_TOKEN, grant};
use tasuki_tests::lab::events::Listener;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options, drill, npm, tools};

/// What an operator and the public show.
const OPERATOR: &str = "an-operator-of-the-lab";
const PUBLIC: &str = "the-public-of-the-lab";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap())).collect()
}

#[test]
fn the_dashboard_is_built_from_its_sources() {
    // Beside it as in the repository: the schemas that its types are made of.
    let cache = tools::cache().unwrap().join("build/coordinator");
    let source = root().join("coordinator/dashboard");
    let folder = npm::installed_at(&source, &cache.join("dashboard")).unwrap();
    let schemas = cache.parent().unwrap().join("schemas/generated");
    fs::create_dir_all(&schemas).unwrap();
    for (name, text) in contents(&root().join("schemas/generated")) {
        fs::write(schemas.join(name), text).unwrap();
    }
    let built = folder.join("dist");
    let node = tools::program("node").unwrap();
    let done = Command::new(node).arg("build.mjs").arg(&built).current_dir(&folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let (built, kept) = (contents(&built), contents(&source.join("dist")));
    let stale: Vec<&String> =
        built.keys().chain(kept.keys()).filter(|name| built.get(*name) != kept.get(*name)).collect();
    assert!(stale.is_empty(), "{stale:?} in coordinator/dashboard/dist are stale: run `npm ci && npm run build` there");
}

/// Somebody at a browser, and what they say of it.
struct Person {
    child: Child,
    lines: Receiver<Value>,
}

impl Person {
    fn sit_down(lab: &Lab, clusters: &[String]) -> Self {
        let folder = npm::installed(&root().join("tests/browser")).unwrap();
        let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        let home = lab.run().sub("home").unwrap();
        trust(&home, &lab.files().certificate());
        let mut child = Command::new(tools::program("node").unwrap())
            .arg("dashboard.mjs")
            .arg(format!("https://{}", lab.files().feed("co1").unwrap()))
            .arg(lab.files().certificate())
            .args([OPERATOR, VIEWER_TOKEN, PUBLIC])
            .arg(&screenshots)
            .args(clusters)
            .env("HOME", &home)
            .env("CHROMIUM", tools::program("chromium").unwrap())
            .current_dir(folder)
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

    /// The next thing that they say.
    fn says(&self, step: &str) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(120));
        let line = line.unwrap_or_else(|_| panic!("{step} did not come; what is wrong stands above"));
        assert_eq!(line["step"], step, "{line}");
        line
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser of this home trusts the lab's certificate, and nothing is ignored.
fn trust(home: &Path, certificate: &Path) {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let certutil = |arguments: &[&str]| {
        let done = Command::new(tools::program("certutil").unwrap()).args(arguments).output().unwrap();
        assert!(done.status.success(), "certutil: {}", String::from_utf8_lossy(&done.stderr));
    };
    certutil(&["-N", "-d", &database, "--empty-password"]);
    certutil(&["-A", "-d", &database, "-n", "lab", "-t", "P,,", "-i", certificate.to_str().unwrap()]);
}

/// How many milliseconds after the record's decision the new primary was on the page, without those that the page waited
/// for a processor: it shares two with six database servers, and nobody's browser does.
async fn late(listener: &Listener, since: Instant, old: &str, changed: &Value) -> u64 {
    let decided = || {
        listener.since(since).into_iter().find_map(|heard| {
            let EventBody::Decided { record, .. } = heard.event.body else { return None };
            (record.primary.as_str() != old).then_some((record.primary, heard.event.at_ms))
        })
    };
    // The page may hear it before the lab's own listener does.
    until("the decision", Duration::from_secs(5), async || decided().map(drop).context("not heard yet")).await.unwrap();
    let (new, at_ms) = decided().unwrap();
    assert_eq!(changed["name"], new.as_str());
    // Both by the wall clock of this machine.
    let late = changed["at"].as_u64().unwrap().saturating_sub(at_ms);
    let waited = changed["waited"].as_u64().unwrap();
    println!(
        "{old} -> {new}: on the page {late} ms after the record's decision; it waited {waited} ms for a processor"
    );
    late.saturating_sub(waited)
}

#[tokio::test]
async fn lab_a_failover_is_seen_in_a_browser() {
    let flavours = [Flavour::Mariadb, Flavour::Mysql];
    let mut lab = Lab::start(Kind::Loopback, &flavours, &Options::default()).await.unwrap();
    let clusters: Vec<String> = lab.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let listeners: Vec<_> = lab.clusters.iter().map(|cluster| lab.listen(cluster).unwrap()).collect();
    // Few: replicas apply one write after the other, and a page on which all is well is what is looked at first.
    let writers: Vec<_> = lab.clusters.iter().map(|cluster| cluster.write(2, 40).unwrap()).collect();
    for writers in &writers {
        drill::acknowledged(writers, 100).await.unwrap();
    }
    for (name, role, token) in [("ann", Role::Operator, OPERATOR), ("public", Role::Public, PUBLIC)] {
        add_token(&lab.files().tokens(), &grant(name, role).unwrap(), token).unwrap();
    }
    let person = Person::sit_down(&lab, &clusters);
    let mut lates = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let old = person.says("ready")["old"].as_str().unwrap().to_owned();
        assert_eq!(lab.clusters[index].primary().await.unwrap(), old);
        let fault = Instant::now();
        lab.clusters[index].server_mut(&old).unwrap().kill9().unwrap();
        let changed = person.says("changed");
        lates.push(late(&listeners[index], fault, &old, &changed).await);
        let waterfall = person.says("waterfall");
        let stages: Vec<&str> =
            waterfall["bars"].as_array().unwrap().iter().map(|bar| bar["stage"].as_str().unwrap()).collect();
        let mut stages: Vec<&str> = stages.into_iter().filter(|stage| *stage != "catching_up").collect();
        // On a slow machine the first write may wait for more than a second; then it is opened anew, without waiting.
        stages.dedup();
        assert_eq!(stages, ["recruiting", "promoting", "opened"], "{waterfall}");
        println!("{cluster}: {}", waterfall["headline"]);
        drill::brought_back(&mut lab.clusters[index], &old).await.unwrap();
        person.says("well");
    }
    let home = Instant::now();
    let handed_over = person.says("handed_over");
    let old = handed_over["old"].as_str().unwrap();
    lates.push(late(&listeners[0], home, old, &handed_over).await);
    // A busy machine makes a page late once; a page that is slow is late every time.
    assert!(lates.iter().any(|late| *late < 200) && lates.iter().all(|late| *late < 500), "{lates:?} ms late");
    person.says("done");
    for (cluster, writers) in lab.clusters.iter().zip(&writers) {
        drill::all_there(cluster, &[writers]).await.unwrap();
    }
}
