//! Known defects as switches, compiled only for the simulator's tests: a laboratory that catches nothing proves nothing.
//!
//! Without the feature `defects` every question here is answered "no" by the compiler.

use std::sync::Arc;

use super::delta::{Event, Key, Payload};

/// A defect that can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The loser of a name conflict is not stopped.
    LoserLives,
    /// A removal travels without what it covers.
    BareRemoval,
    /// A delta completes a wider interval than the events it carries.
    WideContext,
}

#[cfg(feature = "defects")]
thread_local! {
    static PRESENT: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Puts one defect back on this thread, or none.
#[cfg(feature = "defects")]
pub fn put_back(defect: Option<Defect>) {
    PRESENT.set(defect);
}

/// Whether this defect is put back.
#[cfg(feature = "defects")]
pub fn is_present(defect: Defect) -> bool {
    PRESENT.get() == Some(defect)
}

/// Whether this defect is put back.
#[cfg(not(feature = "defects"))]
pub const fn is_present(_: Defect) -> bool {
    false
}

/// What the defects do to the events of a delta before it is sent.
pub(super) fn tamper_delta<K: Key, V: Payload>(events: &mut Vec<Arc<Event<K, V>>>) {
    if is_present(Defect::WideContext) && events.len() > 2 {
        events.truncate(2);
    }
    if is_present(Defect::BareRemoval) {
        for event in events.iter_mut().filter(|event| event.is_remove()) {
            let mut bare = Event::clone(event);
            bare.covers.dots.clear();
            *event = Arc::new(bare);
        }
    }
}
