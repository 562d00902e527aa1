//! Cuts and the virtual address in a real kernel: two hosts, each a namespace, on one wire. Needs root.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tasuki_node::cut::{Cut, CutError, Cutting};
use tasuki_node::vip::{Vip, VipError};
use tasuki_schemas::observation::CutStrength;

const PORT: u16 = 3306;
const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
/// Far above what is measured, far below what TCP does by itself.
const AT_ONCE: Duration = Duration::from_millis(150);
static LABS: AtomicU32 = AtomicU32::new(0);

/// Two hosts, `a` (10.9.0.1) and `b` (10.9.0.2).
struct Lab {
    a: String,
    b: String,
}

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{} is missing ({error}): run `make tools`", words[0]));
    assert!(output.status.success(), "{words:?}: {} (root is needed)", String::from_utf8_lossy(&output.stderr));
}

impl Lab {
    fn new() -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |end: char| format!("tasuki-{}-{number}{end}", std::process::id());
        let lab = Self { a: name('a'), b: name('b') };
        run(&["ip", "netns", "add", &lab.a]);
        run(&["ip", "netns", "add", &lab.b]);
        run(&["ip", "-n", &lab.a, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &lab.b]);
        for (host, address) in [(&lab.a, "10.9.0.1/24"), (&lab.b, "10.9.0.2/24")] {
            run(&["ip", "-n", host, "addr", "add", address, "dev", "eth0"]);
            run(&["ip", "-n", host, "link", "set", "lo", "up"]);
            run(&["ip", "-n", host, "link", "set", "eth0", "up"]);
        }
        lab
    }

    fn cut(&self, host: &str) -> Cut {
        Cut::with_prefix(CutStrength::Kernel, "db-1", PORT, &["ip", "netns", "exec", host]).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.a]);
        run(&["ip", "netns", "del", &self.b]);
    }
}

/// Runs on a host. A socket belongs to the host on which it was made.
fn on<T: Send>(host: &str, act: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{host}")).unwrap();
    let entered = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(entered).join().unwrap())
}

fn listen(host: &str) -> TcpListener {
    on(host, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap())
}

