//! Viewers that want into the hall, with what they missed.

use std::time::Duration;

use socketioxide::extract::SocketRef;
use tasuki_coordinator_core::chain::Missed;
use tasuki_schemas::event::PublicId;
use tasuki_schemas::moment::Moment;

use super::{AT_HAND, Hall, News};
use crate::feed::admit::Viewer;
use crate::feed::letting_go::LetGo;
use crate::feed::{journal, kept, viewers};

/// A viewer that knows more than this coordinator is let in after this all the same.
pub(super) const AHEAD: Duration = Duration::from_secs(3);
/// What was missed is handed out at once if it is no more; a viewer's buffer must hold it.
const AT_ONCE: usize = 200;

/// A viewer that waits to be let in.
pub(super) struct Guest {
    pub(super) socket: SocketRef,
    pub(super) viewer: Viewer,
    pub(super) since: Option<PublicId>,
    pub(super) greeted: bool,
    pub(super) until: Moment,
}

impl Hall {
    /// Lets in who need not wait any more.
    pub(super) fn let_in(&mut self, now: Moment) {
        for guest in std::mem::take(&mut self.guests) {
            if !self.receive(&guest, now) {
                self.guests.push(guest);
            }
        }
    }

    /// Lets a viewer in, with its snapshot and what it missed; false if it must wait.
    fn receive(&self, guest: &Guest, now: Moment) -> bool {
        let Guest { socket, viewer, .. } = guest;
        if !socket.connected() {
            return true;
        }
        let snapshot = kept(&self.snapshots, &self.cluster);
        let chain = self.annals.chain();
        let missed = match &guest.since {
            Some(since) => chain.since(since),
            None => Missed::These(chain.told_after(self.run, snapshot.as_ref().map_or(u64::MAX, |it| it.number))),
        };
        let at_once = match missed {
            Missed::These(missed) if missed.len() <= AT_ONCE => Some(missed),
            Missed::Ahead if now < guest.until => return false,
            Missed::Ahead => Some(Vec::new()),
            Missed::These(_) | Missed::More => None,
        };
        if let Some(snapshot) = &snapshot
            && !guest.greeted
        {
            let before = at_once.iter().flatten().next().map(|event| event.after.clone());
            viewers::show(socket, viewer, snapshot, before.unwrap_or_else(|| chain.head().cloned()));
        }
        match at_once {
            Some(missed) => {
                for event in &missed {
                    viewers::hand_to(socket, viewer, event);
                }
                socket.join(viewers::room(&self.cluster, viewer.grant.role));
            }
            None => self.read_up(guest),
        }
        true
    }

    /// Reads from the journal what a viewer missed, hands it out as fast as it is taken, and brings the viewer back.
    fn read_up(&self, guest: &Guest) {
        let (socket, viewer, mut since) = (guest.socket.clone(), guest.viewer.clone(), guest.since);
        let (path, own) = (self.journal.path().to_owned(), self.own.clone());
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || journal::read(&path, since.as_ref(), AT_HAND)).await;
            let Ok(Ok(events)) = read else { return viewers::close(socket, LetGo::Unreadable) };
            for event in &events {
                if !viewers::hand_slowly(&socket, &viewer, event).await {
                    return viewers::close(socket, LetGo::Slow);
                }
                since = event.id.as_ref().map(PublicId::from);
            }
            // Nothing of it is kept anywhere: it goes on from now.
            since = since.filter(|_| !events.is_empty());
            drop(own.send(News::Join { socket, viewer, since, greeted: true }).await);
        });
    }
}
