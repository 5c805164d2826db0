//! What the tests of this room name.

use ordu_transport::core::{Instant, NodeId, NodeName};

use crate::core::spec::ChildId;

pub(super) fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(NodeName::new(name).unwrap(), 1, 1)
}

pub(super) fn child(name: &str) -> ChildId {
    ChildId::new(name).unwrap()
}
