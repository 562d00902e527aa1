//! Telemetry of one tick, gathered: nodes report each for itself, and viewers are sent all of it at once.

use std::time::Duration;

use tasuki_schemas::event::Event;
use tasuki_schemas::moment::Moment;

/// With so many events nobody waits for the tick's end.
const MOST: usize = 512;

/// What was seen and not handed out yet. After a rest the first event goes out at once, and what follows within a tick
/// together.
pub(super) struct Tick {
    events: Vec<Event>,
    length: Duration,
    next: Moment,
}

impl Tick {
    pub(super) fn new(length: Duration) -> Self {
        Self { events: Vec::new(), length, next: Moment::default() }
    }

    pub(super) fn add(&mut self, event: Event) {
        self.events.push(event);
    }

    /// When the events are to be handed out, if there are any.
    pub(super) fn due(&self) -> Option<Moment> {
        (!self.events.is_empty()).then_some(self.next)
    }

    /// The events, in order, if that time has come.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<Event> {
        let due = self.next <= now || self.events.len() >= MOST;
        if due { self.take(now) } else { Vec::new() }
    }

    /// The events, in order.
    pub(super) fn take(&mut self, now: Moment) -> Vec<Event> {
        if !self.events.is_empty() {
            self.next = now + self.length;
        }
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_schemas::event::EventBody;

    fn event(number: u64) -> Event {
        Event {
            cluster: "main".parse().unwrap(),
            coordinator: "co1".parse().unwrap(),
            number,
            at_ms: 0,
            id: None,
            after: None,
            body: EventBody::Leader { leader: None },
        }
    }

    #[test]
    fn the_reports_of_fifty_servers_are_one_delivery_a_tick() {
        let mut tick = Tick::new(Duration::from_millis(200));
        let (mut deliveries, mut told) = (0, Vec::new());
        for ms in 0..10_000_u64 {
            let now = Moment::from_nanos((1000 + ms) * 1_000_000);
            // Each reports every 200 ms, at a moment of its own.
            (0..50).filter(|server| ms % 200 == server * 4).for_each(|_| tick.add(event(ms)));
            let events = tick.take_due(now);
            deliveries += usize::from(!events.is_empty());
            told.extend(events.iter().map(|event| event.number));
        }
        assert!((49..=51).contains(&deliveries), "{deliveries} deliveries in 50 ticks");
        assert!(told.is_sorted() && told.len() + 50 >= 50 * 50, "{}", told.len());
    }

    #[test]
    fn the_first_after_a_rest_does_not_wait_and_a_flood_is_not_kept() {
        let mut tick = Tick::new(Duration::from_millis(200));
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        assert_eq!(tick.due(), None);
        tick.add(event(1));
        assert_eq!(tick.take_due(at(1000)).len(), 1);
        tick.add(event(2));
        assert_eq!((tick.due(), tick.take_due(at(1199)).len()), (Some(at(1200)), 0));
        tick.add(event(3));
        assert_eq!(tick.take_due(at(1200)).len(), 2);
        (0..512).for_each(|number| tick.add(event(number)));
        assert_eq!(tick.take_due(at(1201)).len(), 512);
    }
}
