//! Who is let in: what a viewer showed, and what that opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::HeaderMap;
use socketioxide::ProtocolVersion;
use socketioxide::extract::{SocketRef, TryData};
use tasuki_config::{Grant, Role, TokenMark};
use tasuki_schemas::event::{InvalidEventId, PublicId};
use tasuki_schemas::id::ClusterName;
use tasuki_schemas::talk::Shown;

use super::tokens::Tokens;

/// Which token a browser's session stands for, by the headers of its request.
pub type Session = Arc<dyn Fn(&HeaderMap) -> Option<TokenMark> + Send + Sync>;

/// Why a viewer was refused. Reaches it as the message of `connect_error`: a code, what is wrong, and the fix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("unauthorized: no token was shown; connect with auth: {{ token: '…' }}")]
    NoToken,
    #[error("unauthorized: tokens in the query are switched off here; connect with a client of 3.x or 4.x")]
    NoQuery,
    #[error("unauthorized: the token is not known here; ask for one that is in the coordinator's token file")]
    UnknownToken,
    #[error(
        "unknown_cluster: {0} is no cluster that this token opens here; leave `cluster` out to see all that it opens"
    )]
    UnknownCluster(String),
    #[error("forbidden: /ops is for operators, and the role of this token is {0}; ask for a token of role operator")]
    NoOperator(Role),
    #[error("bad_since: {0}; write since: {{ CLUSTER: ID }}")]
    BadSince(#[from] InvalidEventId),
}

/// A viewer that was let in.
#[derive(Clone)]
pub(super) struct Viewer {
    token: TokenMark,
    /// What its token opens.
    pub(super) grant: Grant,
    /// The one cluster that it wants to see, or all.
    wanted: Option<ClusterName>,
    /// The last incident that it got of each cluster.
    pub(super) since: BTreeMap<ClusterName, PublicId>,
}

impl Viewer {
    /// Whether it is to see a cluster.
    pub(super) fn sees(&self, cluster: &ClusterName) -> bool {
        self.grant.sees(cluster) && self.wanted.as_ref().is_none_or(|wanted| wanted == cluster)
    }

    /// Whether its token opens what it opened when it came.
    pub(super) fn still_in(&self, tokens: &Tokens) -> bool {
        tokens.marked(&self.token).as_ref() == Some(&self.grant)
    }
}

/// The door.
#[derive(Clone)]
pub(super) struct Door {
    /// Who may watch.
    pub(super) tokens: Tokens,
    /// The clusters that there are.
    pub(super) clusters: Arc<[ClusterName]>,
    /// Whether a token may stand in the query.
    pub(super) query_tokens: bool,
    /// Who logged in with a browser.
    pub(super) session: Session,
}

impl Door {
    /// Lets a viewer in, or says why not. Its token may stand in `auth` (3.x and 4.x clients), in a bearer header, in the
    /// query (2.x clients), or behind a browser's session.
    pub(super) fn examine(&self, socket: &SocketRef, auth: TryData<Shown>) -> Result<Viewer, Refused> {
        let Shown { token, cluster, mut since } = auth.0.unwrap_or_default();
        let parts = socket.req_parts();
        let query =
            Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
        let of_query = |name| query.get(name).map(String::as_str);
        let bearer = || parts.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ");
        let token = token.or_else(|| bearer().map(str::to_owned)).filter(|token| !token.is_empty());
        let mut mark = token.map(|token| TokenMark::of(&token)).or_else(|| (self.session)(&parts.headers));
        if mark.is_none()
            && socket.protocol() == ProtocolVersion::V4
            && let Some(shown) = of_query("token").filter(|shown| !shown.is_empty())
        {
            mark = Some(self.query_tokens.then(|| TokenMark::of(shown)).ok_or(Refused::NoQuery)?);
        }
        let pairs = of_query("since").into_iter().flat_map(|pairs| pairs.split(','));
        since.extend(pairs.filter_map(|pair| pair.split_once(':')).map(|(name, id)| (name.to_owned(), id.to_owned())));
        let viewer = self.judge(mark, cluster.or_else(|| of_query("cluster").map(str::to_owned)))?;
        let since =
            self.clusters.iter().filter_map(|cluster| Some((cluster.clone(), since.get(cluster.as_str())?.parse())));
        let since = since.map(|(cluster, id)| Ok((cluster, id?))).collect::<Result<_, InvalidEventId>>()?;
        Ok(Viewer { since, ..viewer })
    }

    fn judge(&self, token: Option<TokenMark>, cluster: Option<String>) -> Result<Viewer, Refused> {
        let token = token.ok_or(Refused::NoToken)?;
        let grant = self.tokens.marked(&token).ok_or(Refused::UnknownToken)?;
        let known = |name: &String| self.clusters.iter().find(|known| known.as_str() == name && grant.sees(known));
        // Whether there is a cluster that the token does not open is not told.
        let wanted = match cluster {
            Some(name) => Some(known(&name).cloned().ok_or(Refused::UnknownCluster(name))?),
            None => None,
        };
        Ok(Viewer { token, grant, wanted, since: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tasuki_config::{Clusters, TokenFile, token_line};

    #[tokio::test]
    async fn a_viewer_sees_what_its_token_opens_and_learns_of_nothing_else() {
        let clusters = Clusters::Named(["main".parse().unwrap()].into());
        let grant = Grant { name: "wall".parse().unwrap(), role: Role::Viewer, clusters };
        let (read, _) = TokenFile::read(Path::new("t"), &token_line(&grant, "one"));
        let door = Door {
            tokens: Tokens::follow("/nowhere".into(), read),
            clusters: ["main", "shop"].map(|name| name.parse().unwrap()).into(),
            query_tokens: true,
            session: Arc::new(|_| None),
        };
        let judge = |token: &str, cluster: Option<&str>| {
            door.judge(Some(TokenMark::of(token)), cluster.map(str::to_owned)).map(|viewer| viewer.wanted)
        };
        assert_eq!(judge("one", None), Ok(None));
        assert_eq!(judge("one", Some("main")), Ok(Some("main".parse().unwrap())));
        for closed in ["shop", "nowhere"] {
            assert_eq!(judge("one", Some(closed)), Err(Refused::UnknownCluster(closed.to_owned())));
        }
        let nothing = door.judge(None, None).map(|viewer| viewer.wanted);
        assert_eq!((judge("two", None), nothing), (Err(Refused::UnknownToken), Err(Refused::NoToken)));
        let viewer = door.judge(Some(TokenMark::of("one")), None).unwrap();
        assert!(viewer.sees(&"main".parse().unwrap()) && !viewer.sees(&"shop".parse().unwrap()));
    }
}
