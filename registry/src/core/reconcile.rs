//! State reconciliation: a peer below our horizon is given our whole state, range by range in the order of the keys.
//!
//! What the peer holds, and we had seen at the start but do not hold, was removed. It learns so range by range, but takes
//! both the removals and our context at the start as its own only after the last range: until then it could not tell
//! anybody why it lacks what its context says it has seen. What is newer than the start travels as early dots.

use std::collections::BTreeSet;
use std::ops::Bound;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};

use super::clock::{Context, Dot};
use super::delta::{Key, Payload};
use super::table::{Kind, Shared, Table};

/// A peer's whole state on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incoming<K: Key> {
    start: Context,
    /// What we had seen when it began.
    seen: Context,
    after: Option<K>,
    /// The live values that we held when their range came without them.
    gone: BTreeSet<(NodeId, u64)>,
    /// What came with the ranges and was not seen when it began.
    fresh: BTreeSet<(NodeId, u64)>,
}

impl<K: Key> Incoming<K> {
    /// What the peer had seen when it sent the first range.
    pub fn start(&self) -> &Context {
        &self.start
    }

    /// The last key of the last range that was taken.
    pub fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }
}

impl<K: Key, V: Payload> Table<K, V> {
    /// Begins to take the state of a peer that has seen `start`.
    pub fn incoming(&self, start: Context) -> Incoming<K> {
        let (gone, fresh) = (BTreeSet::new(), BTreeSet::new());
        Incoming { start, seen: self.context.clone(), after: None, gone, fresh }
    }

    /// The state of the keys after `after`, at most about `bytes_max` of it: live events, and removals that the receiver
    /// will not have seen once it has adopted `start`, or that cover what it will not have seen. The second value is the
    /// last key of the range, or `None` if it reaches the end.
    pub fn range_after(&self, start: &Context, after: Option<&K>, bytes_max: usize) -> (Vec<Shared<K, V>>, Option<K>) {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let bound = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut keys = self.keys.range::<K, _>(bound).peekable();
        while let Some((key, _)) = keys.next() {
            for event in self.events_of(key) {
                let seen = || start.contains(&event.dot.actor, event.dot.counter);
                let ahead = || event.covers.dots.iter().any(|(origin, &counter)| start.clock().get(origin) < counter);
                if !event.is_remove() || !seen() || ahead() {
                    bytes += event.size_bytes();
                    events.push(event.clone());
                }
            }
            if bytes >= bytes_max && keys.peek().is_some() {
                return (events, Some(key.clone()));
            }
        }
        (events, None)
    }

    /// Takes the next range of a peer's whole state, up to `upto` or to the end: its events come here, and what the peer
    /// had seen at the start but does not hold any more is noted, to go with [`Self::adopt`]. Returns the keys whose live
    /// values may have changed.
    pub fn apply_range(
        &mut self,
        incoming: &mut Incoming<K>,
        upto: Option<K>,
        events: Vec<Shared<K, V>>,
    ) -> BTreeSet<K> {
        let listed: BTreeSet<(&NodeId, u64)> = events.iter().map(|e| (&e.dot.actor, e.dot.counter)).collect();
        let (from, to) = (incoming.after.as_ref(), upto.as_ref());
        let range = (from.map_or(Bound::Unbounded, Bound::Excluded), to.map_or(Bound::Unbounded, Bound::Included));
        let empty = matches!((from, to), (Some(from), Some(to)) if from >= to);
        if !empty {
            for (origin, counter) in self.keys.range::<K, _>(range).flat_map(|(_, dots)| dots) {
                let own = self.kind == Kind::OwnerWritten && *origin == self.origin;
                let removal = self.removals.contains(&(origin.clone(), *counter));
                let seen = incoming.start.contains(origin, *counter);
                if !own && !removal && seen && !listed.contains(&(origin, *counter)) {
                    incoming.gone.insert((origin.clone(), *counter));
                }
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
    pub fn adopt(&mut self, incoming: Incoming<K>) -> BTreeSet<K> {
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
        self.context.merge(start);
        touched
    }

    /// The events that a whole state says are removed: those found when their range came, and those that came from
    /// elsewhere since it began and were in no range, though the peer had seen them at the start.
    fn gone_with(&self, incoming: &Incoming<K>) -> BTreeSet<(NodeId, u64)> {
        let Incoming { start, seen, fresh, .. } = incoming;
        let mut gone = incoming.gone.clone();
        for (origin, log) in self.log.iter().filter(|(origin, _)| **origin != self.origin) {
            let since = log.range((Bound::Excluded(seen.clock().get(origin)), Bound::Unbounded));
            for (&counter, _) in since.filter(|(_, event)| !event.is_remove()) {
                let dot = (origin.clone(), counter);
                if start.contains(origin, counter) && !seen.contains(origin, counter) && !fresh.contains(&dot) {
                    gone.insert(dot);
                }
            }
        }
        gone
    }
}
