//! Many viewers in one thread. Each looks whether it gets every event of the telemetry, once and in order.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::frames;

/// Viewers that connect at the same time.
const AT_ONCE: usize = 32;
/// The longest that one may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Latencies are counted by milliseconds, up to this.
const LONGEST_MS: usize = 10_000;

/// What one viewer got since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Messages.
    pub deliveries: u64,
    /// Events in them.
    pub events: u64,
    /// The number of the last event.
    pub last: u64,
    /// Events whose number was not above the one before.
    pub disorder: u64,
    /// Over all numbers, in order.
    pub digest: u64,
    /// Incidents and others that came alone.
    pub alone: u64,
}

/// What all of them got.
#[derive(Debug)]
struct Book {
    logs: Vec<Log>,
    latency: Vec<u64>,
    greeted: usize,
    snapshot: String,
    telemetry: String,
    trouble: Option<String>,
}

/// The viewers.
pub struct Crowd {
    book: Rc<RefCell<Book>>,
    viewers: JoinSet<()>,
}

impl Crowd {
    /// Connects so many, each where `place` says, and waits until each has its snapshot.
    ///
    /// # Errors
    /// When one is refused, or takes too long.
    pub async fn gather<P>(count: usize, place: P, connector: &TlsConnector, token: &str) -> Result<Self>
    where
        P: AsyncFn() -> Result<SocketAddr> + Clone + 'static,
    {
        let book = Book {
            logs: vec![Log::default(); count],
            latency: vec![0; LONGEST_MS + 1],
            greeted: 0,
            snapshot: String::new(),
            telemetry: String::new(),
            trouble: None,
        };
        let book = Rc::new(RefCell::new(book));
        let (mut viewers, doors) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        for number in 0..count {
            let (book, connector, token, place) =
                (Rc::clone(&book), connector.clone(), token.to_owned(), place.clone());
            let door = Arc::clone(&doors).acquire_owned().await?;
            viewers.spawn_local(async move {
                let viewer = Viewer { number, book: Rc::clone(&book), door: Some(door), bytes: Vec::new() };
                let watched = async { viewer.watch(place().await?, connector, &token).await };
                if let Err(error) = watched.await {
                    book.borrow_mut().trouble.get_or_insert_with(|| format!("viewer {number}: {error:#}"));
                }
            });
        }
        let crowd = Self { book, viewers };
        let all = doors.acquire_many(u32::try_from(AT_ONCE)?);
        drop(tokio::time::timeout(CONNECT, all).await.context("not all viewers got their snapshot")??);
        crowd.check()?;
        let greeted = crowd.book.borrow().greeted;
        ensure!(greeted == count, "{greeted} of {count} viewers got their snapshot");
        Ok(crowd)
    }

    /// What each of them got.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        self.book.borrow().logs.clone()
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        let mut book = self.book.borrow_mut();
        book.logs.fill(Log::default());
        book.latency.fill(0);
    }

    /// The latency, in milliseconds, that so many of a thousand events stayed below.
    #[must_use]
    pub fn latency_ms(&self, thousandths: u64) -> u64 {
        let book = self.book.borrow();
        let wanted = book.latency.iter().sum::<u64>() * thousandths / 1000;
        let mut seen = 0;
        let at = book.latency.iter().position(|count| {
            seen += count;
            seen > wanted
        });
        at.unwrap_or(LONGEST_MS) as u64
    }

    /// A snapshot and a message of telemetry, as they came.
    #[must_use]
    pub fn samples(&self) -> (String, String) {
        let book = self.book.borrow();
        (book.snapshot.clone(), book.telemetry.clone())
    }

    /// Whether all of them are still connected.
    ///
    /// # Errors
    /// What happened to the first that is not.
    pub fn check(&self) -> Result<()> {
        match &self.book.borrow().trouble {
            Some(trouble) => bail!("{trouble}"),
            None => Ok(()),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.viewers.len()
    }
}

