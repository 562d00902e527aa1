//! The tail of a dead server on its way to the candidate, in pieces: who asks keeps some of them under way, takes them in
//! their order and has each written to its disk; who answers can be asked for any piece again.

use std::time::Duration;

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{BATCH, Delivery, Fetch, Piece, Tail, UNDER_WAY};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::{CoordinatorId, NodeId, ProgramId};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;

use crate::io::{Effect, Output};
use crate::node::Node;

/// The first Fetch is repeated after this: most tails are one piece, and every millisecond of them is seen by clients.
const REPEAT: Duration = Duration::from_millis(40);
/// Later ones: only what was lost has to be asked for again.
const REPEAT_LATER: Duration = Duration::from_millis(250);
/// Nothing came for so long: the act has failed.
const PATIENCE: Duration = Duration::from_secs(4);
/// The first piece needs the files to be read before.
const PATIENCE_FIRST: Duration = Duration::from_secs(60);
/// How often it is told how far it got.
const TELL: u64 = 64;

/// A tail being fetched.
#[derive(Debug)]
pub(crate) struct Fetching {
    from: NodeId,
    /// Who delivers it: the node beside the dead server, or the leader.
    by: ProgramId,
    fetch: Fetch,
    tail: Option<Tail>,
    /// Pieces before this one came.
    received: u64,
    /// Pieces before this one are written.
    spooled: u64,
    /// Pieces before this one were asked for.
    asked: u64,
    asked_at: Option<Moment>,
    /// When a piece came or was written last.
    moved: Moment,
}

impl Fetching {
    pub(crate) fn new(
        from: NodeId,
        through: Option<CoordinatorId>,
        ballot: Ballot,
        (have, want): (GtidSet, GtidSet),
        now: Moment,
    ) -> Self {
        let by = through.map_or_else(|| ProgramId::from(&from), |leader| ProgramId::from(&leader));
        let fetch = Fetch { ballot, have, want: Some(Box::new(want)), piece: 0, packed: true };
        Self { from, by, fetch, tail: None, received: 0, spooled: 0, asked: 0, asked_at: None, moved: now }
    }

    pub(crate) fn repeat_at(&self) -> Option<Moment> {
        let asked = self.asked_at.filter(|_| !self.has_come())?;
        Some(asked.max(self.moved) + self.repeat())
    }

    fn has_come(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| self.received >= tail.pieces)
    }

    const fn repeat(&self) -> Duration {
        if self.received == 0 { REPEAT } else { REPEAT_LATER }
    }

    /// What to ask for now, if anything: the next pieces while there is room under way, or again what did not come.
    fn next(&mut self, now: Moment) -> Option<Fetch> {
        if self.has_come() {
            return None;
        }
        let lost = self.asked_at.is_none_or(|at| now.since(at.max(self.moved)) >= self.repeat());
        let known = self.tail.as_ref().map_or(0, |tail| tail.pieces);
        if lost {
            self.asked = self.received;
        } else if self.asked >= known || self.spooled + (UNDER_WAY as u64 - 1) * BATCH < self.asked {
            return None;
        }
        let fetch = Fetch { piece: self.asked, ..self.fetch.clone() };
        self.asked += BATCH;
        self.asked_at = Some(now);
        Some(fetch)
    }

    /// The piece, if it is the next one. Others come again.
    fn take(&mut self, mut piece: Piece, now: Moment) -> Option<Piece> {
        if piece.number != self.received {
            return None;
        }
        if self.received == 0 {
            self.tail = Some(piece.tail.take()?);
        }
        self.received += 1;
        self.moved = now;
        Some(piece)
    }

    fn told(&self) -> String {
        let tail = self.tail.as_ref();
        let (pieces, transactions) = tail.map_or((0, 0), |tail| (tail.pieces, tail.transactions));
        format!("{} of {pieces} pieces of {transactions} transactions of {} are here", self.spooled, self.from)
    }

    /// Why it is given up, if it is.
    fn late(&self, now: Moment) -> Option<String> {
        let patience = if self.received == 0 { PATIENCE_FIRST } else { PATIENCE };
        (now.since(self.moved) >= patience).then(|| format!("nothing more came from {}: {}", self.from, self.told()))
    }
}

