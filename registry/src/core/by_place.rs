//! The events of a table in the order of the places of their keys: how a key's events are found, and how every replica
//! walks over its keys in one order without a tree of names. One event of each key can be marked as the one it shows.
//!
//! Places are spread evenly, so the leading bits of one say in which bucket it is. Buckets split when they have become
//! many, all at once, in one pass over neighbours.

use std::ops::Range;

use super::clock::Dot;
use super::delta::{Key, Payload};
use super::table::Shared;

/// Most items a bucket has on the average.
const FILL_MAX: usize = 12;
/// Fewest items a bucket has on the average, from some size on.
const FILL_MIN: usize = 2;

/// The last bit of a place: whether its event is the one that its key shows. Places that differ in nothing else are one.
const SHOWN: u64 = 1;

/// Events by the place of their key; those of one place by key and dot.
#[derive(Debug, Clone)]
pub(super) struct ByPlace<K: Key, V: Payload> {
    bits: u32,
    buckets: Vec<Vec<Item<K, V>>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Item<K: Key, V: Payload> {
    /// The place, and [`SHOWN`].
    tag: u64,
    event: Shared<K, V>,
}

/// Where the events of a key are, or would be.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    place: u64,
    bucket: usize,
    range: Range<usize>,
}

impl Spot {
    /// Whether the key has no event.
    pub(super) fn is_vacant(&self) -> bool {
        self.range.is_empty()
    }
}

impl<K: Key, V: Payload> Item<K, V> {
    fn place(&self) -> u64 {
        self.tag & !SHOWN
    }

    fn is_shown(&self) -> bool {
        self.tag & SHOWN != 0
    }
}

impl<K: Key, V: Payload> Default for ByPlace<K, V> {
    fn default() -> Self {
        Self { bits: 0, buckets: vec![Vec::new()], len: 0 }
    }
}

impl<K: Key, V: Payload> ByPlace<K, V> {
    fn bucket(&self, place: u64) -> usize {
        // Shifting by all bits at once is no shift.
        (place.checked_shr(u64::BITS - self.bits).unwrap_or(0)) as usize
    }

    /// Where the events of a key are whose place this is; until the next change.
    pub(super) fn spot(&self, place: u64, key: &K) -> Spot {
        let place = place & !SHOWN;
        let bucket = self.bucket(place);
        let items = &self.buckets[bucket];
        let from = items.partition_point(|it| it.place() < place || (it.place() == place && it.event.key < *key));
        let alike = items[from..].iter().take_while(|it| it.place() == place && it.event.key == *key).count();
        Spot { place, bucket, range: from..from + alike }
    }

    /// The events there.
    pub(super) fn at(&self, spot: Spot) -> impl Iterator<Item = &Shared<K, V>> {
        self.buckets[spot.bucket][spot.range].iter().map(|item| &item.event)
    }

