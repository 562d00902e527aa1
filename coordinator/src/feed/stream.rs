//! Accepted connections: how many there may be, how fast they may send, and that their writes may not stall. A viewer that
//! stops reading would otherwise keep its place for ever, since the Socket.IO layer waits for the write before it can
//! close.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tasuki_config::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

/// A write that takes longer than this ends the connection.
const STALLED: Duration = Duration::from_secs(5);
/// So many bytes are read of a connection in a second; the rest waits in the sender's buffers.
const PER_SECOND: usize = 128 * 1024;

#[derive(Debug, Default)]
struct Open {
    whole: usize,
    by: BTreeMap<IpAddr, usize>,
}

/// Accepts streams within the limits, without delay of small packets, and guards them.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    limits: Limits,
    open: Arc<Mutex<Open>>,
    addressed: bool,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, open: Arc::default(), addressed: true }
    }

    /// The same limits, but for that of one address: behind it is a proxy.
    pub(super) fn unaddressed(self) -> Self {
        Self { addressed: false, ..self }
    }

    /// A place among the open connections; programs on this host that stand for many viewers have no address.
    fn place(&self, address: Option<IpAddr>) -> io::Result<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = address.map_or(0, |address| open.by.get(&address).copied().unwrap_or_default());
        if open.whole >= self.limits.whole || own >= self.limits.per_address {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"));
        }
        open.whole += 1;
        if let Some(address) = address {
            open.by.insert(address, own + 1);
        }
        Ok(Place { open: Arc::clone(&self.open), address })
    }

    fn guard<S>(&self, stream: S, address: Option<IpAddr>) -> io::Result<Guarded<S>> {
        let place = self.place(address)?;
        let (stalled, given_up, reader, refill) = (None, false, None, None);
        Ok(Guarded { stream, stalled, given_up, reader, allowed: PER_SECOND, refill, _place: place })
    }
}

/// One of the open connections, until it is dropped.
struct Place {
    open: Arc<Mutex<Open>>,
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.whole -= 1;
        if let Some(address) = self.address
            && let Some(count) = open.by.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by.remove(&address);
            }
        }
    }
}

impl<A> Accept<TcpStream, A> for Gate {
    type Stream = Guarded<TcpStream>;
    type Service = A;
    type Future = std::future::Ready<io::Result<(Guarded<TcpStream>, A)>>;

    fn accept(&self, stream: TcpStream, service: A) -> Self::Future {
        let accepted = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
        let guarded = accepted.and_then(|peer| self.guard(stream, Some(peer.ip()).filter(|_| self.addressed)));
        std::future::ready(guarded.map(|stream| (stream, service)))
    }
}

impl<A> Accept<UnixStream, A> for Gate {
    type Stream = Guarded<UnixStream>;
    type Service = A;
    type Future = std::future::Ready<io::Result<(Guarded<UnixStream>, A)>>;

    fn accept(&self, stream: UnixStream, service: A) -> Self::Future {
        std::future::ready(self.guard(stream, None).map(|stream| (stream, service)))
    }
}

fn deaf() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the viewer does not read")
}

/// The guarded stream.
pub(super) struct Guarded<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
    /// A write stalled for too long.
    given_up: bool,
    /// Who waits to read: the Socket.IO layer lets go of a connection whose reading fails, and of one whose writing fails
    /// only with its next heartbeat.
    reader: Option<Waker>,
    /// Bytes that may be read before `refill`.
    allowed: usize,
    refill: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<S> Guarded<S> {
    /// Lets a write's result through, and an error instead of waiting too long.
    fn guard<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(context));
        self.given_up = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Err(deaf()))
    }

    /// Waits until something may be read again.
    fn allow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(refill) = &mut self.refill {
            // While there is something left nobody need be woken for more.
            if self.allowed > 0 && refill.deadline() > tokio::time::Instant::now() {
                return Poll::Ready(());
            }
            ready!(refill.as_mut().poll(context));
            (self.refill, self.allowed) = (None, PER_SECOND);
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given_up {
            return Poll::Ready(Err(deaf()));
        }
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            self.reader = Some(context.waker().clone());
        }
        ready!(self.allow(context));
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let length = buffer.filled().len() - before;
        if length > 0 {
            self.allowed = self.allowed.saturating_sub(length);
            self.refill.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.guard(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.guard(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(context);
        self.guard(closed, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, timeout};

    #[test]
    fn there_are_so_many_connections_and_no_more() {
        let gate = Gate::new(Limits { whole: 3, per_address: 2 });
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|address| Some(address.parse().unwrap()));
        let places = [gate.place(one).unwrap(), gate.place(one).unwrap()];
        assert!(gate.place(one).is_err());
        let last = gate.place(other).unwrap();
        assert!(gate.place(other).is_err() && gate.place(None).is_err());
        drop(places);
        assert!(gate.place(one).is_ok());
        drop(last);
        assert_eq!(gate.open.lock().unwrap().whole, 0);
        assert!(gate.open.lock().unwrap().by.is_empty());
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_let_go_of_by_the_reader_too() {
        let gate = Gate::new(Limits { whole: 1, per_address: 1 });
        let (near, _far) = UnixStream::pair().unwrap();
        let (guarded, ()) = gate.accept(near, ()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(guarded);
        let began = Instant::now();
        let reading = tokio::spawn(async move { read.read(&mut [0; 16]).await.unwrap_err().kind() });
        let error = loop {
            if let Err(error) = write.write_all(&[7; 4096]).await {
                break error;
            }
        };
        assert_eq!((error.kind(), reading.await.unwrap()), (io::ErrorKind::TimedOut, io::ErrorKind::TimedOut));
        assert!(began.elapsed() >= STALLED && began.elapsed() < 2 * STALLED, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_flood_is_read_at_a_bounded_pace() {
        let gate = Gate::new(Limits { whole: 1, per_address: 1 });
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut guarded, ()) = gate.accept(near, ()).await.unwrap();
        tokio::spawn(async move { while far.write_all(&[7; 4096]).await.is_ok() {} });
        let (mut read, began, mut piece) = (0, Instant::now(), vec![0; 4096]);
        while let Ok(length) = timeout(Duration::from_millis(500), guarded.read(&mut piece)).await {
            read += length.unwrap();
        }
        assert!((PER_SECOND..PER_SECOND + 8192).contains(&read), "{read} in {:?}", began.elapsed());
        assert!(timeout(Duration::from_secs(1), guarded.read(&mut piece)).await.unwrap().unwrap() > 0);
    }
}