impl Node {
    /// Asks for what the tail under way lacks.
    pub(crate) fn go_on_fetching(&mut self, now: Moment) {
        let Some(fetching) = self.act.as_mut().and_then(crate::orders::Act::fetching) else { return };
        if let Some(reason) = fetching.late(now) {
            return self.end_fetching(reason);
        }
        let asking = fetching.next(now).map(|fetch| (fetching.by.clone(), fetch));
        if let Some((to, fetch)) = asking {
            self.send(to, Message::Fetch(fetch));
        }
    }

    pub(crate) fn delivered(&mut self, from: &ProgramId, delivery: Delivery, now: Moment) {
        let Some(fetching) = self.act.as_mut().and_then(crate::orders::Act::fetching) else { return };
        if fetching.fetch.ballot != delivery.ballot || fetching.by != *from {
            return;
        }
        let Some(piece) = delivery.piece else {
            let reason = if delivery.complete {
                format!("the node beside {} is of an older version; upgrade it", fetching.from)
            } else {
                format!("the tail of {} cannot be delivered: {}", fetching.from, delivery.note)
            };
            return self.end_fetching(reason);
        };
        if let Some(piece) = fetching.take(*piece, now) {
            self.outputs.push(Output::Spool { ballot: delivery.ballot, piece });
        }
    }

    /// A piece is on the disk, or cannot be kept there. After the last one they are applied.
    pub(crate) fn spooled(&mut self, ballot: &Ballot, number: u64, kept: Result<(), String>, now: Moment) {
        let Some(fetching) = self.act.as_mut().and_then(crate::orders::Act::fetching) else { return };
        if fetching.fetch.ballot != *ballot || fetching.spooled != number {
            return;
        }
        if let Err(reason) = kept {
            return self.end_fetching(format!("a piece of the tail cannot be kept: {reason}"));
        }
        fetching.spooled += 1;
        fetching.moved = now;
        let (told, have) = (fetching.told(), fetching.fetch.have.clone());
        let whole = fetching.tail.clone().filter(|tail| fetching.spooled >= tail.pieces);
        let tells = fetching.spooled % TELL == 0;
        if let Some(tail) = whole {
            let id = self.execute(Effect::Apply { have, tail: Box::new(tail) });
            if let Some(act) = &mut self.act {
                act.runs(id);
            }
        } else if tells {
            self.tell_step(told);
        }
    }

    fn end_fetching(&mut self, reason: String) {
        if let Some(act) = self.act.take() {
            self.report(&act, Outcome::Failed { reason });
        }
    }

    /// Another node asks for a piece of this dead server's tail.
    pub(crate) fn fetched(&mut self, from: NodeId, fetch: Fetch) {
        if self.memory.promised.as_ref() != Some(&fetch.ballot) {
            return;
        }
        // The same that the promise rests on, also of a node that was restarted beside a dead server.
        if self.server.run().is_some() {
            let note = "its server runs".to_owned();
            let delivery =
                Delivery { ballot: fetch.ballot, transactions: Vec::new(), complete: false, note, piece: None };
            return self.send(ProgramId::from(&from), Message::Delivery(delivery));
        }
        if self.asked_for_tail.contains(&(from.clone(), fetch.clone())) {
            return;
        }
        if self.asked_for_tail.len() >= UNDER_WAY {
            // It is asked for again if it is still wanted. The first is being read.
            self.asked_for_tail.remove(1);
        }
        self.asked_for_tail.push_back((from, fetch));
        if self.asked_for_tail.len() == 1 {
            self.read_tail();
        }
    }

    fn read_tail(&mut self) {
        if let Some((to, fetch)) = self.asked_for_tail.front().cloned() {
            self.outputs.push(Output::Deliver { to, fetch });
        }
    }

    /// Pieces were read, one question at a time.
    pub(crate) fn tail_read(&mut self, to: &NodeId, deliveries: Vec<Delivery>) {
        self.asked_for_tail.pop_front();
        for delivery in deliveries {
            self.send(ProgramId::from(to), Message::Delivery(delivery));
        }
        self.read_tail();
    }
}
