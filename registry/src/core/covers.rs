//! The version vector of a key: per origin, the highest dot of the key that an event stands for. Most are empty, and few
//! have more than one slot, so it is a short list and not a map.

use ordu_transport::core::NodeId;
use serde::{Deserialize, Serialize};

use super::clock::{Clock, Dot};

/// Per origin, in their order, the highest covered dot of a key.
///
/// One that covers nothing is a null pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Slots", into = "Slots")]
pub struct Covers(Option<Box<Slots>>);

type Slots = Vec<(NodeId, u64)>;

impl Covers {
    fn slots(&self) -> &[(NodeId, u64)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The highest covered dot of an origin; 0 if none is.
    pub fn get(&self, origin: &NodeId) -> u64 {
        self.slots().iter().find(|(of, _)| of == origin).map_or(0, |&(_, counter)| counter)
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many origins have something covered.
    pub fn len(&self) -> usize {
        self.slots().len()
    }

    /// Per origin, in their order, the highest covered dot.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, u64)> {
        self.slots().iter().map(|(origin, counter)| (origin, *counter))
    }

    /// Whether it has nothing that `clock` has not.
    pub fn is_below(&self, clock: &Clock) -> bool {
        self.iter().all(|(origin, counter)| clock.get(origin) >= counter)
    }

    /// Whether it has nothing that `other` has not.
    pub fn is_within(&self, other: &Covers) -> bool {
        self.iter().all(|(origin, counter)| other.get(origin) >= counter)
    }

    /// Covers a dot, and every earlier one of its origin.
    pub fn apply(&mut self, origin: &NodeId, counter: u64) {
        let slots = self.0.get_or_insert_default();
        match slots.binary_search_by(|(of, _)| of.cmp(origin)) {
            Ok(at) => slots[at].1 = slots[at].1.max(counter),
            Err(at) => slots.insert(at, (origin.clone(), counter)),
        }
    }

    /// Covers all that `other` does.
    pub fn merge(&mut self, other: &Covers) {
        other.iter().for_each(|(origin, counter)| self.apply(origin, counter));
    }

    /// Lets the slot of an origin be at most this; nobody can have seen more.
    pub(super) fn limit(&mut self, origin: &NodeId, most: u64) {
        if let Some((_, counter)) = self.0.iter_mut().flat_map(|slots| slots.iter_mut()).find(|(of, _)| of == origin) {
            *counter = (*counter).min(most);
        }
    }

    /// Takes everything that it covers into a clock.
    pub(super) fn join_into(&self, clock: &mut Clock) {
        for (origin, counter) in self.iter() {
            if clock.get(origin) < counter {
                clock.dots.insert(origin.clone(), counter);
            }
        }
    }
}

impl From<Vec<(NodeId, u64)>> for Covers {
    fn from(slots: Vec<(NodeId, u64)>) -> Self {
        let mut covers = Covers::default();
        slots.iter().for_each(|(origin, counter)| covers.apply(origin, *counter));
        covers
    }
}

impl From<Dot> for Covers {
    fn from(dot: Dot) -> Self {
        Self(Some(Box::new(vec![(dot.actor, dot.counter)])))
    }
}

impl From<Covers> for Slots {
    fn from(covers: Covers) -> Self {
        covers.0.map(|slots| *slots).unwrap_or_default()
    }
}
