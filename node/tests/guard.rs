//! The guard is a process of its own: it ends a server at its moment, whatever has become of the node.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tasuki_bus::clock;

struct Guard {
    child: Child,
    folder: PathBuf,
    node: BufReader<UnixStream>,
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tasuki-guard-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn connect(socket: &Path) -> BufReader<UnixStream> {
    for _ in 0..400 {
        if let Ok(stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            return BufReader::new(stream);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no guard at {}", socket.display());
}

impl Guard {
    fn start(name: &str) -> Self {
        let folder = folder(name);
        let child =
            Command::new(env!("CARGO_BIN_EXE_tasuki-node")).arg("guard").arg(folder.join("guard")).spawn().unwrap();
        let node = connect(&folder.join("guard"));
        Self { child, folder, node }
    }

    fn heard(&mut self) -> String {
        let mut line = String::new();
        self.node.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn tell(&mut self, line: &str) -> String {
        self.node.get_ref().write_all(format!("{line}\n").as_bytes()).unwrap();
        self.heard()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn server() -> (Child, u64) {
    let child = Command::new("sleep").arg("600").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    (child, started)
}

fn line(pid: u32, started: u64, in_ms: u64) -> String {
    let until = (clock::now() + Duration::from_millis(in_ms)).nanos();
    format!(r#"{{"pid":{pid},"started":{started},"until":{until}}}"#)
}

fn ends_within(server: &mut Child, limit: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if server.try_wait().unwrap().is_some() {
            return Some(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

#[test]
fn a_server_is_killed_at_its_moment_although_the_node_is_gone() {
    let mut guard = Guard::start("gone");
    assert_eq!(guard.heard(), "null");
    let (mut server, started) = server();
    let order = line(server.id(), started, 400);
    assert_eq!(guard.tell(&order), order);
    guard.node.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    let ended = ends_within(&mut server, Duration::from_secs(3)).unwrap();
    assert!(ended > Duration::from_millis(300) && ended < Duration::from_millis(600), "{ended:?}");
}

#[test]
fn a_renewed_server_lives_and_one_let_go_is_left_alone() {
    let mut guard = Guard::start("renewed");
    guard.heard();
    let (mut server, started) = server();
    for _ in 0..8 {
        guard.tell(&line(server.id(), started, 300));
        assert_eq!(ends_within(&mut server, Duration::from_millis(100)), None);
    }
    assert_eq!(guard.tell("null"), "null");
    assert_eq!(ends_within(&mut server, Duration::from_millis(500)), None);
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_node_that_starts_anew_finds_what_is_held_and_a_stranger_with_the_pid_is_not_held() {
    let mut guard = Guard::start("anew");
    guard.heard();
    let (mut server, started) = server();
    let order = line(server.id(), started, 60_000);
    guard.tell(&order);
    guard.node = connect(&guard.folder.join("guard"));
    assert_eq!(guard.heard(), order);
    assert_eq!(guard.tell(&line(server.id(), started + 1, 60_000)), "null");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_word_that_is_not_understood_changes_nothing() {
    let mut guard = Guard::start("noise");
    guard.heard();
    let (mut server, started) = server();
    let order = line(server.id(), started, 60_000);
    guard.tell(&order);
    guard.node.get_ref().write_all(b"{\"pid\":\n").unwrap();
    guard.node = connect(&guard.folder.join("guard"));
    assert_eq!(guard.heard(), order);
    server.kill().unwrap();
    server.wait().unwrap();
}
