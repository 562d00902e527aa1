//! More than the primary fails: its host, its sidecar, the leading coordinator, Redis. And what must not be touched.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::server::Server;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::writer::{Attempt, Target, Writers};
use tasuki_tests::lab::{Cluster, Lab, Options, drill, history};

/// Waits for acknowledged writes that began after the fault; they must come within the limit.
async fn recovered(writers: &Writers, fault: Instant, limit: Duration) {
    until("acknowledged writes after the fault", limit + Duration::from_secs(20), async || {
        let after = writers.since(fault).iter().filter(|it| it.acknowledged && it.start > fault).count();
        anyhow::ensure!(after >= 100, "{after} of 100");
        Ok(())
    })
    .await
    .unwrap();
    let gap = drill::longest_gap(writers, fault).unwrap();
    eprintln!("gap {:.0} ms, limit {} ms", gap.as_secs_f64() * 1e3, limit.as_millis());
    assert!(gap <= limit, "{gap:?} without an acknowledged write");
}

async fn nothing_lost(cluster: &Cluster, log: &[Attempt]) {
    let primary = cluster.primary().await.unwrap();
    let found = history::check(&cluster.server(&primary).unwrap().sql(), log, 0).await.unwrap();
    assert!(found.lost.is_empty() && found.doubled.is_empty(), "lost {:?}, doubled {:?}", found.lost, found.doubled);
    assert!(found.acknowledged > 200, "{} acknowledged", found.acknowledged);
}

async fn lose_host(flavour: Flavour) {
    let options = Options { vip: true, ..Options::default() };
    let lab = Lab::start(Kind::Namespaces, &[flavour], &options).await.unwrap();
    let cluster = &lab.clusters[0];
    let writers = cluster.write(8, 300).unwrap();
    let old = cluster.primary().await.unwrap();
    let locals = cluster.write_on(&old, 2, 50).unwrap();
    let port = cluster.server(&old).unwrap().address().port();
    let vip = Target::Tcp(SocketAddr::from(([10, 77, 0, 100], port)));
    let by_vip = Writers::begin(&lab.net().on("cl1").unwrap(), &vip, &cluster.ids, 2, 40);
    drill::acknowledged(&writers, 200).await.unwrap();
    let fault = Instant::now();
    lab.net().namespaces().unwrap().unplug(&old).unwrap();
    let isolated = Instant::now();
    recovered(&writers, fault, Duration::from_millis(2500)).await;
    // Until the link is down, writes go to the old primary.
    let fresh = |it: &&Attempt| it.acknowledged && it.start > isolated;
    let opened = writers.since(fault).iter().filter(fresh).map(|it| it.end).min().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = locals.since(opened).iter().filter(|it| it.acknowledged).count();
    assert_eq!(late, 0, "the old primary acknowledged after the new one had");
    until("a write through the VIP", Duration::from_secs(8), async || {
        anyhow::ensure!(by_vip.since(opened).iter().any(|it| it.acknowledged && it.start > opened), "none");
        Ok(())
    })
    .await
    .unwrap();
    let mut log = writers.log();
    log.extend(locals.log());
    log.extend(by_vip.log());
    nothing_lost(cluster, &log).await;
    // The host comes back with writes that nobody acknowledged: its server is closed, and never serves again.
    lab.net().namespaces().unwrap().plug(&old).unwrap();
    let before = locals.acknowledged();
    until("the old primary to be closed", Duration::from_secs(20), async || {
        let observation = cluster.observation(&old).await?;
        let record = observation.ledger.accepted.map(|accepted| accepted.record);
        anyhow::ensure!(record.is_some_and(|record| record.primary.as_str() != old), "{old} knows no newer record");
        anyhow::ensure!(!observation.server.is_some_and(|server| server.serving), "{old} still serves");
        Ok(())
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(locals.acknowledged(), before, "the old primary took a write after it came back");
    assert_ne!(cluster.primary().await.unwrap(), old);
}

#[tokio::test]
async fn lab_a_lost_mariadb_host_is_replaced_and_acknowledges_nothing_afterwards() {
    lose_host(Flavour::Mariadb).await;
}

#[tokio::test]
async fn lab_a_lost_mysql_host_is_replaced_and_acknowledges_nothing_afterwards() {
    lose_host(Flavour::Mysql).await;
}

#[tokio::test]
async fn lab_of_three_redis_servers_any_two_may_die_in_turn() {
    for flavour in [Flavour::Mariadb, Flavour::Mysql] {
        // A witness votes beside them.
        let options = Options { redis: 3, witnesses: 1, ..Options::default() };
        let mut lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
        let writers = lab.clusters[0].write(8, 400).unwrap();
        drill::acknowledged(&writers, 200).await.unwrap();
        for dead in [0, 1] {
            lab.redis[dead].kill9();
            let old = lab.clusters[0].primary().await.unwrap();
            let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
            recovered(&writers, fault, drill::crash_limit(flavour)).await;
            drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
        }
        nothing_lost(&lab.clusters[0], &writers.log()).await;
    }
}

#[tokio::test]
async fn lab_an_observed_cluster_is_told_about_and_never_touched() {
    for flavour in [Flavour::Mariadb, Flavour::Mysql] {
        let options = Options {
            mode: "observe".into(),
            server_options: vec!["--general-log=1".into(), "--general-log-file=general.log".into()],
            vip: true,
            ..Options::default()
        };
        let mut lab = Lab::start(Kind::Namespaces, &[flavour], &options).await.unwrap();
        let listener = lab.listen(&lab.clusters[0]).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let marks: Vec<usize> = lab.clusters[0].servers.iter().map(|server| general_log(server).len()).collect();
        let old = lab.clusters[0].primary().await.unwrap();
        let living: Vec<String> =
            lab.clusters[0].servers.iter().map(|it| it.name().to_owned()).filter(|name| *name != old).collect();
        let before: Vec<String> = living.iter().map(|name| host_of(&lab, name)).collect();
        assert!(before.iter().all(|host| !host.contains("table") && !host.contains("10.77.0.100/")), "{before:?}");
        let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let after: Vec<String> = living.iter().map(|name| host_of(&lab, name)).collect();
        assert_eq!(after, before, "a host was changed");
        assert!(!host_of(&lab, &old).contains("table"), "rules were written beside the dead primary");
        let sentence =
            |body: EventBody| if let EventBody::WouldHave { sentence, .. } = body { Some(sentence) } else { None };
        let told: Vec<String> =
            listener.since(fault).into_iter().filter_map(|heard| sentence(heard.event.body)).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("would have failed over to db"), "{told:?}");
        for (server, mark) in lab.clusters[0].servers.iter().zip(marks) {
            let log = general_log(server);
            let since = &log[mark.min(log.len())..];
            for word in ["SET GLOBAL", "STOP ", "START ", "CHANGE ", "RESET ", "KILL ", "INSERT", "REPLACE", "CREATE"] {
                let found = since.lines().find(|line| line.contains("Query") && line.contains(word));
                assert_eq!(found, None, "{} was touched", server.name());
            }
        }
        assert_eq!(lab.clusters[0].record("db2").await.unwrap().primary.as_str(), old);
    }
}

/// A server's host as the system shows it: the kernel's rules, the addresses, and the server's process.
fn host_of(lab: &Lab, name: &str) -> String {
    let shown = |program: &str, arguments: &[&str]| {
        let output = lab.net().command(name, Path::new(program)).unwrap().args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rules = shown("nft", &["list", "ruleset"]);
    let addresses = shown("ip", &["-brief", "address"]);
    let process = lab.clusters[0].server(name).unwrap().pid().map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The 22nd field is when the process began; the name before it may hold spaces (proc_pid_stat(5)).
        let began = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).map(str::to_owned);
        (pid, began)
    });
    format!("{rules}{addresses}{process:?}")
}

