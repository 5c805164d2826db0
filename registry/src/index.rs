//! What lookups read: a concurrent index of the names, kept equal to what the core shows.
//!
//! Readers never wait, neither for one another nor for the writer. There is one writer at a time, under the core's lock.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use scc::HashIndex;
use scc::hash_index::Entry as Slot;

use crate::core::{Entry, Name};

/// An entry by its name, which it holds itself.
#[derive(Debug, Clone)]
struct Named(Entry);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name().as_str()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().as_str().hash(state);
    }
}

/// Names to what lookups of them show. Benchmarks hash alike in every run, nobody else does.
#[derive(Debug, Default)]
pub(crate) struct Index<S: BuildHasher = foldhash::fast::RandomState> {
    // Shared entries: a lookup touches one reference count, of this name alone, whoever else looks up.
    names: HashIndex<Named, (), S>,
    len: AtomicUsize,
    /// Odd while an entry is being replaced: its name is missing for a moment.
    replacing: AtomicU64,
}

impl<S: BuildHasher> Index<S> {
    /// What is shown of a name.
    pub(crate) fn lookup(&self, name: &str) -> Option<Entry> {
        self.read(name, Entry::clone)
    }

    /// Reads what is shown of a name in place.
    pub(crate) fn read<T>(&self, name: &str, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        let mut read = Some(read);
        loop {
            let before = self.replacing.load(Ordering::Acquire);
            let found = self.names.peek_with(name, |entry, ()| read.take().map(|read| read(&entry.0))).flatten();
            if found.is_some() {
                return found;
            }
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.replacing.load(Ordering::Relaxed) == before {
                return None;
            }
            // A miss that overlapped with a replacement may be none; replacements are short and rare.
            spin_loop();
        }
    }

    /// How many names are shown.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Sets what is shown of a name. Returns what was shown before.
    pub(crate) fn set(&self, name: &Name, entry: Option<Entry>) -> Option<Entry> {
        let Some(entry) = entry else { return self.take(name.as_str()) };
        match self.names.entry_sync(Named(entry.clone())) {
            Slot::Vacant(slot) => {
                slot.insert_entry(());
                self.len.fetch_add(1, Ordering::Relaxed);
                None
            }
            Slot::Occupied(slot) => {
                let before = slot.key().0.clone();
                self.replacing.fetch_add(1, Ordering::AcqRel);
                slot.remove_entry();
                // There is one writer: nobody has put it in meanwhile.
                let _ = self.names.insert_sync(Named(entry), ());
                self.replacing.fetch_add(1, Ordering::AcqRel);
                Some(before)
            }
        }
    }

    fn take(&self, name: &str) -> Option<Entry> {
        let slot = self.names.get_sync(name)?;
        let before = slot.key().0.clone();
        slot.remove_entry();
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::claim::Value;
    use crate::core::clock::Dot;
    use crate::core::covers::Covers;
    use crate::core::delta::Event;
    use crate::core::table::Shared;
    use crate::core::{Claim, Fence, Rank};
    use ordu_transport::core::{Hlc, NodeId, NodeName, Pid};

    fn entry(name: &Name, serial: u64) -> Entry {
        let node = NodeId::new(NodeName::new("n").unwrap(), 1, 1);
        let since = Hlc::from_wall_ms(serial);
        let (pid, fence) = (Pid::new(node.clone(), serial), Fence::new(since, &node));
        let value = Some(Claim { pid, rank: Rank::default(), fence, since, value: Value::default(), losing: None });
        let event = Event { dot: Dot::new(node, serial), key: name.clone(), value, covers: Covers::default() };
        Entry::of(&Shared::new(event)).unwrap()
    }

    #[test]
    fn it_shows_what_was_set_last() {
        let (index, name) = (<Index>::default(), Name::new("a/b").unwrap());
        assert_eq!(index.set(&name, Some(entry(&name, 1))), None);
        assert_eq!(index.set(&name, Some(entry(&name, 2))).map(|entry| entry.pid().serial), Some(1));
        assert_eq!(index.lookup("a/b").map(|entry| entry.pid().serial), Some(2));
        assert_eq!((index.len(), index.lookup("a/c")), (1, None));
        assert_eq!(index.set(&name, None).map(|entry| entry.pid().serial), Some(2));
        assert_eq!((index.len(), index.lookup("a/b"), index.set(&name, None)), (0, None, None));
    }

    /// A name that is replaced all the time is never seen missing.
    #[test]
    fn replacing_hides_nothing() {
        let index = <Index>::default();
        let names: Vec<Name> = (0..256).map(|number| Name::new(&format!("n{number}")).unwrap()).collect();
        for name in &names {
            index.set(name, Some(entry(name, 0)));
        }
        std::thread::scope(|scope| {
            let reader = scope
                .spawn(|| (0..100_000).filter(|at| index.lookup(names[at % names.len()].as_str()).is_none()).count());
            let mut serial = 0;
            while !reader.is_finished() {
                serial += 1;
                for name in &names {
                    index.set(name, Some(entry(name, serial)));
                }
            }
            assert_eq!(reader.join().unwrap(), 0);
        });
    }
}
