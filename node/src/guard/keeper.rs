//! The node's end: starts the guard, passes on what it is to hold, and tells the core what it holds.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tasuki_node_core::{Guarding, Input};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::sync::mpsc::{Receiver, Sender};

use super::Line;

/// A guard answers at once, or something is wrong with it.
const DEADLINE: Duration = Duration::from_millis(300);
/// Between two attempts to have a guard.
const PAUSE: Duration = Duration::from_millis(50);

/// Keeps a guard, for as long as the node runs. The last order is given again to a guard that had to be started anew.
pub async fn keep(socket: PathBuf, mut orders: Receiver<Option<Guarding>>, inputs: Sender<Input>) {
    loop {
        match meet(&socket).await {
            Ok(guard) => {
                if let Ended::NodeStops = talk(guard, &mut orders, &inputs).await {
                    return;
                }
                tracing::warn!("the guard is gone; another is started");
            }
            Err(error) => tracing::error!(%error, socket = %socket.display(), "there is no guard"),
        }
        // Without a guard nothing is guarded: the core must know it.
        if inputs.send(Input::Guarded(None)).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

type Guard = (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf);

enum Ended {
    NodeStops,
    GuardIsGone,
}

/// Connects to the guard that is there, or starts one.
async fn meet(socket: &PathBuf) -> std::io::Result<Guard> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(_) => {
            start(socket)?;
            let mut tries = 0;
            loop {
                match UnixStream::connect(socket).await {
                    Ok(stream) => break stream,
                    Err(error) if tries == 40 => return Err(error),
                    Err(_) => tries += 1,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let (read, write) = stream.into_split();
    Ok((BufReader::new(read).lines(), write))
}

/// In a process group of its own: what ends the node must not end its guard.
fn start(socket: &PathBuf) -> std::io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("guard")
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    tokio::spawn(async move { child.wait().await });
    Ok(())
}

async fn talk((mut lines, mut write): Guard, orders: &mut Receiver<Option<Guarding>>, inputs: &Sender<Input>) -> Ended {
    loop {
        let told = tokio::select! {
            line = lines.next_line() => line,
            order = orders.recv() => {
                let Some(mut order) = order else { return Ended::NodeStops };
                // Only the newest counts.
                while let Ok(newer) = orders.try_recv() {
                    order = newer;
                }
                let Ok(mut text) = serde_json::to_string(&order.map(Line::from)) else { continue };
                text.push('\n');
                let asked = async {
                    write.write_all(text.as_bytes()).await?;
                    lines.next_line().await
                };
                match tokio::time::timeout(DEADLINE, asked).await {
                    Ok(told) => told,
                    Err(_) => return Ended::GuardIsGone,
                }
            }
        };
        let Ok(Some(line)) = told else { return Ended::GuardIsGone };
        let Ok(held) = serde_json::from_str::<Option<Line>>(&line) else { return Ended::GuardIsGone };
        if inputs.send(Input::Guarded(held.map(Guarding::from))).await.is_err() {
            return Ended::NodeStops;
        }
    }
}
