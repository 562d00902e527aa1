//! What the probe finds at real servers: a stop told from a crash, and set-ups that Tasuki must not act on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs")]
mod servers;

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use servers::{Folder, Server, template};
use tasuki_config::{Cut, Reach, Secret, ServerConfig};
use tasuki_node::probe::{Prober, Shared};
use tasuki_node::server::options;
use tasuki_node::serving::Writes;
use tasuki_node_core::{Input, ServerReport, ServerRun};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::observation::{Connection, Facts};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);
const BOTH: [Flavour; 2] = [Flavour::Mariadb, Flavour::Mysql];

/// A prober over a server, and what it tells.
struct Probed {
    inputs: Receiver<Input>,
    _asked: tokio::sync::mpsc::Sender<()>,
    _writes: watch::Sender<Writes>,
}

impl Probed {
    fn start(folder: &Folder, flavour: Flavour, server: &Server) -> Self {
        let config = ServerConfig {
            reach: Reach::Socket(server.socket()),
            user: "root".to_owned(),
            password: Secret::new(String::new()),
            cut: Cut::None,
            boots_closed: true,
            commands: None,
        };
        let (told, inputs) = channel(64);
        let (writes, written) = watch::channel(Writes::default());
        let (asked, asks) = channel(1);
        let login = options(&config);
        let notes: PathBuf = folder.join("notes");
        let prober = Prober::new(config, flavour, login, Shared::default(), told, notes, written);
        tokio::spawn(prober.run(asks));
        Self { inputs, _asked: asked, _writes: writes }
    }

    async fn next(&mut self) -> Input {
        tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("the probe tells something").unwrap()
    }

    /// The facts of a round that pleases.
    async fn facts(&mut self, pleases: impl Fn(&Facts) -> bool) -> (ServerRun, Facts) {
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "no round pleases");
            if let Input::Probed(report) = self.next().await
                && let ServerReport { run: Some(run), connection: Connection::Answering, facts: Some(facts), .. } =
                    *report
                && pleases(&facts)
            {
                return (run, facts);
            }
        }
    }

    /// How the process ended: true for a stop.
    async fn end(&mut self, run: ServerRun) -> bool {
        loop {
            let input = self.next().await;
            if matches!(&input, Input::Stopped(ended) if *ended == run) {
                return true;
            }
            if matches!(&input, Input::Exited(ended) if *ended == run) {
                return false;
            }
        }
    }
}

