//! A server's data folder, made once per machine and version, and copied for each server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;
use tasuki_schemas::gtid::Flavour;

use super::process::tail;
use super::tools::{self, Daemon};

/// The replication user, alike on every server.
pub const REPLICATION_USER: &str = "repl";
/// Its password.
pub const REPLICATION_PASSWORD: &str = "passes-the-sash";
/// The user of the writers.
pub const WRITER_USER: &str = "app";
/// Its password.
pub const WRITER_PASSWORD: &str = "writes-on";

/// Counts changes of what is below, so that older templates are not taken.
const EDITION: u32 = 2;

/// The data folder to copy for new servers of this kind.
///
/// # Errors
/// When it cannot be made; the text has the end of the server's log.
pub fn folder(daemon: &Daemon) -> Result<PathBuf> {
    let shelf = tools::cache()?.join("templates");
    fs::create_dir_all(&shelf)?;
    let lock = fs::File::create(shelf.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let finished = shelf.join(format!("{}-{}-{EDITION}", daemon.flavour, version(daemon)?));
    if !finished.exists() {
        let begun = Instant::now();
        let partial = shelf.join("partial");
        drop(fs::remove_dir_all(&partial));
        make(daemon, &partial)?;
        fs::rename(partial.join("data"), &finished)?;
        drop(fs::remove_dir_all(&partial));
        tracing::debug!(folder = %finished.display(), ms = begun.elapsed().as_millis(), "template made");
    }
    Ok(finished)
}

/// The server's version, of letters that a folder may have.
fn version(daemon: &Daemon) -> Result<String> {
    let output = Command::new(&daemon.path).args(["--no-defaults", "--version"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
    let version = version.with_context(|| format!("{} tells no version", daemon.path.display()))?;
    Ok(version.replace('/', "_"))
}

fn make(daemon: &Daemon, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let users = folder.join("users.sql");
    fs::write(&users, users_sql(daemon.flavour))?;
    let log = folder.join("make.log");
    let output = fs::File::create(&log)?;
    let program = match daemon.flavour {
        Flavour::Mariadb => tools::program("mariadb-install-db")?,
        Flavour::Mysql => daemon.path.clone(),
    };
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "120"]).arg(program).args(make_options(daemon, &folder.join("data"), &users));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    if !command.status()?.success() {
        bail!("the template of {} cannot be made; the log says\n{}", daemon.flavour, tail(&log, 20));
    }
    // Copies must not share the server's own name.
    drop(fs::remove_file(folder.join("data/auto.cnf")));
    Ok(())
}

fn make_options(daemon: &Daemon, data: &Path, users: &Path) -> Vec<String> {
    let mut options = vec!["--no-defaults".to_owned(), format!("--datadir={}", data.display())];
    // A server that starts removes the temporary tables of every other that shares its folder for them.
    options.extend(data.parent().map(|folder| format!("--tmpdir={}", folder.display())));
    if tools::is_root() {
        options.push("--user=root".into());
    }
    match daemon.flavour {
        Flavour::Mariadb => options.extend([
            "--innodb-log-file-size=8M".into(),
            "--skip-test-db".into(),
            "--auth-root-authentication-method=normal".into(),
            format!("--extra-file={}", users.display()),
        ]),
        Flavour::Mysql => {
            options.extend(daemon.tree_options());
            options.extend([
                "--initialize-insecure".into(),
                "--secure-file-priv=NULL".into(),
                "--innodb-redo-log-capacity=64M".into(),
                "--disable-log-bin".into(),
                format!("--init-file={}", users.display()),
            ]);
        }
    }
    options
}

/// The users are part of the template, so that no server's history begins with them. One statement a line.
fn users_sql(flavour: Flavour) -> String {
    let replication = match flavour {
        Flavour::Mariadb => "REPLICATION SLAVE, BINLOG MONITOR",
        Flavour::Mysql => "REPLICATION SLAVE, REPLICATION CLIENT, BACKUP_ADMIN",
    };
    [
        "FLUSH PRIVILEGES;".to_owned(),
        format!("CREATE USER '{REPLICATION_USER}'@'%' IDENTIFIED BY '{REPLICATION_PASSWORD}';"),
        format!("GRANT {replication} ON *.* TO '{REPLICATION_USER}'@'%';"),
        "CREATE DATABASE lab;".to_owned(),
        format!("CREATE USER '{WRITER_USER}'@'%' IDENTIFIED BY '{WRITER_PASSWORD}';"),
        format!("GRANT SELECT, INSERT ON lab.* TO '{WRITER_USER}'@'%';"),
    ]
    .join("\n")
        + "\n"
}
