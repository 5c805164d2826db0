//! What a table has for others: its own events for a push, everything that a context lacks for a pull, and how long
//! removals are kept for those that have not heard of them.

use std::collections::BTreeMap;

use crdts::CmRDT;
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};

use super::clock::{Clock, Context, Dot};
use super::defects;
use super::delta::{Interval, Key, Payload};
use super::table::{Kind, Shared, Table};

/// Events, and the intervals that they complete.
type Batch<K, V> = (Vec<Shared<K, V>>, Vec<Interval>);

impl<K: Key, V: Payload> Table<K, V> {
    /// Our own events after `from`, for a peer that has acknowledged `acked`; and the interval that they complete. `None`
    /// where the peer cannot be served from our log and must pull.
    ///
    /// In an owner-written table at most `events_max` events or about `bytes_max` bytes: where the interval ends before our
    /// last event, what superseded events within it comes along early. In a shared table what superseded one of ours comes
    /// along early too, and a peer that is further behind than one push carries must pull.
    pub fn own_delta(
        &self,
        from: u64,
        acked: &Clock,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<(Vec<Shared<K, V>>, Interval)> {
        if !self.serves(&self.origin, from, acked) {
            return None;
        }
        let interval = |to| Interval { origin: self.origin.clone(), from, to };
        let (mut events, to) = match self.kind {
            Kind::OwnerWritten => self.own_part(from, events_max, bytes_max)?,
            Kind::Shared => self.own_whole(from, acked, events_max, bytes_max)?,
        };
        defects::tamper_delta(&mut events);
        if is_present(Defect::OmittedSuperseder) && self.kind == Kind::OwnerWritten && events.len() > 1 {
            events.truncate(1);
            let to = events[0].dot.counter;
            return Some((events, interval(to)));
        }
        Some((events, interval(to)))
    }

    fn own_part(&self, from: u64, events_max: usize, bytes_max: usize) -> Option<(Vec<Shared<K, V>>, u64)> {
        let last = self.context.clock().get(&self.origin);
        let (mut events, mut bytes, mut to) = (Vec::new(), 0, last);
        for event in self.log.get(&self.origin).into_iter().flat_map(|log| log.after(from)) {
            bytes += event.size_bytes();
            if events.len() >= events_max || (bytes > bytes_max && !events.is_empty()) {
                to = event.dot.counter - 1;
                break;
            }
            events.push(event.clone());
        }
        if to < last {
            let whole = events.len() as u64 == to - from;
            if from < self.forgotten && !whole {
                return None;
            }
            let mut early = BTreeMap::new();
            for key in self.left_out.range(from + 1..=to).map(|(_, key)| key) {
                let ours = self.events_of(key).filter(|event| event.dot.actor == self.origin && event.dot.counter > to);
                early.extend(ours.map(|event| (event.dot.counter, event.clone())));
                if early.len() > events_max {
                    return None;
                }
            }
            events.extend(early.into_values());
        }
        Some((events, to))
    }

    fn own_whole(
        &self,
        from: u64,
        acked: &Clock,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<(Vec<Shared<K, V>>, u64)> {
        let to = self.context.clock().get(&self.origin);
        if to.saturating_sub(from) > events_max as u64 {
            return None;
        }
        let after = |origin, counter| self.log.get(origin).into_iter().flat_map(move |log| log.after(counter));
        let mut events: Vec<Shared<K, V>> = after(&self.origin, from).cloned().collect();
        if !is_present(Defect::SilentSuperseder) {
            for origin in self.log.keys().filter(|origin| **origin != self.origin) {
                let superseders =
                    after(origin, acked.get(origin)).filter(|event| event.covers.get(&self.origin) > from);
                events.extend(superseders.take(events_max + 1).cloned());
            }
        }
        let bytes: usize = events.iter().map(|event| event.size_bytes()).sum();
        (events.len() <= events_max && bytes <= bytes_max).then_some((events, to))
    }

    /// Whether a peer that has acknowledged `acked` can be told everything of an origin after `from`.
    pub(super) fn serves(&self, origin: &NodeId, from: u64, acked: &Clock) -> bool {
        if self.kind == Kind::OwnerWritten {
            return from >= self.horizon.get(origin);
        }
        let reached = |of: &NodeId| if of == origin { from } else { acked.get(of) };
        self.horizon.dots.iter().all(|(of, &counter)| reached(of) >= counter)
    }

    /// The events of an interval, all of which was seen here, with everything that supersedes what is left out, whoever has
    /// seen that. `None` where it is more than twice what one push carries.
    pub(super) fn delta_of(
        &self,
        interval: &Interval,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<Vec<Shared<K, V>>> {
        let Interval { origin, from, to } = interval;
        let most = 2 * events_max + 1;
        let after = |of, counter| self.log.get(of).into_iter().flat_map(move |log| log.after(counter));
        let within = after(origin, *from).take_while(|event| event.dot.counter <= *to);
        let mut events: Vec<Shared<K, V>> = within.take(most).cloned().collect();
        // In a shared table a removal may be what is left of a value that another event supersedes.
        let is_left = |event: &Shared<K, V>| self.kind == Kind::Shared && event.is_remove();
        if (events.len() as u64) < to.saturating_sub(*from) || events.iter().any(is_left) {
            events.extend(after(origin, *to).take(most).cloned());
            let shared = self.kind == Kind::Shared && !is_present(Defect::SilentSuperseder);
            for of in self.log.keys().filter(|of| shared && *of != origin) {
                let superseders = after(of, 0).filter(|event| event.covers.get(origin) > *from);
                events.extend(superseders.take(most).cloned());
            }
        }
        let bytes: usize = events.iter().map(|event| event.size_bytes()).sum();
        (events.len() < most && bytes <= 2 * bytes_max).then_some(events)
    }

    /// Everything that a peer with this context lacks, and the intervals that it completes: what our clock has, and each
    /// of our early dots whose event is superseded. `None` where the peer is below our horizon and must be healed by
    /// state.
    pub fn delta_for(&self, theirs: &Context) -> Option<Batch<K, V>> {
        if self.horizon.dots.iter().any(|(origin, &counter)| theirs.clock().get(origin) < counter) {
            return None;
        }
        let mut events = Vec::new();
        for (origin, log) in &self.log {
            let unseen = log.after(theirs.clock().get(origin));
            events.extend(unseen.filter(|event| !theirs.contains(origin, event.dot.counter)).cloned());
        }
        let clock = self.context.clock().dots.iter();
        let behind =
            clock.map(|(origin, &to)| Interval { origin: origin.clone(), from: theirs.clock().get(origin), to });
        let mut intervals: Vec<Interval> = behind.filter(|interval| interval.from < interval.to).collect();
        for (origin, dots) in self.context.cloud() {
            let shipped = |dot: &u64| self.log.get(origin).is_some_and(|log| log.get(*dot).is_some());
            let silent = dots.iter().filter(|dot| !theirs.contains(origin, **dot) && !shipped(dot));
            intervals.extend(silent.map(|&to| Interval { origin: origin.clone(), from: to - 1, to }));
        }
        defects::tamper_delta(&mut events);
        Some((events, intervals))
    }

    /// Drops removals that nobody needs any more: they and what they cover are acknowledged by everyone that counts
    /// (`acked` tells per origin) and were seen here. Past `removals_max` others that were seen here go too, whoever lacks
    /// them. Raises the horizon accordingly.
    pub fn collect(&mut self, removals_max: usize, acked: impl Fn(&NodeId) -> u64) {
        if self.removals.is_empty() {
            return;
        }
        let clock = self.context.clock().clone();
        let mut floor = Clock::default();
        for (origin, &counter) in &clock.dots {
            floor.apply(Dot::new(origin.clone(), counter.min(acked(origin))));
        }
        let (mut drop, mut lacked) = (Vec::new(), Vec::new());
        for (origin, counter) in &self.removals {
            let Some(event) = self.log.get(origin).and_then(|log| log.get(*counter)) else { continue };
            let within = |clock: &Clock| clock.get(origin) >= *counter && event.covers.is_below(clock);
            if within(&floor) {
                drop.push(event.clone());
            } else if within(&clock) {
                lacked.push(event.clone());
            }
        }
        let excess = (self.removals.len() - drop.len()).saturating_sub(removals_max);
        drop.extend(lacked.into_iter().take(excess));
        for event in drop {
            self.drop_event(&event.dot.actor, event.dot.counter);
            // A peer that lacks what the removal covers needs the removal, even if it has acknowledged its dot.
            event.covers.join_into(&mut self.horizon);
            self.horizon.apply(event.dot.clone());
        }
    }
}
