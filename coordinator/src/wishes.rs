//! What operators ask for over the feed and the API: read into a wish, recorded, and handed to the cluster's driver.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tasuki_bus::clock;
use tasuki_config::Grant;
use tasuki_coordinator_core::pause::{LONGEST, Wish};
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};
use tasuki_schemas::grounds::Override;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::control::{self, Act, Reply, Request};
use crate::feed::{Posts, Unposted};
use crate::planned;

/// A switchover or a vote ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What operators ask for, in the API and in `/ops` alike.
pub(crate) trait Asked: DeserializeOwned + Send + 'static {
    /// The last part of its path, and the name of its event.
    const ACT: &'static str;

    /// What it comes to.
    ///
    /// # Errors
    /// What is wrong about it, with the fix.
    fn worded(self, by: &str) -> Result<Worded, String>;
}

/// What an operator asked for comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Worded {
    /// The cluster's driver does this, or says what it would do.
    Act {
        /// What.
        wish: Wish,
        /// The same in words, for the history.
        what: String,
    },
    /// Nothing: whatever the cluster is like, this is the answer.
    Told(String),
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

impl Asked for SwitchoverWish {
    const ACT: &'static str = "switchover";

    fn worded(self, by: &str) -> Result<Worded, String> {
        let Self { to, at, dry_run, reason: why } = self;
        let reason = reason(&why)?;
        let target = to.as_ref().map_or_else(|| "the best".to_owned(), ToString::to_string);
        let what = format!("switchover to {target}: {reason}");
        let switchover = Switchover { to, dry_run, by: by.to_owned(), reason };
        let Some(at) = at else { return Ok(Worded::Act { wish: Wish::Switchover(switchover), what }) };
        let at = planned::stated(&at, clock::wall_ms())?;
        Ok(Worded::Act { what: format!("{what}; at {at}"), wish: Wish::Plan { switchover, at } })
    }
}

impl Asked for CancelSwitchoverWish {
    const ACT: &'static str = "cancel-switchover";

    fn worded(self, _: &str) -> Result<Worded, String> {
        Ok(Worded::Act { wish: Wish::CancelSwitchover, what: "the planned switchover is given up".to_owned() })
    }
}

impl Asked for FailoverWish {
    const ACT: &'static str = "failover";

    fn worded(self, _: &str) -> Result<Worded, String> {
        let what = format!("failover: {}", reason(&self.reason)?);
        Ok(Worded::Act { wish: Wish::Failover { dry_run: self.dry_run }, what })
    }
}

impl Asked for OverrideWish {
    const ACT: &'static str = "override";

    fn worded(self, by: &str) -> Result<Worded, String> {
        let Self { incident, fenced, accept_loss, reason: why, dry_run } = self;
        let reason = reason(&why)?;
        let answered = fenced.iter().map(|node| format!("{node} is fenced"));
        let answered: Vec<String> = answered.chain(accept_loss.then(|| "a loss is accepted".to_owned())).collect();
        let what = format!("override of incident {incident}, {}: {reason}", answered.join(", "));
        if answered.is_empty() {
            return Err("say what is answered for: fenced, accept_loss, or both".to_owned());
        }
        let word = Override { incident, fenced, accept_loss, by: by.to_owned(), reason };
        Ok(Worded::Act { wish: if dry_run { Wish::TryOverride(word) } else { Wish::Override(word) }, what })
    }
}

impl Asked for RecloneWish {
    const ACT: &'static str = "reclone";

    fn worded(self, by: &str) -> Result<Worded, String> {
        let Self { node, reason: why, dry_run } = self;
        let reason = reason(&why)?;
        let what = format!("reclone of {node}: {reason}");
        Ok(Worded::Act { wish: Wish::Reclone(Reclone { node, dry_run, by: by.to_owned(), reason }), what })
    }
}

impl Asked for PauseWish {
    const ACT: &'static str = "pause";

    fn worded(self, by: &str) -> Result<Worded, String> {
        let Self { for_s, reason: why, dry_run } = self;
        let (reason, length) = (reason(&why)?, Duration::from_secs(for_s));
        if length.is_zero() || length > LONGEST {
            return Err(format!("for_s: write 1 to {}", LONGEST.as_secs()));
        }
        if dry_run {
            return Ok(Worded::Told(format!("no failover would begin for {for_s} s; nothing was changed")));
        }
        let what = format!("pause for {for_s} s: {reason}");
        Ok(Worded::Act { wish: Wish::Pause { owner: by.to_owned(), reason, length }, what })
    }
}

