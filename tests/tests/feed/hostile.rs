//! Viewers that mean harm: none of them delays a failover, or another viewer.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::{Lab, Options, drill};

use crate::viewer::{Viewer, showing, with_token};

/// A connection from an address of its own, so that it does not count against the others'.
fn connection(feed: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 66, 0, 9], 0)).into()).unwrap();
    socket.connect_timeout(&feed.into(), Duration::from_secs(5)).unwrap();
    socket.into()
}

/// How many files the coordinator has open.
pub(crate) fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test]
async fn lab_hostile_viewers_delay_neither_a_failover_nor_other_viewers() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    add_token(&lab.files().tokens(), &grant("flood", Role::Viewer).unwrap(), "floods").unwrap();
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let feed = lab.files().feed("co1").unwrap();
    let pid = lab.coordinators[0].pid().unwrap();
    let good = Viewer::watch(&lab, &with_token("websocket"));
    good.named("snapshot");
    let before = open_files(pid);

    // Half connections: some say nothing, some begin what never becomes TLS.
    let halves: Vec<TcpStream> = (0..1000).map(|_| connection(feed)).collect();
    for mut half in halves.iter().step_by(2) {
        half.write_all(&[0x16, 3, 1, 2]).unwrap();
    }
    let refused = connection(feed);
    // Viewers that stop reading, and such that flood.
    let mut deaf = with_token("websocket");
    deaf["pause"] = json!(500);
    let mut flood = showing("websocket", "floods");
    flood["flood"] = json!(true);
    let bad = [&deaf, &deaf, &flood, &flood].map(|options| Viewer::watch(&lab, options));
    // Garbage where packets are expected.
    let garbage = std::env::temp_dir().join(format!("tasuki-garbage-{pid}"));
    std::fs::write(&garbage, (0..200_000_u32).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>()).unwrap();
    let mut posts: Vec<_> =
        ["?EIO=4&transport=polling", "?EIO=3&transport=polling", "?transport=x", "?EIO=4&transport=polling&sid=AAAA"]
            .iter()
            .map(|query| {
                let mut curl = Command::new("curl");
                curl.args(["-sS", "-m", "10", "-o", "/dev/null", "--cacert"]).arg(lab.files().certificate());
                curl.arg("--data-binary").arg(format!("@{}", garbage.display()));
                curl.arg(format!("https://{feed}/socket.io/{query}")).spawn().unwrap()
            })
            .collect();

    let old = lab.clusters[0].primary().await.unwrap();
    let fault = lab.clusters[0].server_mut(&old).unwrap().kill9().unwrap();
    drill::taken_over(&lab.clusters[0], &writers, &old, fault).await.unwrap();
    let gap = drill::gap(&writers, fault).unwrap();
    let told = Instant::now();
    good.until("the failover's end", |line| (line["value"]["stage"] == "finished").then_some(()));
    println!("gap {gap:?}, told {:?} after it was seen from outside", told.elapsed());
    assert!(gap < Duration::from_secs(2), "{gap:?}");
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    // A new viewer is let in while all of that goes on.
    let begun = Instant::now();
    Viewer::watch(&lab, &with_token("polling")).named("snapshot");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    for post in &mut posts {
        post.wait().unwrap();
    }
    std::fs::remove_file(&garbage).unwrap();
    // Whoever says nothing is gone by itself, with its descriptor; so is who does not read.
    drop(bad);
    until("the descriptors of the hostile", Duration::from_secs(30), async || {
        let now = open_files(pid);
        anyhow::ensure!(now < before + 20, "{now} files are open, {before} were before");
        Ok(())
    })
    .await
    .unwrap();
    drop((halves, refused));
    lab.coordinators[0].check_running().unwrap();
    drill::brought_back(&mut lab.clusters[0], &old).await.unwrap();
}