/// What trusts one certificate, and begins every connection anew, as new viewers do.
///
/// # Errors
/// When the certificate cannot be read.
pub fn connector(certificate: &std::path::Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks at an address where to connect.
///
/// # Errors
/// When that is not answered.
pub async fn ask(address: SocketAddr, connector: &TlsConnector, token: &str) -> Result<SocketAddr> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::from(address.ip()), stream).await?;
    let request = format!(
        "GET /api/v1/endpoint HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let url = answer.split_once("\"url\":\"https://").and_then(|(_, rest)| rest.split_once('"'));
    Ok(url.with_context(|| format!("no address in {answer}"))?.0.parse()?)
}

struct Viewer {
    number: usize,
    book: Rc<RefCell<Book>>,
    door: Option<tokio::sync::OwnedSemaphorePermit>,
    bytes: Vec<u8>,
}

impl Viewer {
    async fn watch(mut self, address: SocketAddr, connector: TlsConnector, token: &str) -> Result<()> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = connector.connect(ServerName::from(address.ip()), stream).await?;
        self.upgrade(&mut stream, address).await?;
        loop {
            let bytes = std::mem::take(&mut self.bytes);
            let mut rest = &bytes[..];
            while let Some((opcode, payload)) = frames::next(&mut rest) {
                match (opcode, payload.first().copied(), payload) {
                    (1, Some(b'4'), payload) => self.take(payload)?,
                    (1, Some(b'0'), _) => {
                        stream.write_all(&frames::text(&format!("40{{\"token\":\"{token}\"}}"))).await?;
                    }
                    (1, Some(b'2'), _) => stream.write_all(&frames::text("3")).await?,
                    (8, ..) => bail!("the server closes the connection"),
                    (other, ..) => bail!("a frame of kind {other}: {:?}", String::from_utf8_lossy(payload)),
                }
            }
            self.bytes = rest.to_vec();
            self.bytes.reserve(2048);
            ensure!(stream.read_buf(&mut self.bytes).await? > 0, "the server ends the connection");
        }
    }

    async fn upgrade(&mut self, stream: &mut TlsStream<TcpStream>, address: SocketAddr) -> Result<()> {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: \
             Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.bytes.split_off(at + 4);
                let head = String::from_utf8_lossy(&self.bytes);
                ensure!(head.starts_with("HTTP/1.1 101"), "no websocket: {head}");
                self.bytes = rest;
                return Ok(());
            }
            ensure!(stream.read_buf(&mut self.bytes).await? > 0, "the server ends the connection");
        }
    }

    /// A message of Socket.IO.
    fn take(&mut self, payload: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(payload)?;
        let mut book = self.book.borrow_mut();
        if text.starts_with("42[\"telemetry\"") {
            let Book { logs, latency, telemetry, .. } = &mut *book;
            if self.number == 0 {
                text.clone_into(telemetry);
            }
            count(text, logs.get_mut(self.number).context("no such viewer")?, latency);
        } else if text.starts_with("42[\"snapshot\"") {
            book.greeted += usize::from(self.door.take().is_some());
            if self.number == 0 {
                text.clone_into(&mut book.snapshot);
            }
        } else if text.starts_with("42[") {
            book.logs.get_mut(self.number).context("no such viewer")?.alone += 1;
        } else {
            ensure!(!text.starts_with("44") && !text.starts_with("41"), "refused: {text}");
        }
        Ok(())
    }
}

/// Counts the events of a message of telemetry, without reading all of it.
fn count(text: &str, log: &mut Log, latency: &mut [u64]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    log.deliveries += 1;
    for event in text.split("\"number\":").skip(1) {
        let number = leading(event);
        log.events += 1;
        log.disorder += u64::from(number <= log.last);
        log.last = number;
        log.digest = (log.digest ^ number).wrapping_mul(0x0100_0000_01b3);
    }
    for at in text.split("\"at_ms\":").skip(1).map(leading) {
        let late = usize::try_from(now.saturating_sub(u128::from(at))).unwrap_or(LONGEST_MS).min(LONGEST_MS);
        if let Some(slot) = latency.get_mut(late) {
            *slot += 1;
        }
    }
}

/// The number at the beginning.
fn leading(text: &str) -> u64 {
    text.bytes().take_while(u8::is_ascii_digit).fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
