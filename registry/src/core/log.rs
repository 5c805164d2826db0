//! The unsuperseded events of one origin, in the order it wrote them: dense where they are many, and gone where they
//! are superseded.
//!
//! Counters are looked up and walked over, both from somewhere on; so they are kept in pages of as many as one word has
//! bits. A page goes with its last event.

use std::collections::BTreeMap;
use std::ops::Bound;

use ordu_transport::core::NodeId;
use ordu_transport::core::hash::StableHasher;

use super::delta::{Key, Payload};
use super::span::Span;
use super::table::Shared;

const PURPOSE_DOT: u64 = 1;
/// How many counters a page is for.
pub(super) const PAGE: u64 = 64;

/// The events of one origin.
#[derive(Debug, Clone)]
pub(super) struct Log<K: Key, V: Payload> {
    pages: BTreeMap<u64, Page<K, V>>,
    len: usize,
    /// The hash of the origin, of which those of its dots are made.
    seed: u64,
}

/// Which of the counters of the page have an event, and which of those put, as bits; and those events, in order.
#[derive(Debug, Clone)]
struct Page<K: Key, V: Payload> {
    held: u64,
    live: u64,
    events: Vec<Shared<K, V>>,
}

impl<K: Key, V: Payload> Page<K, V> {
    /// Where the event of this bit is, or would be.
    fn place(&self, bit: u64) -> usize {
        (self.held & ((1 << bit) - 1)).count_ones() as usize
    }

    fn holds(&self, bit: u64) -> bool {
        self.held & (1 << bit) != 0
    }
}

impl<K: Key, V: Payload> Log<K, V> {
    /// A log of this origin, without events.
    pub(super) fn of(origin: &NodeId) -> Self {
        Self { pages: BTreeMap::new(), len: 0, seed: StableHasher::new(PURPOSE_DOT).node(origin).finish() }
    }

    /// The hash of one of its dots. Every bit of the counter changes about half of its bits: the finisher of Appleby's
    /// MurmurHash3.
    pub(super) fn dot_hash(&self, counter: u64) -> u64 {
        let mut hash = self.seed ^ counter;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, counter: u64) -> Option<&Shared<K, V>> {
        let page = self.pages.get(&(counter / PAGE))?;
        let bit = counter % PAGE;
        page.holds(bit).then(|| &page.events[page.place(bit)])
    }

    /// Puts an event in, in place of an equal-numbered one.
    pub(super) fn insert(&mut self, counter: u64, event: Shared<K, V>) {
        let page = self.pages.entry(counter / PAGE).or_insert_with(|| Page { held: 0, live: 0, events: Vec::new() });
        let bit = counter % PAGE;
        let place = page.place(bit);
        page.live = page.live & !(1 << bit) | u64::from(!event.is_remove()) << bit;
        if page.holds(bit) {
            page.events[place] = event;
        } else {
            page.held |= 1 << bit;
            page.events.insert(place, event);
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, counter: u64) -> Option<Shared<K, V>> {
        let page = self.pages.get_mut(&(counter / PAGE))?;
        let bit = counter % PAGE;
        if !page.holds(bit) {
            return None;
        }
        let event = page.events.remove(page.place(bit));
        page.held &= !(1 << bit);
        page.live &= !(1 << bit);
        self.len -= 1;
        if page.held == 0 {
            self.pages.remove(&(counter / PAGE));
        }
        Some(event)
    }

    /// The pages of a span that have live dots in it, and those, as bits.
    pub(super) fn live_pages(&self, span: Span) -> impl Iterator<Item = (u64, u64)> {
        // One that ends before it begins has none.
        let pages = (span.0 <= span.1).then(|| self.pages.range(span.0 / PAGE..=span.1 / PAGE));
        let live = pages.into_iter().flatten().map(move |(page, held)| (*page, held.live & span.mask(*page)));
        live.filter(|(_, live)| *live != 0)
    }

    /// All events, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.pages.values().flat_map(|page| &page.events)
    }

    /// The events after `counter`, in order.
    pub(super) fn after(&self, counter: u64) -> impl Iterator<Item = &Shared<K, V>> {
        let first = counter / PAGE;
        let begun = self.pages.get(&first).map_or(&[][..], |page| {
            let bit = counter % PAGE;
            &page.events[page.place(bit) + usize::from(page.holds(bit))..]
        });
        let rest = self.pages.range((Bound::Excluded(first), Bound::Unbounded));
        begun.iter().chain(rest.flat_map(|(_, page)| &page.events))
    }
}
