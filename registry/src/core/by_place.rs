//! The events of a table in the order of the places of their keys: how a key's events are found, and how every replica
//! walks over its keys in one order without a tree of names. One event of each key can be marked as the one it shows.
//!
//! Places are spread evenly, so a place says about where in one long row of slots its events are. They are put into the
//! first free slot from there on, in order: linear probing that keeps the order, after Amble and Knuth, "Ordered hash
//! tables" (1974). A look-up reads neighbours, and a walk over the row is a walk in order.

use std::ops::Range;

use super::clock::Dot;
use super::delta::{Key, Payload};
use super::table::Shared;

/// Fewest slots that places are spread over.
const SLOTS_MIN: usize = 8;
/// Slots behind those, for what the last ones have no room for.
const TAIL: usize = 8;

/// The last bit of a place: whether its event is the one that its key shows. Places that differ in nothing else are one.
const SHOWN: u64 = 1;

/// Events by the place of their key; those of one place by key and dot.
#[derive(Debug, Clone)]
pub(super) struct ByPlace<K: Key, V: Payload> {
    slots: Vec<Option<Item<K, V>>>,
    /// Over how many of the slots places are spread.
    spread: usize,
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
        Self { slots: Vec::new(), spread: 0, len: 0 }
    }
}

impl<K: Key, V: Payload> ByPlace<K, V> {
    /// The first slot that an event of this place may have.
    fn home(&self, place: u64) -> usize {
        ((u128::from(place) * self.spread as u128) >> u64::BITS) as usize
    }

    fn item(&self, slot: usize) -> Option<&Item<K, V>> {
        self.slots.get(slot)?.as_ref()
    }

    /// The items from a slot on, up to the first free one.
    fn run(&self, from: usize) -> impl Iterator<Item = &Item<K, V>> {
        self.slots.get(from..).unwrap_or_default().iter().map_while(Option::as_ref)
    }

    /// The first slot from `home` on whose item, if it has one, is not before what is looked for, of which that is the home.
    /// Where many share a place it is far away; so its distance is doubled until it is passed.
    fn first(&self, home: usize, is_before: impl Fn(&Item<K, V>) -> bool) -> usize {
        // What stands behind a free slot has a later home, so nothing there is before it.
        let is_before = |slot: usize| self.item(slot).is_some_and(&is_before);
        let (mut from, mut step) = (home, 1);
        while is_before(from + step - 1) {
            from += step;
            step *= 2;
        }
        let mut to = from + step - 1;
        while from < to {
            let middle = from + (to - from) / 2;
            if is_before(middle) { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// Where the events of a key are whose place this is; until the next change.
    pub(super) fn spot(&self, place: u64, key: &K) -> Spot {
        let place = place & !SHOWN;
        let home = self.home(place);
        let from = self.first(home, |it| it.place() < place || (it.place() == place && it.event.key < *key));
        let alike = self.run(from).take_while(|it| it.place() == place && it.event.key == *key).count();
        Spot { place, range: from..from + alike }
    }

    /// The events there.
    pub(super) fn at(&self, spot: Spot) -> impl Iterator<Item = &Shared<K, V>> {
        spot.range.filter_map(|slot| self.item(slot)).map(|item| &item.event)
    }

    /// The events of a key whose place this is.
    pub(super) fn of<'a>(&'a self, place: u64, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        self.at(self.spot(place, key))
    }

    /// The events of all keys of this place.
    pub(super) fn alike(&self, place: u64) -> impl Iterator<Item = &Shared<K, V>> {
        let place = place & !SHOWN;
        let from = self.first(self.home(place), |item| item.place() < place);
        self.run(from).take_while(move |item| item.place() == place).map(|item| &item.event)
    }

    /// Puts an event in, where its key's are.
    pub(super) fn insert(&mut self, spot: Spot, event: Shared<K, V>) {
        // At most four of five slots are taken.
        if (self.len + 1) * 5 > self.spread * 4 {
            self.resize(self.spread * 3 / 2);
            return self.insert(self.spot(spot.place, &event.key), event);
        }
        let before = |slot: &usize| self.item(*slot).is_some_and(|item| order(&item.event.dot) < order(&event.dot));
        let at = spot.range.start + spot.range.clone().take_while(before).count();
        let room = self.slots[at..].iter().position(Option::is_none).unwrap_or_else(|| {
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(TAIL);
            }
            self.slots.push(None);
            self.slots.len() - 1 - at
        });
        self.slots[at..=at + room].rotate_right(1);
        self.slots[at] = Some(Item { tag: spot.place, event });
        self.len += 1;
    }

    /// Takes the event of this dot out. Returns whether it was the one that its key shows.
    pub(super) fn remove(&mut self, place: u64, key: &K, dot: &Dot) -> bool {
        let mut range = self.spot(place, key).range;
        let is = |slot: &usize| self.item(*slot).is_some_and(|item| item.event.dot == *dot);
        let Some(at) = range.find(is) else { return false };
        let item = self.slots[at].take();
        self.len -= 1;
        // Those behind it that are not where they belong move up.
        let away = |slot: &usize| self.item(*slot).is_some_and(|item| self.home(item.place()) < *slot);
        let end = (at + 1..self.slots.len()).take_while(away).last().unwrap_or(at);
        self.slots[at..=end].rotate_left(1);
        if self.spread > SLOTS_MIN && self.len * 4 < self.spread {
            self.resize(self.spread / 2);
        }
        item.is_some_and(|item| item.is_shown())
    }

    /// Puts an event in place of the one of its dot.
    pub(super) fn replace(&mut self, place: u64, event: Shared<K, V>) {
        let range = self.spot(place, &event.key).range;
        let mut items = self.slots.get_mut(range).unwrap_or_default().iter_mut().flatten();
        if let Some(item) = items.find(|item| item.event.dot == event.dot) {
            item.event = event;
        }
    }

    /// All events, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.slots.iter().flatten().map(|item| &item.event)
    }

