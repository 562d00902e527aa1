//! What may be lost with a server that is mute and does not show what it holds: named before anybody opens.

use tasuki_schemas::grounds::{FenceHow, Grounds, Missing};
use tasuki_schemas::gtid::{GtidSet, MixedFlavours};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Received;

use crate::promises::Promises;
use crate::proof::Proof;
use crate::sentence::names;
use crate::view::View;

/// What a proof rests on besides what servers showed, for the record and for people.
pub(crate) fn grounds(
    view: &View,
    promises: &Promises,
    proof: &Proof,
    goal: &GtidSet,
    now: Moment,
) -> Result<Vec<Grounds>, MixedFlavours> {
    let mut grounds = Vec::new();
    for (fence, durability) in proof.lost() {
        let Some(accepted_by) = durability.loss_accepted_by() else { continue };
        let groups = proof.base().groups.iter().filter(|group| group.primary == *fence.node() && group.acks > 0);
        let others = groups.flat_map(|group| &group.members).filter(|node| *node != fence.node());
        let unseen = others.filter(|node| promises.holding(node).is_none()).cloned().collect();
        let heard = view.position(fence.node());
        let transactions = heard.map(|(position, _)| position.executed.subtract(goal)).transpose()?;
        let unheard_ms = heard.map(|(_, at)| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
        grounds.push(Grounds {
            fenced: fence.node().clone(),
            how: fence.how(),
            missing: Missing { accepted_by, unseen, transactions, unheard_ms },
            word: proof.word().cloned(),
        });
    }
    Ok(grounds)
}

/// The same as people are told: exactly what is known to be missing, and from when on nothing is known.
pub(crate) fn sentence(grounds: &Grounds) -> String {
    let Grounds { fenced, how, missing, word } = grounds;
    let mute = match how {
        FenceHow::ProcessExited => "its process is gone and its binlog could not be read".to_owned(),
        FenceHow::SelfFenced => "its node closed it and cannot tell what it holds".to_owned(),
        FenceHow::LeaseExpired => "its lease has ended".to_owned(),
        FenceHow::SshKilled => "it was killed through ssh".to_owned(),
        FenceHow::ShutDown => "it was shut down by the hook".to_owned(),
        FenceHow::Operator => "an operator says that it serves nobody".to_owned(),
    };
    let ms = missing.unheard_ms.unwrap_or_default();
    let holders = if missing.unseen.is_empty() {
        "what it alone has".to_owned()
    } else {
        format!("what only it and {} have", names(&missing.unseen))
    };
    let what = match &missing.transactions {
        None => format!("{holders} may be lost, and how much is not known"),
        Some(ranges) if ranges.is_empty() => {
            format!("nothing of its last report ({ms} ms ago) is missing, {holders} of later may be lost")
        }
        Some(ranges) => {
            format!("{holders} may be lost: {ranges} of its last report ({ms} ms ago), and what came later")
        }
    };
    let word = word.as_ref().map(|word| format!(" (by the word of {}: {})", word.by, word.reason)).unwrap_or_default();
    format!("{fenced} does not show what it acknowledged, and {mute}: {what}{word}")
}

/// Who keeps files that nobody has applied: what they hold is not lost.
pub(crate) fn unread(promises: &Promises) -> Option<String> {
    let unknown = |received: &Received| match received {
        Received::Known { .. } => false,
        Received::Unknown { .. } => true,
    };
    let keeps = promises
        .iter()
        .filter(|(_, promise)| promise.holdings.as_ref().is_some_and(|holdings| unknown(&holdings.received)));
    let keepers: Vec<&NodeId> = keeps.map(|(node, _)| node).collect();
    (!keepers.is_empty()).then(|| {
        format!(
            "{} keep files that nobody has applied: what they hold of it is not lost, and stays there",
            names(keepers)
        )
    })
}
