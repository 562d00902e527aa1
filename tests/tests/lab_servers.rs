//! The lab itself, without Tasuki: real servers replicate with semi-sync, faults are what they claim to be, and the
//! check of the history finds what it must find.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mysql_async::OptsBuilder;
use tasuki_node::server::Session;
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::history::{self, History};
use tasuki_tests::lab::net::{Kind, Net};
use tasuki_tests::lab::run::Run;
use tasuki_tests::lab::server::{Extra, Server};
use tasuki_tests::lab::waiting::until;
use tasuki_tests::lab::writer::{Ids, Target, Writers};
use tasuki_tests::lab::{tools, trio, wire};

const FLAVOURS: [Flavour; 2] = [Flavour::Mariadb, Flavour::Mysql];

struct Trio {
    servers: Vec<Server>,
    net: Arc<Net>,
    run: Run,
}

impl Trio {
    async fn start(kind: Kind, flavour: Flavour) -> Self {
        let run = Run::begin(true).unwrap();
        let hosts = ["db1", "db2", "db3", "cl1"].map(str::to_owned);
        let net = Arc::new(Net::build(&run, kind, &hosts).unwrap());
        let servers = trio(&run, &net, flavour, &hosts[..3], &Extra::default()).await.unwrap();
        Self { servers, net, run }
    }

    fn write(&self, to: usize) -> Writers {
        let on = self.net.on("cl1").unwrap();
        Writers::begin(&on, &Target::Tcp(self.servers[to].address()), &Ids::default(), 8, 500)
    }
}

/// Acknowledgements a second that gaps can be read off.
const ENOUGH: f64 = 200.0;
/// What one acknowledged write may cost where the machine is too busy for `ENOUGH`, in syncs of one writer that works
/// beside the servers: their own are 5 to 5.5, on a quiet machine as on a busy one.
const SYNCS: f64 = 8.0;
/// How often they are counted.
const WINDOWS: usize = 4;

fn is_enough((acknowledged, syncs): &(f64, f64)) -> bool {
    *acknowledged > ENOUGH || *acknowledged > syncs / SYNCS
}

/// One writer that syncs to the lab's disk for as long as it is asked to: what the disk gives at that time.
struct Syncing {
    stop: Arc<AtomicBool>,
    at_work: JoinHandle<io::Result<f64>>,
}

impl Syncing {
    fn begin(folder: &Path) -> io::Result<Self> {
        let (file, stop) = (File::create(folder.join("syncs"))?, Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let at_work = thread::spawn(move || {
            let (begun, mut syncs) = (Instant::now(), 0_u32);
            while !stopped.load(Ordering::Relaxed) {
                (&file).write_all(&[1; 512])?;
                file.sync_data()?;
                syncs += 1;
            }
            Ok(f64::from(syncs) / begun.elapsed().as_secs_f64())
        });
        Ok(Self { stop, at_work })
    }

    /// Syncs a second since the beginning.
    fn end(self) -> io::Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.at_work.join().unwrap()
    }
}

async fn wait_acknowledged(writers: &Writers, more: u64) {
    let goal = writers.acknowledged() + more;
    until("acknowledgements", Duration::from_secs(20), async || {
        anyhow::ensure!(writers.acknowledged() >= goal, "{} of {goal}", writers.acknowledged());
        Ok(())
    })
    .await
    .unwrap();
}

