//! What waits for one carrier: bounded in number, bytes and age, dropping the oldest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::counters::{Reason, Tally, lock};

/// How many frames wait at most.
const MAX_FRAMES: usize = 1024;

/// How many bytes wait at most.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// After this long a frame is of no use: whoever needs it has a newer one, or has asked again.
const MAX_AGE: Duration = Duration::from_secs(2);

/// A sealed envelope on its way. All carriers share its text.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) channel: Arc<str>,
    pub(crate) text: Arc<str>,
    at: Instant,
}

impl Frame {
    pub(crate) fn new(channel: String, text: String) -> Self {
        Self { channel: channel.into(), text: text.into(), at: Instant::now() }
    }

    pub(crate) fn expired(&self) -> bool {
        self.at.elapsed() > MAX_AGE
    }
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Waiting {
    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.text.len();
        Some(frame)
    }
}

/// Filled without ever blocking, emptied by the task of one carrier.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Notify,
    tally: Arc<Tally>,
}

impl Queue {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { waiting: Mutex::default(), ready: Notify::new(), tally }
    }

    /// Appends a frame and drops the oldest beyond the bounds.
    pub(crate) fn push(&self, frame: Frame) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += frame.text.len();
        waiting.frames.push_back(frame);
        while waiting.frames.len() > MAX_FRAMES || waiting.bytes > MAX_BYTES {
            waiting.pop();
            self.tally.dropped(Reason::QueueFull);
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// The oldest frame that is still of use. Waits for one. Cancelling it loses nothing.
    pub(crate) async fn pop(&self) -> Frame {
        loop {
            if let Some(frame) = self.try_pop() {
                return frame;
            }
            self.ready.notified().await;
        }
    }

    /// The oldest frame that is still of use, if there is one.
    pub(crate) fn try_pop(&self) -> Option<Frame> {
        loop {
            let frame = lock(&self.waiting).pop()?;
            if !frame.expired() {
                return Some(frame);
            }
            self.tally.dropped(Reason::Expired);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_and_counts_it() {
        let tally = Arc::new(Tally::default());
        let queue = Queue::new(Arc::clone(&tally));
        for number in 0..=MAX_FRAMES {
            queue.push(Frame::new(String::new(), number.to_string()));
        }
        assert_eq!(&*queue.pop().await.text, "1");
        assert_eq!(tally.snapshot().dropped[&Reason::QueueFull], 1);
    }

    #[tokio::test]
    async fn large_frames_are_bounded_by_their_bytes() {
        let tally = Arc::new(Tally::default());
        let queue = Queue::new(Arc::clone(&tally));
        for _ in 0..40 {
            queue.push(Frame::new(String::new(), "x".repeat(1024 * 1024)));
        }
        assert_eq!(tally.snapshot().dropped[&Reason::QueueFull], 8);
    }

    #[tokio::test]
    async fn what_waited_too_long_is_not_sent() {
        let tally = Arc::new(Tally::default());
        let queue = Queue::new(Arc::clone(&tally));
        let mut old = Frame::new(String::new(), "old".to_owned());
        old.at -= MAX_AGE + Duration::from_secs(1);
        queue.push(old);
        queue.push(Frame::new(String::new(), "new".to_owned()));
        assert_eq!(&*queue.pop().await.text, "new");
        assert_eq!(tally.snapshot().dropped[&Reason::Expired], 1);
    }
}
