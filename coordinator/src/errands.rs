//! Wishes that only the leader can grant, on their way there and back: an operator may ask any coordinator.
//!
//! The leader takes another coordinator's word for who asks: that one has let the operator in, and by its key it could lead
//! itself. A wish that is brought twice is done once; when nothing carries it, that is said with the leader's name.

use std::collections::VecDeque;
use std::time::Duration;

use tasuki_coordinator_core::pause::Wish;
use tasuki_schemas::errand::{Errand, ErrandEnd, Wanted};
use tasuki_schemas::id::{CoordinatorId, Nonce, ProgramId};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tokio::sync::oneshot;

use crate::control::Reply;

/// An errand is brought again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// The longest that is waited for its end; a switchover ends within its own patience.
const PATIENCE: Duration = Duration::from_secs(25);
/// Ends that are remembered for whoever asks again.
const ENDS: usize = 64;
/// Why nothing is done that was asked under another reign.
const OVERTAKEN: &str = "the cluster has another record since this was asked; look at it, and ask again";
/// What replaces what was asked before.
const DISPLACED: &str = "somebody asked for something else meanwhile";

/// Who waits for what comes of a wish.
pub(crate) enum Asker {
    /// Somebody at this coordinator.
    Here(oneshot::Sender<Reply>),
    /// Another coordinator.
    Away(ProgramId, Nonce),
}

/// What an errand that arrived asks for now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// To be done.
    New(Wish),
    /// It is done already: what came of it.
    Ended(ErrandEnd),
    /// It is being done.
    Known,
}

struct Sent {
    leader: CoordinatorId,
    errand: Errand,
    again_at: Moment,
    until: Moment,
    asker: oneshot::Sender<Reply>,
}

/// The errands of one cluster.
#[derive(Default)]
pub(crate) struct Errands {
    sent: Option<Sent>,
    /// Errands of others that this coordinator took, and their ends.
    taken: VecDeque<(ProgramId, Nonce, Option<ErrandEnd>)>,
}

/// What a wish is on the way; `None` if every coordinator grants it.
pub(crate) fn wanted(wish: &Wish) -> Option<Wanted> {
    match wish {
        Wish::Switchover(wish) => Some(Wanted::Switchover(wish.clone())),
        Wish::Reclone(wish) => Some(Wanted::Reclone(wish.clone())),
        Wish::Override(word) => Some(Wanted::Override(word.clone())),
        Wish::TryOverride(word) => Some(Wanted::TryOverride(word.clone())),
        Wish::Pause { .. }
        | Wish::Resume
        | Wish::Failover { .. }
        | Wish::Admit { .. }
        | Wish::Plan { .. }
        | Wish::CancelSwitchover => None,
    }
}

fn wish(wanted: Wanted) -> Wish {
    match wanted {
        Wanted::Switchover(wish) => Wish::Switchover(wish),
        Wanted::Reclone(wish) => Wish::Reclone(wish),
        Wanted::Override(word) => Wish::Override(word),
        Wanted::TryOverride(word) => Wish::TryOverride(word),
    }
}

impl Errands {
    /// Begins to bring a wish to the leader.
    pub(crate) fn bring(&mut self, leader: CoordinatorId, errand: Errand, asker: oneshot::Sender<Reply>, now: Moment) {
        let sent = Sent { leader, errand, again_at: now, until: now + PATIENCE, asker };
        if let Some(before) = self.sent.replace(sent) {
            drop(before.asker.send(Err(DISPLACED.to_owned())));
        }
    }