async fn all_there(servers: &[Server], writers: &Writers) {
    for server in servers {
        until("everything on the replica", Duration::from_secs(20), async || {
            let found = history::check(&server.sql(), &writers.log(), 0).await?;
            anyhow::ensure!(found.lost.is_empty() && found.doubled.is_empty(), "{found:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn lab_a_trio_of_each_flavour_replicates_on_loopback() {
    for flavour in FLAVOURS {
        let trio = Trio::start(Kind::Loopback, flavour).await;
        let writers = trio.write(0);
        wait_acknowledged(&writers, 300).await;
        // Others may use the same disk for a while; what the trio can do shows in one of a few windows.
        let mut windows = Vec::new();
        while windows.len() < WINDOWS && !windows.iter().any(is_enough) {
            let syncing = Syncing::begin(trio.run.folder()).unwrap();
            let begun = Instant::now();
            wait_acknowledged(&writers, 300).await;
            windows.push((history::rate(&writers.log(), begun, Instant::now()), syncing.end().unwrap()));
        }
        assert!(
            windows.iter().any(is_enough),
            "{flavour}: {windows:?} acknowledgements a second, and syncs of one writer to the same disk",
        );
        writers.pause(true);
        all_there(&trio.servers, &writers).await;
    }
}

#[tokio::test]
async fn lab_servers_start_closed_and_follow_nobody_by_themselves() {
    for flavour in FLAVOURS {
        let mut trio = Trio::start(Kind::Loopback, flavour).await;
        for number in [0, 1] {
            let server = &mut trio.servers[number];
            server.kill9().unwrap();
            server.start().unwrap();
            server.ready().await.unwrap();
            assert_eq!(server.sql().value("SELECT @@read_only").await.unwrap(), "1", "{flavour}");
            assert!(!wire::channel(server).await.unwrap().is_some_and(|channel| channel.runs), "{flavour}");
            let replica_side = match flavour {
                Flavour::Mariadb => "SELECT @@rpl_semi_sync_slave_enabled",
                Flavour::Mysql => "SELECT @@rpl_semi_sync_replica_enabled",
            };
            assert_eq!(server.sql().value(replica_side).await.unwrap(), "0", "{flavour}");
        }
    }
}

/// The node's own connection, on which an error of a later statement must not be the answer to the next question.
#[tokio::test]
async fn lab_an_error_of_a_later_statement_is_told_with_its_own_question() {
    const SOON: Duration = Duration::from_secs(2);
    for flavour in FLAVOURS {
        let trio = Trio::start(Kind::Loopback, flavour).await;
        let socket = trio.servers[0].socket().display().to_string();
        let mut session = Session::new(OptsBuilder::default().socket(Some(socket)).user(Some("root")).into());
        for question in
            ["DO 1; SELECT * FROM nowhere.at_all", "SELECT 1 AS n; SELECT 2 AS n; DO 1; DROP TABLE nowhere.at_all"]
        {
            let told = session.run(question, SOON).await.unwrap_err().to_string();
            assert!(told.contains("nowhere"), "{flavour}: {question}: {told}");
            let next = session.tables("SELECT 3 AS n; DO 1; SELECT 4 AS n", SOON).await.unwrap();
            let values: Vec<_> = next.iter().map(|table| table.first().map(|row| row["n"].as_str())).collect();
            assert_eq!(values, [Some("3"), None, Some("4")], "{flavour}: after {question}");
        }
    }
}

#[tokio::test]
async fn lab_the_history_check_finds_a_planted_loss_and_a_planted_double() {
    for flavour in FLAVOURS {
        let trio = Trio::start(Kind::Loopback, flavour).await;
        let writers = trio.write(0);
        wait_acknowledged(&writers, 50).await;
        writers.pause(true);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (log, sql) = (writers.log(), trio.servers[0].sql());
        let clean = history::check(&sql, &log, 0).await.unwrap();
        assert_eq!(clean, History { acknowledged: log.len(), lost: Vec::new(), doubled: Vec::new() });
        sql.run("DELETE FROM lab.writes WHERE id = 7; INSERT INTO lab.writes (id, writer) VALUES (9, 9)")
            .await
            .unwrap();
        let planted = history::check(&sql, &log, 0).await.unwrap();
        assert_eq!((planted.lost, planted.doubled), (vec![7], vec![9]), "{flavour}");
        let later = history::check(&sql, &log, 10).await.unwrap();
        assert_eq!((later.lost, later.doubled), (Vec::new(), Vec::new()), "{flavour}: outside what was asked");
    }
}

#[tokio::test]
async fn lab_a_killed_primary_acknowledges_nothing_and_the_gap_is_seen() {
    let mut trio = Trio::start(Kind::Loopback, Flavour::Mariadb).await;
    let writers = trio.write(0);
    wait_acknowledged(&writers, 100).await;
    let fault = trio.servers[0].kill9().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(writers.log().iter().all(|attempt| !attempt.acknowledged || attempt.start <= fault));
    assert_eq!(history::gap(&writers.log(), fault, Instant::now()), None, "nothing was acknowledged since");
    let server = &mut trio.servers[0];
    server.start().unwrap();
    server.ready().await.unwrap();
    server.sql().run("SET GLOBAL rpl_semi_sync_master_enabled=0; SET GLOBAL read_only=0").await.unwrap();
    wait_acknowledged(&writers, 10).await;
    let gap = history::gap(&writers.log(), fault, Instant::now()).unwrap();
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&gap), "{gap:?}");
}

#[tokio::test]
async fn lab_namespaces_cut_one_way_and_unplug_hosts() {
    if !tools::is_root() {
        eprintln!("NOT RUN: network namespaces need root");
        return;
    }
    for flavour in FLAVOURS {
        let trio = Trio::start(Kind::Namespaces, flavour).await;
        let writers = trio.write(0);
        wait_acknowledged(&writers, 50).await;
        let switch = trio.net.namespaces().unwrap();
        // Both replicas send their acknowledgements to the primary's port: cut that way, and commits wait.
        switch.cut("db2", "db1", Some(3306)).unwrap();
        wait_acknowledged(&writers, 50).await;
        switch.cut("db3", "db1", Some(3306)).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = writers.acknowledged();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(writers.acknowledged(), before, "{flavour}: acknowledged without a replica");
        switch.mend().unwrap();
        wait_acknowledged(&writers, 50).await;
        switch.unplug("db1").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = writers.acknowledged();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(writers.acknowledged(), before, "{flavour}: acknowledged through a pulled plug");
        switch.plug("db1").unwrap();
        wait_acknowledged(&writers, 50).await;
        writers.pause(true);
        all_there(&trio.servers, &writers).await;
    }
}

#[tokio::test]
async fn lab_leaves_nothing_behind() {
    let trio = Trio::start(Kind::Loopback, Flavour::Mariadb).await;
    let folder = trio.run.folder().to_owned();
    let pids: Vec<u32> = trio.servers.iter().filter_map(Server::pid).collect();
    assert_eq!(pids.len(), 3);
    drop(trio);
    assert!(!folder.exists());
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
}