fn general_log(server: &Server) -> String {
    let path = server.folder().join("data").join("general.log");
    String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
}

/// With two replicas and one acknowledgement, neither the death of a replica nor its return is felt. When the last one is
/// lost as well, writing goes on without acknowledgements, and waits for them again when they are back.
#[tokio::test]
async fn lab_lost_replicas_cost_a_second_of_writing_at_most_and_their_return_nothing() {
    for flavour in [Flavour::Mariadb, Flavour::Mysql] {
        let mut lab = Lab::start(Kind::Loopback, &[flavour], &Options::default()).await.unwrap();
        let cluster = &mut lab.clusters[0];
        let writers = cluster.write(8, 400).unwrap();
        drill::acknowledged(&writers, 200).await.unwrap();
        let primary = cluster.primary().await.unwrap();
        let replicas: Vec<String> =
            cluster.servers.iter().map(|it| it.name().to_owned()).filter(|name| *name != primary).collect();
        let mut gaps = Vec::new();
        for replica in &replicas {
            let fault = cluster.server_mut(replica).unwrap().kill9().unwrap();
            drill::acknowledged(&writers, 400).await.unwrap();
            gaps.push(drill::longest_gap(&writers, fault).unwrap());
        }
        for replica in &replicas {
            let back = Instant::now();
            let server = cluster.server_mut(replica).unwrap();
            server.start().unwrap();
            server.ready().await.unwrap();
            drill::acknowledged(&writers, 800).await.unwrap();
            gaps.push(drill::longest_gap(&writers, back).unwrap());
        }
        assert_eq!(cluster.wait_whole(Duration::from_secs(30)).await.unwrap(), primary);
        eprintln!("{flavour}: one replica lost, the other lost, one back, the other back: {gaps:?} without a write");
        assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(1)), "{gaps:?}");
        nothing_lost(cluster, &writers.log()).await;
    }
}
