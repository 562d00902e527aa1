//! Browsers that logged in: a signed cookie stands for a token, for as long as that token is good.
//!
//! No coordinator keeps who logged in, so a session outlives a restart and counts at every coordinator that a browser
//! reaches under the same host name, as behind a load balancer. What that rests on:
//!
//! - The cookie is signed with the coordinator's own Ed25519 key, and whoever the cluster files name with the same key can
//!   check it. There is no secret to share, and the token file alone, which hashes protect, lets nobody make a cookie. A
//!   coordinator whose key is stolen can forge sessions, but whoever has that key leads clusters.
//! - The signed text begins with words of its own, so that it can pass for no envelope (which begins with a brace), and
//!   no envelope or TLS handshake for it.
//! - Only coordinators that every cluster file names are believed: a session opens what its token opens, which may be
//!   any cluster here.
//! - The cookie names the token by a [`TokenMark`], a hash of its hash: a line that leaves the token file ends its
//!   sessions at once, and a cookie tells nothing of what the file holds.
//! - It ends by itself after [`LIFE`], by the wall clocks of both coordinators: nothing that is decided depends on it.
//! - Who logs out has the cookie forgotten by the browser. Copies of it count no more where that was asked, until the
//!   coordinator is restarted or a thousand others log out; a token whose cookie was stolen is to be revoked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use tasuki_bus::clock;
use tasuki_config::{ClusterFile, TokenMark, unhex};
use tasuki_schemas::id::CoordinatorId;

/// The cookie. Its prefix binds it to this very host and to TLS.
const NAME: &str = "__Host-tasuki";
/// What stands before the signed text.
const CONTEXT: &str = "tasuki browser session, version 1: ";
/// A picture on a wall stays for as long without anybody.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Sessions that were ended here and are remembered; with more, whatever would end first is forgotten.
const MOST: usize = 1024;

/// What makes and knows sessions. Clones are the same.
#[derive(Clone)]
pub struct Sessions {
    me: CoordinatorId,
    key: Arc<SigningKey>,
    known: Arc<BTreeMap<CoordinatorId, VerifyingKey>>,
    /// Signatures of those that were ended, and when they would have ended.
    ended: Arc<Mutex<BTreeMap<[u8; 64], u64>>>,
}

/// A cookie's content that is whole and signed by somebody known.
struct Session {
    mark: TokenMark,
    until_s: u64,
    signature: [u8; 64],
}

impl Sessions {
    /// Sessions that this coordinator signs, and those of all that every cluster names.
    #[must_use]
    pub fn new<'a>(me: CoordinatorId, key: SigningKey, clusters: impl Iterator<Item = &'a ClusterFile>) -> Self {
        let mut known = BTreeMap::from([(me.clone(), key.verifying_key())]);
        let named = |file: &ClusterFile| -> BTreeMap<_, _> {
            file.coordinators.iter().map(|it| (it.name.clone(), it.key)).collect()
        };
        let mut clusters = clusters.map(named);
        let everywhere = clusters.next().map(|first| {
            clusters.fold(first, |mut all, file| {
                all.retain(|name, key| file.get(name) == Some(key));
                all
            })
        });
        known.extend(everywhere.unwrap_or_default());
        Self { me, key: Arc::new(key), known: Arc::new(known), ended: Arc::default() }
    }

    /// The token that a request's cookie stands for. Whether it is still good, the tokens say.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<TokenMark> {
        let session = self.read(cookie(headers)?)?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        (now_s() < session.until_s && !ended.contains_key(&session.signature)).then_some(session.mark)
    }

    /// Lets a browser in: the header `Set-Cookie`.
    pub(super) fn begin(&self, token: &TokenMark) -> String {
        let content = format!("{}.{}.{token}", self.me, now_s() + LIFE.as_secs());
        let signature = self.key.sign(format!("{CONTEXT}{content}").as_bytes());
        let signature: String = signature.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{NAME}={content}.{signature}; Max-Age={}; Path=/; HttpOnly; Secure; SameSite=Strict", LIFE.as_secs())
    }

    /// Ends the session of a request: the header `Set-Cookie` that makes the browser forget it.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(session) = cookie(headers).and_then(|content| self.read(content)) {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let now = now_s();
            ended.retain(|_, until| now < *until);
            if ended.len() >= MOST {
                let first = ended.iter().min_by_key(|(_, until)| **until).map(|(signature, _)| *signature);
                first.and_then(|signature| ended.remove(&signature));
            }
            ended.insert(session.signature, session.until_s);
        }
        format!("{NAME}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict")
    }

    fn read(&self, cookie: &str) -> Option<Session> {
        let (content, signature) = cookie.rsplit_once('.')?;
        let signature: [u8; 64] = unhex(signature)?;
        let mut fields = content.split('.');
        let (signer, until_s, mark) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let key = self.known.get(&signer.parse::<CoordinatorId>().ok()?)?;
        let text = format!("{CONTEXT}{content}");
        key.verify_strict(text.as_bytes(), &Signature::from_bytes(&signature)).ok()?;
        fields.next().is_none().then_some(Session { mark, until_s, signature })
    }
}

