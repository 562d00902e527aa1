//! A line between a viewer and a feed that can be cut: a TCP proxy in this process.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The line. Dropping it ends nothing that the test's process does not end.
#[derive(Clone)]
pub(crate) struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    to: SocketAddr,
    cut_until: Instant,
    open: Vec<TcpStream>,
}

impl Line {
    /// A line to a feed.
    pub(crate) fn to(feed: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { to: feed, cut_until: Instant::now(), open: Vec::new() };
        let line = Self { address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) };
        let state = Arc::clone(&line.state);
        std::thread::spawn(move || {
            for viewer in listener.incoming().map_while(Result::ok) {
                let mut state = state.lock().unwrap();
                if Instant::now() < state.cut_until {
                    continue;
                }
                let Ok(feed) = TcpStream::connect_timeout(&state.to, Duration::from_secs(1)) else { continue };
                state.open.extend([viewer.try_clone().unwrap(), feed.try_clone().unwrap()]);
                let back = (feed.try_clone().unwrap(), viewer.try_clone().unwrap());
                for (from, to) in [(viewer, feed), back] {
                    std::thread::spawn(move || copy(from, to));
                }
            }
        });
        line
    }

    /// Where a viewer connects.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Cuts it: whatever is on it is gone, and nobody gets through for a while; then it leads to `to`.
    pub(crate) fn cut(&self, length: Duration, to: SocketAddr) {
        let mut state = self.state.lock().unwrap();
        (state.cut_until, state.to) = (Instant::now() + length, to);
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
