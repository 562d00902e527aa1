//! Whether a failover begins: the diagnosis may call for one, and the mode, a pause, flapping or a want of proof may forbid it.

use tasuki_schemas::event::{Diagnosis, EventBody};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::Coordinator;
use crate::verdict::Verdict;

impl Coordinator {
    /// Whether the diagnosis calls for a failover and nothing forbids it. Tells why not, and what would be done.
    pub(crate) fn must_fail_over(&mut self, record: &Record, unled: bool, now: Moment) -> bool {
        let verdict = self.verdicts.verdict(&self.settings, &self.view, record, &self.diagnosis, &mut self.outbox, now);
        let calls = match verdict {
            Verdict::Certain => true,
            Verdict::Asking => false,
            Verdict::No => unled && matches!(self.diagnosis, Diagnosis::AttemptUnfinished { .. }),
        };
        if !calls {
            if verdict == Verdict::No {
                self.close_case();
            }
            self.holds_of_verdict();
            return false;
        }
        if record.mode == Mode::Observe {
            if self.verdicts.is_news(record) {
                let outlook = self.outlook(record, now);
                let winner = outlook.winner.as_ref().map_or("nobody", NodeId::as_str);
                let sentence = format!("would have failed over to {winner}; {}", outlook.reasons.join("; "));
                self.outbox.tell(EventBody::WouldHave { diagnosis: self.diagnosis.clone(), sentence });
            }
            return false;
        }
        if record.opened && verdict == Verdict::Certain && self.is_held_back(record, now) {
            return false;
        }
        let silent = matches!(self.diagnosis, Diagnosis::PrimaryHostLost { .. } | Diagnosis::PrimaryUnseen { .. });
        if let Some(missing) = self.unprovable(record, now).filter(|_| silent) {
            let incident = Some(self.open_case());
            let cluster = self.settings.cluster.clone();
            self.hold(vec![missing.sentence(&self.settings.policy, &cluster, incident, "")]);
            return false;
        }
        true
    }

    fn holds_of_verdict(&mut self) {
        if let Some(reason) = self.verdicts.take_hold() {
            self.hold(vec![reason]);
        }
    }
}