fn now_s() -> u64 {
    clock::wall_ms() / 1000
}

/// What the cookie holds, if the browser shows one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    pairs.flat_map(|header| header.split(';')).find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    /// Of two coordinators that know each other, one.
    fn sessions(name: &str, number: u8) -> Sessions {
        let all = [("co1", 1), ("co2", 2)];
        let known = all.map(|(name, number)| (name.parse().unwrap(), key(number).verifying_key())).into();
        let none = std::iter::empty();
        Sessions { known: Arc::new(known), ..Sessions::new(name.parse().unwrap(), key(number), none) }
    }

    fn shown(set: &str) -> HeaderMap {
        let pair = set.split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    #[test]
    fn a_cookie_stands_for_its_token_at_every_coordinator_and_after_a_restart() {
        let [ann, bob] = ["ann", "bob"].map(TokenMark::of);
        let here = sessions("co1", 1);
        let [anns, bobs] = [&ann, &bob].map(|mark| shown(&here.begin(mark)));
        for sessions in [here.clone(), sessions("co1", 1), sessions("co2", 2)] {
            assert_eq!([sessions.token(&anns), sessions.token(&bobs)], [Some(ann), Some(bob)]);
        }
        assert_eq!(here.token(&HeaderMap::new()), None);
        let forgotten = here.end(&anns);
        assert!(forgotten.contains("Max-Age=0"), "{forgotten}");
        assert_eq!([here.token(&anns), here.token(&bobs)], [None, Some(bob)]);
    }

    #[test]
    fn nobody_but_a_known_coordinator_makes_a_cookie_or_changes_one() {
        let here = sessions("co1", 1);
        let set = here.begin(&TokenMark::of("ann"));
        let good = set.split(';').next().unwrap().to_owned();
        assert!(here.token(&shown(&good)).is_some());
        // Each letter of it counts.
        for (at, letter) in good.char_indices().skip(NAME.len() + 1) {
            let other = if letter == '0' { '1' } else { '0' };
            let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
            assert_eq!(here.token(&shown(&changed)), None, "{changed}");
        }
        // Another key under a known name, and a name that nobody knows.
        for (name, number) in [("co2", 3), ("co3", 2)] {
            assert_eq!(here.token(&shown(&sessions(name, number).begin(&TokenMark::of("ann")))), None);
        }
        // The signature of a text without the context.
        let content = format!("co1.{}.{}", now_s() + 60, TokenMark::of("ann"));
        let signature: String = key(1).sign(content.as_bytes()).to_bytes().map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(here.token(&shown(&format!("{NAME}={content}.{signature}"))), None);
        let signature = key(1).sign(format!("{CONTEXT}{content}").as_bytes()).to_bytes();
        let signature = signature.map(|byte| format!("{byte:02x}")).concat();
        assert!(here.token(&shown(&format!("{NAME}={content}.{signature}"))).is_some());
    }

    #[test]
    fn a_session_ends_by_itself() {
        let here = sessions("co1", 1);
        let content = format!("co1.{}.{}", now_s(), TokenMark::of("ann"));
        let signature = key(1).sign(format!("{CONTEXT}{content}").as_bytes()).to_bytes();
        let signature = signature.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(here.token(&shown(&format!("{NAME}={content}.{signature}"))), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_over_tls_and_not_for_scripts_or_other_sites() {
        let set = sessions("co1", 1).begin(&TokenMark::of("ann"));
        for part in ["__Host-", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(part), "{part} is not in {set}");
        }
        assert!(!set.contains("ann"), "{set}");
    }

    #[test]
    fn so_many_ended_sessions_are_remembered_and_no_more() {
        let here = sessions("co1", 1);
        for number in 0..MOST + 5 {
            here.end(&shown(&here.begin(&TokenMark::of(&number.to_string()))));
        }
        assert_eq!(here.ended.lock().unwrap().len(), MOST);
    }
}
