//! What people say and do over the feed and the API: notes to everybody who watches, and operators' acts. Both become
//! incidents of the cluster's history, by way of the coordinator that leads.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tasuki_bus::boot;
use tasuki_config::{Grant, Role};
use tasuki_schemas::event::{EventBody, EventId};
use tasuki_schemas::id::{ClusterName, Nonce, TokenName};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Halls;
use super::hall::News;

/// Characters of a note at most.
const LONGEST: usize = 500;
/// Notes that are taken from one token in a minute.
const OFTEN: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// A note that is not in history after this is given up.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

/// Why a note or an act is not in history: a code, what is wrong, and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unposted {
    /// The role does not allow it.
    #[error("forbidden: a token of role {0} may not do that; ask for one of role {1}")]
    Forbidden(Role, Role),
    /// There is no such cluster, or the token does not open it.
    #[error("unknown_cluster: {0} is no cluster that this token opens here")]
    UnknownCluster(String),
    /// Too long, or nothing.
    #[error("bad_note: a note has 1 to {LONGEST} characters; this one has {0}")]
    Length(usize),
    /// Too many of one token.
    #[error("too_many_notes: {OFTEN} a minute are taken from one token; wait {0} s")]
    Often(u64),
    /// It did not get there.
    #[error("not_kept: nobody leads the cluster now, or nothing carries the note there; try again in a moment")]
    NotKept,
}

/// Takes what people say and do. Clones are the same.
#[derive(Clone)]
pub struct Posts {
    halls: Halls,
    said: Arc<Mutex<BTreeMap<TokenName, VecDeque<Instant>>>>,
}

impl Posts {
    pub(super) fn new(halls: Halls) -> Self {
        Self { halls, said: Arc::default() }
    }

    /// A note: tells where it is in history, once it is there.
    ///
    /// # Errors
    /// [`Unposted`] says why it is not there.
    pub async fn note(&self, cluster: &str, grant: &Grant, text: &str) -> Result<EventId, Unposted> {
        let name = self.cluster(cluster, grant)?;
        if grant.role < Role::Viewer {
            return Err(Unposted::Forbidden(grant.role, Role::Viewer));
        }
        let text = text.trim().replace(|c: char| c.is_control() && c != '\n', " ");
        let length = text.chars().count();
        if length == 0 || length > LONGEST {
            return Err(Unposted::Length(length));
        }
        self.count(&grant.name, Instant::now())?;
        self.post(&name, |nonce| EventBody::Note { by: grant.name.clone(), text, nonce }).await
    }

    /// An operator's act, before it is done.
    ///
    /// # Errors
    /// [`Unposted`] says why it is not in history.
    pub async fn act(
        &self,
        cluster: &str,
        grant: &Grant,
        address: Option<IpAddr>,
        what: String,
    ) -> Result<EventId, Unposted> {
        let name = self.cluster(cluster, grant)?;
        if grant.role < Role::Operator {
            return Err(Unposted::Forbidden(grant.role, Role::Operator));
        }
        let address = address.map(|address| address.to_string());
        self.post(&name, |nonce| EventBody::Act { by: grant.name.clone(), address, what, nonce }).await
    }

    fn cluster(&self, cluster: &str, grant: &Grant) -> Result<ClusterName, Unposted> {
        let known = self.halls.keys().find(|name| name.as_str() == cluster && grant.sees(name));
        known.cloned().ok_or_else(|| Unposted::UnknownCluster(cluster.to_owned()))
    }

    fn count(&self, name: &TokenName, now: Instant) -> Result<(), Unposted> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, times| {
            times.retain(|at| now.duration_since(*at) < MINUTE);
            !times.is_empty()
        });
        let times = said.entry(name.clone()).or_default();
        match times.front() {
            Some(first) if times.len() >= OFTEN => {
                Err(Unposted::Often((MINUTE.saturating_sub(now.duration_since(*first))).as_secs() + 1))
            }
            Some(_) | None => {
                times.push_back(now);
                Ok(())
            }
        }
    }

    async fn post(&self, cluster: &ClusterName, body: impl FnOnce(Nonce) -> EventBody) -> Result<EventId, Unposted> {
        let nonce = Nonce(boot::random().map_err(|_| Unposted::NotKept)?);
        let (tell, told) = oneshot::channel();
        let hall = self.halls.get(cluster).ok_or(Unposted::NotKept)?;
        let post = News::Post { nonce, body: Box::new(body(nonce)), kept: tell };
        hall.try_send(post).map_err(|_| Unposted::NotKept)?;
        let kept = timeout(KEPT_WITHIN, told).await;
        kept.ok().and_then(Result::ok).ok_or(Unposted::NotKept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_config::Clusters;

    fn grant(role: Role) -> Grant {
        Grant { name: "ann".parse().unwrap(), role, clusters: Clusters::Named(["main".parse().unwrap()].into()) }
    }

    #[tokio::test]
    async fn a_note_is_short_rare_and_by_somebody_who_may() {
        let (hall, mut taken) = tokio::sync::mpsc::channel(9);
        let names = ["main", "shop"].map(|name| (name.parse().unwrap(), hall.clone()));
        let posts = Posts::new(Arc::new(names.into()));
        let viewer = grant(Role::Viewer);
        for (cluster, role, text, refused) in [
            ("shop", Role::Viewer, "hello", "unknown_cluster: shop is no cluster that this token opens here"),
            (
                "main",
                Role::Public,
                "hello",
                "forbidden: a token of role public may not do that; ask for one of role viewer",
            ),
            ("main", Role::Viewer, " \n", "bad_note: a note has 1 to 500 characters; this one has 0"),
            ("main", Role::Viewer, &"x".repeat(501), "bad_note: a note has 1 to 500 characters; this one has 501"),
        ] {
            assert_eq!(posts.note(cluster, &grant(role), text).await.unwrap_err().to_string(), refused);
        }
        let act = posts.act("main", &viewer, None, "switchover".to_owned()).await;
        assert_eq!(act, Err(Unposted::Forbidden(Role::Viewer, Role::Operator)));
        let id: EventId = "7.co1.00000000000000ab-3".parse().unwrap();
        let hall = async {
            for _ in 0..OFTEN {
                let Some(News::Post { body, kept, .. }) = taken.recv().await else { panic!("no post") };
                let EventBody::Note { text, by, .. } = *body else { panic!("no note") };
                assert_eq!((text.as_str(), by.as_str()), ("it is   here", "ann"));
                kept.send(id.clone()).unwrap();
            }
        };
        let noting = async {
            for _ in 0..OFTEN {
                assert_eq!(posts.note("main", &viewer, "it is \t here\r\n").await, Ok(id.clone()));
            }
            let refused = posts.note("main", &viewer, "again").await.unwrap_err();
            assert!(matches!(refused, Unposted::Often(59..=60)), "{refused}");
        };
        tokio::join!(hall, noting);
    }
}
