//! How many children a node may hold. One that holds as many is full: it takes no more and keeps those that it has.
//!
//! What takes a place is a child with a process here, or that will have one here by itself: it starts, runs, stops, waits to
//! be started again, or is on its way to another node that may not take it. One in quarantine takes none, and neither does
//! one that has ended for good.
//!
//! The bound is held by the node itself, which counts before it starts anything; what it publishes is for the others. That
//! it is full it says at once. That it has a place again it says at most once in [`ROOM_PAUSE`], for every node looks at every
//! child anew when a node says something else of itself. Once it was full, it is *crowded* until an eighth of its places is
//! free: children that run elsewhere, and belong here, stay where they are meanwhile. Otherwise each child that ends here
//! would have others stopped there.

use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, NodeId, Now};

use super::child::{Phase, Then};
use super::placement::{self, Ineligible};
use super::spec::{ChildId, ChildSpec};
use super::supervisor::Supervisor;
use super::tables::Facts;

/// The least time between two times that a node says that it has a place again.
pub const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// Which part of its places a node that was full has to have free before children are moved to it.
const CROWDED_PART: u32 = 8;

/// How many children there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bounds {
    /// Most that this node holds at once.
    pub node: Option<u32>,
    /// Most that should run in the whole cluster, as far as this node knows, when a start is asked for here. The same on
    /// every node. It is approximate while nodes do not hear one another, and affects nothing that should run already.
    pub cluster: Option<u32>,
}

/// A node's places.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    max: Option<u32>,
    taken: u32,
    /// Before then it does not say that it has a place again.
    pub(super) said_until: Option<Instant>,
}

impl Room {
    pub(super) fn new(max: Option<u32>) -> Self {
        Self { max, ..Self::default() }
    }

    fn is_full(&self) -> bool {
        self.max.is_some_and(|max| self.taken >= max)
    }

    fn is_crowded(&self) -> bool {
        self.max.is_some_and(|max| self.taken > max.saturating_sub((max / CROWDED_PART).max(1)))
    }

    /// Takes a place, or gives it back.
    pub(super) fn count(&mut self, counted: &mut bool, counts: bool) {
        match (std::mem::replace(counted, counts), counts) {
            (false, true) => self.taken += 1,
            (true, false) => self.taken = self.taken.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }
}

impl Supervisor {
    /// Whether this node may begin to hold a child.
    pub(super) fn has_place(&self) -> bool {
        !self.room.is_full() || is_present(Defect::OneTooMany)
    }

    /// Counts a held child, or not any more.
    pub(super) fn count_place(&mut self, id: &ChildId) {
        let Some(local) = self.local.get_mut(id) else { return };
        let takes = match local.phase {
            Phase::Quarantined | Phase::Done { .. } => false,
            // One that was assigned to another node never had a process here.
            Phase::Released { .. } => !local.kind.is_empty(),
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => true,
            Phase::Backoff { .. } | Phase::Failed { .. } => true,
        };
        self.room.count(&mut local.takes_place, takes);
    }

    /// Says whether this node is full, if that has changed. Returns whether it did.
    pub(super) fn tell_room(&mut self, now: Now) -> bool {
        let Facts { full, crowded, .. } = self.own_facts;
        let is_full = self.room.is_full();
        let waits = full && !is_full && self.room.said_until.is_some_and(|until| now.at < until);
        let says_full = is_full || waits;
        let says_crowded = is_full || crowded && (waits || self.room.is_crowded());
        if (says_full, says_crowded) == (full, crowded) || (full && is_present(Defect::FullForGood)) {
            return false;
        }
        if full && !says_full {
            self.room.said_until = Some(now.at + ROOM_PAUSE);
        }
        self.set_facts(Facts { full: says_full, crowded: says_crowded, ..self.own_facts.clone() });
        true
    }

    /// When it may say that it has a place again.
    pub(super) fn room_due(&self) -> Option<Instant> {
        let waits = self.own_facts.full && !self.room.is_full();
        self.room.said_until.filter(|_| waits)
    }

    /// Whether a node wants no children that run elsewhere, though it might take some that run nowhere.
    pub(super) fn has_few_places(&self, node: &NodeId) -> bool {
        self.facts_of(node).is_some_and(|facts| facts.crowded)
    }

    /// Whether a node could run a child if it were not full.
    pub(super) fn is_full_for(&self, spec: &ChildSpec) -> bool {
        self.candidates().any(|candidate| placement::eligible(spec, candidate) == Err(Ineligible::Full))
    }

    /// How many more children a node may be sent, as far as we know what it holds and what is on its way from here.
    pub(super) fn places_at(&self, node: &NodeId) -> usize {
        let Some(max) = self.facts_of(node).and_then(|facts| facts.max_children) else { return usize::MAX };
        let held = self.actual.table().keys_of(node);
        let held = held.filter(|id| self.actual.table().live_of(id, node).is_some_and(|claim| claim.takes_place()));
        let coming = self.local.values().filter(|local| match &local.phase {
            Phase::Stopping(Then::Move { to, .. }) | Phase::Released { to, .. } => to == node,
            _ => false,
        });
        (max as usize).saturating_sub(held.count() + coming.count())
    }
}
