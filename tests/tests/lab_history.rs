//! The history of a cluster at its viewers: the same at all of them, whatever is cut, killed or emptied meanwhile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "feed/line.rs"]
mod line;
#[path = "feed/viewer.rs"]
#[allow(dead_code, reason = "shared with lab_feed")]
mod viewer;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options};

use line::Line;
use viewer::{Follower, Viewer, with_token};

const COORDINATORS: [&str; 2] = ["co1", "co2"];

/// Random numbers by a seed, which is printed.
struct Random(u64);

impl Random {
    fn one_of(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The ids of a coordinator's journal.
fn journal(lab: &Lab, coordinator: usize) -> Vec<String> {
    let text = std::fs::read_to_string(lab.coordinators[coordinator].state().join("history-mariadb.jsonl")).unwrap();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    text.lines().map(id).collect()
}

/// An incident that everybody can be asked for.
async fn mark(lab: &Lab, by: usize, reason: &str) {
    let pause = ["pause", "mariadb", "--for", "10m", "--reason", reason, "--owner", "ann"];
    lab.coordinators[by].run(&pause).await.unwrap();
}

/// `FEED_CUTS=50` is the long form.
#[tokio::test]
async fn lab_every_viewer_gets_the_same_history_through_cuts_a_dead_leader_and_an_emptied_redis() {
    let options = Options { redis: 2, ..Options::default() };
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &options).await.unwrap();
    let cuts: usize = std::env::var("FEED_CUTS").map_or(8, |text| text.parse().unwrap());
    let longest = if cuts > 10 { 5000 } else { 1500 };
    let mut random = Random(std::process::id().into());
    println!("seed {}", random.0);
    let feeds: Vec<SocketAddr> = COORDINATORS.iter().map(|name| lab.files().feed(name).unwrap()).collect();
    let lines: Vec<Line> = (0..6).map(|number| Line::to(feeds[number % 2])).collect();
    let mut followers: Vec<Follower> = lines.iter().map(|line| Follower::begin(&lab, &line.url())).collect();
    for follower in &mut followers {
        follower.until_greeted();
    }
    mark(&lab, 0, "the first").await;
    // Who is away; its viewers are led to the other one.
    let mut away: Option<(usize, Instant)> = None;
    for cut in 0..cuts {
        let up = away.map_or(cut % 2, |(away, _)| 1 - away);
        mark(&lab, up, &format!("cut {cut}")).await;
        let length = Duration::from_millis(100 + random.below(longest));
        let to = away.map_or_else(|| random.one_of(2), |(away, _)| 1 - away);
        lines[random.one_of(6)].cut(length, feeds[to]);
        if cut % 4 == 1 {
            // The leader is killed: by its rank it is the first that lives.
            let leader = 0;
            lab.coordinators[leader].kill9().unwrap();
            away = Some((leader, Instant::now()));
            for line in &lines {
                line.cut(Duration::from_millis(100), feeds[1 - leader]);
            }
        }
        if cut % 4 == 2 {
            lab.redis[0].kill9();
        }
        tokio::time::sleep(Duration::from_millis(200 + random.below(600))).await;
        if cut % 4 == 3 {
            lab.redis[0].start().await.unwrap();
            let (gone, _) = away.take().unwrap();
            lab.coordinators[gone].start().unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
    if let Some((gone, _)) = away.take() {
        lab.coordinators[gone].start().unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    mark(&lab, 1, "the last").await;
    for follower in &mut followers {
        follower.until_pause("the last");
    }
    let longest = followers.iter().map(|it| &it.ids).max_by_key(|ids| ids.len()).unwrap().clone();
    println!("{} incidents, {cuts} cuts", longest.len());
    assert!(longest.len() > cuts, "{longest:?}");
    for (number, follower) in followers.iter().enumerate() {
        let ids = &follower.ids;
        assert_eq!(ids[..], longest[longest.len() - ids.len()..], "viewer {number}");
        assert!(longest.len() - ids.len() < 8, "viewer {number} began late: {} of {}", ids.len(), longest.len());
        assert_eq!(follower.doubles(), 0);
    }
    // What is told of the pause comes right after it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let journals = [journal(&lab, 0), journal(&lab, 1)];
    assert_eq!(journals[0], journals[1]);
    for journal in &journals {
        let from = journal.iter().position(|id| *id == longest[0]).unwrap();
        assert_eq!(journal[from..][..longest.len()], longest[..]);
    }
    // Of several servers one may have refused what another one had taken a moment before.
    let on_redis: BTreeSet<String> =
        [kept(&lab.redis[0].url()).await, kept(&lab.redis[1].url()).await].into_iter().flatten().collect();
    assert_eq!(on_redis, journals[0].iter().cloned().collect());
    a_late_viewer_is_told_everything(&lab, &journals[1]);
}

/// Whoever knows the first incident alone is told all the others, by a coordinator that was never restarted.
fn a_late_viewer_is_told_everything(lab: &Lab, journal: &[String]) {
    let mut options = with_token("websocket");
    options["auth"]["since"] = json!({ "mariadb": journal[0] });
    let viewer = Viewer::at(lab, &format!("https://{}", lab.files().feed("co2").unwrap()), &options);
    let mut told = Vec::new();
    viewer.until("the last incident", |line| {
        let id = line["value"]["id"].as_str().filter(|_| line["name"] != "snapshot");
        told.extend(id.map(str::to_owned));
        (told.last() == journal.last()).then_some(())
    });
    assert_eq!(told, journal[1..]);
}

/// The ids of what a Redis keeps.
async fn kept(url: &str) -> Vec<String> {
    let mut redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut range = redis::cmd("XRANGE");
    let kept: redis::streams::StreamRangeReply =
        range.arg("tasuki:{mariadb}:history").arg("-").arg("+").query_async(&mut redis).await.unwrap();
    // The others are fences: where a leader began.
    let sealed = kept.ids.iter().filter_map(|entry| entry.get::<String>("e"));
    let id = |text: String| {
        serde_json::from_str::<Value>(&text).unwrap()["signed"]["body"]["id"].as_str().unwrap().to_owned()
    };
    sealed.map(id).collect()
}

/// An operator stops a coordinator for an upgrade while incidents go on: its viewers are led to the other one.
#[tokio::test]
async fn lab_a_coordinator_that_is_stopped_leads_its_viewers_away_without_a_lost_event() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let urls = COORDINATORS.map(|name| format!("https://{}", lab.files().feed(name).unwrap()));
    let mut followers: Vec<Follower> = (0..4).map(|_| Follower::begin(&lab, &urls[0])).collect();
    // A stock client is told why, and goes on by itself once the connection ends.
    let stock = Viewer::at(&lab, &urls[0], &with_token("websocket"));
    stock.named("snapshot");
    for follower in &mut followers {
        follower.until_greeted();
    }
    mark(&lab, 1, "the first").await;
    let mut stopping = lab.coordinators.remove(0);
    let begun = Instant::now();
    let stop = async { stopping.stop().await.unwrap() };
    let telling = async {
        // The rest of it is told while they are on their way.
        for number in 0..5 {
            mark(&lab, 0, &format!("on the way {number}")).await;
            let offered = endpoint(&lab, &urls[1]);
            assert_eq!(offered["coordinator"], "co2", "after {:?}: {offered}", begun.elapsed());
        }
    };
    tokio::join!(stop, telling);
    println!("stopped after {:?}", begun.elapsed());
    let closing = stock.named("closing");
    assert_eq!((&closing["code"], &closing["url"]), (&json!("stopping"), &json!(urls[1])), "{closing}");
    assert_eq!(stock.named("disconnect"), "transport close");
    mark(&lab, 0, "the last").await;
    for follower in &mut followers {
        follower.until_pause("the last");
    }
    let told = followers.iter().map(|it| &it.ids).max_by_key(|ids| ids.len()).unwrap().clone();
    let journal = journal(&lab, 0);
    assert_eq!(journal[journal.len() - told.len()..], told[..]);
    for follower in &followers {
        assert_eq!(follower.ids[..], told[told.len() - follower.ids.len()..]);
        assert!(follower.ids.len() > 6 && follower.doubles() == 0, "{:?}", follower.ids);
    }
}

/// Where a viewer is sent to.
fn endpoint(lab: &Lab, url: &str) -> Value {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "-m", "5", "--cacert"]).arg(lab.files().certificate());
    curl.args(["-H", &format!("authorization: Bearer {VIEWER_TOKEN}")]).arg(format!("{url}/api/v1/endpoint"));
    serde_json::from_slice(&curl.output().unwrap().stdout).unwrap()
}

/// The snippet of the README is what a page does; the script that it loads is served.
#[tokio::test]
async fn lab_the_script_that_misses_nothing_is_served_and_short() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let feed = lab.files().feed("co1").unwrap();
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "-i", "--cacert"]).arg(lab.files().certificate()).arg(format!("https://{feed}/tasuki.js"));
    let text = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/src/feed/tasuki.js");
    let script = std::fs::read_to_string(script).unwrap();
    assert!(text.contains("text/javascript") && text.contains("access-control-allow-origin: *"), "{text}");
    assert!(text.ends_with(&script) && script.lines().count() <= 60);
}
