//! A carrier that is stopped, killed or deaf delays nobody, and comes back by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tasuki_bus::Reason;
use tasuki_schemas::channel::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::world::{Cluster, Redis, assert_each_once, observation, probe, program};

const QUIET: Duration = Duration::from_millis(300);

/// Publishes for two seconds while a carrier is out of order and returns the slowest call.
async fn slowest_publish(n1: &crate::world::Program) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..2000 {
        let began = Instant::now();
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
        slowest = slowest.max(began.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_delays_nobody_and_resumes() {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![redis.url()], false);
    let (mut c1, n1) = (cluster.start("c1"), cluster.start("n1"));
    c1.await_carriers(1, 0).await;
    n1.await_carriers(1, 0).await;
    c1.drain();

    redis.stop();
    let slowest = slowest_publish(&n1).await;
    println!("slowest publish beside a stopped Redis: {slowest:?}");
    assert!(slowest < Duration::from_millis(20), "{slowest:?}");
    assert!(!c1.bus.carriers().redis.values().any(|lives| *lives), "silence was not noticed");

    redis.resume();
    let took = c1.resumed(Duration::from_secs(2)).await;
    println!("resumed {took:?} after the stopped Redis went on");
    n1.await_carriers(1, 0).await;
    c1.numbers(QUIET).await;
    n1.bus.publish(&Channel::Health, &observation("n1", 4711)).unwrap();
    assert_eq!(c1.numbers(QUIET).await, [4711]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_resumes_after_its_restart() {
    let mut redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![redis.url()], false);
    let (mut c1, n1) = (cluster.start("c1"), cluster.start("n1"));
    c1.await_carriers(1, 0).await;
    n1.await_carriers(1, 0).await;
    c1.drain();

    redis.kill();
    sleep(Duration::from_millis(1500)).await;
    redis.restart();
    let took = c1.resumed(Duration::from_secs(2)).await;
    println!("resumed {took:?} after the restart of a killed Redis");
    n1.await_carriers(1, 0).await;
    for number in 0..10 {
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
    }
    assert_each_once(&c1.numbers(QUIET).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_redis_forgot_is_noticed() {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1"], vec![redis.url()], false);
    let mut c1 = cluster.start("c1");
    c1.await_carriers(1, 0).await;
    c1.drain();

    let client = redis::Client::open(redis.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let acl = |rule: &str| redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned();
    // Taking the right away makes the server end the subscription; until it is given back, each attempt is refused.
    acl("resetchannels").exec_async(&mut admin).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(!c1.bus.carriers().redis.values().any(|lives| *lives));
    acl("allchannels").exec_async(&mut admin).await.unwrap();
    c1.resumed(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_is_no_error() {
    let nobody = format!("redis://{}", crate::world::free_address());
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![nobody, redis.url()], false);
    let (c1, mut n1) = (cluster.start("c1"), cluster.start("n1"));
    c1.await_carriers(1, 0).await;
    n1.await_carriers(1, 0).await;
    c1.bus.send(&program("n1"), &probe(0)).unwrap();
    assert_eq!(n1.numbers(QUIET).await, [0]);
}

/// Forwards connections to `target` until it is told to let everything lie.
async fn forwarder(target: SocketAddr, deaf: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let forward = async move |from: &mut tokio::net::tcp::OwnedReadHalf, to: &mut tokio::net::tcp::OwnedWriteHalf| {
        let mut bytes = vec![0; 65536];
        loop {
            while deaf.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10)).await;
            }
            let count = from.read(&mut bytes).await.unwrap_or(0);
            if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let forward = Arc::new(forward);
    tokio::spawn(async move {
        while let Ok((dialler, _)) = listener.accept().await {
            let forward = Arc::clone(&forward);
            tokio::spawn(async move {
                let Ok(listener) = TcpStream::connect(target).await else { return };
                let ((mut from, mut to), (mut back_from, mut back_to)) = (dialler.into_split(), listener.into_split());
                tokio::select! {
                    () = forward(&mut from, &mut back_to) => {}
                    () = forward(&mut back_from, &mut to) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_blocks_nobody_and_comes_back() {
    let mut cluster = Cluster::new(&["c1", "n1", "n2"], vec![], true);
    let (mut n1, mut n2) = (cluster.start("n1"), cluster.start("n2"));
    let deaf = Arc::new(AtomicBool::new(false));
    let detour = forwarder(cluster.addresses[&program("n1")], Arc::clone(&deaf)).await;
    cluster.addresses.insert(program("n1"), detour);
    let c1 = cluster.start("c1");
    c1.await_carriers(0, 2).await;
    n1.drain();

    deaf.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for number in 0..3000 {
        let began = Instant::now();
        c1.bus.send(&program("n1"), &probe(number)).unwrap();
        c1.bus.send(&program("n2"), &probe(number)).unwrap();
        slowest = slowest.max(began.elapsed());
        sleep(Duration::from_micros(500)).await;
    }
    println!("slowest pair of sends beside a deaf peer: {slowest:?}");
    assert!(slowest < Duration::from_millis(20), "{slowest:?}");
    assert_each_once(&n2.numbers(QUIET).await, 3000);
    sleep(Duration::from_millis(700)).await;
    assert!(!c1.bus.carriers().mesh[&program("n1")], "silence was not noticed");
    assert!(c1.bus.counters().dropped.contains_key(&Reason::QueueFull), "{:?}", c1.bus.counters());

    deaf.store(false, Ordering::Relaxed);
    n1.resumed(Duration::from_secs(3)).await;
    c1.await_carriers(0, 2).await;
    n1.numbers(QUIET).await;
    c1.bus.send(&program("n1"), &probe(4711)).unwrap();
    assert_eq!(n1.numbers(QUIET).await, [4711]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_is_noticed_though_tcp_sees_nothing() {
    let mut cluster = Cluster::new(&["c1", "n1"], vec![], true);
    let n1 = cluster.start("n1");
    let deaf = Arc::new(AtomicBool::new(false));
    let detour = forwarder(cluster.addresses[&program("n1")], Arc::clone(&deaf)).await;
    cluster.addresses.insert(program("n1"), detour);
    let c1 = cluster.start("c1");
    c1.await_carriers(0, 1).await;
    deaf.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(2500)).await;
    for (name, mesh) in [("n1", c1.bus.carriers().mesh), ("c1", n1.bus.carriers().mesh)] {
        assert!(!mesh[&program(name)], "the silence of {name} was not noticed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_linked_again() {
    let cluster = Cluster::new(&["c1", "n1"], vec![], true);
    let mut c1 = cluster.start("c1");
    for start in 1..4 {
        let n1 = crate::world::Program::start(cluster.config("n1", start));
        n1.await_carriers(0, 1).await;
        n1.bus.publish(&Channel::Health, &observation("n1", start)).unwrap();
        assert_eq!(c1.numbers(QUIET).await, [start]);
        drop(n1);
        sleep(Duration::from_millis(50)).await;
    }
}