/// A stop by signal and by statement, then two crashes: one of a server that ran long, one right after its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_from_a_crash_by_the_binlog() {
    for flavour in BOTH {
        let folder = Folder::new(&format!("stop-{flavour}"));
        let start = folder.join("template");
        template(flavour, &start);
        for (how, expected) in [("TERM", true), ("SHUTDOWN", true), ("KILL", false), ("KILL after a stop", false)] {
            let mut server = Server::start(flavour, &start, folder.join(how), 1, &[]).await;
            let mut probed = Probed::start(&folder, flavour, &server);
            let (run, facts) = probed.facts(|_| true).await;
            assert_eq!((facts.unsupported, facts.disk), (None, None), "{flavour}");
            server.connect().await.query_drop("CREATE DATABASE shop").await.unwrap();
            match how {
                "TERM" => server.stop(),
                "SHUTDOWN" => server.connect().await.query_drop("SHUTDOWN").await.unwrap(),
                _ => server.kill(),
            }
            assert_eq!(probed.end(run).await, expected, "{flavour} after {how}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashed_after_a_clean_start_is_no_stop() {
    for flavour in BOTH {
        let folder = Folder::new(&format!("again-{flavour}"));
        let start = folder.join("template");
        template(flavour, &start);
        let mut server = Server::start(flavour, &start, folder.join("first"), 1, &[]).await;
        server.stop();
        drop(server);
        // The second run begins a new file: that of the first, closed, tells nothing about it.
        let mut again = Server::start(flavour, &folder.join("first"), folder.join("second"), 1, &[]).await;
        let mut probed = Probed::start(&folder, flavour, &again);
        let (run, _) = probed.facts(|_| true).await;
        again.kill();
        assert!(!probed.end(run).await, "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_other_managers_are_seen() {
    for (flavour, lock, name) in [
        (Flavour::Mariadb, "maxscale_mariadbmonitor", "MaxScale"),
        (Flavour::Mysql, "MHA_Master_High_Availability_Monitor", "MHA"),
    ] {
        let folder = Folder::new(&format!("managers-{flavour}"));
        let start = folder.join("template");
        template(flavour, &start);
        let server = Server::start(flavour, &start, folder.join("server"), 1, &[]).await;
        let mut manager = server.connect().await;
        let held: Option<i32> = manager.query_first(format!("SELECT GET_LOCK('{lock}', 1)")).await.unwrap();
        assert_eq!(held, Some(1));
        let mut probed = Probed::start(&folder, flavour, &server);
        let (_, facts) = probed.facts(|_| true).await;
        let reason = facts.unsupported.unwrap_or_default();
        assert!(reason.starts_with(name) && reason.contains("stop it there first"), "{flavour}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_manager_is_seen() {
    let folder = Folder::new("orchestrator");
    let start = folder.join("template");
    template(Flavour::Mariadb, &start);
    let server = Server::start(Flavour::Mariadb, &start, folder.join("server"), 1, &[]).await;
    server.connect().await.query_drop("CREATE USER orchestrator").await.unwrap();
    let opts = mysql_async::OptsBuilder::default()
        .socket(Some(server.socket().display().to_string()))
        .prefer_socket(false)
        .user(Some("orchestrator"));
    let _manager = mysql_async::Conn::new(opts).await.unwrap();
    let mut probed = Probed::start(&folder, Flavour::Mariadb, &server);
    let (_, facts) = probed.facts(|_| true).await;
    assert!(facts.unsupported.is_some_and(|reason| reason.contains("account orchestrator")));
}

/// Galera's library must be installed: `apt-get install --no-install-recommends galera-4`.
#[tokio::test(flavor = "multi_thread")]
async fn a_galera_node_is_refused() {
    let library = "/usr/lib/galera/libgalera_smm.so";
    assert!(std::path::Path::new(library).exists(), "{library} is missing: run `make tools`");
    let folder = Folder::new("galera");
    let start = folder.join("template");
    template(Flavour::Mariadb, &start);
    let options = [
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={library}"),
        "--wsrep-cluster-address=gcomm://".to_owned(),
        "--wsrep-node-address=127.0.0.1:31511".to_owned(),
        "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:31511;ist.recv_addr=127.0.0.1:31512;gcache.size=8M"
            .to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start(Flavour::Mariadb, &start, folder.join("server"), 1, &options).await;
    let status: Option<(String, String)> =
        server.connect().await.query_first("SHOW STATUS LIKE 'wsrep_cluster_status'").await.unwrap();
    assert_eq!(status.unwrap().1, "Primary", "the node is a cluster of its own");
    let mut probed = Probed::start(&folder, Flavour::Mariadb, &server);
    let (_, facts) = probed.facts(|_| true).await;
    assert!(facts.unsupported.is_some_and(|reason| reason.contains("Galera")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_group_replication_is_refused() {
    let folder = Folder::new("group-replication");
    let start = folder.join("template");
    template(Flavour::Mysql, &start);
    let options = [
        "--skip-networking=0",
        "--bind-address=127.0.0.1",
        "--port=31521",
        "--report-host=127.0.0.1",
        "--plugin-load-add=group_replication.so",
        "--group-replication-group-name=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
        "--group-replication-start-on-boot=OFF",
        "--group-replication-local-address=127.0.0.1:31522",
        "--group-replication-bootstrap-group=ON",
    ];
    let server = Server::start(Flavour::Mysql, &start, folder.join("server"), 1, &options).await;
    let mut conn = server.connect().await;
    conn.query_drop("START GROUP_REPLICATION").await.unwrap();
    let state = "SELECT member_state FROM performance_schema.replication_group_members";
    let state: Option<String> = conn.query_first(state).await.unwrap();
    assert!(state.is_some_and(|state| state == "ONLINE" || state == "RECOVERING"));
    let mut probed = Probed::start(&folder, Flavour::Mysql, &server);
    let (_, facts) = probed.facts(|_| true).await;
    assert!(facts.unsupported.is_some_and(|reason| reason.contains("Group Replication")));
}
