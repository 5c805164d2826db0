//! What lookups show: of each name the event that claims it best. And what reads of groups show, of each membership.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::by_place::ByPlace;
use super::claim::{Claim, Entry, Name};
use super::delta::Key;

/// At most one entry a name.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(ByPlace<Name, Claim>);

impl Shown {
    pub(super) fn get(&self, name: &Name) -> Option<Entry> {
        self.0.of(name.place(), name).next().and_then(Entry::of)
    }

    /// What is shown of the names of one place, in order.
    pub(super) fn at(&self, place: u64) -> impl Iterator<Item = Entry> {
        self.0.alike(place).filter_map(Entry::of)
    }

    /// Sets what is shown of a name. Returns what was shown before.
    pub(super) fn set(&mut self, place: u64, name: &Name, entry: Option<Entry>) -> Option<Entry> {
        let before = self.0.of(place, name).next().cloned();
        if entry
            .as_ref()
            .map(Entry::event)
            .is_some_and(|event| before.as_ref().is_some_and(|it| Arc::ptr_eq(it, event)))
        {
            return entry;
        }
        if let Some(before) = &before {
            self.0.remove(place, name, &before.dot);
        }
        if let Some(entry) = entry {
            self.0.insert(place, entry.event().clone());
        }
        before.as_ref().and_then(Entry::of)
    }

    /// What is shown of about `count` names from a place on, of those that `pick` likes, and the place that follows.
    pub(super) fn page(&self, place: u64, count: usize, pick: impl Fn(&Entry) -> bool) -> (Vec<Entry>, Option<u64>) {
        let (mut entries, mut last) = (Vec::new(), place);
        for (seen, (place, event)) in self.0.from(place).enumerate() {
            // Names of one place are taken together.
            if seen >= count && place != last {
                return (entries, Some(place));
            }
            last = place;
            entries.extend(Entry::of(event).filter(&pick));
        }
        (entries, None)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().filter_map(|(_, event)| Entry::of(event))
    }
}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}
