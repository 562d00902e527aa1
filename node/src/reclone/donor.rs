//! The donor's side: what there is to copy, and MariaDB's backup as a stream. It runs on a thread of its own, so that the
//! node's loop waits for none of it.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tasuki_bus::BulkStream;
use tasuki_config::Reach;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::{NodeId, ProgramId};
use tasuki_schemas::reclone::{DonorAsk, DonorEnd, DonorOffer};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{command, wire};
use crate::execute::{Failed, Hands, position};
use crate::server::{Session, options};

/// The program that makes MariaDB's backups.
pub(super) const BACKUP: &str = "mariadb-backup";
/// Statements that read many tables' names.
const READ: Duration = Duration::from_secs(20);
/// A backup that says nothing for so long is given up. It waits for statements that hold locks.
const SILENCE: Duration = Duration::from_secs(120);
/// A backup that has told all its bytes ends within this.
const ENDS: Duration = Duration::from_secs(60);

/// Serves whoever asks, one after the other, for ever.
pub async fn serve(hands: Arc<Hands>, mut asked: Receiver<(ProgramId, BulkStream)>) {
    while let Some((peer, stream)) = asked.recv().await {
        let known = hands.peers.contains(&NodeId::from(&peer));
        if !known {
            tracing::warn!(%peer, "asked for a copy without having a server in this cluster; it gets none");
            continue;
        }
        let hands = Arc::clone(&hands);
        let served = super::aside("donor", async move { answer(&hands, stream).await });
        match served.await {
            Ok(Ok(())) => tracing::info!(%peer, "what was asked for a copy was answered"),
            Ok(Err(error)) => tracing::warn!(%peer, %error, "a copy was not given to its end"),
            Err(error) => tracing::error!(%error, "no thread for a copy"),
        }
    }
}

async fn answer(hands: &Hands, mut stream: BulkStream) -> io::Result<()> {
    let ask = wire::hear::<DonorAsk>(&mut stream).await?;
    let mut session = Session::new(options(&hands.config));
    let (offer, datadir) = offer(hands, &mut session).await;
    wire::say(&mut stream, &offer).await?;
    let (DonorAsk::Backup, None, Some(datadir)) = (ask, &offer.refusal, datadir) else { return Ok(()) };
    let failure = backup(hands, &datadir, &mut stream).await.err();
    let executed = position(hands, &mut session).await.map(|position| position.executed);
    let (executed, failure) = match (executed, failure) {
        (Ok(executed), failure) => (executed, failure),
        (Err(error), failure) => (offer.executed, failure.or_else(|| Some(error.to_string()))),
    };
    wire::write(&mut stream, &[]).await?;
    wire::say(&mut stream, &DonorEnd { executed, failure }).await
}

/// What there is, and why not if so.
async fn offer(hands: &Hands, session: &mut Session) -> (DonorOffer, Option<PathBuf>) {
    let nothing = |reason: String| {
        let executed = GtidSet::empty(hands.dialect.0);
        DonorOffer { version: String::new(), bytes: 0, executed, refusal: Some(reason) }
    };
    match look(hands, session).await {
        Ok((offer, datadir)) => (offer, Some(datadir)),
        Err(error) => (nothing(error.to_string()), None),
    }
}

async fn look(hands: &Hands, session: &mut Session) -> Result<(DonorOffer, PathBuf), Failed> {
    let row = session.row(&hands.dialect.places(), READ).await?;
    let told = |name: &str| row.get(name).cloned().unwrap_or_default();
    let datadir = PathBuf::from(told("datadir"));
    let logs = ["log_bin_basename", "relay_log_basename"].map(|name| PathBuf::from(told(name)));
    let walked = datadir.clone();
    let bytes = tokio::task::spawn_blocking(move || size(&walked, &logs));
    let bytes = bytes.await.map_err(|error| Failed::Other(error.to_string()))?;
    let bytes = bytes.map_err(|error| Failed::Other(format!("{}: {error}", datadir.display())))?;
    let refusal = match (hands.dialect.0, hands.dialect.uncloned_tables()) {
        (Flavour::Mariadb, _) => command::find(BACKUP)
            .is_none()
            .then(|| format!("{BACKUP} is not installed on its host; install the package of that name")),
        (Flavour::Mysql, _) if told("clone_plugin") != "ACTIVE" => Some(NO_PLUGIN.to_owned()),
        (Flavour::Mysql, Some(sql)) => {
            let row = session.row(sql, READ).await?;
            let count = row.get("n").map_or("0", String::as_str);
            let first = row.get("first").map_or("", String::as_str);
            (count != "0").then(|| {
                format!("{count} of its tables are not InnoDB ({first}), and MySQL's clone would leave them empty; ALTER them to InnoDB first")
            })
        }
        (Flavour::Mysql, None) => None,
    };
    let executed = position(hands, session).await?.executed;
    Ok((DonorOffer { version: told("version"), bytes, executed, refusal }, datadir))
}

