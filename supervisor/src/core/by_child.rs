//! What is kept of children, by their ids. They are looked for by the place of the id: ids have much of their beginnings in
//! common, and comparing texts is most of a search. In order only where somebody asks for that.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Index;

use ordu_registry::core::delta::Key;

use super::spec::ChildId;

/// A map of children. Nearly every place has one; those who share one are told apart by their ids.
#[derive(Debug, Clone)]
pub(super) struct ByChild<T> {
    places: BTreeMap<u64, Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    id: ChildId,
    value: T,
    /// Of the same place.
    others: Vec<(ChildId, T)>,
}

impl<T> Default for ByChild<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new() }
    }
}

impl<T> ByChild<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains_key(&self, id: &ChildId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn get(&self, id: &ChildId) -> Option<&T> {
        let entry = self.places.get(&id.place())?;
        if entry.id == *id {
            return Some(&entry.value);
        }
        entry.others.iter().find(|(of, _)| of == id).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, id: &ChildId) -> Option<&mut T> {
        let entry = self.places.get_mut(&id.place())?;
        if entry.id == *id {
            return Some(&mut entry.value);
        }
        entry.others.iter_mut().find(|(of, _)| of == id).map(|(_, value)| value)
    }

    /// Returns what it was before.
    pub(super) fn insert(&mut self, id: ChildId, value: T) -> Option<T> {
        if let Some(before) = self.get_mut(&id) {
            return Some(std::mem::replace(before, value));
        }
        match self.places.get_mut(&id.place()) {
            Some(entry) => entry.others.push((id, value)),
            None => drop(self.places.insert(id.place(), Entry { id, value, others: Vec::new() })),
        }
        None
    }

    /// Returns what it was.
    pub(super) fn remove(&mut self, id: &ChildId) -> Option<T> {
        let entry = self.places.get_mut(&id.place())?;
        if let Some(at) = entry.others.iter().position(|(of, _)| of == id) {
            return Some(entry.others.remove(at).1);
        }
        if entry.id != *id {
            return None;
        }
        match entry.others.pop() {
            Some((next, value)) => {
                entry.id = next;
                Some(std::mem::replace(&mut entry.value, value))
            }
            None => self.places.remove(&id.place()).map(|entry| entry.value),
        }
    }

    /// All, in no order that means anything, but in the same one on every machine.
    pub(super) fn unsorted(&self) -> impl Iterator<Item = (&ChildId, &T)> {
        let all = self.places.values();
        all.flat_map(|Entry { id, value, others }| {
            std::iter::once((id, value)).chain(others.iter().map(|(id, value)| (id, value)))
        })
    }

    /// The values, in no order that means anything.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.unsorted().map(|(_, value)| value)
    }

    /// The children, in order. Costs a sort of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ChildId> {
        self.iter().map(|(id, _)| id)
    }

    /// All, in order. Costs a sort of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ChildId, &T)> {
        let mut all: Vec<(&ChildId, &T)> = self.unsorted().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
    }
}

impl<T> Index<&ChildId> for ByChild<T> {
    type Output = T;
    fn index(&self, id: &ChildId) -> &T {
        self.get(id).expect("a child that is known")
    }
}

impl<T: Hash> Hash for ByChild<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|one| one.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done to it, it is as a map by ids; also where ids share a place.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..12u8, any::<Option<u8>>()), 0..60), places in 1..5u64) {
            let (mut map, mut plain) = (ByChild::default(), BTreeMap::new());
            for (child, value) in steps {
                let id = ChildId::of_place(&format!("c{child}"), u64::from(child) % places);
                match value {
                    Some(value) => prop_assert_eq!(map.insert(id.clone(), value), plain.insert(id.clone(), value)),
                    None => prop_assert_eq!(map.remove(&id), plain.remove(&id)),
                }
                prop_assert_eq!((map.get(&id), map.contains_key(&id)), (plain.get(&id), plain.contains_key(&id)));
                prop_assert_eq!(map.get_mut(&id).copied(), plain.get(&id).copied());
                prop_assert!(map.iter().eq(plain.iter()) && map.keys().eq(plain.keys()));
                prop_assert_eq!((map.is_empty(), map.values().count()), (plain.is_empty(), plain.len()));
                plain.iter().for_each(|(id, value)| assert_eq!(map[id], *value));
            }
        }
    }
}
