//! What the defects that can be put back do to the events of a delta before it is sent.

use triomphe::Arc;

use ordu_transport::core::defects::{Defect, is_present};

use super::covers::Covers;
use super::delta::{Event, Key, Payload};

/// Changes the events of a delta as the defect that is put back says; without one, not at all.
pub(super) fn tamper_delta<K: Key, V: Payload>(events: &mut Vec<Arc<Event<K, V>>>) {
    if is_present(Defect::WideContext) && events.len() > 2 {
        events.truncate(2);
    }
    if is_present(Defect::BareRemoval) {
        for event in events.iter_mut().filter(|event| event.is_remove()) {
            let mut bare = Event::clone(event);
            bare.covers = Covers::default();
            *event = Arc::new(bare);
        }
    }
}