fn connect(host: &str, ip: IpAddr) -> io::Result<TcpStream> {
    let stream = on(host, || TcpStream::connect_timeout(&SocketAddr::new(ip, PORT), Duration::from_secs(2)))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// A connection that was refused, and how long that took.
fn refusal(host: &str, ip: IpAddr) -> Duration {
    let begun = Instant::now();
    let error = connect(host, ip).expect_err("the connection is let in");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    begun.elapsed()
}

/// A server process that holds the only end of a connection.
fn serve(listener: &TcpListener, script: &str) -> Child {
    let connection = listener.accept().unwrap().0;
    let output = OwnedFd::from(connection.try_clone().unwrap());
    Command::new("sh").args(["-c", script]).stdin(OwnedFd::from(connection)).stdout(output).spawn().unwrap()
}

fn end(mut server: Child) -> Instant {
    server.kill().unwrap();
    let killed = Instant::now();
    server.wait().unwrap();
    killed
}

fn says(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

#[tokio::test]
async fn a_closed_server_is_silent_and_its_end_still_reaches_its_clients() {
    let lab = Lab::new();
    let mut cut = lab.cut(&lab.a);
    let listener = listen(&lab.a);
    let mut waiting = connect(&lab.b, A).unwrap();
    let waiting_server = serve(&listener, "exec cat");
    says(&mut waiting, b"hello");
    let mut late = connect(&lab.b, A).unwrap();
    let late_server = serve(&listener, "sleep 0.3; echo late; exec sleep 600");
    let mut active = connect(&lab.b, A).unwrap();
    let active_server = serve(&listener, "exec cat");

    assert_eq!(cut.open_clients().await.unwrap(), Cutting::Verified);
    let begun = Instant::now();
    assert_eq!(cut.close_clients(&BTreeSet::new()).await.unwrap(), Cutting::Verified);
    println!("closed and verified in {:?}", begun.elapsed());

    active.write_all(b"anything").unwrap();
    let begun = Instant::now();
    assert_eq!(active.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    println!("a client that sends is reset in {:?}", begun.elapsed());
    assert!(begun.elapsed() < AT_ONCE);
    late.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert_eq!(late.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "an answer left a closed server");
    println!("a new client is refused in {:?}", refusal(&lab.b, A));

    let killed = end(waiting_server);
    assert_eq!(waiting.read(&mut [0; 8]).unwrap(), 0);
    println!("a waiting client learns of the server's end in {:?}", killed.elapsed());
    assert!(killed.elapsed() < AT_ONCE);
    end(late_server);
    end(active_server);
}

#[tokio::test]
async fn a_closed_server_lets_in_itself_and_who_is_named_and_opens_again() {
    let lab = Lab::new();
    let mut cut = lab.cut(&lab.a);
    let listener = listen(&lab.a);
    assert_eq!(cut.close_clients(&BTreeSet::new()).await.unwrap(), Cutting::Verified);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    let mut own = connect(&lab.a, A).unwrap();
    let own_server = serve(&listener, "exec cat");
    says(&mut own, b"own");
    assert_eq!(cut.close_clients(&BTreeSet::from([B])).await.unwrap(), Cutting::Verified);
    let mut named = connect(&lab.b, A).unwrap();
    let named_server = serve(&listener, "exec cat");
    says(&mut named, b"named");
    assert_eq!(cut.close_clients(&BTreeSet::new()).await.unwrap(), Cutting::Verified);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    assert_eq!(cut.open_clients().await.unwrap(), Cutting::Verified);
    let mut new = connect(&lab.b, A).unwrap();
    let new_server = serve(&listener, "exec cat");
    says(&mut new, b"new");
    for server in [own_server, named_server, new_server] {
        end(server);
    }
}

#[tokio::test]
async fn a_refused_source_is_neither_heard_nor_answered_even_when_its_host_is_gone() {
    let lab = Lab::new();
    let mut cut = lab.cut(&lab.a);
    let listener = listen(&lab.b);
    let source = SocketAddr::new(B, PORT);
    let mut receiver = connect(&lab.a, B).unwrap();
    let mut server = listener.accept().unwrap().0;
    server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let other = on(&lab.b, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 3307)).unwrap());

    let begun = Instant::now();
    assert_eq!(cut.refuse_source(source).await.unwrap(), Cutting::Verified);
    println!("source refused and verified in {:?}", begun.elapsed());
    // The acknowledgement of a received event must not arrive.
    if receiver.write_all(b"ack").is_ok() {
        assert_eq!(receiver.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(server.read(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    println!("a connection to it is refused in {:?}", refusal(&lab.a, B));
    on(&lab.a, || TcpStream::connect((B, 3307))).expect("other ports of the source's host stay reachable");
    drop(other);

    // A silent host would hold a connecting receiver for seconds.
    run(&["ip", "-n", &lab.b, "link", "set", "eth0", "down"]);
    assert!(refusal(&lab.a, B) < AT_ONCE);
    run(&["ip", "-n", &lab.b, "link", "set", "eth0", "up"]);
    assert_eq!(cut.allow_source(source).await.unwrap(), Cutting::Verified);
    let begun = Instant::now();
    while connect(&lab.a, B).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "an allowed source stays unreachable");
    }
}

#[tokio::test]
async fn a_server_outside_the_group_is_refused_and_only_it() {
    let lab = Lab::new();
    let mut cut = lab.cut(&lab.a);
    let listener = listen(&lab.a);
    let mut standing = connect(&lab.b, A).unwrap();
    let server = serve(&listener, "exec cat");
    says(&mut standing, b"hello");
    let other = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 3));
    assert_eq!(cut.refuse_servers(&BTreeSet::from([other])).await.unwrap(), Cutting::Verified);
    says(&mut standing, b"still here");
    assert_eq!(cut.refuse_servers(&BTreeSet::from([B, other])).await.unwrap(), Cutting::Verified);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    standing.write_all(b"ack").unwrap();
    assert_eq!(standing.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(cut.clear().await.unwrap(), Cutting::Verified);
    connect(&lab.b, A).unwrap();
    end(server);
}

#[tokio::test]
async fn a_fence_outlives_its_program_and_returns_after_a_flush_by_others() {
    let lab = Lab::new();
    let _listener = listen(&lab.a);
    let mut first = lab.cut(&lab.a);
    let source: SocketAddr = "[fd00::7]:3306".parse().unwrap();
    first.close_clients(&BTreeSet::from([IpAddr::from([192, 168, 7, 7])])).await.unwrap();
    first.refuse_source(source).await.unwrap();
    let state = first.state().clone();
    drop(first);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    let mut second = lab.cut(&lab.a);
    assert_eq!(second.state(), &state);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    run(&["ip", "netns", "exec", &lab.a, "nft", "flush", "ruleset"]);
    connect(&lab.b, A).expect("nothing refuses after a flush");
    assert_eq!(second.assert().await.unwrap(), Cutting::Verified);
    assert!(refusal(&lab.b, A) < AT_ONCE);
    run(&["ip", "netns", "exec", &lab.a, "nft", "flush", "chain", "inet", "tasuki_db-1", "output"]);
    assert_eq!(second.assert().await.unwrap(), Cutting::Verified);
    assert_eq!(second.clear().await.unwrap(), Cutting::Verified);
    connect(&lab.b, A).unwrap();
}

#[tokio::test]
async fn a_node_that_only_looks_leaves_the_rules_as_they_are() {
    let lab = Lab::new();
    let rules = || {
        let output = Command::new("ip").args(["netns", "exec", &lab.a, "nft", "list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut cut = lab.cut(&lab.a);
    assert_eq!(rules(), "");
    assert_eq!(cut.assert().await.unwrap(), Cutting::Verified);
    assert!(rules().contains("table inet tasuki_db-1"));
    cut.close_clients(&BTreeSet::new()).await.unwrap();
    let fenced = rules();
    assert!(lab.cut(&lab.a).state().closed);
    assert_eq!(rules(), fenced);
}

#[tokio::test]
async fn cutting_by_sql_only_says_that_it_is_weak_and_a_host_without_rules_says_so() {
    let mut weak = Cut::new(CutStrength::Server, "db-1", PORT).unwrap();
    assert_eq!(weak.close_clients(&BTreeSet::new()).await.unwrap(), Cutting::Weak);
    assert!(weak.state().closed);
    for prefix in [&["/nonexistent/program"][..], &["false"][..]] {
        let error = Cut::with_prefix(CutStrength::Kernel, "db-1", PORT, prefix).unwrap_err();
        assert!(matches!(error, CutError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_virtual_address_moves_and_is_announced() {
    let lab = Lab::new();
    let vip = |host: &str| Vip::with_prefix("10.9.0.9/24", "eth0", &["ip", "netns", "exec", host]).unwrap();
    let address = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 9));
    let (mut first, mut second) = (vip(&lab.a), vip(&lab.b));
    assert!(!first.held().await.unwrap());
    let begun = Instant::now();
    first.take().await.unwrap();
    println!("address taken in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(500), "announcing must not hold anybody up");
    assert!(first.held().await.unwrap());
    first.take().await.unwrap();
    let _listener = listen(&lab.a);
    connect(&lab.b, address).unwrap();
    // A neighbour that knows the address at a wrong place hears the announcement.
    run(&[
        "ip",
        "-n",
        &lab.b,
        "neigh",
        "replace",
        "10.9.0.9",
        "lladdr",
        "02:00:00:00:00:01",
        "nud",
        "reachable",
        "dev",
        "eth0",
    ]);
    first.take().await.unwrap();
    let begun = Instant::now();
    connect(&lab.b, address).unwrap();
    println!("reached after {:?} through a wrong neighbour entry", begun.elapsed());
    first.release().await.unwrap();
    first.release().await.unwrap();
    assert!(!first.held().await.unwrap());
    second.take().await.unwrap();
    assert!(second.held().await.unwrap());
    second.release().await.unwrap();
    let error = Vip::with_prefix("10.9.0.9/24", "eth7", &["ip", "netns", "exec", &lab.a]).unwrap().take().await;
    assert!(matches!(error, Err(VipError::Refused { .. })), "{error:?}");
    for malformed in ["10.9.0.9", "10.9.0.9/33", "here/24", "10.9.0.9/0"] {
        assert!(Vip::new(malformed, "eth0").is_err(), "{malformed}");
    }
}
