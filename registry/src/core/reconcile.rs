//! State reconciliation: a peer below our horizon is given our whole state, range by range in the order of the places
//! of the keys.
//!
//! What the peer holds, and we had seen at the start but do not hold, was removed. It learns so range by range, but takes
//! both the removals and our context at the start as its own only after the last range: until then it could not tell
//! anybody why it lacks what its context says it has seen. What is newer than the start travels as early dots.

use std::collections::BTreeSet;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};

use super::clock::{Context, Dot};
use super::delta::{Key, Payload};
use super::table::{Kind, Shared, Table};

/// A peer's whole state on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incoming {
    start: Context,
    /// What we had seen when it began.
    seen: Context,
    after: Option<u64>,
    /// The live values that we held when their range came without them.
    gone: BTreeSet<(NodeId, u64)>,
    /// What came with the ranges and was not seen when it began.
    fresh: BTreeSet<(NodeId, u64)>,
}

impl Incoming {
    /// What the peer had seen when it sent the first range.
    pub fn start(&self) -> &Context {
        &self.start
    }

    /// The place of the last keys of the last range that was taken.
    pub fn after(&self) -> Option<u64> {
        self.after
    }
}

impl<K: Key, V: Payload> Table<K, V> {
    /// Begins to take the state of a peer that has seen `start`.
    pub fn incoming(&self, start: Context) -> Incoming {
        let (gone, fresh) = (BTreeSet::new(), BTreeSet::new());
        Incoming { start, seen: self.context.clone(), after: None, gone, fresh }
    }

    /// The state of the keys with places after `after`, at most about `bytes_max` of it: live events, and removals that the
    /// receiver will not have seen once it has adopted `start`, or that cover what it will not have seen. The second value
    /// is the place of the last keys of the range, or `None` if it reaches the end.
    pub fn range_after(
        &self,
        start: &Context,
        after: Option<u64>,
        bytes_max: usize,
    ) -> (Vec<Shared<K, V>>, Option<u64>) {
        let (mut events, mut bytes, mut last) = (Vec::new(), 0, None);
        for (place, event) in self.by_place.after(after) {
            // Keys of one place stay together.
            if let Some(last) = last.filter(|&last| bytes >= bytes_max && last != place) {
                return (events, Some(last));
            }
            last = Some(place);
            let seen = || start.contains(&event.dot.actor, event.dot.counter);
            if !event.is_remove() || !seen() || !event.covers.is_below(start.clock()) {
                bytes += event.size_bytes();
                events.push(event.clone());
            }
        }
        (events, None)
    }

    /// Takes the next range of a peer's whole state, up to `upto` or to the end: its events come here, and what the peer
    /// had seen at the start but does not hold any more is noted, to go with [`Self::adopt`]. Returns the keys whose live
    /// values may have changed.
    pub fn apply_range(
        &mut self,
        incoming: &mut Incoming,
        upto: Option<u64>,
        events: Vec<Shared<K, V>>,
    ) -> BTreeSet<K> {
        let listed: BTreeSet<(&NodeId, u64)> = events.iter().map(|e| (&e.dot.actor, e.dot.counter)).collect();
        let from = incoming.after;
        let within = |place: u64| upto.is_none_or(|upto| place <= upto);
        for (_, event) in self.by_place.after(from).take_while(|(place, _)| within(*place)) {
            let Dot { actor, counter } = &event.dot;
            let own = self.kind == Kind::OwnerWritten && *actor == self.origin;
            let seen = incoming.start.contains(actor, *counter);
            if !own && !event.is_remove() && seen && !listed.contains(&(actor, *counter)) {
                incoming.gone.insert((actor.clone(), *counter));
            }
        }
        incoming.after = upto;
        let mut touched = BTreeSet::new();
        for event in events {
            if !incoming.seen.contains(&event.dot.actor, event.dot.counter) {
                incoming.fresh.insert((event.dot.actor.clone(), event.dot.counter));
            }
            let key = event.key.clone();
            let stale = is_present(Defect::StaleSnapshot) && !self.events_of(&key).any(|held| held.dot == event.dot);
            let changed = if stale { self.insert(event) } else { self.apply(event) };
            if changed {
                touched.insert(key);
            }
        }
        touched
    }

    /// After the last range: what the peer had removed goes, and what it had seen at the start is taken as seen here.
    /// Returns the keys whose live values may have changed.
    pub fn adopt(&mut self, incoming: Incoming) -> BTreeSet<K> {
        self.changed();
        let gone = self.gone_with(&incoming);
        let mut touched = BTreeSet::new();
        for (origin, counter) in gone {
            if let Some(event) = self.drop_event(&origin, counter) {
                self.horizon.apply(Dot::new(origin, counter));
                touched.insert(event.key.clone());
            }
        }
        let mut start = self.wanted(incoming.start);
        start.forget(&self.origin);
        self.horizon.merge(start.clock().clone());
        for (origin, dots) in start.cloud() {
            dots.last().into_iter().for_each(|&last| self.horizon.apply(Dot::new(origin.clone(), last)));
        }
        if is_present(Defect::ClearedContext) {
            let others: Vec<NodeId> = self.context.origins().filter(|of| **of != self.origin).cloned().collect();
            others.iter().for_each(|origin| self.context.forget(origin));
        }
        self.kin.take();
        self.context.merge(start);
        touched
    }

    /// The events that a whole state says are removed: those found when their range came, and those that came from
    /// elsewhere since it began and were in no range, though the peer had seen them at the start.
    fn gone_with(&self, incoming: &Incoming) -> BTreeSet<(NodeId, u64)> {
        let Incoming { start, seen, fresh, .. } = incoming;
        let mut gone = incoming.gone.clone();
        for (origin, log) in self.log.iter().filter(|(origin, _)| **origin != self.origin) {
            for event in log.after(seen.clock().get(origin)).filter(|event| !event.is_remove()) {
                let counter = event.dot.counter;
                let dot = (origin.clone(), counter);
                if start.contains(origin, counter) && !seen.contains(origin, counter) && !fresh.contains(&dot) {
                    gone.insert(dot);
                }
            }
        }
        gone
    }
}
