//! Private servers for tests of what is in their files: no network, one folder each, killed at the end.

pub(crate) mod tail;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use tasuki_schemas::gtid::{Flavour, GtidSet};

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tasuki-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    flavour: Flavour,
    process: Child,
}

fn mysql_base() -> PathBuf {
    if let Ok(base) = std::env::var("MYSQL_BASEDIR") {
        return base.into();
    }
    let cache = std::env::var("TASUKI_CACHE").map(PathBuf::from).unwrap_or_else(|_| {
        let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
        cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache")).join("tasuki")
    });
    cache.join("mysql/usr")
}

fn program(flavour: Flavour) -> PathBuf {
    let candidates = match flavour {
        Flavour::Mariadb => vec![PathBuf::from("/usr/sbin/mariadbd"), PathBuf::from("/usr/bin/mariadbd")],
        Flavour::Mysql => vec![mysql_base().join("sbin/mysqld"), mysql_base().join("bin/mysqld")],
    };
    let found = candidates.iter().find(|candidate| candidate.exists());
    found.unwrap_or_else(|| panic!("no {flavour} server at {candidates:?}: run `make tools`")).clone()
}

/// A server that starts removes the temporary tables of every other that shares its folder for them.
fn own_temporary(data: &Path) -> String {
    let folder = data.with_extension("tmp");
    fs::create_dir_all(&folder).unwrap();
    format!("--tmpdir={}", folder.display())
}

fn common(flavour: Flavour, data: &Path) -> Command {
    let mut command = Command::new(program(flavour));
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).arg(own_temporary(data));
    if flavour == Flavour::Mysql {
        let base = mysql_base();
        command.arg(format!("--basedir={}", base.display()));
        for (option, place) in [
            ("lc-messages-dir", "share/mysql"),
            ("plugin-dir", "lib/mysql/plugin"),
            ("character-sets-dir", "share/mysql/charsets"),
        ] {
            if base.join(place).exists() {
                command.arg(format!("--{option}={}", base.join(place).display()));
            }
        }
        command.args(["--secure-file-priv=NULL", "--mysqlx=OFF", "--innodb-redo-log-capacity=64M"]);
    } else {
        command.arg("--innodb-log-file-size=8M");
    }
    if rustix::process::getuid().is_root() {
        command.arg("--user=root");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Makes the files from which every server of the test begins.
pub(crate) fn template(flavour: Flavour, data: &Path) {
    let mut command = match flavour {
        Flavour::Mariadb => {
            let mut command = Command::new("mariadb-install-db");
            command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).arg(own_temporary(data)).args([
                "--innodb-log-file-size=8M",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]);
            if rustix::process::getuid().is_root() {
                command.arg("--user=root");
            }
            command
        }
        Flavour::Mysql => {
            let mut command = common(flavour, data);
            command.arg("--initialize-insecure");
            command
        }
    };
    let output = command.output().unwrap_or_else(|error| panic!("{flavour} is missing ({error}): run `make tools`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if flavour == Flavour::Mysql {
        fs::remove_file(data.join("auto.cnf")).unwrap();
    }
}

impl Server {
    pub(crate) async fn start(flavour: Flavour, template: &Path, folder: PathBuf, id: u32, options: &[&str]) -> Self {
        let copied = Command::new("cp").arg("-a").arg(template).arg(&folder).status().unwrap();
        assert!(copied.success());
        let mut command = common(flavour, &folder);
        command
            .args(["--skip-networking", "--log-bin=bin", "--sync-binlog=1", "--innodb-buffer-pool-size=64M"])
            .arg(format!("--socket={}", folder.join("s").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--log-error={}", folder.join("error.log").display()))
            .arg(format!("--server-id={id}"));
        match flavour {
            Flavour::Mariadb => {
                command.args(["--gtid-strict-mode=ON", "--log-slave-updates", "--binlog-format=ROW"]);
            }
            Flavour::Mysql => {
                command.args(["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]);
            }
        }
        let process = command.args(options).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { folder, flavour, process };
        let begun = Instant::now();
        loop {
            if server.try_connect().await.is_some() {
                return server;
            }
            let log = || fs::read_to_string(server.folder.join("error.log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "{flavour} does not start: {}", log());
            assert!(server.process.try_wait().unwrap().is_none(), "{flavour} ended: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_connect(&self) -> Option<Conn> {
        let socket = self.folder.join("s");
        let options = OptsBuilder::default()
            .socket(Some(socket.display().to_string()))
            .prefer_socket(false)
            .user(Some("root"))
            .stmt_cache_size(0_usize);
        tokio::time::timeout(Duration::from_secs(2), Conn::new(options)).await.ok()?.ok()
    }

    pub(crate) async fn connect(&self) -> Conn {
        self.try_connect().await.expect("the server takes connections")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.folder.join("bin.index")
    }

    /// All it executed, as it says itself.
    pub(crate) async fn executed(&self) -> GtidSet {
        let query = match self.flavour {
            Flavour::Mariadb => "SELECT @@gtid_binlog_state",
            Flavour::Mysql => "SELECT @@gtid_executed",
        };
        let text: Option<String> = self.connect().await.query_first(query).await.unwrap();
        GtidSet::parse(self.flavour, &text.unwrap()).unwrap()
    }

    /// The checksum of every table of a database, by name.
    pub(crate) async fn checksums(&self, database: &str) -> Vec<(String, String)> {
        let mut conn = self.connect().await;
        let tables: Vec<String> = conn
            .query(format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema='{database}' \
                 AND table_type='BASE TABLE' ORDER BY 1"
            ))
            .await
            .unwrap();
        let mut sums = Vec::new();
        for table in tables {
            let quoted = table.replace('`', "``");
            let sum: Option<Row> = conn.query_first(format!("CHECKSUM TABLE `{database}`.`{quoted}`")).await.unwrap();
            let shown: Option<Row> =
                conn.query_first(format!("SHOW CREATE TABLE `{database}`.`{quoted}`")).await.unwrap();
            let text = |row: Option<Row>| format!("{:?}", row.unwrap().unwrap()[1..].iter().collect::<Vec<&Value>>());
            sums.push((table, text(sum) + &text(shown)));
        }
        sums
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// kill -15, as a service manager stops a server; waits for its end.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
