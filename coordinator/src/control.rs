//! How `init` reaches the running coordinator: a socket in its state directory. A second program under the same key
//! would look to the nodes like a later run of the first, and silence it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A request is one short line.
const LINE: u64 = 256;
/// A birth ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines for the operator, or why it was not done.
pub type Reply = Result<Vec<String>, String>;
/// Asks the driver of one cluster for its birth.
pub type BirthRequest = oneshot::Sender<Reply>;

/// The socket of a state directory.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Listens for requests; refuses to when another coordinator runs with this state directory.
///
/// # Errors
/// The system's, or that another coordinator answers.
pub async fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let path = path(state_dir);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another coordinator runs with this state directory"));
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Hands requests to the clusters' drivers, for ever.
pub async fn serve(listener: UnixListener, clusters: BTreeMap<String, mpsc::Sender<BirthRequest>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let clusters = clusters.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(PATIENCE, answer(stream, &clusters)).await {
                tracing::debug!(%error, "a request on the control socket was not answered");
            }
        });
    }
}

async fn answer(stream: UnixStream, clusters: &BTreeMap<String, mpsc::Sender<BirthRequest>>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
    let reply = match line.trim().strip_prefix("init ") {
        Some(name) => birth(name, clusters).await,
        None => Err(format!("{:?} is no request; `init NAME` is", line.trim())),
    };
    let text = match reply {
        Ok(lines) => format!("done\n{}", lines.join("\n")),
        Err(reason) => format!("refused\n{reason}"),
    };
    write.write_all(text.as_bytes()).await
}

async fn birth(name: &str, clusters: &BTreeMap<String, mpsc::Sender<BirthRequest>>) -> Reply {
    let driver =
        clusters.get(name).ok_or_else(|| format!("the running coordinator has no cluster {name}; restart it"))?;
    let (reply, told) = oneshot::channel();
    driver.send(reply).await.map_err(|_| "the cluster's loop has ended".to_owned())?;
    told.await.map_err(|_| "the cluster's loop has ended".to_owned())?
}

/// Asks the running coordinator for a birth; `None` if none runs.
///
/// # Errors
/// The system's, while the request is made.
pub async fn ask_for_birth(state_dir: &Path, name: &str) -> io::Result<Option<Reply>> {
    let Ok(mut stream) = UnixStream::connect(path(state_dir)).await else { return Ok(None) };
    stream.write_all(format!("init {name}\n").as_bytes()).await?;
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await??;
    let (word, rest) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Some(match word {
        "done" => Ok(rest.lines().map(str::to_owned).collect()),
        _ => Err(rest.to_owned()),
    }))
}
