//! What is forged, foreign, replayed or said by a stranger is dropped and counted.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use redis::AsyncCommands as _;
use tasuki_bus::{BusError, Reason, key};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::channel::Channel;
use tasuki_schemas::envelope::Sealer;
use tasuki_schemas::id::{Boot, BootId, Incarnation};
use tasuki_schemas::lease::{Grant, Renew};
use tasuki_schemas::message::Message;
use tokio::time::sleep;

use crate::world::{Cluster, Program, Redis, observation, probe, program};

const QUIET: Duration = Duration::from_millis(300);

fn seal_with(key: SigningKey, cluster: &str, sender: &str, start: u64, message: &Message) -> String {
    let boot = Boot { start, random: BootId(start) };
    Sealer::new(key, cluster.parse().unwrap(), "d".to_owned(), program(sender), boot).seal(None, message).unwrap()
}

fn seal(sender: &str, start: u64, message: &Message) -> String {
    seal_with(crate::world::key(sender), "main", sender, start, message)
}

/// Publishes texts on the health channel, tells what arrived and why the rest was dropped.
async fn receive(texts: &[String]) -> (Vec<u64>, tasuki_bus::Counters) {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![redis.url()], false);
    let mut c1 = cluster.start("c1");
    c1.await_carriers(1, 0).await;
    let mut intruder = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let channel = Channel::Health.name(&"main".parse().unwrap());
    for text in texts {
        intruder.publish::<_, _, ()>(&channel, text).await.unwrap();
    }
    (c1.numbers(QUIET).await, c1.bus.counters())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_genuine_message_arrives_and_each_other_has_its_reason() {
    let genuine = seal("n1", 1, &observation("n1", 7));
    let (numbers, counters) = receive(&[
        "no envelope".to_owned(),
        "x".repeat(300 * 1024),
        genuine.replace("\"sequence\":1", "\"sequence\":2"),
        seal_with(crate::world::key("c1"), "main", "n1", 1, &observation("n1", 1)),
        seal_with(crate::world::key("n1"), "other", "n1", 1, &observation("n1", 1)),
        seal("n9", 1, &observation("n9", 1)),
        seal("n1", 1, &probe(1)),
        genuine,
    ])
    .await;
    assert_eq!(numbers, [7]);
    let expected = [
        (Reason::Malformed, 1),
        (Reason::Oversized, 1),
        (Reason::Forged, 2),
        (Reason::Foreign, 1),
        (Reason::UnknownSender, 1),
        (Reason::NotTheirs, 1),
    ];
    assert_eq!(counters.dropped, expected.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_this_run_or_an_earlier_one_does_not_arrive() {
    let (earlier, present) = (seal("n1", 1, &observation("n1", 1)), seal("n1", 2, &observation("n1", 2)));
    // Held back by somebody until now: its text is new, its run is over.
    let late = seal("n1", 1, &observation("n1", 3));
    let (numbers, counters) = receive(&[earlier.clone(), present.clone(), earlier, present, late]).await;
    assert_eq!(numbers, [1, 2]);
    assert_eq!(counters.duplicates, 2);
    assert_eq!(counters.dropped, [(Reason::Stale, 1)].into());
}

/// A program that lost its memory would otherwise obey what it was told long ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_to_another_run_of_a_program_does_not_arrive() {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![redis.url()], false);
    let mut n1 = Program::start(cluster.config("n1", 2));
    n1.await_carriers(1, 0).await;
    let run = |start, random| Boot { start, random: BootId(random) };
    let mut sealer =
        Sealer::new(crate::world::key("c1"), "main".parse().unwrap(), "d".to_owned(), program("c1"), run(1, 1));
    let target = program("n1");
    let mut intruder = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let channel = Channel::To(target.clone()).name(&"main".parse().unwrap());
    for (number, run) in [(1, Some(run(1, 1))), (2, None), (3, Some(run(2, 2))), (4, Some(run(2, 9)))] {
        let text = sealer.seal(Some((&target, run)), &probe(number)).unwrap();
        intruder.publish::<_, _, ()>(&channel, text).await.unwrap();
    }
    assert_eq!(n1.numbers(QUIET).await, [2, 3]);
    assert_eq!(n1.bus.counters().dropped, [(Reason::Outlived, 2)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_spoken_to_by_the_run_that_was_heard_last() {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1"], vec![redis.url()], false);
    let mut c1 = cluster.start("c1");
    c1.await_carriers(1, 0).await;
    for start in [1, 2] {
        let mut n1 = Program::start(cluster.config("n1", start));
        n1.await_carriers(1, 0).await;
        c1.bus.send(&program("n1"), &probe(start)).unwrap();
        // Of the first run c1 has heard nothing yet, and of the second not that it is another one.
        let arrived: &[u64] = if start == 1 { &[1] } else { &[] };
        assert_eq!(n1.numbers(QUIET).await, arrived);
        n1.bus.publish(&Channel::Health, &observation("n1", start)).unwrap();
        assert_eq!(c1.numbers(QUIET).await, [start]);
        c1.bus.send(&program("n1"), &probe(10 + start)).unwrap();
        assert_eq!(n1.numbers(QUIET).await, [10 + start]);
    }
}

/// Nodes do not hear each other unless they ask: one that began anew must be reached by who knows its last run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_began_anew_is_asked_by_other_nodes_as_before() {
    let redis = Redis::start();
    let cluster = Cluster::new(&["c1", "n1", "n2"], vec![redis.url()], false);
    let n1 = cluster.start("n1");
    n1.await_carriers(1, 0).await;
    let epoch = Epoch(Ballot { counter: 1, coordinator: "c1".parse().unwrap(), boot: BootId(1) });
    let question = Message::Renew(Renew { epoch: epoch.clone(), number: 1, guarded: true });
    let answer = Message::Grant(Grant { epoch, number: 1, incarnation: Incarnation(1) });
    for start in [1, 2] {
        let n2 = Program::start(cluster.config("n2", start));
        n2.await_carriers(1, 0).await;
        n1.bus.send(&program("n2"), &question).unwrap();
        sleep(QUIET).await;
        assert_eq!(n2.bus.counters().delivered, 1, "the question to run {start}");
        n2.bus.send(&program("n1"), &answer).unwrap();
        sleep(QUIET).await;
        assert_eq!(n1.bus.counters().delivered, start);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_never_reaches_the_program() {
    let echo = Message::Echo { nonce: tasuki_schemas::id::Nonce(1) };
    let (numbers, counters) = receive(&[seal("n1", 1, &echo), seal("c1", 1, &echo)]).await;
    assert_eq!((numbers, counters.delivered), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_in_the_cluster_file_gets_no_link() {
    let cluster = Cluster::new(&["c1", "n1"], vec![], true);
    let mut n1 = cluster.start("n1");
    let mut config = cluster.config("c1", 1);
    config.key = SigningKey::from_bytes(&[9; 32]);
    config.keys.get_mut(&program("c1")).unwrap().1 = config.key.verifying_key();
    let stranger = Program::start(config);
    stranger.bus.send(&program("n1"), &probe(1)).unwrap();
    assert!(n1.numbers(QUIET).await.is_empty());
    sleep(Duration::from_millis(500)).await;
    assert!(n1.bus.counters().dropped[&Reason::UnknownKey] > 0);
    assert_eq!((n1.bus.counters().resumed, stranger.bus.counters().resumed), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_at_anothers_address_gets_no_link() {
    let cluster = Cluster::new(&["c1", "n1", "n2"], vec![], true);
    let _n1 = cluster.start("n1");
    let mut config = cluster.config("c1", 1);
    let n2 = config.peers.iter_mut().find(|peer| peer.program == program("n2")).unwrap();
    n2.address = cluster.addresses.get(&program("n1")).copied();
    let c1 = Program::start(config);
    c1.await_carriers(0, 1).await;
    sleep(QUIET).await;
    assert!(c1.bus.counters().dropped[&Reason::WrongPeer] > 0);
    assert!(!c1.bus.carriers().mesh[&program("n2")]);
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused_with_the_fix() {
    let cluster = Cluster::new(&["c1", "n1"], vec![], true);
    let start = |config| tasuki_bus::Bus::start(config).err().unwrap();

    let mut wrong = cluster.config("c1", 1);
    wrong.key = SigningKey::from_bytes(&[9; 32]);
    let public = key::public_base64(&wrong.key.verifying_key());
    assert!(start(wrong).to_string().contains(&public));

    let mut shared = cluster.config("c1", 1);
    shared.keys.get_mut(&program("n1")).unwrap().1 = crate::world::key("c1").verifying_key();
    assert!(matches!(start(shared), BusError::SharedKey { .. }));

    let mut url = cluster.config("c1", 1);
    url.redis_urls = vec!["redis://fine".to_owned(), "http://user:secret@host".to_owned()];
    let error = start(url).to_string();
    assert!(error.contains("number 2") && !error.contains("secret"), "{error}");

    let taken = cluster.start("n1");
    assert!(matches!(start(cluster.config("n1", 2)), BusError::Listen { .. }));
    drop(taken);
}
