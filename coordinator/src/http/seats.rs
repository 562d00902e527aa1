//! Where viewers may connect: every coordinator tells its address and how many viewers it has with its heartbeats.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tasuki_schemas::command::{Heartbeat, Seat};
use tasuki_schemas::id::CoordinatorId;

use crate::feed::Feed;

/// A coordinator that is unheard for so long is not offered to viewers.
const SILENCE: Duration = Duration::from_secs(2);
/// Whoever was sent to a coordinator counts there for so long, until they are heard to be connected.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);
/// Between two counts of the own viewers.
const COUNT: Duration = Duration::from_millis(250);
/// So many are counted at most.
const MOST: usize = 100_000;

/// This coordinator's viewers and those of the others. Clones are the same.
#[derive(Clone)]
pub struct Seats {
    me: CoordinatorId,
    url: Option<String>,
    viewers: Arc<AtomicU32>,
    leaving: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    others: BTreeMap<CoordinatorId, (Seat, Instant)>,
    sent: VecDeque<(CoordinatorId, Instant)>,
}

impl Seats {
    /// Nobody is connected yet. Without `url` the address that is listened on is told, if it names a host.
    #[must_use]
    pub fn new(me: CoordinatorId, url: Option<String>, listens: SocketAddr) -> Self {
        let own = (!listens.ip().is_unspecified()).then(|| format!("https://{listens}"));
        Self { me, url: url.or(own), viewers: Arc::default(), leaving: Arc::default(), heard: Arc::default() }
    }

    /// Viewers that are connected here.
    #[must_use]
    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }

    /// What this coordinator tells of itself; `None` also when no viewer shall come here any more.
    #[must_use]
    pub fn own(&self) -> Option<Seat> {
        self.url.clone().filter(|_| !self.is_leaving()).map(|url| self.seat(url))
    }

    /// This coordinator is about to stop: from now on it is not offered to viewers.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn seat(&self, url: String) -> Seat {
        Seat { url, viewers: self.viewers(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Counts this coordinator's viewers again and again.
    pub(super) async fn count(self, feed: Feed) {
        loop {
            self.set_viewers(feed.viewers());
            tokio::time::sleep(COUNT).await;
        }
    }

    fn set_viewers(&self, viewers: usize) {
        self.viewers.store(u32::try_from(viewers).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// What another coordinator tells.
    pub fn hear(&self, heartbeat: &Heartbeat) {
        if heartbeat.coordinator == self.me {
            return;
        }
        let mut heard = self.lock();
        match &heartbeat.seat {
            Some(seat) => drop(heard.others.insert(heartbeat.coordinator.clone(), (Seat::clone(seat), Instant::now()))),
            None => drop(heard.others.remove(&heartbeat.coordinator)),
        }
    }

    /// Where another viewer should connect: to whoever lives and has the fewest. `asked` is the address that this
    /// coordinator was reached at, for one that does not know its own.
    #[must_use]
    pub fn best(&self, asked: Option<String>) -> Option<(CoordinatorId, Seat)> {
        let now = Instant::now();
        let mut heard = self.lock();
        heard.others.retain(|_, (_, at)| now.duration_since(*at) < SILENCE);
        heard.sent.retain(|(_, at)| now.duration_since(*at) < ON_THEIR_WAY);
        let mut seats: Vec<(CoordinatorId, Seat)> =
            heard.others.iter().map(|(name, (seat, _))| (name.clone(), seat.clone())).collect();
        let own =
            self.own().or_else(|| asked.filter(|_| seats.is_empty() && !self.is_leaving()).map(|url| self.seat(url)));
        seats.extend(own.map(|seat| (self.me.clone(), seat)));
        let coming = |name: &CoordinatorId| heard.sent.iter().filter(|(to, _)| to == name).count();
        let load =
            |(name, seat): &(CoordinatorId, Seat)| coming(name) + usize::try_from(seat.viewers).unwrap_or(usize::MAX);
        let best = seats.into_iter().min_by_key(load)?;
        if heard.sent.len() < MOST {
            heard.sent.push_back((best.0.clone(), now));
        }
        Some(best)
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::id::Nonce;

    use super::*;

    fn seats(url: Option<&str>, listens: &str) -> Seats {
        Seats::new("co1".parse().unwrap(), url.map(str::to_owned), listens.parse().unwrap())
    }

    fn beat(viewers: u32) -> Heartbeat {
        let seat = Seat { url: "https://b:3000".into(), viewers, version: "1".into() };
        Heartbeat { coordinator: "co2".parse().unwrap(), nonce: Nonce(1), leading: None, seat: Some(Box::new(seat)) }
    }

    fn best(seats: &Seats) -> String {
        seats.best(None).unwrap().0.to_string()
    }

    #[test]
    fn the_least_loaded_is_offered_and_those_on_their_way_are_counted() {
        let seats = seats(None, "10.0.0.8:3000");
        assert_eq!(seats.best(None).unwrap().1.url, "https://10.0.0.8:3000");
        seats.hear(&beat(3));
        let offered: Vec<String> = (0..6).map(|_| best(&seats)).collect();
        assert_eq!(offered.iter().filter(|name| *name == "co2").count(), 2, "{offered:?}");
        seats.set_viewers(9);
        assert_eq!((best(&seats).as_str(), seats.viewers()), ("co2", 9));
    }

    #[test]
    fn a_coordinator_that_is_unheard_or_tells_no_address_is_not_offered() {
        let seats = seats(None, "10.0.0.8:3000");
        seats.set_viewers(9);
        seats.hear(&beat(0));
        assert_eq!(best(&seats), "co2");
        for (_, at) in seats.lock().others.values_mut() {
            *at = at.checked_sub(SILENCE).unwrap();
        }
        assert_eq!(best(&seats), "co1");
        seats.hear(&beat(0));
        seats.hear(&Heartbeat { seat: None, ..beat(0) });
        assert_eq!(best(&seats), "co1");
    }

    #[test]
    fn a_coordinator_that_stops_is_offered_by_nobody() {
        let (seats, asked) = (seats(None, "10.0.0.8:3000"), || Some("https://lb.example.org".to_owned()));
        seats.leave();
        assert_eq!((seats.own(), seats.best(asked())), (None, None));
        seats.hear(&beat(3));
        assert_eq!(best(&seats), "co2");
    }

    #[test]
    fn an_address_for_everybody_is_no_address_for_viewers() {
        let asked = || Some("https://lb.example.org".to_owned());
        assert_eq!(seats(None, "0.0.0.0:3000").best(None), None);
        assert_eq!(seats(None, "0.0.0.0:3000").best(asked()).unwrap().1.url, "https://lb.example.org");
        assert_eq!(seats(Some("https://co1"), "0.0.0.0:3000").best(asked()).unwrap().1.url, "https://co1");
        let blind = seats(None, "[::]:3000");
        blind.hear(&beat(0));
        assert_eq!(blind.best(asked()).unwrap().0.as_str(), "co2");
    }
}
