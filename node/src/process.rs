//! The watch over a server's process: tells its end as soon as it can no longer acknowledge anything.
//!
//! A killed server's sockets and its pidfd end only after its memory is given back, about 30 ms per GiB. Its tasks
//! carry the kernel's exit flag from the first milliseconds on, and a task with that flag never runs the server's
//! code again. So the flag of every task is as good a proof as the end itself, and comes much earlier.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often the leader's exit flag is looked at: one read of a file that is kept open.
const LOOK: Duration = Duration::from_millis(10);
/// How often all tasks are looked at once the leader carries the flag.
const LOOK_CLOSELY: Duration = Duration::from_millis(1);
/// The kernel's `PF_EXITING`: the task is on its way out and runs no user code any more.
const PF_EXITING: u64 = 0x4;

/// Why a process cannot be watched or killed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such process: the server had gone before the watch began.
    #[error("process {pid} is gone")]
    Gone {
        /// The process id given.
        pid: u32,
    },
    /// The system refuses to show or to signal the process.
    #[error("cannot {action} process {pid}: {source}; the node must run as root or as the server's user")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The process id.
        pid: u32,
        /// The system's word.
        source: io::Error,
    },
}

/// A running watch over one process. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    start_time: u64,
    pidfd: Arc<OwnedFd>,
    dropped: Arc<AtomicBool>,
}

impl Watch {
    /// Watches `pid` on a thread of its own and calls `on_exit` once, on that thread, when the process can no longer
    /// do anything. A process that is already exiting is told at once.
    ///
    /// # Errors
    /// [`ProcessError::Gone`] if there is no such process, [`ProcessError::Refused`] if it cannot be watched.
    pub fn start(pid: u32, on_exit: impl FnOnce() + Send + 'static) -> Result<Self, ProcessError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Gone { pid })?;
        let refused = |source: io::Error| ProcessError::Refused { action: "watch", pid, source };
        let pidfd = match pidfd_open(raw, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Arc::new(pidfd),
            Err(Errno::SRCH) => return Err(ProcessError::Gone { pid }),
            Err(errno) => return Err(refused(errno.into())),
        };
        // The pidfd is held before the start time is read: as long as it has not ended, the line is of this process.
        let start_time = match Stat::read(&format!("/proc/{pid}/stat")) {
            Ok(Some(stat)) => stat.start_time,
            Ok(None) => return Err(ProcessError::Gone { pid }),
            Err(error) => return Err(refused(error)),
        };
        // The leader's own line: that of the whole process sums up every thread, at ten times the cost.
        let leader = fs::File::open(format!("/proc/{pid}/task/{pid}/stat")).map_err(refused)?;
        let dropped = Arc::new(AtomicBool::new(false));
        let watcher = Watcher { pid, start_time, leader, pidfd: Arc::clone(&pidfd), dropped: Arc::clone(&dropped) };
        std::thread::Builder::new()
            .name(format!("watch-{pid}"))
            .spawn(move || {
                if watcher.wait_for_exit() {
                    on_exit();
                }
            })
            .map_err(refused)?;
        Ok(Self { pid, start_time, pidfd, dropped })
    }

    /// The process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// When the process started, in clock ticks since boot: with the pid, it names this run of the server.
    #[must_use]
    pub const fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Sends SIGKILL to this very process, never to a later one with its pid. A process already gone is no error.
    ///
    /// # Errors
    /// [`ProcessError::Refused`] if this program may not signal it.
    pub fn kill(&self) -> Result<(), ProcessError> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(ProcessError::Refused { action: "kill", pid: self.pid, source: errno.into() }),
        }
    }
}

