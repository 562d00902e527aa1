//! What a unit's stop command asks of the running node: its server is about to be stopped. A socket in the state directory;
//! who asks stays connected until it may go on, and who leaves earlier wants nothing any more.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tasuki_node_core::Input;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::timeout;

/// A request is one short line.
const LINE: u64 = 64;
/// A request comes at once.
const ASKS: Duration = Duration::from_secs(2);
/// Longer than closing a server takes.
const CLOSES: Duration = Duration::from_secs(10);
/// The longest time that another server may be given to take over.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Whether the server may be stopped, and what was done.
pub type Told = Result<String, String>;

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("node.sock")
}

/// Listens for those who stop servers. Needs a runtime. The node's lock on its state directory keeps a second one away.
///
/// # Errors
/// The system's.
pub fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    UnixListener::from_std(tasuki_bus::local::listen(&path(state_dir), 0o600)?)
}

/// Hands one request after the other to the node's loop, for ever.
pub async fn serve(listener: UnixListener, inputs: Sender<Input>, mut told: Receiver<Told>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Err(error) = answer(stream, &inputs, &mut told).await {
            tracing::debug!(%error, "a request on the node's socket was not answered");
        }
    }
}

async fn answer(stream: UnixStream, inputs: &Sender<Input>, told: &mut Receiver<Told>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(LINE));
    let mut line = String::new();
    timeout(ASKS, read.read_line(&mut line)).await??;
    let within = line.trim_end().strip_prefix("hand-over ").and_then(|text| text.parse().ok());
    let Some(within) = within.map(Duration::from_millis).filter(|within| *within <= LONGEST) else {
        return write.write_all(b"refused\nno request; `hand-over MILLISECONDS` is").await;
    };
    // What an earlier asker did not wait for.
    while told.try_recv().is_ok() {}
    if inputs.send(Input::Leave { within }).await.is_err() {
        return Ok(());
    }
    let mut more = String::new();
    let told = tokio::select! {
        told = told.recv() => told,
        // It says nothing more: this ends when it is gone.
        _ = read.read_line(&mut more) => None,
        () = tokio::time::sleep(within + CLOSES) => Some(Err("the node did not decide in time".to_owned())),
    };
    match told {
        Some(Ok(text)) => write.write_all(format!("done\n{text}").as_bytes()).await,
        Some(Err(text)) => write.write_all(format!("refused\n{text}").as_bytes()).await,
        None => {
            // If the loop has ended there is nothing to call off.
            let _ = inputs.send(Input::Stay).await;
            Ok(())
        }
    }
}

/// Asks the running node; `None` if none runs.
///
/// # Errors
/// The system's, while the request is made.
pub async fn ask(state_dir: &Path, within: Duration) -> io::Result<Option<Told>> {
    let Ok(mut stream) = UnixStream::connect(path(state_dir)).await else { return Ok(None) };
    stream.write_all(format!("hand-over {}\n", within.as_millis()).as_bytes()).await?;
    let mut text = String::new();
    let Ok(read) = timeout(within + CLOSES * 2, stream.read_to_string(&mut text)).await else {
        let place = state_dir.display();
        let told = format!("the node of {place} does not answer, so that its server is as it was; is it stopped?");
        return Ok(Some(Err(told)));
    };
    read?;
    Ok(Some(match text.split_once('\n') {
        Some(("done", told)) => Ok(told.to_owned()),
        Some((_, told)) => Err(told.to_owned()),
        None => Err("the node ended before it answered".to_owned()),
    }))
}
