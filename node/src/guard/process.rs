//! The guard's own loop. It waits for no disk, no network and no lock.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tasuki_bus::clock;
use tasuki_node_core::Guarding;
use tasuki_schemas::moment::Moment;

use super::Line;
use super::hold::Hold;

/// How often the clock is looked at while a server is to end at some moment: the wait itself counts another clock, which
/// stands still while the machine sleeps.
const ARMED: Duration = Duration::from_millis(20);
/// How often it is looked whether there is still a reason to be here.
const IDLE: Duration = Duration::from_millis(500);
/// With neither a node nor a moment it stays for this long: a node may be starting.
const LONELY: Duration = Duration::from_secs(5);

/// Why a guard cannot do its work.
#[derive(Debug, thiserror::Error)]
#[error("the guard's socket {path}: {source}; the state directory must be the node's own")]
pub struct GuardError {
    path: PathBuf,
    source: io::Error,
}

/// Guards until there is neither a node nor anything to end. Blocks.
///
/// # Errors
/// When the socket cannot be had.
pub fn run(socket: &Path) -> Result<(), GuardError> {
    let listen = || {
        if UnixStream::connect(socket).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another guard answers there"));
        }
        tasuki_bus::local::listen(socket, 0o600)
    };
    let listener = listen().map_err(|source| GuardError { path: socket.to_owned(), source })?;
    // Not the first to be killed when memory is short. Without the right to say so it is as likely as any other.
    drop(fs::write("/proc/self/oom_score_adj", "-900"));
    Guard { listener, node: None, hold: None, needed_at: clock::now() }.watch();
    drop(fs::remove_file(socket));
    Ok(())
}

struct Guard {
    listener: UnixListener,
    node: Option<BufReader<UnixStream>>,
    hold: Option<Hold>,
    needed_at: Moment,
}

impl Guard {
    fn watch(mut self) {
        loop {
            self.end_what_is_due();
            let now = clock::now();
            if self.node.is_some() || self.hold.as_ref().is_some_and(|hold| hold.until.is_some()) {
                self.needed_at = now;
            } else if now.since(self.needed_at) > LONELY {
                return;
            }
            let pause = if self.hold.is_some() { ARMED } else { IDLE };
            self.wait(pause);
            self.meet();
            self.hear();
        }
    }

    fn end_what_is_due(&mut self) {
        let Some(hold) = &self.hold else { return };
        if hold.is_over() {
            self.hold = None;
        } else if hold.until.is_some_and(|until| until <= clock::now()) {
            // Until it is over, again and again: a kill may be refused.
            let killed = hold.kill();
            tracing::warn!(pid = hold.run.pid, killed, "the lease ended and was not renewed; its server is killed");
        }
    }

    /// Waits for a word of the node, a new node, or the time.
    fn wait(&self, pause: Duration) {
        let until = self.hold.as_ref().and_then(|hold| hold.until);
        // After its moment, it is looked at whether the server has ended.
        let left = until.map(|until| until.since(clock::now())).filter(|left| !left.is_zero());
        let left = left.map_or(pause, |left| left.min(pause));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
        watched.extend(self.node.iter().map(|node| PollFd::new(node.get_ref(), PollFlags::IN)));
        if poll(&mut watched, Some(&timeout)).is_err() {
            std::thread::sleep(left);
        }
    }

    /// A newer node replaces an older one, and is told what is held.
    fn meet(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        // A node that stops in the middle of a line must not stop the guard.
        let bounded = stream.set_read_timeout(Some(ARMED)).and_then(|()| stream.set_write_timeout(Some(ARMED)));
        self.node = bounded.is_ok().then(|| BufReader::new(stream));
        self.answer();
    }

    fn hear(&mut self) {
        let Some(node) = &mut self.node else { return };
        let mut ready = [PollFd::new(node.get_ref(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if node.buffer().is_empty() && poll(&mut ready, Some(&now)).unwrap_or(0) == 0 {
            return;
        }
        let mut text = String::new();
        match node.read_line(&mut text) {
            Ok(1..) => match serde_json::from_str::<Option<Line>>(&text) {
                Ok(line) => {
                    self.obey(line.map(Guarding::from));
                    self.answer();
                }
                Err(error) => {
                    tracing::error!(%error, "the node's word is not understood; what is held stays held");
                    self.node = None;
                }
            },
            Ok(_) | Err(_) => self.node = None,
        }
    }

    fn obey(&mut self, guarding: Option<Guarding>) {
        let Some(Guarding { run, until }) = guarding else {
            self.hold = None;
            return;
        };
        match &mut self.hold {
            Some(hold) if hold.run == run => hold.until = until,
            Some(_) | None => self.hold = Hold::take(run, until),
        }
    }

    fn answer(&mut self) {
        let held = self.hold.as_ref().map(|hold| Line::from(Guarding { run: hold.run, until: hold.until }));
        let text = serde_json::to_string(&held).unwrap_or_else(|_| "null".to_owned()) + "\n";
        let said = self.node.as_ref().map(|node| node.get_ref().write_all(text.as_bytes()));
        if matches!(said, Some(Err(_))) {
            self.node = None;
        }
    }
}