    /// Spreads the places over another number of slots.
    fn resize(&mut self, spread: usize) {
        self.spread = spread.max(SLOTS_MIN);
        let old = std::mem::take(&mut self.slots);
        self.slots.reserve_exact(self.spread + TAIL);
        for item in old.into_iter().flatten() {
            let home = self.home(item.place());
            while self.slots.len() < home {
                self.slots.push(None);
            }
            self.slots.push(Some(item));
        }
        let end = (self.spread + TAIL).max(self.slots.len());
        self.slots.resize_with(end, || None);
    }

    // ---- what keys show

    /// The event that a key shows.
    pub(super) fn shown(&self, place: u64, key: &K) -> Option<&Shared<K, V>> {
        let mut items = self.spot(place, key).range.filter_map(|slot| self.item(slot));
        items.find(|item| item.is_shown()).map(|item| &item.event)
    }

    /// The events that their keys show, of all keys of this place.
    pub(super) fn shown_at(&self, place: u64) -> impl Iterator<Item = &Shared<K, V>> {
        self.shown_from(place).take_while(move |(of, _)| *of == place & !SHOWN).map(|(_, event)| event)
    }

    /// The events that their keys show, from a place on, in order, each with its place.
    pub(super) fn shown_from(&self, place: u64) -> impl Iterator<Item = (u64, &Shared<K, V>)> {
        let place = place & !SHOWN;
        let from = self.first(self.home(place), |item| item.place() < place);
        let rest = self.slots.get(from..).unwrap_or_default().iter().flatten();
        rest.filter(|item| item.is_shown()).map(|item| (item.place(), &item.event))
    }

    /// The events that their keys show, in order.
    pub(super) fn all_shown(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.slots.iter().flatten().filter(|item| item.is_shown()).map(|item| &item.event)
    }

    /// From now on a key shows the event of this dot, or none. Returns the event that it showed before.
    pub(super) fn show(&mut self, place: u64, key: &K, dot: Option<&Dot>) -> Option<Shared<K, V>> {
        let range = self.spot(place, key).range;
        let mut before = None;
        for item in self.slots.get_mut(range).unwrap_or_default().iter_mut().flatten() {
            if item.is_shown() {
                before = Some(item.event.clone());
            }
            let shows = dot.is_some_and(|dot| item.event.dot == *dot);
            item.tag = item.place() | if shows { SHOWN } else { 0 };
        }
        before
    }
}

fn order(dot: &Dot) -> (&ordu_transport::core::NodeId, u64) {
    (&dot.actor, dot.counter)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use triomphe::Arc;

    use ordu_transport::core::{NodeId, NodeName};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::core::covers::Covers;
    use crate::core::delta::Event;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    struct Number(u64);

    impl Payload for Number {
        fn size_bytes(&self) -> usize {
            8
        }
    }

    impl Key for Number {}

    /// Each key once, in order.
    fn shown_keys(shown: &[(u64, u64, u64)]) -> BTreeSet<(u64, u64)> {
        shown.iter().map(|(place, key, _)| (*place, *key)).collect()
    }

    #[test]
    fn many_events_may_share_the_last_place() {
        let node = NodeId::new(NodeName::new("a").expect("a name"), 1, 1);
        let mut by_place: ByPlace<Number, Number> = ByPlace::default();
        for counter in (0..100).rev() {
            let dot = Dot::new(node.clone(), counter);
            let event = Arc::new(Event { dot, key: Number(counter % 3), value: None, covers: Covers::default() });
            by_place.insert(by_place.spot(u64::MAX, &event.key), event);
        }
        let counters = |key: u64| by_place.of(u64::MAX, &Number(key)).map(|event| event.dot.counter);
        assert!((0..3).all(|key| counters(key).eq((key..100).step_by(3))));
        assert_eq!(by_place.alike(u64::MAX).count(), 100);
    }

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
        let large = by_place.slots.len();
        for number in 0..3_990_u64 {
            let (key, place) = (number % 1_000, (number % 250).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !SHOWN);
            let left = by_place.of(place, &Number(key)).map(|event| event.dot.counter).collect::<Vec<_>>();
            assert_eq!(left, (number..4_000).step_by(1_000).collect::<Vec<_>>());
            by_place.remove(place, &Number(key), &Dot::new(node.clone(), number));
            oracle.remove(&(place, key, number));
            if number % 500 == 0 {
                let shown: Vec<_> = oracle.keys().filter(|(_, _, counter)| counter % 7 == 0).copied().collect();
                for (place, key, counter) in &shown {
                    by_place.show(*place, &Number(*key), Some(&Dot::new(node.clone(), *counter)));
                }
                let rest = by_place.shown_from(place).map(|(place, event)| (place, event.key.0));
                assert!(rest.eq(shown_keys(&shown).into_iter().filter(|(of, _)| *of >= place)));
                let at = by_place.shown_at(place).map(|event| event.key.0);
                assert!(at.eq(shown_keys(&shown).into_iter().filter(|(of, _)| *of == place).map(|(_, key)| key)));
            }
        }
        same(&by_place, &oracle);
        assert!(large > 4_000 && by_place.slots.len() < 100, "{large}, {}", by_place.slots.len());
    }
}
