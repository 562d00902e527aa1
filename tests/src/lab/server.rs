//! A real database server, set up as Tasuki wants it: durable, closed at start, replication not started.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tasuki_schemas::gtid::Flavour;

use super::disk::Disk;
use super::hands;
use super::net::Net;
use super::process::{self, Process};
use super::run::Run;
use super::sql::Sql;
use super::template;
use super::tools::{self, Daemon};
use super::waiting::until;

/// The longest that a server may take to answer after its start.
const START: Duration = Duration::from_secs(40);

/// How a server differs from the ordinary one.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Further options of its own; they come last and so win.
    pub options: Vec<String>,
    /// A disk of its own, of so many megabytes (root only).
    pub disk_mb: Option<u32>,
}

/// One server with its data folder, running or not.
#[derive(Debug)]
pub struct Server {
    name: String,
    net: Arc<Net>,
    daemon: Daemon,
    address: SocketAddr,
    server_id: u32,
    folder: PathBuf,
    extra: Vec<String>,
    starts: u32,
    // Before the process: one that hangs in its disk ends only after that goes on.
    disk: Option<Disk>,
    process: Option<Process>,
}

impl Server {
    /// Makes a server's folder; nothing runs yet. `extra` options come last and so win.
    ///
    /// # Errors
    /// When the template or the copy cannot be made, or there is no port.
    pub fn create(
        run: &Run,
        net: &Arc<Net>,
        name: &str,
        server_id: u32,
        daemon: &Daemon,
        extra: &Extra,
    ) -> Result<Self> {
        let template = template::folder(daemon)?;
        let folder = run.sub(name)?;
        let image = run.folder().join(format!("{name}.disk"));
        let disk = extra.disk_mb.map(|megabytes| Disk::mount(&image, &folder, megabytes)).transpose()?;
        let data = folder.join("data");
        process::run(&["cp", "-a", "--reflink=auto", &template.to_string_lossy(), &data.to_string_lossy()])?;
        let address = SocketAddr::from((net.ip(name)?, net.port(name, 3306)?));
        let server = Self {
            name: name.to_owned(),
            net: Arc::clone(net),
            daemon: daemon.clone(),
            address,
            server_id,
            folder,
            extra: extra.options.clone(),
            starts: 0,
            disk,
            process: None,
        };
        hands::write(&server.folder, daemon, &server.options())?;
        Ok(server)
    }

    /// Starts the server's process and does not wait for it. A former process must have ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        self.process = None;
        self.starts += 1;
        let mut command = self.net.command(&self.name, &self.daemon.path)?;
        command.args(self.options()).current_dir(&self.folder);
        // A log of its own for each start: a failed start must not be read as the next one's.
        let log = self.folder.join(format!("server-{}.log", self.starts));
        self.process = Some(Process::start(&self.name, command, &log)?);
        Ok(())
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    /// When it ends or takes too long; the text has the end of its log.
    pub async fn ready(&mut self) -> Result<()> {
        let sql = self.sql();
        let process = self.process.as_mut().context("not started")?;
        let log = process.log().to_owned();
        let what = format!("{} to answer", self.name);
        let mut died = None;
        until(&what, START, async || match process.check_running() {
            Err(error) => {
                died = Some(error);
                Ok(())
            }
            Ok(()) => sql.run("DO 1").await,
        })
        .await
        .with_context(|| format!("its log says\n{}", process::tail(&log, 15)))?;
        died.map_or(Ok(()), Err)
    }