    /// When something is to be done.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        self.sent.as_ref().map(|sent| sent.again_at.min(sent.until))
    }

    /// What is to be sent now, and to whom. Gives up what took too long, or what nobody waits for.
    pub(crate) fn woke(&mut self, now: Moment) -> Option<(ProgramId, Message)> {
        if self.sent.as_ref().is_some_and(|sent| sent.asker.is_closed() || sent.until <= now) {
            let sent = self.sent.take()?;
            let late = format!("no word of {} came in time; the events tell what becomes of it", sent.leader);
            drop(sent.asker.send(Err(late)));
        }
        let sent = self.sent.as_mut().filter(|sent| sent.again_at <= now)?;
        sent.again_at = now + AGAIN;
        Some((ProgramId::from(&sent.leader), Message::Errand(Box::new(sent.errand.clone()))))
    }

    /// The leader tells what came of one.
    pub(crate) fn ended(&mut self, sender: &ProgramId, end: ErrandEnd) {
        let own = |sent: &mut Sent| sent.errand.id == end.id && ProgramId::from(&sent.leader) == *sender;
        let Some(sent) = self.sent.take_if(own) else { return };
        let reply = if end.granted { Ok(end.lines) } else { Err(end.lines.join("\n")) };
        // The asker may have left.
        drop(sent.asker.send(reply));
    }

    /// Another coordinator brings one.
    pub(crate) fn arrived(&mut self, sender: &ProgramId, errand: Errand) -> Arrived {
        if let Some((.., end)) = self.taken.iter().find(|(from, id, _)| from == sender && *id == errand.id) {
            return end.clone().map_or(Arrived::Known, Arrived::Ended);
        }
        if self.taken.len() >= ENDS {
            self.taken.pop_front();
        }
        self.taken.push_back((sender.clone(), errand.id, None));
        Arrived::New(wish(errand.wanted))
    }

    /// The same, of a wish that was asked under another reign.
    pub(crate) fn overtaken(&mut self, asker: Asker) -> Option<(ProgramId, Message)> {
        self.tell(asker, Err(OVERTAKEN.to_owned()))
    }

    /// Tells an asker what came of its wish: the message to be sent, if it is elsewhere.
    pub(crate) fn tell(&mut self, asker: Asker, reply: Reply) -> Option<(ProgramId, Message)> {
        let (to, id) = match asker {
            Asker::Here(asker) => {
                drop(asker.send(reply));
                return None;
            }
            Asker::Away(to, id) => (to, id),
        };
        let granted = reply.is_ok();
        let end = ErrandEnd { id, granted, lines: reply.unwrap_or_else(|why| vec![why]) };
        if let Some((.., kept)) = self.taken.iter_mut().find(|(from, known, _)| *from == to && *known == id) {
            *kept = Some(end.clone());
        }
        Some((to, Message::ErrandEnd(Box::new(end))))
    }

    /// The same, of a wish that another one took the place of.
    pub(crate) fn displace(&mut self, asker: Asker) -> Option<(ProgramId, Message)> {
        self.tell(asker, Err(DISPLACED.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_schemas::errand::Switchover;

    fn errand(id: u64) -> Errand {
        let (by, reason) = ("ann".to_owned(), "kernel".to_owned());
        Errand {
            id: Nonce(id),
            under: None,
            wanted: Wanted::Switchover(Switchover { to: None, dry_run: false, by, reason }),
        }
    }

    fn program(name: &str) -> ProgramId {
        name.parse().unwrap()
    }

    #[test]
    fn an_errand_is_brought_until_its_end_comes_and_done_once() {
        let (mut here, mut leader) = (Errands::default(), Errands::default());
        let (asker, mut told) = oneshot::channel();
        let now = Moment::default();
        here.bring("co2".parse().unwrap(), errand(7), asker, now);
        let (to, Message::Errand(first)) = here.woke(now).unwrap() else { panic!("no errand") };
        assert_eq!((to.as_str(), first.id), ("co2", Nonce(7)));
        assert!(here.woke(now).is_none() && here.next_wake() == Some(now + AGAIN));
        let (_, Message::Errand(again)) = here.woke(now + AGAIN).unwrap() else { panic!("no errand") };
        assert!(matches!(leader.arrived(&program("co1"), *first), Arrived::New(Wish::Switchover(_))));
        assert_eq!(leader.arrived(&program("co1"), (*again).clone()), Arrived::Known);
        let asker = Asker::Away(program("co1"), Nonce(7));
        let (_, Message::ErrandEnd(end)) = leader.tell(asker, Ok(vec!["done".to_owned()])).unwrap() else {
            panic!("no end")
        };
        assert_eq!(leader.arrived(&program("co1"), *again), Arrived::Ended((*end).clone()));
        // Nobody else speaks for the leader.
        here.ended(&program("co3"), (*end).clone());
        assert!(told.try_recv().is_err());
        here.ended(&program("co2"), *end);
        assert_eq!(told.try_recv().unwrap(), Ok(vec!["done".to_owned()]));
        assert!(here.next_wake().is_none());
    }

    #[test]
    fn whoever_waits_is_told_when_it_takes_too_long_or_another_wish_came() {
        let mut here = Errands::default();
        let now = Moment::default();
        let (first, mut displaced) = oneshot::channel();
        let (second, mut late) = oneshot::channel();
        here.bring("co2".parse().unwrap(), errand(1), first, now);
        here.bring("co2".parse().unwrap(), errand(2), second, now);
        assert_eq!(displaced.try_recv().unwrap(), Err(DISPLACED.to_owned()));
        assert!(here.woke(now + PATIENCE).is_none());
        assert!(late.try_recv().unwrap().unwrap_err().starts_with("no word of co2 came in time"));
        let (left, _) = oneshot::channel();
        here.bring("co2".parse().unwrap(), errand(3), left, now);
        assert!(here.woke(now).is_none() && here.next_wake().is_none());
    }
}