/// What to do where MySQL's plugin is missing.
pub(super) const NO_PLUGIN: &str = "the clone plugin is not active; add plugin_load_add = mysql_clone.so to its options and restart it, or INSTALL PLUGIN clone SONAME 'mysql_clone.so'";

/// The bytes of a data directory without binlogs and relay files. Blocks. Files that go away meanwhile count nothing.
fn size(datadir: &Path, logs: &[PathBuf]) -> io::Result<u64> {
    let is_log = |path: &Path| logs.iter().any(|log| path.with_extension("") == *log);
    let (mut bytes, mut folders) = (0_u64, vec![datadir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(found) if !is_log(&path) => bytes = bytes.saturating_add(found.len()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(bytes)
}

/// The backup, under the node's account, whose file goes away with it.
async fn backup(hands: &Hands, datadir: &Path, stream: &mut BulkStream) -> Result<(), String> {
    let login = hands.state_dir.join("backup.cnf");
    let written = write_login(hands, &login).map_err(|error| format!("{}: {error}", login.display()));
    let done = match written {
        Ok(()) => pieces(hands, datadir, &login, stream).await,
        Err(error) => Err(error),
    };
    drop(fs::remove_file(&login));
    done
}

/// The backup, piece by piece.
async fn pieces(hands: &Hands, datadir: &Path, login: &Path, stream: &mut BulkStream) -> Result<(), String> {
    let program = command::find(BACKUP).ok_or_else(|| format!("{BACKUP} is not installed"))?;
    let failed = |error: io::Error| format!("{BACKUP}: {error}");
    let said = hands.state_dir.join("backup.log");
    let mut child = command::quiet(&program, &said)
        .map_err(failed)?
        .stdout(Stdio::piped())
        // It must come first.
        .arg(format!("--defaults-extra-file={}", login.display()))
        .args(["--backup", "--stream=mbstream"])
        .arg(format!("--datadir={}", datadir.display()))
        .arg(format!("--target-dir={}", hands.state_dir.join("backup").display()))
        .spawn()
        .map_err(failed)?;
    let mut from = child.stdout.take().ok_or("its output is not to be had")?;
    let mut piece = vec![0; wire::PIECE];
    loop {
        let read = timeout(SILENCE, from.read(&mut piece)).await;
        let read = read.map_err(|_| format!("{BACKUP} said nothing for {SILENCE:?}"))?.map_err(failed)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        wire::write(stream, bytes).await.map_err(failed)?;
    }
    let status = timeout(ENDS, child.wait()).await.map_err(|_| format!("{BACKUP} does not end"))?.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{BACKUP} ended with {status}: {}", command::end_of(&said))) }
}

/// The account goes into a file for this node alone: arguments are shown to everybody on the host.
fn write_login(hands: &Hands, file: &Path) -> io::Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\"));
    let reach = match &hands.config.reach {
        Reach::Socket(socket) => format!("socket={}", quoted(&socket.display().to_string())),
        Reach::Tcp(address, _) => format!("protocol=tcp\nhost={}\nport={}", address.ip(), address.port()),
    };
    let (user, password) = (quoted(&hands.config.user), quoted(hands.config.password.expose()));
    drop(fs::remove_file(file));
    let mut open = fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    io::Write::write_all(&mut open, format!("[client]\nuser={user}\npassword={password}\n{reach}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binlogs_and_relay_files_are_not_copied_and_not_counted() {
        let folder = std::env::temp_dir().join(format!("tasuki-size-{}", std::process::id()));
        fs::create_dir_all(folder.join("lab")).unwrap();
        for (name, bytes) in [("ibdata1", 100), ("lab/t.ibd", 20), ("bin.000001", 5000), ("relay.index", 3000)] {
            fs::write(folder.join(name), vec![0; bytes]).unwrap();
        }
        let logs = ["bin", "relay"].map(|name| folder.join(name));
        assert_eq!(size(&folder, &logs).unwrap(), 120);
        fs::remove_dir_all(folder).unwrap();
    }
}
