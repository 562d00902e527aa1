//! What a server holds in excess is archived beside it, before anybody could have it re-cloned.

use std::time::Duration;

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::command::{Order, OrderName};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;

use crate::leading::Leading;
use crate::outbox::Outbox;
use crate::repair::Care;
use crate::settings::Settings;
use crate::view::View;

/// An archive that failed, or one that more was written after, is made anew after this: each holds everything.
const AGAIN: Duration = Duration::from_secs(60);

/// Transactions that a server holds and the primary does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extras {
    /// Their names, for people.
    pub text: String,
    /// What the server held.
    pub holds: GtidSet,
    /// What the primary held after that.
    pub beyond: GtidSet,
}

/// How far a server's extras are archived.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// Those that its node was told to archive.
    under_way: Option<Extras>,
    /// What came of it: the names, the folder or why there is none, and when that was heard.
    last: Option<(String, Result<String, String>, Moment)>,
}

impl Archive {
    /// The folder that holds exactly these.
    pub(crate) fn folder(&self, extras: &Extras) -> Option<&str> {
        let (names, folder, _) = self.last.as_ref()?;
        folder.as_deref().ok().filter(|_| *names == extras.text)
    }

    /// How it stands with these, and what people should do, or the policy does.
    pub(crate) fn sentence(&self, extras: &Extras, recloning: bool) -> String {
        match &self.last {
            Some((names, Ok(folder), _)) if *names == extras.text && recloning => {
                format!("archived on its host in {folder}; the policy has it re-cloned, once an hour at most")
            }
            Some((names, Ok(folder), _)) if *names == extras.text => {
                format!("archived on its host in {folder}; look at them there, then re-clone the server")
            }
            Some((_, Ok(folder), _)) => format!("those before are archived on its host in {folder}"),
            Some((_, Err(reason), _)) => {
                format!("NOT archived, tried again every minute: {reason}; re-clone the server only after saving them")
            }
            None => "they are being archived".to_owned(),
        }
    }

    /// What is to be archived now. Once begun, it is not exchanged for something newer.
    fn due(&mut self, extras: &Extras, now: Moment) -> Option<Extras> {
        let rests = self.last.as_ref().is_some_and(|(_, _, at)| now.since(*at) < AGAIN);
        if self.under_way.is_none() && self.folder(extras).is_none() && !rests {
            self.under_way = Some(extras.clone());
        }
        self.under_way.clone()
    }

    fn ended(&mut self, result: Result<String, String>, now: Moment) {
        if let Some(extras) = self.under_way.take() {
            self.last = Some((extras.text, result, now));
        }
    }
}

impl Leading {
    /// Has a server's extras archived by its node, once.
    pub(crate) fn archive(
        &mut self,
        settings: &Settings,
        view: &View,
        node: &NodeId,
        care: &mut Care,
        outbox: &mut Outbox,
        now: Moment,
    ) {
        let Some(extras) = care.extras().cloned() else { return };
        let Some(Extras { holds, beyond, .. }) = care.archive().due(&extras, now) else { return };
        self.tends = true;
        let order = Order::Archive { record: Box::new(self.record.clone()), holds, beyond };
        let result = match self.order(settings, view, node, order, outbox, now) {
            Some(Outcome::Done { place, .. }) => place.ok_or_else(|| "its node does not tell where".to_owned()),
            Some(Outcome::Failed { reason }) => Err(reason),
            Some(Outcome::Running { .. }) | None => return,
        };
        care.archive().ended(result, now);
        self.forget(node, OrderName::Archive);
    }
}
