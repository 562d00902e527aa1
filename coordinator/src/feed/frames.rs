//! A websocket's bytes, looked at frame by frame: what a viewer sends is counted and slowed down, and a refusal that goes
//! out gets its fix.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::packets::{PER_SECOND, with_fix};

/// Bytes that are taken at a time, so that no more frames than fit into them are taken too early.
const PIECE: usize = 1024;
/// A final frame of text, as servers send it: unmasked.
const TEXT: u8 = 0x81;

/// The stream.
pub(super) struct Frames<S> {
    stream: S,
    heard: Heard,
    /// Frames that may be read before `refill`; below zero they were read too early.
    allowed: i64,
    refill: Option<Pin<Box<Sleep>>>,
    /// Bytes of the frame that is being written.
    unwritten: usize,
    /// What is written in place of something that the layer believes to be written.
    instead: Vec<u8>,
}

impl<S> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        let (heard, allowed) = (Heard::default(), i64::from(PER_SECOND));
        Self { stream, heard, allowed, refill: None, unwritten: 0, instead: Vec::new() }
    }

    /// Waits until a frame may be read.
    fn allow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.allowed <= 0 {
            let refill = self.refill.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
            ready!(refill.as_mut().poll(context));
            self.refill = None;
            self.allowed += i64::from(PER_SECOND);
        }
        Poll::Ready(())
    }

    /// Notes that the first bytes of a whole run of frames were written.
    fn wrote(&mut self, bytes: &[u8], length: usize) {
        let mut at = self.unwritten;
        while at < length {
            at += bytes.get(at..).and_then(whole).unwrap_or(length - at);
        }
        self.unwritten = at - length;
    }
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    /// Writes what stands for something else.
    fn settle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.allow(context));
        let mut piece = buffer.take(PIECE);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        let read = piece.filled().to_vec();
        buffer.put_slice(&read);
        self.allowed -= self.heard.count(&read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.settle(context))?;
        let (before, refusal) = until_refusal(bytes, self.unwritten);
        if let (0, Some((length, told))) = (before.len(), refusal) {
            self.instead = told;
            // What cannot be written now is written before the next.
            if let Poll::Ready(Err(error)) = self.settle(context) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(length));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, before))?;
        self.wrote(bytes, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.settle(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.settle(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long the header of a frame is that begins here, and how long its content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    let masked = if second & 0x80 == 0 { 0 } else { 4 };
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        length => return Some((2 + masked, usize::from(length))),
    };
    let length = bytes.get(2..2 + wide)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some((2 + wide + masked, usize::try_from(length).unwrap_or(usize::MAX)))
}

/// The length of the whole frame that begins here.
fn whole(bytes: &[u8]) -> Option<usize> {
    header(bytes).map(|(header, content)| header.saturating_add(content))
}

/// The bytes before the first refusal, that one's length, and the frame to be written in its place. The layer writes whole
/// frames; of the first, `unwritten` bytes are left.
fn until_refusal(bytes: &[u8], unwritten: usize) -> (&[u8], Option<(usize, Vec<u8>)>) {
    let mut at = unwritten;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((header, content)) = header(rest) else { break };
        let end = header.saturating_add(content);
        let text = rest.get(header..end).filter(|text| rest.first() == Some(&TEXT) && text.starts_with(b"44"));
        if let Some(told) = text.and_then(|text| with_fix(std::str::from_utf8(text).ok()?)) {
            return (bytes.get(..at).unwrap_or_default(), Some((end, frame(&told))));
        }
        at = at.saturating_add(end);
    }
    (bytes, None)
}

/// A frame of text; it is short.
fn frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![TEXT];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(long)) => {
            frame.push(126);
            frame.extend(long.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}

/// Where in the frames that a viewer sends one is.
#[derive(Default)]
struct Heard {
    header: Vec<u8>,
    /// Bytes of content that are still to come.
    left: usize,
}

impl Heard {
    /// How many frames begin in the next bytes.
    fn count(&mut self, mut bytes: &[u8]) -> i64 {
        let mut begun = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (gone, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= gone.len();
                bytes = rest;
                continue;
            }
            begun += i64::from(self.header.is_empty());
            self.header.push(*first);
            bytes = rest;
            if let Some((length, content)) = header(&self.header)
                && self.header.len() >= length
            {
                self.left = content;
                self.header.clear();
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    /// A masked frame as viewers send it.
    fn sent(length: usize) -> Vec<u8> {
        let mut frame = frame(&"x".repeat(length));
        frame[1] |= 0x80;
        let at = frame.len() - length;
        frame.splice(at..at, [1, 2, 3, 4]);
        frame
    }

    #[test]
    fn frames_are_counted_wherever_their_bytes_are_cut() {
        let frames: Vec<u8> = [0, 1, 125, 126, 70_000, 3].into_iter().flat_map(sent).collect();
        for piece in [1, 2, 3, 5, 100, 4096, 100_000] {
            let mut heard = Heard::default();
            assert_eq!(frames.chunks(piece).map(|bytes| heard.count(bytes)).sum::<i64>(), 6, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_refusal_gets_its_fix_and_every_other_frame_goes_out_as_it_is() {
        let refusal = r#"44{"message":"unauthorized: no token was shown; show one"}"#;
        let others = [frame("40{}"), frame(&"4".repeat(300)), frame(&format!("42{}", "y".repeat(70_000)))];
        let mut written = others.concat();
        written.extend(frame(refusal));
        written.extend(frame("2"));
        let mut wanted = others.concat();
        wanted.extend(frame(&with_fix(refusal).unwrap()));
        wanted.extend(frame("2"));
        // The stream takes what it likes.
        for room in [1, 7, 1000, 1 << 20] {
            let (near, mut far) = duplex(room);
            let mut frames = Frames::new(near);
            let writing = async {
                frames.write_all(&written).await.unwrap();
                frames.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let (_, read) = tokio::join!(writing, far.read_to_end(&mut got));
            read.unwrap();
            assert!(got == wanted, "{room}: {} bytes", got.len());
        }
    }

    #[tokio::test]
    async fn many_small_packets_are_read_at_a_bounded_pace() {
        let (near, mut far) = duplex(1 << 16);
        let mut frames = Frames::new(near);
        let frame = sent(1);
        let (size, many) = (frame.len(), frame.repeat(1000));
        far.write_all(&many).await.unwrap();
        let (mut read, began, mut piece) = (0, Instant::now(), vec![0; 4096]);
        while let Ok(length) = timeout(Duration::from_millis(500), frames.read(&mut piece)).await {
            read += length.unwrap();
        }
        let most = usize::try_from(PER_SECOND).unwrap() + PIECE / size + 1;
        assert!(read / size <= most, "{} in {:?}", read / size, began.elapsed());
        // A long message is no flood.
        let (near, mut far) = duplex(1 << 20);
        let mut frames = Frames::new(near);
        far.write_all(&sent(70_000)).await.unwrap();
        drop(far);
        let mut whole = Vec::new();
        timeout(Duration::from_millis(500), frames.read_to_end(&mut whole)).await.unwrap().unwrap();
        assert_eq!(whole.len(), 70_014);
    }
}
