//! The operator's override: a person answers for what nothing proves. It names the incident, ends with it, and is told
//! and recorded.

use tasuki_schemas::event::{Diagnosis, EventBody};
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::{IncidentId, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::coordinator::{Coordinator, Role};
use crate::cover::accepted;
use crate::missing::NoProof;
use crate::pause::Answer;
use crate::sentence::{names, sentence};

/// A failover that is called for, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    id: IncidentId,
    word: Option<Override>,
}

impl Coordinator {
    /// The incident under way; one is opened if there is none.
    pub(crate) fn open_case(&mut self) -> IncidentId {
        let random = &mut self.random;
        self.case.get_or_insert_with(|| Case { id: IncidentId(random.next()), word: None }).id
    }

    /// Nothing is wrong any more, or it is another's: what an operator said of it counts no more.
    pub(crate) fn close_case(&mut self) {
        self.case = None;
    }

    /// The incident under way.
    pub(crate) fn incident_id(&self) -> Option<IncidentId> {
        self.case.as_ref().map(|case| case.id)
    }

    pub(crate) fn word(&self) -> Option<&Override> {
        self.case.as_ref()?.word.as_ref()
    }

    /// Why an attempt could prove nothing of a primary whose host is silent: it would only take its replicas away.
    pub(crate) fn unprovable(&self, record: &Record, now: Moment) -> Option<NoProof> {
        let policy = &self.settings.policy;
        let (vouched, accepts) = self.word().map_or((None, false), |word| (word.fenced.as_ref(), word.accept_loss));
        let silent = |node: &NodeId| self.view.silence_of(node, now) >= policy.silence;
        record.groups.iter().filter(|group| group.acks == 0 && silent(&group.primary)).find_map(|group| {
            let primary = group.primary.clone();
            let ends = group.leased || !policy.fences.is_empty() || vouched == Some(&primary);
            if !ends {
                return Some(NoProof::Alone { primary, tried: None });
            }
            let serves = vouched != Some(&primary);
            let shown = policy.reads() || accepted(policy, accepts, group).is_some();
            (!shown).then_some(NoProof::Unaccepted { primary, serves })
        })
    }

    /// An operator's word for the open incident, with what was said before.
    ///
    /// # Errors
    /// One sentence that says why the word does not fit.
    fn weigh(&self, mut word: Override, now: Moment) -> Answer<Override> {
        let Some(open) = self.incident_id() else {
            let led = self.view.leader(self.settings.policy.leader_patience, now);
            let elsewhere = led.map(|(name, _)| format!("; {name} leads: ask there")).unwrap_or_default();
            return Err(format!(
                "no failover is called for here{elsewhere}; the cluster: {}",
                sentence(&self.diagnosis)
            ));
        };
        if word.incident != open {
            return Err(format!("the incident {} is not open; the open one is {open}", word.incident));
        }
        if self.holds.is_empty() {
            return Err("the failover is not held: it goes on by itself".to_owned());
        }
        if word.fenced.is_none() && !word.accept_loss {
            return Err("say what you answer for: --fenced NODE, --accept-loss, or both".to_owned());
        }
        if let Some(node) = &word.fenced {
            self.may_vouch(node, now)?;
        }
        if let Some(before) = self.word() {
            word.fenced = word.fenced.or_else(|| before.fenced.clone());
            word.accept_loss |= before.accept_loss;
        }
        Ok(word)
    }

    /// Whether an operator's word would count; nothing is changed.
    ///
    /// # Errors
    /// One sentence that says why the word does not fit.
    pub(crate) fn try_overrule(&self, word: Override, now: Moment) -> Answer {
        self.weigh(word, now).map(|word| format!("this would count, and nothing was changed: {}", said(&word)))
    }

    /// An operator answers for the open incident.
    ///
    /// # Errors
    /// One sentence that says why the word does not fit.
    pub(crate) fn overrule(&mut self, word: Override, now: Moment) -> Answer {
        let word = self.weigh(word, now)?;
        let sentence = said(&word);
        if let Some(case) = &mut self.case {
            case.word = Some(word.clone());
        }
        if let Role::Failing(attempt) = &mut self.role {
            attempt.vouch(Some(word.clone()));
        }
        self.outbox.tell(EventBody::Override { word, sentence: sentence.clone() });
        Ok(sentence)
    }

    /// Whether people may say of a server that it serves nobody: only of one that would be replaced, and that nobody hears.
    fn may_vouch(&self, node: &NodeId, now: Moment) -> Result<(), String> {
        let subjects = self.record().map(|record| record.subjects()).unwrap_or_default();
        if !subjects.contains(node) {
            return Err(format!("{node} is not being replaced; {} is", names(&subjects)));
        }
        if self.view.silence_of(node, now) < self.settings.policy.silence {
            return Err(format!("the node beside {node} answers: it shows by itself what became of its server"));
        }
        if let Diagnosis::PrimaryUnseen { primary, still_heard_by } = &self.diagnosis
            && primary == node
        {
            return Err(format!("{node} greets {}: it serves, whatever was done about it", names(still_heard_by)));
        }
        Ok(())
    }
}

fn said(word: &Override) -> String {
    let fenced = word.fenced.as_ref().map(|node| format!("{node} serves nobody"));
    let loss = word.accept_loss.then(|| "what only the replaced server has may be lost".to_owned());
    let claims: Vec<String> = fenced.into_iter().chain(loss).collect();
    format!("{} answers for incident {}: {} ({})", word.by, word.incident, claims.join(", and "), word.reason)
}
