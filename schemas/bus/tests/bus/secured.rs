//! Redis behind TLS, with a user that may only do what the bus needs.

use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tasuki_schemas::channel::Channel;
use tokio::time::sleep;

use crate::world::{Cluster, Program, Redis, assert_each_once, free_address, observation};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_user_with_few_rights_suffice_and_a_stranger_is_refused() {
    let folder = std::env::temp_dir().join(format!("tasuki-bus-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let port = free_address().port();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let user = "--user tasuki on >secret resetchannels &tasuki:* -@all +publish +subscribe +hello +client";
    let tls = format!("--tls-port {port} --tls-cert-file {certificate} --tls-key-file {key} --tls-auth-clients no");
    let _redis = Redis::start_with(&tls.split(' ').chain(user.split(' ')).collect::<Vec<_>>());
    std::fs::remove_dir_all(&folder).unwrap();

    let url = |password: &str| format!("rediss://tasuki:{password}@localhost:{port}");
    let cluster = Cluster::new(&["c1", "n1"], vec![url("secret")], false);
    let start = |me: &str, ca: Option<String>, password: &str| {
        let mut config = cluster.config(me, 1);
        config.redis_urls = vec![url(password)];
        config.redis_ca = ca.map(String::into_bytes);
        Program::start(config)
    };
    let (mut c1, n1) = (start("c1", Some(cert.pem()), "secret"), start("n1", Some(cert.pem()), "secret"));
    c1.await_carriers(1, 0).await;
    n1.await_carriers(1, 0).await;
    for number in 0..10 {
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
    }
    assert_each_once(&c1.numbers(Duration::from_millis(300)).await, 10);

    let (untrusting, unknown) = (start("n1", None, "secret"), start("n1", Some(cert.pem()), "wrong"));
    sleep(Duration::from_millis(500)).await;
    for program in [untrusting, unknown] {
        assert_eq!(program.bus.counters().resumed, 0);
    }
}
