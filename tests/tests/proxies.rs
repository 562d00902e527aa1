//! A thousand viewers of two coordinators, behind the proxies that people have. `make test-all` runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::bench::feed::crowd::{self, Crowd};
use tasuki_tests::lab::config::VIEWER_TOKEN;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::process::{Process, bound};
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::{Lab, Options, tools};
use tokio::task::LocalSet;

const VIEWERS: usize = 1000;
const COORDINATORS: [&str; 2] = ["co1", "co2"];

/// A free address of a host; the certificate of the feeds is good for it.
fn free(host: SocketAddr) -> SocketAddr {
    TcpListener::bind((host.ip(), 0)).unwrap().local_addr().unwrap()
}

/// Starts a proxy by its configuration, and waits until it listens.
async fn proxy(name: &str, arguments: &[&str], configuration: &str, folder: &Path, listens: SocketAddr) -> Process {
    fs::write(folder.join("proxy.conf"), configuration).unwrap();
    let mut command = bound(&tools::program(name).unwrap());
    command.args(arguments).current_dir(folder);
    let mut process = Process::start(name, command, &folder.join(format!("{name}.log"))).unwrap();
    until_slowly(name, Duration::from_secs(10), async || {
        process.check_running()?;
        tokio::net::TcpStream::connect(listens).await?;
        Ok(())
    })
    .await
    .unwrap();
    process
}

/// Viewers at each coordinator, as it counts them itself.
fn seated(lab: &Lab) -> Result<Vec<u32>> {
    let count = |name: &&str| -> Result<u32> {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-m", "5", "--cacert"]).arg(lab.files().certificate());
        let page = curl.arg(format!("https://{}/metrics", lab.files().feed(name)?)).output()?.stdout;
        let page = String::from_utf8(page)?;
        let line = page.lines().find_map(|line| line.strip_prefix("tasuki_viewers "));
        Ok(line.context("no count of viewers")?.parse()?)
    };
    COORDINATORS.iter().map(count).collect()
}

/// All are spread over both, and each gets telemetry in order and an incident once.
async fn are_served(lab: &Lab, crowd: &Crowd) {
    let mut spread = Vec::new();
    until_slowly("the viewers' seats", Duration::from_secs(5), async || {
        spread = seated(lab)?;
        ensure!(spread.iter().sum::<u32>() as usize == VIEWERS, "{spread:?}");
        Ok(())
    })
    .await
    .unwrap();
    println!("spread {spread:?}");
    assert!(spread.iter().all(|count| (400..=600).contains(count)), "{spread:?}");
    crowd.forget();
    let before = crowd.logs();
    lab.coordinators[0].run(&["pause", "mariadb", "--for", "1m", "--reason", "disks", "--owner", "ann"]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    crowd.check().unwrap();
    for (log, before) in crowd.logs().iter().zip(before) {
        assert!(log.alone > before.alone && log.events > before.events && log.disorder == 0, "{log:?}");
    }
    let incidents: Vec<u64> = crowd.logs().iter().map(|log| log.alone).collect();
    assert!(incidents.iter().all(|count| *count == incidents[0]), "{incidents:?}");
    lab.coordinators[0].run(&["resume", "mariadb"]).await.unwrap();
}

#[test]
fn lab_a_thousand_viewers_behind_proxies_are_spread_over_two_coordinators() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
        let connector = crowd::connector(&lab.files().certificate()).unwrap();
        let feeds = COORDINATORS.map(|name| lab.files().feed(name).unwrap());
        through_haproxy(&lab, &feeds, &connector).await;
        through_nginx(&mut lab, &feeds, &connector).await;
    }));
}

/// HAProxy passes the first call on, to each in turn; viewers connect where that sends them.
async fn through_haproxy(lab: &Lab, feeds: &[SocketAddr; 2], connector: &tokio_rustls::TlsConnector) {
    let front = free(feeds[0]);
    let configuration = format!(
        "global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    timeout connect 2s
    timeout client 1m
    timeout server 1m
listen coordinators
    bind {front}
    balance roundrobin
    option httpchk GET /readyz
    default-server check check-ssl verify none inter 500ms
    server co1 {}
    server co2 {}
",
        feeds[0], feeds[1]
    );
    let folder = lab.run().sub("front").unwrap();
    let _haproxy = proxy("haproxy", &["-db", "-f", "proxy.conf"], &configuration, &folder, front).await;
    let asking = connector.clone();
    let place = async move || crowd::ask(front, &asking, VIEWER_TOKEN).await;
    let crowd = Crowd::gather(VIEWERS, place, connector, VIEWER_TOKEN).await.unwrap();
    are_served(lab, &crowd).await;
}

/// nginx ends TLS, and each coordinator listens to it without.
async fn through_nginx(lab: &mut Lab, feeds: &[SocketAddr; 2], connector: &tokio_rustls::TlsConnector) {
    let plain = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for (number, plain) in plain.iter().enumerate() {
        let file = lab.files().local(COORDINATORS[number]);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}plain = \"{plain}\"\n")).unwrap();
        lab.coordinators[number].stop().await.unwrap();
        lab.coordinators[number].start().unwrap();
    }
    for plain in &plain {
        until_slowly("the plain listener", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(plain).await?;
            Ok(())
        })
        .await
        .unwrap();
    }
    let (front, folder) = (free(feeds[0]), lab.run().sub("nginx").unwrap());
    let configuration = format!(
        "daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream coordinators {{ least_conn; server {}; server {}; }}
    server {{
        listen {front} ssl;
        ssl_certificate {};
        ssl_certificate_key {};
        location / {{
            proxy_pass http://coordinators;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
",
        plain[0],
        plain[1],
        lab.files().certificate().display(),
        lab.files().private_key().display()
    );
    let prefix = format!("{}/", folder.display());
    let arguments = ["-p", &prefix, "-e", "stderr", "-c", "proxy.conf"];
    let _nginx = proxy("nginx", &arguments, &configuration, &folder, front).await;
    let crowd = Crowd::gather(VIEWERS, async move || Ok(front), connector, VIEWER_TOKEN).await.unwrap();
    are_served(lab, &crowd).await;
}