impl Asked for ResumeWish {
    const ACT: &'static str = "resume";

    fn worded(self, _: &str) -> Result<Worded, String> {
        if self.dry_run {
            return Ok(Worded::Told("failovers would go on; nothing was changed".to_owned()));
        }
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", reason(&self.reason)?) };
        Ok(Worded::Act { wish: Wish::Resume, what: format!("resume{why}") })
    }
}

/// Records an act, unless it is only tried, and has the cluster's driver do it. The reply is the driver's.
pub(crate) async fn perform(
    posts: &Posts,
    requests: &BTreeMap<String, Sender<Request>>,
    cluster: &str,
    (grant, address): (&Grant, Option<IpAddr>),
    worded: Worded,
) -> Result<Reply, Undone> {
    let (wish, what) = match worded {
        Worded::Act { wish, what } => (wish, what),
        Worded::Told(line) => return Ok(Ok(vec![line])),
    };
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

    fn to(to: Option<&str>, dry_run: bool, reason: &str) -> SwitchoverWish {
        SwitchoverWish { to: to.map(|to| to.parse().unwrap()), at: None, dry_run, reason: reason.to_owned() }
    }

    fn pause(for_s: u64, reason: &str) -> PauseWish {
        PauseWish { for_s, reason: reason.to_owned(), dry_run: false }
    }

    fn resume(reason: &str) -> ResumeWish {
        ResumeWish { dry_run: false, reason: reason.to_owned() }
    }

    fn said(asked: impl Asked) -> Result<String, String> {
        asked.worded("ann").map(|worded| match worded {
            Worded::Act { what, .. } | Worded::Told(what) => what,
        })
    }

    #[test]
    fn what_operators_ask_for_is_read_with_the_fix_where_it_is_wrong() {
        assert_eq!(said(to(Some("db2"), false, " new\nkernel ")), Ok("switchover to db2: new kernel".to_owned()));
        assert_eq!(said(to(None, true, "x")), Ok("switchover to the best: x".to_owned()));
        assert_eq!(said(pause(60, "disks")), Ok("pause for 60 s: disks".to_owned()));
        assert_eq!(said(resume("")), Ok("resume".to_owned()));
        assert_eq!(said(resume("well again")), Ok("resume: well again".to_owned()));
        let wrong = "reason: write 1 to 200 characters, for everybody who wonders";
        assert_eq!(said(to(None, false, " ")).unwrap_err(), wrong);
        assert_eq!(said(pause(9, &"x".repeat(201))).unwrap_err(), wrong);
        assert_eq!(said(resume(&"x".repeat(201))).unwrap_err(), wrong);
        for wrong in [0, 90_000] {
            assert_eq!(said(pause(wrong, "disks")), Err("for_s: write 1 to 86400".to_owned()));
        }
    }

    #[test]
    fn an_override_says_what_is_answered_for() {
        let lost = OverrideWish {
            incident: "00c0ffee00c0ffee".parse().unwrap(),
            fenced: Some("db2".parse().unwrap()),
            accept_loss: true,
            reason: "it burns".into(),
            dry_run: false,
        };
        let told = "override of incident 00c0ffee00c0ffee, db2 is fenced, a loss is accepted: it burns".to_owned();
        assert_eq!(said(lost.clone()), Ok(told));
        let tried = OverrideWish { dry_run: true, ..lost.clone() }.worded("ann").unwrap();
        assert!(matches!(tried, Worded::Act { wish: Wish::TryOverride(word), .. } if word.by == "ann"));
        let nothing = OverrideWish { fenced: None, accept_loss: false, ..lost };
        assert!(said(nothing).unwrap_err().starts_with("say what is answered for"));
    }

    #[test]
    fn what_is_only_tried_asks_nobody() {
        let tried = PauseWish { dry_run: true, ..pause(60, "disks") }.worded("ann").unwrap();
        assert_eq!(tried, Worded::Told("no failover would begin for 60 s; nothing was changed".to_owned()));
        let tried = ResumeWish { dry_run: true, ..resume("") }.worded("ann").unwrap();
        assert_eq!(tried, Worded::Told("failovers would go on; nothing was changed".to_owned()));
    }
}
