//! A request that is sent again under the same `Idempotency-Key` is done once, and answered as it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use tokio::sync::OnceCell;

use super::problem::Problem;

/// A key is remembered for so long.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Keys at a time; with more the oldest are forgotten.
const MOST: usize = 1024;
/// The longest key.
const LONGEST: usize = 200;

/// What came of an act, for everybody who asks for it by the same key.
pub(super) type Ended<T> = Result<T, Problem>;

struct Kept<T> {
    wish: String,
    since: Instant,
    end: Arc<OnceCell<Ended<T>>>,
}

/// The acts of late. Clones are the same.
pub(super) struct Once<T = Vec<String>>(Arc<Mutex<BTreeMap<String, Kept<T>>>>);

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get("idempotency-key") else { return Ok(None) };
    let key = header.to_str().ok().filter(|key| !key.is_empty() && key.len() <= LONGEST);
    let bad = || Problem::new(StatusCode::BAD_REQUEST, "Idempotency-Key: write 1 to 200 characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(bad)
}

impl<T: Clone + Send + Sync + 'static> Once<T> {
    /// Does `act`, unless something was begun under this key: then what came of that. It is finished also when the asker
    /// leaves. `wish` tells a repetition from another wish under a key that was used.
    pub(super) async fn perform<F>(&self, key: Option<String>, wish: String, act: F) -> Ended<T>
    where
        F: Future<Output = Ended<T>> + Send + 'static,
    {
        let end = match key {
            Some(key) => self.begun(key, wish)?,
            None => Arc::default(),
        };
        let done = tokio::spawn(async move { end.get_or_init(|| act).await.clone() });
        done.await.unwrap_or_else(|error| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
    }

    fn begun(&self, key: String, wish: String) -> Ended<Arc<OnceCell<Ended<T>>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, one| one.since.elapsed() < LIFE);
        if kept.len() >= MOST && !kept.contains_key(&key) {
            let oldest = kept.iter().min_by_key(|(_, one)| one.since).map(|(key, _)| key.clone());
            oldest.and_then(|key| kept.remove(&key));
        }
        let fresh = || Kept { wish: wish.clone(), since: Instant::now(), end: Arc::default() };
        let one = kept.entry(key).or_insert_with(fresh);
        if one.wish == wish {
            return Ok(Arc::clone(&one.end));
        }
        let other = "this Idempotency-Key was used for another request; use a new one";
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, other))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::response::IntoResponse as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_same_key_is_done_once_and_answered_alike() {
        let (once, count) = (Once::<u32>::default(), Arc::new(AtomicU32::new(0)));
        let act = || {
            let count = Arc::clone(&count);
            async move { Ok(count.fetch_add(1, Ordering::SeqCst)) }
        };
        let key = || Some("k".to_owned());
        for _ in 0..3 {
            assert_eq!(once.perform(key(), "to db2".into(), act()).await.unwrap(), 0);
        }
        let other = once.perform(key(), "to db3".into(), act()).await.unwrap_err();
        assert_eq!(other.into_response().status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(once.perform(None, "to db2".into(), act()).await.unwrap(), 1);
        assert_eq!(once.perform(None, "to db2".into(), act()).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_act_is_finished_when_its_asker_leaves_and_a_second_asker_waits_for_it() {
        let once = Once::<u32>::default();
        let (finish, finished) = oneshot::channel::<()>();
        let act = async move {
            finished.await.unwrap();
            Ok(7)
        };
        let key = || Some("k".to_owned());
        let mut first = Box::pin(once.perform(key(), String::new(), act));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        drop(first);
        let mut second = Box::pin(once.perform(key(), String::new(), async { Ok(8) }));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        finish.send(()).unwrap();
        assert_eq!(second.await.unwrap(), 7);
    }

    #[test]
    fn a_key_is_short_text() {
        let with = |key: &str| HeaderMap::from_iter([("idempotency-key".parse().unwrap(), key.parse().unwrap())]);
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(key(&with("a-1")).unwrap(), Some("a-1".to_owned()));
        for wrong in ["", &"x".repeat(201)] {
            assert!(key(&with(wrong)).is_err());
        }
    }
}