/// Whether a run of a process can still do anything.
#[must_use]
pub fn is_running(pid: u32, start_time: u64) -> bool {
    match Stat::read(&format!("/proc/{pid}/stat")) {
        Ok(Some(stat)) => stat.start_time == start_time && !stat.exiting,
        Ok(None) => false,
        // What cannot be read may still run.
        Err(_) => true,
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

struct Watcher {
    pid: u32,
    start_time: u64,
    leader: fs::File,
    pidfd: Arc<OwnedFd>,
    dropped: Arc<AtomicBool>,
}

impl Watcher {
    /// True when the process has ended or is past doing anything; false when the watch was dropped first.
    fn wait_for_exit(&self) -> bool {
        let mut pause = LOOK;
        while !self.dropped.load(Ordering::Acquire) {
            let gone = self.pidfd_ended(pause);
            if gone || self.is_past_doing_anything(&mut pause) {
                return !self.dropped.load(Ordering::Acquire);
            }
        }
        false
    }

    /// Waits up to `pause` for the pidfd's end; it serves as the clock of the watch as well.
    fn pidfd_ended(&self, pause: Duration) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut watched = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(ready) => ready > 0,
            Err(_interrupted) => {
                std::thread::sleep(pause);
                false
            }
        }
    }

    fn is_past_doing_anything(&self, pause: &mut Duration) -> bool {
        match Stat::read_again(&self.leader) {
            Ok(Some(leader)) if leader.start_time != self.start_time => return true,
            Ok(Some(leader)) if leader.exiting => *pause = LOOK_CLOSELY,
            // What cannot be read is left to the pidfd.
            Ok(_) | Err(_) => return false,
        }
        // A task may start another between the listing and the look at it; the second round would find that one.
        self.every_task_is_exiting() && self.every_task_is_exiting()
    }

    fn every_task_is_exiting(&self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return false;
        };
        tasks.into_iter().all(|task| {
            task.is_ok_and(|task| {
                let stat = Stat::read(&format!("{}/stat", task.path().display()));
                stat.is_ok_and(|stat| stat.is_none_or(|stat| stat.exiting))
            })
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    exiting: bool,
    start_time: u64,
}

impl Stat {
    /// `None` if the task is gone.
    fn read(path: &str) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(line) => match Self::parse(&line) {
                Some(stat) => Ok(Some(stat)),
                None => Err(io::Error::other(format!("{path} is not understood"))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The stat line of an open file, read from its beginning; `None` if the task is gone.
    fn read_again(file: &fs::File) -> io::Result<Option<Self>> {
        let mut line = [0_u8; 1024];
        let length = match file.read_at(&mut line, 0) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(line.get(..length).unwrap_or_default()).unwrap_or_default();
        Self::parse(text).map(Some).ok_or_else(|| io::Error::other("the stat line is not understood"))
    }

    /// The program's name stands in parentheses and may hold anything, so fields are counted after the last one.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        let start_time = fields.nth(12)?.parse().ok()?;
        Some(Self { exiting: flags & PF_EXITING != 0 || matches!(state, "Z" | "X"), start_time })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Instant;

    use super::*;

    fn watch(child: &Child) -> (Watch, Receiver<Instant>) {
        let (told, exits) = channel();
        let watch = Watch::start(child.id(), move || told.send(Instant::now()).unwrap()).unwrap();
        (watch, exits)
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn a_killed_process_is_told_within_100_ms_although_nobody_reaps_it() {
        let mut child = sleeper();
        let (watch, exits) = watch(&child);
        assert_eq!(exits.recv_timeout(Duration::from_millis(60)), Err(RecvTimeoutError::Timeout));
        let killed = Instant::now();
        watch.kill().unwrap();
        let told = exits.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(told - killed < Duration::from_millis(100), "{:?}", told - killed);
        println!("exit told after {:?}", told - killed);
        std::thread::sleep(Duration::from_millis(50));
        assert!(exits.try_recv().is_err(), "an exit is told once");
        watch.kill().unwrap();
        child.wait().unwrap();
        watch.kill().unwrap();
    }

    #[test]
    fn the_end_is_told_before_a_large_memory_is_given_back() {
        let mut child = Command::new("tail").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // A line without an end is kept in memory whole.
        let mut input = child.stdin.take().unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..512 {
            input.write_all(&piece).unwrap();
        }
        let (watch, exits) = watch(&child);
        let killed = Instant::now();
        watch.kill().unwrap();
        let told = exits.recv_timeout(Duration::from_secs(5)).unwrap() - killed;
        child.wait().unwrap();
        println!("512 MiB: exit told after {told:?}, gone after {:?}", killed.elapsed());
        assert!(told < Duration::from_millis(100), "{told:?}");
    }

    #[test]
    fn a_process_that_had_ended_before_the_watch_is_told_or_refused() {
        let mut child = Command::new("true").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let (_zombie, exits) = watch(&child);
        exits.recv_timeout(Duration::from_secs(5)).unwrap();
        child.wait().unwrap();
        let gone = Watch::start(child.id(), || ());
        assert!(matches!(gone, Err(ProcessError::Gone { .. })), "{gone:?}");
    }

    #[test]
    fn a_dropped_watch_ends_its_thread_and_tells_nothing() {
        let mut child = sleeper();
        let (watch, exits) = watch(&child);
        drop(watch);
        // The thread owns the sender: the channel closes when it has ended.
        assert_eq!(exits.recv_timeout(Duration::from_secs(5)), Err(RecvTimeoutError::Disconnected));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_leader_that_exits_alone_is_no_end_of_the_process() {
        let stat = |state: &str, flags: u64| {
            Stat::parse(&format!("7 (a ) b) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"))
        };
        assert_eq!(stat("S", 0x400), Some(Stat { exiting: false, start_time: 4711 }));
        assert_eq!(stat("S", 0x404), Some(Stat { exiting: true, start_time: 4711 }));
        assert_eq!(stat("Z", 0x400), Some(Stat { exiting: true, start_time: 4711 }));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }

    #[test]
    fn a_pid_taken_by_another_process_counts_as_gone() {
        let mut child = sleeper();
        let raw = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let watcher = Watcher {
            pid: child.id(),
            start_time: 1,
            leader: fs::File::open(format!("/proc/{}/stat", child.id())).unwrap(),
            pidfd: Arc::new(pidfd_open(raw, PidfdFlags::NONBLOCK).unwrap()),
            dropped: Arc::default(),
        };
        assert!(watcher.wait_for_exit());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
