//! An operator's word for a voter with a new ledger, where the others are no majority that could give it its vote back.

use std::time::Duration;

use tasuki_schemas::event::EventBody;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::coordinator::Coordinator;

/// What was begun on the word has so long before it is begun anew.
const AGAIN: Duration = Duration::from_secs(3);

impl Coordinator {
    /// The node that an operator vouches for, with the ledger that it has now.
    pub(crate) fn admitted(&self) -> Option<(NodeId, Incarnation)> {
        let node = self.pauses.admission()?;
        let ledger = self.view.ledger(node).filter(|_| self.view.doubt(node).is_none())?;
        Some((node.clone(), ledger.incarnation))
    }

    /// Whether a round has to begin for the operator's word. One that needs no round is answered.
    pub(crate) fn must_admit(&mut self, record: &Record, now: Moment) -> bool {
        let Some(node) = self.pauses.admission().cloned() else { return false };
        let Some(named) = record.voters.get(&node).copied() else {
            let why = format!("{node} is no voter of the record; it becomes one when the cluster file names it");
            self.pauses.answer_with(Err(why));
            return false;
        };
        if self.view.votes_with(&node, named) {
            // Perhaps by the round that was begun for it, and not decided yet.
            if self.pauses.begins_admission(AGAIN, now) {
                self.pauses.answer_with(Ok(format!("{node} has its vote")));
            }
            return false;
        }
        self.admitted().is_some() && self.pauses.begins_admission(AGAIN, now)
    }

    /// A record was decided: it may be the one that an operator vouched for.
    pub(crate) fn tell_admitted(&mut self, record: &Record) {
        let Some((node, incarnation)) = self.admitted() else { return };
        if record.voters.get(&node) == Some(&incarnation) {
            let sentence =
                "votes again with a new ledger, on an operator's word: what its lost ledger had helped to decide \
                            may be forgotten"
                    .to_owned();
            self.pauses.answer_with(Ok(format!("{node} {sentence}")));
            self.outbox.tell(EventBody::Voters { node, sentence });
        }
    }
}