    /// Ends the server as a power cut of the process would, and says when.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill9(&mut self) -> Result<Instant> {
        let mut process = self.process.take().context("not running")?;
        Ok(process.kill())
    }

    /// Freezes the server.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("not running")?.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("not running")?.signal(Signal::CONT)
    }

    /// Sends it a bare SIGTERM, and does not wait.
    ///
    /// # Errors
    /// When it is not running.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.process.as_ref().context("not running")?.signal(Signal::TERM)
    }

    /// Stops the server by a bare SIGTERM, as an operator without the packaged units would, and waits for its end.
    ///
    /// # Errors
    /// When it is not running, or does not end within 30 seconds.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("not running")?;
        process.signal(Signal::TERM)?;
        process.wait_end(Duration::from_secs(30)).await.map(|_| ())
    }

    /// True while the process that was started last has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// The pid of the running process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The disk that it has to itself, if it has one.
    #[must_use]
    pub const fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// A client as root through the socket.
    #[must_use]
    pub fn sql(&self) -> Sql {
        Sql::socket(&self.socket())
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("s.sock")
    }

    /// Its name, and its host's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where replicas and clients reach it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder, with the data in `data` and a log for each start.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its `server_id`.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.server_id
    }

    /// MariaDB or MySQL.
    #[must_use]
    pub const fn flavour(&self) -> Flavour {
        self.daemon.flavour
    }

    /// The pid that it wrote down itself: another one once its node has started it.
    #[must_use]
    pub fn pid_told(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    fn options(&self) -> Vec<String> {
        let own = |text: &str| self.folder.join(text).display().to_string();
        let mut options = vec!["--no-defaults".to_owned()];
        if tools::is_root() {
            options.push("--user=root".into());
        }
        options.extend(self.daemon.tree_options());
        options.extend([
            format!("--datadir={}", own("data")),
            format!("--socket={}", own("s.sock")),
            format!("--pid-file={}", own("pid")),
            format!("--tmpdir={}", own("data")),
            format!("--port={}", self.address.port()),
            // A host of its own answers on its VIP as well; on loopback others listen beside it.
            format!(
                "--bind-address={}",
                match self.address.ip() {
                    ip if ip.is_loopback() => ip.to_string(),
                    IpAddr::V4(_) => "0.0.0.0".to_owned(),
                    IpAddr::V6(_) => "::".to_owned(),
                }
            ),
            format!("--report-host={}", self.address.ip()),
            format!("--server-id={}", self.server_id),
        ]);
        options.extend(COMMON.map(str::to_owned));
        let dialect: &[&str] = match self.flavour() {
            Flavour::Mariadb => &MARIADB,
            Flavour::Mysql => &MYSQL,
        };
        options.extend(dialect.iter().map(|&option| option.to_owned()));
        options.extend(self.extra.clone());
        options
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        hands::end(&self.folder);
    }
}

/// The bytes in a server's relay files, by its folder.
#[must_use]
pub fn relayed(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder.join("data")) else { return 0 };
    let relay = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().contains("relay");
    files.flatten().filter(relay).filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
}

const COMMON: [&str; 10] = [
    "--log-bin=bin",
    "--relay-log=relay",
    "--binlog-format=ROW",
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--sync-relay-log=1",
    "--innodb-buffer-pool-size=64M",
    "--skip-name-resolve",
    "--max-connections=200",
    "--read-only=1",
];

const MARIADB: [&str; 10] = [
    "--gtid-domain-id=0",
    "--gtid-strict-mode=ON",
    "--log-slave-updates",
    "--innodb-log-file-size=8M",
    "--skip-slave-start",
    "--slave-net-timeout=4",
    "--init-rpl-role=MASTER",
    "--slave-parallel-threads=4",
    "--rpl-semi-sync-slave-enabled=0",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
];

const MYSQL: [&str; 17] = [
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--log-replica-updates=ON",
    "--super-read-only=1",
    "--skip-replica-start=1",
    "--relay-log-recovery=OFF",
    "--replica-net-timeout=4",
    "--mysqlx=OFF",
    "--innodb-redo-log-capacity=64M",
    "--secure-file-priv=NULL",
    "--default-time-zone=+00:00",
    "--performance-schema=ON",
    "--plugin-load-add=semisync_source.so",
    "--plugin-load-add=semisync_replica.so",
    "--plugin-load-add=mysql_clone.so",
    "--loose-rpl-semi-sync-source-enabled=0",
    "--loose-rpl-semi-sync-replica-enabled=0",
];
