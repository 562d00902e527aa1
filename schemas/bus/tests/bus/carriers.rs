//! Both carriers bring each message once, alone and beside each other.

use std::time::{Duration, Instant};

use tasuki_bus::Arrived;
use tasuki_schemas::channel::Channel;
use tokio::time::{sleep, timeout};

use crate::world::{Cluster, Program, Redis, assert_each_once, observation, probe, program};

const QUIET: Duration = Duration::from_millis(300);

/// A node's observations reach the coordinator and a coordinator's requests the node, each once.
async fn exchange(cluster: &Cluster, redis: usize, links: usize) -> (Program, Program) {
    let (mut c1, mut n1) = (cluster.start("c1"), cluster.start("n1"));
    c1.await_carriers(redis, links).await;
    n1.await_carriers(redis, links).await;
    for number in 0..100 {
        c1.bus.send(&program("n1"), &probe(number)).unwrap();
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
    }
    assert_each_once(&n1.numbers(QUIET).await, 100);
    assert_each_once(&c1.numbers(QUIET).await, 100);
    assert!(c1.bus.counters().dropped.is_empty(), "{:?}", c1.bus.counters());
    (c1, n1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_alone_suffices() {
    let redis = Redis::start();
    exchange(&Cluster::new(&["c1", "n1"], vec![redis.url()], false), 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mesh_alone_suffices() {
    exchange(&Cluster::new(&["c1", "n1"], vec![], true), 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_both_carriers_each_message_arrives_once() {
    let servers = [Redis::start(), Redis::start()];
    let urls = servers.iter().map(Redis::url).collect();
    let (c1, n1) = exchange(&Cluster::new(&["c1", "n1"], urls, true), 2, 1).await;
    assert_eq!(c1.bus.counters().duplicates, 200, "two more copies of each came and were not delivered");
    assert_eq!(n1.bus.counters().duplicates, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_redis_die_and_nothing_is_lost() {
    let mut servers = [Redis::start(), Redis::start(), Redis::start()];
    let cluster = Cluster::new(&["c1", "n1"], servers.iter().map(Redis::url).collect(), false);
    let (mut c1, n1) = (cluster.start("c1"), cluster.start("n1"));
    c1.await_carriers(3, 0).await;
    n1.await_carriers(3, 0).await;
    for number in 0..300 {
        match number {
            100 => servers[0].kill(),
            200 => servers[1].stop(),
            _ => sleep(Duration::from_millis(2)).await,
        }
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
    }
    assert_each_once(&c1.numbers(QUIET).await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_only_where_it_is_meant_to() {
    let cluster = Cluster::new(&["c1", "c2", "n1", "n2"], vec![], true);
    let (mut c1, mut c2) = (cluster.start("c1"), cluster.start("c2"));
    let (mut n1, mut n2) = (cluster.start("n1"), cluster.start("n2"));
    for coordinator in [&c1, &c2] {
        coordinator.await_carriers(0, 2).await;
    }
    for node in [&n1, &n2] {
        node.await_carriers(0, 3).await;
    }
    n1.bus.publish(&Channel::Health, &observation("n1", 0)).unwrap();
    c1.bus.send(&program("n2"), &probe(0)).unwrap();
    assert_eq!(c1.numbers(QUIET).await, [0]);
    assert_eq!(c2.numbers(QUIET).await, [0]);
    assert!(n1.numbers(QUIET).await.is_empty());
    assert_eq!(n2.numbers(QUIET).await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_from_publish_to_receipt_is_short() {
    let redis = Redis::start();
    for (name, urls, mesh) in
        [("redis", vec![redis.url()], false), ("mesh", vec![], true), ("both", vec![redis.url()], true)]
    {
        let cluster = Cluster::new(&["c1", "n1"], urls.clone(), mesh);
        let (mut c1, n1) = (cluster.start("c1"), cluster.start("n1"));
        c1.await_carriers(urls.len(), usize::from(mesh)).await;
        n1.await_carriers(urls.len(), usize::from(mesh)).await;
        c1.drain();
        let mut micros = Vec::new();
        for number in 0..200 {
            let began = Instant::now();
            n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
            while !matches!(
                timeout(Duration::from_secs(2), c1.arrived.recv()).await.unwrap().unwrap(),
                Arrived::Message(_)
            ) {}
            micros.push(began.elapsed().as_micros());
            sleep(Duration::from_millis(3)).await;
        }
        micros.sort_unstable();
        println!("{name}: publish to receipt median {} us, p99 {} us", micros[100], micros[198]);
        assert!(micros[100] < 20_000, "{name}: the median is {} us", micros[100]);
    }
}