    /// The events of a key whose place this is.
    pub(super) fn of<'a>(&'a self, place: u64, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        self.at(self.spot(place, key))
    }

    /// The events of all keys of this place.
    pub(super) fn alike(&self, place: u64) -> impl Iterator<Item = &Shared<K, V>> {
        let place = place & !SHOWN;
        let items = &self.buckets[self.bucket(place)];
        let from = items.partition_point(|item| item.place() < place);
        items[from..].iter().take_while(move |item| item.place() == place).map(|item| &item.event)
    }

    /// Puts an event in, where its key's are.
    pub(super) fn insert(&mut self, spot: Spot, event: Shared<K, V>) {
        let items = &mut self.buckets[spot.bucket];
        let before = |item: &Item<K, V>| order(&item.event.dot) < order(&event.dot);
        let at = spot.range.start + items[spot.range].partition_point(before);
        items.insert(at, Item { tag: spot.place, event });
        self.len += 1;
        if self.len > FILL_MAX << self.bits {
            self.double();
        }
    }

    /// Takes the event of this dot out. Returns whether it was the one that its key shows.
    pub(super) fn remove(&mut self, place: u64, key: &K, dot: &Dot) -> bool {
        let Spot { bucket, range, .. } = self.spot(place, key);
        let items = &mut self.buckets[bucket];
        let Some(at) = items[range.clone()].iter().position(|item| item.event.dot == *dot) else { return false };
        let item = items.remove(range.start + at);
        self.len -= 1;
        if self.bits > 0 && self.len < FILL_MIN << (self.bits - 1) {
            self.halve();
        }
        item.is_shown()
    }

    /// Puts an event in place of the one of its dot.
    pub(super) fn replace(&mut self, place: u64, event: Shared<K, V>) {
        let Spot { bucket, range, .. } = self.spot(place, &event.key);
        if let Some(item) = self.buckets[bucket][range].iter_mut().find(|item| item.event.dot == event.dot) {
            item.event = event;
        }
    }

    /// All events, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.buckets.iter().flatten().map(|item| &item.event)
    }

    // ---- what keys show

    /// The event that a key shows.
    pub(super) fn shown(&self, place: u64, key: &K) -> Option<&Shared<K, V>> {
        let Spot { bucket, range, .. } = self.spot(place, key);
        self.buckets[bucket][range].iter().find(|item| item.is_shown()).map(|item| &item.event)
    }

    /// The events that their keys show, in order.
    pub(super) fn all_shown(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.buckets.iter().flatten().filter(|item| item.is_shown()).map(|item| &item.event)
    }

    /// From now on a key shows the event of this dot, or none. Returns the event that it showed before.
    pub(super) fn show(&mut self, place: u64, key: &K, dot: Option<&Dot>) -> Option<Shared<K, V>> {
        let Spot { bucket, range, .. } = self.spot(place, key);
        let mut before = None;
        for item in &mut self.buckets[bucket][range] {
            if item.is_shown() {
                before = Some(item.event.clone());
            }
            let shows = dot.is_some_and(|dot| item.event.dot == *dot);
            item.tag = item.place() | if shows { SHOWN } else { 0 };
        }
        before
    }

    fn double(&mut self) {
        self.bits += 1;
        let old = std::mem::take(&mut self.buckets);
        self.buckets.reserve_exact(old.len() * 2);
        for mut items in old {
            let (bits, first) = (self.bits, self.buckets.len());
            let second = items.partition_point(|item| (item.tag >> (u64::BITS - bits)) as usize == first);
            let rest = items.split_off(second);
            items.shrink_to(FILL_MAX);
            self.buckets.extend([items, rest]);
        }
    }

    fn halve(&mut self) {
        self.bits -= 1;
        let mut old = std::mem::take(&mut self.buckets).into_iter();
        while let (Some(mut items), Some(rest)) = (old.next(), old.next()) {
            items.extend(rest);
            self.buckets.push(items);
        }
    }
}

fn order(dot: &Dot) -> (&ordu_transport::core::NodeId, u64) {
    (&dot.actor, dot.counter)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use triomphe::Arc;

    use ordu_transport::core::{NodeId, NodeName};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::core::covers::Covers;
    use crate::core::delta::Event;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    struct Number(u64);

    impl Payload for Number {
        crate::travels_as_it_is!();

        fn size_bytes(&self) -> usize {
            8
        }
    }

    impl Key for Number {}

    #[test]
    fn it_is_an_ordered_map_at_every_size() {
        let node = NodeId::new(NodeName::new("a").expect("a name"), 1, 1);
        let mut by_place: ByPlace<Number, Number> = ByPlace::default();
        let mut oracle = BTreeMap::new();
        let event = |key: u64, counter: u64| {
            let dot = Dot::new(node.clone(), counter);
            Arc::new(Event { dot, key: Number(key), value: None, covers: Covers::default() })
        };
        for number in 0..4_000_u64 {
            // Four keys share each place.
            let (key, place) = (number % 1_000, (number % 250).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !SHOWN);
            by_place.insert(by_place.spot(place, &Number(key)), event(key, number));
            oracle.insert((place, key, number), ());
        }
        let same = |by_place: &ByPlace<Number, Number>, oracle: &BTreeMap<(u64, u64, u64), ()>| {
            let here = by_place.iter().map(|event| (event.key.0, event.dot.counter));
            assert!(here.eq(oracle.keys().map(|&(_, key, counter)| (key, counter))));
        };
        same(&by_place, &oracle);
        let large = by_place.buckets.len();
        for number in 0..3_990_u64 {
            let (key, place) = (number % 1_000, (number % 250).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !SHOWN);
            let left = by_place.of(place, &Number(key)).map(|event| event.dot.counter).collect::<Vec<_>>();
            assert_eq!(left, (number..4_000).step_by(1_000).collect::<Vec<_>>());
            by_place.remove(place, &Number(key), &Dot::new(node.clone(), number));
            oracle.remove(&(place, key, number));
        }
        same(&by_place, &oracle);
        assert!(large > 300 && by_place.buckets.len() < 20, "{large}, {}", by_place.buckets.len());
    }
}
