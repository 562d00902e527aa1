//! Browsers that logged in: a cookie stands for a token, for as long as that token is good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// The cookie. Its prefix binds it to this very host and to TLS.
const NAME: &str = "__Host-tasuki";
/// A picture on a wall stays for as long without anybody.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Browsers at a time; with more, whoever logged in first has to do so again.
const MOST: usize = 1024;

/// Who logged in. Kept in memory alone: after a restart of the coordinator people log in again. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<BTreeMap<String, Session>>>);

struct Session {
    token: String,
    since: Instant,
}

impl Sessions {
    /// The token that a request's cookie stands for. Whether it is still good, the tokens say.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<String> {
        let secret = cookie(headers)?;
        let sessions = self.lock();
        let session = sessions.get(secret)?;
        (session.since.elapsed() < LIFE).then(|| session.token.clone())
    }

    /// Lets a browser in: the header `Set-Cookie`.
    pub(super) fn begin(&self, token: String) -> Result<String, getrandom::Error> {
        let secret = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.since.elapsed() < LIFE);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.since).map(|(secret, _)| secret.clone());
            oldest.and_then(|secret| sessions.remove(&secret));
        }
        sessions.insert(secret.clone(), Session { token, since: Instant::now() });
        Ok(format!("{NAME}={secret}; Max-Age={}; Path=/; HttpOnly; Secure; SameSite=Strict", LIFE.as_secs()))
    }

    /// Ends the session of a request: the header `Set-Cookie` that makes the browser forget it.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(secret) = cookie(headers) {
            self.lock().remove(secret);
        }
        format!("{NAME}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret in the cookie, if the browser shows one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    pairs.flat_map(|header| header.split(';')).find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(set: &str) -> HeaderMap {
        let pair = set.split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    #[test]
    fn a_cookie_stands_for_its_token_until_the_end_of_the_session() {
        let sessions = Sessions::default();
        let [ann, bob] = ["ann", "bob"].map(|token| shown(&sessions.begin(token.to_owned()).unwrap()));
        assert_eq!([sessions.token(&ann), sessions.token(&bob)], [Some("ann".into()), Some("bob".into())]);
        assert_eq!(sessions.token(&HeaderMap::new()), None);
        assert_eq!(sessions.token(&shown("__Host-tasuki=guessed;")), None);
        let forgotten = sessions.end(&ann);
        assert!(forgotten.contains("Max-Age=0"), "{forgotten}");
        assert_eq!([sessions.token(&ann), sessions.token(&bob)], [None, Some("bob".into())]);
    }

    #[test]
    fn a_cookie_is_for_this_host_over_tls_and_not_for_scripts_or_other_sites() {
        let set = Sessions::default().begin("ann".to_owned()).unwrap();
        for part in ["__Host-", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(part), "{part} is not in {set}");
        }
        assert!(!set.contains("ann"), "{set}");
    }

    #[test]
    fn with_too_many_browsers_the_first_logs_in_again() {
        let sessions = Sessions::default();
        let first = shown(&sessions.begin("first".to_owned()).unwrap());
        for _ in 0..MOST {
            sessions.begin("more".to_owned()).unwrap();
        }
        assert_eq!(sessions.token(&first), None);
        assert_eq!(sessions.lock().len(), MOST);
    }
}
