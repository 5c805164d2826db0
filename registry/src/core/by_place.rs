//! The events of a table in the order of the places of their keys: how a key's events are found, and how every replica
//! walks over its keys in one order without a tree of names.
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

/// Events by the place of their key; those of one place by key and dot.
#[derive(Debug, Clone)]
pub(super) struct ByPlace<K: Key, V: Payload> {
    bits: u32,
    buckets: Vec<Vec<(u64, Shared<K, V>)>>,
    len: usize,
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

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The events of a key whose place this is.
    pub(super) fn of<'a>(&'a self, place: u64, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        let items = &self.buckets[self.bucket(place)];
        items[places(items, place, key)].iter().map(|(_, event)| event)
    }

    /// The events of all keys of this place.
    pub(super) fn alike(&self, place: u64) -> impl Iterator<Item = &Shared<K, V>> {
        let items = &self.buckets[self.bucket(place)];
        let from = items.partition_point(|(of, _)| *of < place);
        items[from..].iter().take_while(move |(of, _)| *of == place).map(|(_, event)| event)
    }

    /// Puts an event in.
    pub(super) fn insert(&mut self, place: u64, event: Shared<K, V>) {
        let bucket = self.bucket(place);
        let items = &mut self.buckets[bucket];
        let alike = places(items, place, &event.key);
        let before = |(_, other): &(u64, Shared<K, V>)| order(&other.dot) < order(&event.dot);
        let at = alike.start + items[alike].partition_point(before);
        items.insert(at, (place, event));
        self.len += 1;
        if self.len > FILL_MAX << self.bits {
            self.double();
        }
    }

    /// Takes the event of this dot out.
    pub(super) fn remove(&mut self, place: u64, key: &K, dot: &Dot) {
        let bucket = self.bucket(place);
        let items = &mut self.buckets[bucket];
        let alike = places(items, place, key);
        let Some(at) = items[alike.clone()].iter().position(|(_, event)| event.dot == *dot) else { return };
        items.remove(alike.start + at);
        self.len -= 1;
        if self.bits > 0 && self.len < FILL_MIN << (self.bits - 1) {
            self.halve();
        }
    }

    /// Puts an event in place of the one of its dot.
    pub(super) fn replace(&mut self, place: u64, event: Shared<K, V>) {
        let bucket = self.bucket(place);
        let items = &mut self.buckets[bucket];
        let alike = places(items, place, &event.key);
        if let Some((_, old)) = items[alike].iter_mut().find(|(_, old)| old.dot == event.dot) {
            *old = event;
        }
    }

    /// All events, in order, each with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Shared<K, V>)> {
        self.buckets.iter().flatten().map(|(place, event)| (*place, event))
    }

    /// The events from a place on, in order, each with its place.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = (u64, &Shared<K, V>)> {
        let rest = self.buckets[self.bucket(place)..].iter().flatten();
        rest.skip_while(move |(of, _)| *of < place).map(|(place, event)| (*place, event))
    }

    fn double(&mut self) {
        self.bits += 1;
        let old = std::mem::take(&mut self.buckets);
        self.buckets.reserve_exact(old.len() * 2);
        for mut items in old {
            let (bits, first) = (self.bits, self.buckets.len());
            let second = items.partition_point(|(place, _)| (place >> (u64::BITS - bits)) as usize == first);
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

/// Where in a bucket the events of a key are.
fn places<K: Key, V: Payload>(items: &[(u64, Shared<K, V>)], place: u64, key: &K) -> Range<usize> {
    let from = items.partition_point(|(of, event)| *of < place || (*of == place && event.key < *key));
    let alike = items[from..].iter().take_while(|(of, event)| *of == place && event.key == *key).count();
    from..from + alike
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

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
            let (key, place) = (number % 1_000, (number % 250).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            by_place.insert(place, event(key, number));
            oracle.insert((place, key, number), ());
        }
        let same = |by_place: &ByPlace<Number, Number>, oracle: &BTreeMap<(u64, u64, u64), ()>| {
            let here = by_place.iter().map(|(place, event)| (place, event.key.0, event.dot.counter));
            assert!(here.eq(oracle.keys().copied()));
        };
        same(&by_place, &oracle);
        let large = by_place.buckets.len();
        for number in 0..3_990_u64 {
            let (key, place) = (number % 1_000, (number % 250).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let left = by_place.of(place, &Number(key)).map(|event| event.dot.counter).collect::<Vec<_>>();
            assert_eq!(left, (number..4_000).step_by(1_000).collect::<Vec<_>>());
            by_place.remove(place, &Number(key), &Dot::new(node.clone(), number));
            oracle.remove(&(place, key, number));
            if number % 500 == 0 {
                let rest = by_place.from(place).map(|(place, event)| (place, event.key.0, event.dot.counter));
                assert!(rest.eq(oracle.range((place, 0, 0)..).map(|(item, ())| *item)));
            }
        }
        same(&by_place, &oracle);
        assert!(large > 300 && by_place.buckets.len() < 20, "{large}, {}", by_place.buckets.len());
    }
}
