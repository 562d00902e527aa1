//! Switchovers at a stated time. They are in the record, so that whoever leads then begins them; the clock is the shell's.

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::past::Planned;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::{Coordinator, Role};
use crate::pause::{Answer, Wish};
use crate::propose::Purpose;
use crate::settings::Promotion;
use crate::switchover::Switchover;

/// What this coordinator knows of the planned switchover.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    /// The one whose time has come, and whether it is too late for it.
    due: Option<(Ballot, bool)>,
    /// The one that was begun here.
    begun: Option<Ballot>,
    /// Why it did not begin yet.
    waits: Option<String>,
}

impl Plans {
    /// It begins: whatever comes of it, once is enough.
    pub(crate) fn begin(&mut self, record: &Record) {
        self.begun = record.planned.as_ref().map(|planned| planned.set_at.clone());
    }
}

impl Coordinator {
    /// The switchover whose time is to be watched: the leader's.
    #[must_use]
    pub fn planned(&self) -> Option<&Planned> {
        match &self.role {
            Role::Leading(leading) => leading.record().planned.as_ref(),
            Role::Following | Role::Proposing(..) | Role::Failing(_) => None,
        }
    }

    /// Its time has come. Said again while nothing came of it.
    pub(crate) fn plan_is_due(&mut self, set_at: Ballot, late: bool) {
        self.rests_until = None;
        self.plans.due = Some((set_at, late));
    }

    /// The planned switchover, if it may begin now; asked for once for each time that it is said to be due.
    pub(crate) fn take_due(&mut self, record: &Record) -> Option<Switchover> {
        let planned = record.planned.as_ref()?;
        let due = self.plans.due.take_if(|(set_at, late)| *set_at == planned.set_at && !*late).is_some();
        let begins = due && self.plans.begun.as_ref() != Some(&planned.set_at);
        let Planned { to, by, reason, .. } = planned.clone();
        begins.then_some(Switchover { to, dry_run: false, by, reason })
    }

    /// It cannot begin: that is told once, and it is tried again.
    pub(crate) fn postpone(&mut self, to: Option<NodeId>, reason: String) {
        if self.plans.waits.as_ref() != Some(&reason) {
            let sentence = format!("the planned switchover waits: {reason}");
            self.outbox.tell(EventBody::Switchover { to, sentence });
            self.plans.waits = Some(reason);
        }
    }

    /// The record forgets a plan that was carried out in vain, or is too old.
    pub(crate) fn overdue(&self, record: &Record) -> Option<Purpose> {
        let set_at = &record.planned.as_ref()?.set_at;
        if self.plans.begun.as_ref() == Some(set_at) && self.handing.is_none() {
            return Some(Purpose::CancelSwitchover { why: "it was begun, and undone".to_owned(), asked: false });
        }
        let late = self.plans.due.as_ref().is_some_and(|(due, late)| due == set_at && *late);
        let waits = self.plans.waits.as_deref().unwrap_or("nobody led when it was due");
        late.then(|| Purpose::CancelSwitchover { why: format!("it could not begin in time: {waits}"), asked: false })
    }

    /// What can be said at once to a wish about a plan: that it cannot be, or what would be planned.
    pub(crate) fn answer_plan(&self, wish: &Wish) -> Option<Answer> {
        let record = self.known.as_deref();
        if matches!(wish, Wish::CancelSwitchover) {
            let none = record.is_none_or(|record| record.planned.is_none());
            return none.then(|| Err("no switchover is planned".to_owned()));
        }
        let Wish::Plan { switchover: Switchover { to, dry_run, by, reason }, at } = wish else { return None };
        if record.is_some_and(|record| record.mode == Mode::Observe) {
            return Some(Err("the cluster is only observed".to_owned()));
        }
        if let Some(to) = to {
            let wrong = match self.settings.servers.get(to) {
                None => Some(format!("{to} is no server of this cluster")),
                Some(_) if record.is_some_and(|record| record.primary == *to) => {
                    Some(format!("{to} is the primary already"))
                }
                Some(server) if server.promotion == Promotion::Never => {
                    Some(format!("{to} cannot take over: the cluster file says `promotion = \"never\"`"))
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                return Some(Err(wrong));
            }
        }
        dry_run.then(|| Ok(format!("{} would be planned; nothing was changed", told(to.as_ref(), at, by, reason))))
    }

    /// The record has another plan, or none any more.
    pub(crate) fn planned_anew(&mut self, purpose: &Purpose, record: &Record) {
        self.plans = Plans::default();
        let (sentence, asked) = match (purpose, &record.planned) {
            (Purpose::CancelSwitchover { why, asked }, _) => {
                (format!("the planned switchover is given up: {why}"), *asked)
            }
            (_, Some(Planned { to, at, by, reason, .. })) => {
                (format!("{} is planned", told(to.as_ref(), at, by, reason)), true)
            }
            (_, None) => return,
        };
        if asked {
            self.pauses.answer_with(Ok(sentence.clone()));
        }
        let to = record.planned.as_ref().and_then(|planned| planned.to.clone());
        self.outbox.tell(EventBody::Switchover { to, sentence });
    }
}

fn told(to: Option<&NodeId>, at: &str, by: &str, reason: &str) -> String {
    let to = to.map_or("whoever is best then", NodeId::as_str);
    format!("a switchover to {to} at {at}, asked for by {by} ({reason}),")
}
