//! What operators ask for over the feed and the API: read into a wish, recorded, and handed to the cluster's driver.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tasuki_bus::clock;
use tasuki_config::Grant;
use tasuki_coordinator_core::pause::{LONGEST, Wish};
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::api::{OverrideWish, SwitchoverWish};
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::NodeId;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::control::{self, Act, Reply, Request};
use crate::feed::{Posts, Unposted};
use crate::planned;

/// A switchover or a vote ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wish, and the same in words for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worded {
    pub(crate) wish: Wish,
    pub(crate) what: String,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undone {
    /// It was not allowed.
    #[error(transparent)]
    Refused(#[from] Unposted),
    /// The driver had not replied in time.
    #[error("it did not end in time; the events tell what becomes of it")]
    Late,
}

/// A few words that others will read.
///
/// # Errors
/// How many there may be.
pub fn words(text: &str) -> Result<String, String> {
    let words = text.trim().replace(char::is_control, " ");
    if (1..=200).contains(&words.chars().count()) { Ok(words) } else { Err("write 1 to 200 characters".to_owned()) }
}

fn reason(text: &str) -> Result<String, String> {
    words(text).map_err(|fix| format!("reason: {fix}, for everybody who wonders"))
}

/// The primary hands over, now or at a time that the operator states.
pub(crate) fn switchover(wish: SwitchoverWish, by: &str) -> Result<Worded, String> {
    let SwitchoverWish { to, at, dry_run, reason: why } = wish;
    let reason = reason(&why)?;
    let target = to.as_ref().map_or_else(|| "the best".to_owned(), ToString::to_string);
    let what = format!("switchover to {target}: {reason}");
    let switchover = Switchover { to, dry_run, by: by.to_owned(), reason };
    let Some(at) = at else { return Ok(Worded { wish: Wish::Switchover(switchover), what }) };
    let at = planned::stated(&at, clock::wall_ms())?;
    Ok(Worded { what: format!("{what}; at {at}"), wish: Wish::Plan { switchover, at } })
}

/// What was planned is given up.
pub(crate) fn cancel_switchover() -> Worded {
    Worded { wish: Wish::CancelSwitchover, what: "the planned switchover is given up".to_owned() }
}

pub(crate) fn reclone(node: NodeId, dry_run: bool, by: &str, why: &str) -> Result<Worded, String> {
    let reason = reason(why)?;
    let what = format!("reclone of {node}: {reason}");
    Ok(Worded { wish: Wish::Reclone(Reclone { node, dry_run, by: by.to_owned(), reason }), what })
}

/// An operator answers for a failover that is held, or only asks whether such a word would count.
pub(crate) fn overriding(wish: OverrideWish, by: &str) -> Result<Worded, String> {
    let OverrideWish { incident, fenced, accept_loss, reason: why, dry_run } = wish;
    let reason = reason(&why)?;
    let answered = fenced.iter().map(|node| format!("{node} is fenced"));
    let answered: Vec<String> = answered.chain(accept_loss.then(|| "a loss is accepted".to_owned())).collect();
    let what = format!("override of incident {incident}, {}: {reason}", answered.join(", "));
    if answered.is_empty() {
        return Err("say what is answered for: fenced, accept_loss, or both".to_owned());
    }
    let word = Override { incident, fenced, accept_loss, by: by.to_owned(), reason };
    Ok(Worded { wish: if dry_run { Wish::TryOverride(word) } else { Wish::Override(word) }, what })
}

pub(crate) fn pause(for_s: u64, by: &str, why: &str) -> Result<Worded, String> {
    let (reason, length) = (reason(why)?, Duration::from_secs(for_s));
    if length.is_zero() || length > LONGEST {
        return Err(format!("for_s: write 1 to {}", LONGEST.as_secs()));
    }
    let what = format!("pause for {for_s} s: {reason}");
    Ok(Worded { wish: Wish::Pause { owner: by.to_owned(), reason, length }, what })
}

/// A failover that people hold back may begin.
pub(crate) fn failover(dry_run: bool, why: &str) -> Result<Worded, String> {
    let what = format!("failover: {}", reason(why)?);
    Ok(Worded { wish: Wish::Failover { dry_run }, what })
}

pub(crate) fn resume(why: &str) -> Worded {
    let what = reason(why).map_or_else(|_| "resume".to_owned(), |reason| format!("resume: {reason}"));
    Worded { wish: Wish::Resume, what }
}

/// Records an act, unless it is only tried, and has the cluster's driver do it. The reply is the driver's.
pub(crate) async fn perform(
    posts: &Posts,
    requests: &BTreeMap<String, Sender<Request>>,
    cluster: &str,
    (grant, address): (&Grant, Option<IpAddr>),
    Worded { wish, what }: Worded,
) -> Result<Reply, Undone> {
    let tried = match &wish {
        Wish::Switchover(switchover) | Wish::Plan { switchover, .. } => switchover.dry_run,
        Wish::Reclone(reclone) => reclone.dry_run,
        Wish::TryOverride(_) => true,
        Wish::Failover { dry_run } => *dry_run,
        Wish::Override(_) | Wish::Pause { .. } | Wish::Resume | Wish::Admit { .. } | Wish::CancelSwitchover => false,
    };
    if !tried {
        match posts.act(cluster, grant, address, what.clone()).await {
            Ok(_) => {}
            // An act counts for more than its record: with nobody to keep that, it is in the log.
            Err(Unposted::NotKept) => {
                tracing::warn!(by = %grant.name, ?address, cluster, what, "an act is in no history");
            }
            Err(why) => return Err(why.into()),
        }
    }
    timeout(PATIENCE, control::hand_over(cluster, Act::Wish(wish), requests)).await.map_err(|_| Undone::Late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: Option<NodeId>, dry_run: bool, reason: &str) -> SwitchoverWish {
        SwitchoverWish { to, at: None, dry_run, reason: reason.to_owned() }
    }

    #[test]
    fn what_operators_ask_for_is_read_with_the_fix_where_it_is_wrong() {
        let said = |worded: Result<Worded, String>| worded.map(|worded| worded.what);
        let db2 = || Some("db2".parse().unwrap());
        assert_eq!(
            said(switchover(to(db2(), false, " new\nkernel "), "ann")),
            Ok("switchover to db2: new kernel".to_owned())
        );
        assert_eq!(said(switchover(to(None, true, "x"), "ann")), Ok("switchover to the best: x".to_owned()));
        assert_eq!(said(pause(60, "ann", "disks")), Ok("pause for 60 s: disks".to_owned()));
        let incident = "00c0ffee00c0ffee".parse().unwrap();
        let lost =
            OverrideWish { incident, fenced: db2(), accept_loss: true, reason: "it burns".into(), dry_run: false };
        let told = "override of incident 00c0ffee00c0ffee, db2 is fenced, a loss is accepted: it burns".to_owned();
        assert_eq!(said(overriding(lost.clone(), "ann")), Ok(told));
        let tried = overriding(OverrideWish { dry_run: true, ..lost.clone() }, "ann").unwrap();
        assert!(matches!(tried.wish, Wish::TryOverride(word) if word.by == "ann"));
        let nothing = OverrideWish { fenced: None, accept_loss: false, ..lost };
        assert!(said(overriding(nothing, "ann")).unwrap_err().starts_with("say what is answered for"));
        assert_eq!(
            (resume("").what, resume("well again").what),
            ("resume".to_owned(), "resume: well again".to_owned())
        );
        for wrong in [switchover(to(None, false, " "), "ann"), pause(9, "ann", &"x".repeat(201))] {
            assert_eq!(wrong.unwrap_err(), "reason: write 1 to 200 characters, for everybody who wonders");
        }
        for wrong in [0, 90_000] {
            assert_eq!(said(pause(wrong, "ann", "disks")), Err("for_s: write 1 to 86400".to_owned()));
        }
    }
}
