//! Spans of an origin's counters, and hashes of the live dots in them: how two replicas find the few dots in which they
//! differ among many that they share.
//!
//! A span is compared by its hash. One that differs is asked for: a large one is answered by the hashes of its parts, a
//! small one by which of its dots are live, a bit each. After Meyer, "Range-Based Set Reconciliation" (2023), with dots in
//! place of items: both sides know what the other has seen, so nothing else need be compared.

use bytes::Bytes;
use ordu_transport::core::hash::StableHasher;
use serde::{Deserialize, Serialize};

use super::log::PAGE;

/// Into how many parts a span that differs is split.
pub const PARTS: u64 = 16;
/// Most counters of a span whose dots are told one by one.
pub const LEAF_COUNTERS: u64 = 1_024;

const PURPOSE_SPAN: u64 = 4;

/// The counters from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span(pub u64, pub u64);

/// What is found in a span that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Found {
    /// The hashes of its parts.
    #[serde(rename = "p")]
    Parts(Vec<u64>),
    /// Which of its counters are live: a bit each, lowest first, from the first counter's page on; zeros at the end are left
    /// out.
    #[serde(rename = "l")]
    Live(Bytes),
}

impl Span {
    /// All counters up to `last`.
    pub fn up_to(last: u64) -> Self {
        Self(0, last)
    }

    /// Whether its dots are told one by one.
    pub fn is_leaf(self) -> bool {
        self.1.saturating_sub(self.0) < LEAF_COUNTERS
    }

    /// Its parts, in order: at most [`PARTS`], each but the last of whole pages.
    pub fn parts(self) -> impl Iterator<Item = Span> {
        let Span(first, last) = self;
        let size = (last.saturating_sub(first) / PARTS + 1).next_multiple_of(PAGE);
        let starts = (0..PARTS).map_while(move |part| first.checked_add(part * size).filter(|&from| from <= last));
        starts.map(move |from| Span(from, last.min(from.saturating_add(size - 1))))
    }

    /// The bits of a page that it has.
    pub(super) fn mask(self, page: u64) -> u64 {
        let Span(first, last) = self;
        let low = if page == first / PAGE { u64::MAX << (first % PAGE) } else { u64::MAX };
        let high = if page == last / PAGE { u64::MAX >> (PAGE - 1 - last % PAGE) } else { u64::MAX };
        low & high
    }

    /// Whether `live`, as told in [`Found::Live`], has this counter of the span.
    pub fn is_told(self, live: &[u8], counter: u64) -> bool {
        let page = counter / PAGE - self.0 / PAGE;
        let byte = usize::try_from(page * (PAGE / 8) + counter % PAGE / 8).ok().and_then(|at| live.get(at));
        byte.is_some_and(|byte| byte >> (counter % 8) & 1 == 1)
    }
}

/// The hash of a span is the wrapping sum of those of its pages that have a live dot.
pub(super) fn page_hash(page: u64, live: u64) -> u64 {
    if live == 0 { 0 } else { StableHasher::new(PURPOSE_SPAN).number(page).number(live).finish() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_and_become_leaves() {
        for span in [Span(0, 0), Span(0, 63), Span(0, 64), Span(0, 1_000_000), Span(128, 5_000), Span(0, u64::MAX)] {
            let mut next = Some(span.0);
            for part in span.parts() {
                assert_eq!(Some(part.0), next, "{span:?}");
                next = part.1.checked_add(1);
            }
            assert_eq!(next, span.1.checked_add(1), "{span:?}");
            assert!(span.is_leaf() || span.parts().all(|part| part != span));
        }
    }

    #[test]
    fn a_mask_has_the_counters_of_the_span() {
        let span = Span(70, 130);
        for counter in 0..256 {
            let within = (70..=130).contains(&counter);
            let page = counter / PAGE;
            let visited = (span.0 / PAGE..=span.1 / PAGE).contains(&page);
            assert_eq!(visited && span.mask(page) >> (counter % PAGE) & 1 == 1, within, "{counter}");
        }
    }
}
