//! Publishing on a Redis server while subscribing on a replica of it, each over TLS as a user that may do nothing else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tasuki_schemas::channel::Channel;
use tokio::time::sleep;

use crate::world::{Cluster, Program, Redis, assert_each_once, free_address, observation};

/// A Redis with TLS; of its users one publishes and subscribes, and one only subscribes.
fn secured(folder: &std::path::Path, port: u16, more: &[String]) -> Redis {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut arguments: Vec<String> =
        ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"].map(str::to_owned).into();
    arguments.extend(["--tls-cert-file".to_owned(), file("cert.pem"), "--tls-key-file".to_owned(), file("key.pem")]);
    for user in [
        "--user teller on >secret resetchannels &tasuki:* -@all +publish +subscribe +hello +client",
        "--user hearer on >hidden resetchannels &tasuki:* -@all +subscribe +hello +client",
    ] {
        arguments.extend(user.split(' ').map(str::to_owned));
    }
    arguments.extend_from_slice(more);
    Redis::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until a replica has everything that its server has: before that it brings nothing back.
fn await_copy(replica: &Redis) {
    for _ in 0..500 {
        let mut line = TcpStream::connect(replica.address).unwrap();
        line.write_all(b"INFO replication\r\nQUIT\r\n").unwrap();
        let mut told = String::new();
        line.read_to_string(&mut told).unwrap();
        if told.contains("master_link_status:up") {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the replica has no copy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_on_a_replica_works_and_its_death_moves_the_subscription_to_the_server_and_back() {
    let folder = std::env::temp_dir().join(format!("tasuki-bus-replica-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    let (near, far) = (free_address().port(), free_address().port());
    let server = secured(&folder, near, &[]);
    let (host, port) = server
        .url()
        .strip_prefix("redis://")
        .unwrap()
        .split_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let follows =
        ["--replicaof".to_owned(), format!("{host} {port}"), "--repl-diskless-sync-delay".to_owned(), "0".to_owned()];
    let mut replica = secured(&folder, far, &follows);
    await_copy(&replica);

    let cluster = Cluster::new(&["c1", "n1"], vec![format!("rediss://teller:secret@localhost:{near}")], false);
    let start = |me: &str| {
        let mut config = cluster.config(me, 1);
        config.redis_subscribe_urls = vec![format!("rediss://hearer:hidden@localhost:{far}")];
        config.redis_ca = Some(cert.pem().into_bytes());
        Program::start(config)
    };
    let (mut c1, n1) = (start("c1"), start("n1"));
    c1.await_carriers(1, 0).await;
    n1.await_carriers(1, 0).await;
    let mut said = 0;
    let mut say = |count: u64| {
        for number in said..said + count {
            n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
        }
        said += count;
    };
    say(10);
    assert_each_once(&c1.numbers(Duration::from_millis(300)).await, 10);

    let died = Instant::now();
    replica.kill();
    c1.resumed(Duration::from_secs(2)).await;
    println!("the subscription moved to the server within {:?}", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(2));
    say(10);
    assert_each_once(&c1.numbers(Duration::from_millis(300)).await.iter().map(|it| it - 10).collect::<Vec<_>>(), 10);

    replica.restart();
    let back = c1.resumed(Duration::from_secs(15)).await;
    println!("and back to the replica {back:?} after that was there");
    sleep(Duration::from_millis(300)).await;
    c1.drain();
    say(10);
    assert_each_once(&c1.numbers(Duration::from_millis(300)).await.iter().map(|it| it - 20).collect::<Vec<_>>(), 10);

    // One that lives and is told nothing any more is left as well.
    let cut = Instant::now();
    replica.stop();
    c1.resumed(Duration::from_secs(4)).await;
    println!("a replica that stands still was left after {:?}", cut.elapsed());
    replica.resume();
    std::fs::remove_dir_all(&folder).unwrap();
}
