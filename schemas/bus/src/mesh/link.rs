//! One peer of the mesh and the frames exchanged with it: a length (u32, big endian) and an envelope's text.
//!
//! A frame of length zero is a sign of life. Both sides send one at once and then regularly, so that a connection counts
//! only when the peer has spoken on it, and a peer that is stopped or gone is noticed though TCP sees nothing.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tasuki_schemas::envelope::MAX_BYTES;
use tasuki_schemas::id::ProgramId;
use tasuki_schemas::message::Role;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::GREETING;
use crate::counters::{Reason, Tally};
use crate::inbox::Inbox;
use crate::queue::Queue;

/// How often a sign of life is sent.
const SIGN_EVERY: Duration = Duration::from_millis(500);

/// After this long without a byte the peer counts as gone.
const SILENCE: Duration = Duration::from_millis(1800);

/// After this long without having taken a frame the peer counts as gone.
const WRITE: Duration = Duration::from_secs(2);

/// A peer, connected or not.
pub(crate) struct Link {
    pub(crate) program: ProgramId,
    pub(crate) role: Role,
    pub(crate) queue: Queue,
    /// The number of the connection in use, 0 if there is none.
    current: watch::Sender<u64>,
    connections: AtomicU64,
}

impl Link {
    pub(crate) fn new(program: ProgramId, role: Role, tally: Arc<Tally>) -> Self {
        Self { program, role, queue: Queue::new(tally), current: watch::Sender::new(0), connections: AtomicU64::new(0) }
    }

    /// Whether the peer speaks on a connection.
    pub(crate) fn live(&self) -> bool {
        *self.current.borrow() != 0
    }
}

/// Exchanges frames with an authenticated peer until the connection fails or is replaced.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite, link: &Link, inbox: &Inbox) {
    let (mut reader, mut writer) = split(stream);
    let greeting = async {
        write_frame(&mut writer, b"").await?;
        read_frame(&mut reader, &inbox.tally).await
    };
    let Ok(Ok(first)) = timeout(GREETING, greeting).await else {
        return;
    };
    let mine = link.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let before = link.current.send_replace(mine);
    let mut current = link.current.subscribe();
    if before == 0 {
        tracing::info!(peer = %link.program, "a link of the mesh lives");
    }
    inbox.resumed();
    take(inbox, link, &first);
    let ended = tokio::select! {
        ended = read_all(reader, link, inbox) => ended,
        ended = write_all(writer, &link.queue) => ended,
        _ = current.wait_for(|number| *number != mine) => return,
    };
    let lost = link.current.send_if_modified(|number| {
        let is_mine = *number == mine;
        if is_mine {
            *number = 0;
        }
        is_mine
    });
    if let (true, Err(error)) = (lost, ended) {
        tracing::warn!(peer = %link.program, %error, "a link of the mesh is lost");
    }
}

async fn read_all(mut reader: impl AsyncRead + Unpin, link: &Link, inbox: &Inbox) -> io::Result<()> {
    loop {
        take(inbox, link, &read_frame(&mut reader, &inbox.tally).await?);
    }
}

fn take(inbox: &Inbox, link: &Link, frame: &[u8]) {
    if !frame.is_empty() {
        inbox.take(Some(&link.program), frame);
    }
}

async fn read_frame(reader: &mut (impl AsyncRead + Unpin), tally: &Tally) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    read_exact(reader, &mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        tally.dropped(Reason::Oversized);
        return Err(io::Error::new(ErrorKind::InvalidData, "a frame is larger than an envelope may be"));
    }
    let mut frame = vec![0; length];
    read_exact(reader, &mut frame).await?;
    Ok(frame)
}

/// Reads all of `bytes`. Only silence is a failure: a large frame may take its time on a slow line.
async fn read_exact(reader: &mut (impl AsyncRead + Unpin), bytes: &mut [u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let read = timeout(SILENCE, reader.read(rest)).await.map_err(|_| ErrorKind::TimedOut)??;
        rest = rest.get_mut(read..).filter(|_| read > 0).ok_or(ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}

async fn write_all(mut writer: impl AsyncWrite + Unpin, queue: &Queue) -> io::Result<()> {
    let mut signs = interval(SIGN_EVERY);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            frame = queue.pop() => write_frame(&mut writer, frame.text.as_bytes()).await?,
            _ = signs.tick() => write_frame(&mut writer, b"").await?,
        }
    }
}

async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), text: &[u8]) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(4 + text.len());
    frame.extend(length.to_be_bytes());
    frame.extend(text);
    let write = async {
        writer.write_all(&frame).await?;
        writer.flush().await
    };
    timeout(WRITE, write).await.map_err(|_| ErrorKind::TimedOut)?
}
