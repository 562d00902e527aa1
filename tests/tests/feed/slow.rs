//! Viewers that take what they are sent too slowly, or not at all, behind a narrow line of their own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::{VIEWER_TOKEN, grant};
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::{Lab, Options};

use crate::hostile::open_files;
use crate::viewer::{Viewer, showing, with_token};

/// Bytes that the line takes at a time, and how often it looks whether it may.
const PIECE: usize = 2048;
const TICK: Duration = Duration::from_millis(20);
/// A slow viewer takes so many pieces in so long, all of them at once: far less than it is sent, and yet it is not deaf.
const SLOW: u64 = 48;
const PAUSE: Duration = Duration::from_secs(2);

/// A line between viewers and a feed whose buffers are as small as the kernel makes them.
struct Line {
    address: SocketAddr,
    /// Pieces that it still passes on to the viewer; the greatest number: all.
    pieces: Arc<AtomicU64>,
}

impl Line {
    fn to(feed: SocketAddr) -> Self {
        let listener = TcpListener::bind((feed.ip(), 0)).unwrap();
        let (address, pieces) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(u64::MAX)));
        let allowed = Arc::clone(&pieces);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                // What waits in the coordinator's kernel is counted in segments.
                socket.set_tcp_mss(536).unwrap();
                socket.set_recv_buffer_size(8 * PIECE).unwrap();
                socket.connect(&feed.into()).unwrap();
                let far = TcpStream::from(socket);
                let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let allowed = Arc::clone(&allowed);
                thread::spawn(move || Self::pass(far, near, &allowed));
            }
        });
        Self { address, pieces }
    }

    fn pass(mut far: TcpStream, mut near: TcpStream, allowed: &AtomicU64) {
        let mut piece = [0; PIECE];
        loop {
            match allowed.load(Ordering::Relaxed) {
                u64::MAX => {}
                0 => {
                    thread::sleep(TICK);
                    continue;
                }
                more => allowed.store(more - 1, Ordering::Relaxed),
            }
            let Ok(length @ 1..) = far.read(&mut piece) else { break };
            if near.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = near.shutdown(Shutdown::Both);
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn take(&self, pieces: u64) {
        self.pieces.store(pieces, Ordering::Relaxed);
    }
}

/// Operators who pause and resume until they are stopped: each of it is some incidents.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Busy {
    fn begin(lab: &Lab, operators: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("https://{}/ops", lab.files().feed("co1").unwrap());
        let threads = (0..operators).map(|number| {
            let mut operator = Viewer::at(lab, &url, &showing("websocket", &format!("token-{number}")));
            operator.named("connect");
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let reason = "a reason that is as long as one may be; ".repeat(4);
                    operator.ask(&json!(["pause", { "cluster": "mariadb", "for_s": 60, "reason": reason }]));
                    operator.ask(&json!(["resume", { "cluster": "mariadb" }]));
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// A cluster, and tokens for so many operators.
async fn with_operators(operators: usize) -> Lab {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    for number in 0..operators {
        let operator = grant(&format!("operator-{number}"), Role::Operator).unwrap();
        add_token(&lab.files().tokens(), &operator, &format!("token-{number}")).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab
}

/// The incidents among what a viewer got, by their ids.
fn incidents(lines: &[Value]) -> Vec<String> {
    let incident = |line: &&Value| line["name"] != "snapshot" && line["name"] != "closing";
    let ids = lines.iter().filter(incident).filter_map(|line| line["value"]["id"].as_str());
    ids.map(str::to_owned).collect()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["name"].as_str()).collect()
}

#[tokio::test]
async fn lab_a_viewer_that_is_too_slow_is_told_so_and_misses_nothing() {
    const OPERATORS: usize = 4;
    let lab = with_operators(OPERATORS).await;
    let line = Line::to(lab.files().feed("co1").unwrap());
    let good = Viewer::watch(&lab, &with_token("websocket"));
    good.named("snapshot");
    let slow = Viewer::at(&lab, &line.url(), &with_token("websocket"));
    slow.named("snapshot");

    let busy = Busy::begin(&lab, OPERATORS);
    line.take(0);
    let mut taken = Instant::now();
    until_slowly("a viewer to be too slow", Duration::from_secs(60), async || {
        if taken.elapsed() > PAUSE {
            (taken, _) = (Instant::now(), line.take(SLOW));
        }
        let log = std::fs::read_to_string(lab.coordinators[0].log())?;
        anyhow::ensure!(log.contains("a viewer was too slow and is dropped"), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    line.take(u64::MAX);
    busy.end();
    let mut told = Vec::new();
    slow.within(Duration::from_secs(60), "the end", |line| {
        told.push(line.clone());
        (line["name"] == "disconnect").then_some(())
    });
    let closing = told.iter().find(|line| line["name"] == "closing");
    let closing = closing.unwrap_or_else(|| panic!("no reason among {:?}", names(&told)));
    assert_eq!(closing["value"]["code"], "slow", "{closing}");
    assert!(closing["value"]["why"].as_str().unwrap().contains("connect again with `since`"), "{closing}");

    let mut got = incidents(&told);
    let mut options = showing("websocket", VIEWER_TOKEN);
    options["auth"]["since"] = json!({ "mariadb": got.last().unwrap() });
    let all = incidents(&good.during(Duration::from_secs(1)));
    let again = Viewer::at(&lab, &line.url(), &options);
    again.within(Duration::from_secs(60), "the last incident", |line| {
        got.extend(incidents(std::slice::from_ref(line)));
        (got.last() == all.last()).then_some(())
    });
    let from = all.iter().position(|id| Some(id) == got.first()).unwrap();
    assert_eq!(got, all[from..], "what the slow viewer got in two parts is not what the good one got");
    assert!(got.len() > 300, "{} incidents", got.len());
}

#[tokio::test]
async fn lab_a_viewer_whose_window_is_full_costs_no_descriptor() {
    const VIEWERS: usize = 4;
    let lab = with_operators(1).await;
    let line = Line::to(lab.files().feed("co1").unwrap());
    let pid = lab.coordinators[0].pid().unwrap();
    let busy = Busy::begin(&lab, 1);
    let before = open_files(pid);
    let deaf = [(); VIEWERS].map(|()| Viewer::at(&lab, &line.url(), &with_token("websocket")));
    for viewer in &deaf {
        viewer.named("telemetry");
    }
    assert!(open_files(pid) >= before + VIEWERS, "{} files are open, {before} were before", open_files(pid));
    // The line stays as it is, and so do they who wait behind it.
    line.take(0);
    let shut = Instant::now();
    until_slowly("the descriptors of those who take nothing", Duration::from_secs(40), async || {
        let now = open_files(pid);
        anyhow::ensure!(now < before + 2, "{now} files are open, {before} were before");
        Ok(())
    })
    .await
    .unwrap();
    // A ping that is not answered takes up to ten seconds to come and ten to be missed.
    assert!(shut.elapsed() < Duration::from_secs(15), "{:?}", shut.elapsed());
    busy.end();
    drop(deaf);
}
