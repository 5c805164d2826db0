//! A full-state twin beside the delta replicas: what every table must hold, by the plainest model of an add-wins map.
//!
//! The twin keeps every event that was ever written, with the events of its key that its writer had seen: those it kills,
//! for ever. What a replica must hold then follows from which events it claims to have seen, and from nothing else: the
//! puts it has seen, less those killed by an event that it has seen. No clock arithmetic, no superseding, no log, no
//! order of arrival. A replica whose context is wider than its state, or which brings back what it has seen removed,
//! differs from its twin at that very moment.

use std::collections::{BTreeMap, BTreeSet};

use ordu_registry::core::clock::{Clock, Context, Dot};
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::{Kind, Table};
use ordu_registry::core::{Claim, Name};
use ordu_supervisor::core::ChildId;
use ordu_supervisor::core::tables::{Actual, Desired, Facts, FactsKey, Mark, MarkKey};
use ordu_transport::core::NodeId;

use crate::upper::Upper;

/// One event ever written.
#[derive(Debug)]
struct Entry<V> {
    origin: NodeId,
    counter: u64,
    value: Option<V>,
    /// The events of the key, by their place in its history, that the writer had seen and meant to replace.
    kills: BTreeSet<usize>,
}

/// One event as its writer wrote it.
pub(crate) struct Wrote<K, V> {
    pub(crate) key: K,
    pub(crate) put: bool,
    /// What the writer held and went by it: whose event it was, which of its, and the value.
    pub(crate) gone: Vec<(NodeId, u64, V)>,
}

/// All events ever written to one table, by key.
#[derive(Debug)]
pub(crate) struct Model<K: Key, V: Payload> {
    kind: Kind,
    keys: BTreeMap<K, Vec<Entry<V>>>,
    /// The last dot that each incarnation wrote, in whatever life.
    spent: BTreeMap<NodeId, u64>,
    /// A dot that was written twice.
    pub(crate) twice: Option<String>,
}

impl<K: Key, V: Payload> Model<K, V> {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, keys: BTreeMap::new(), spent: BTreeMap::new(), twice: None }
    }

    /// Takes what the replica's own node wrote since its clock was `before`.
    pub(crate) fn record(&mut self, before: &Clock, table: &Table<K, V>) -> Vec<Wrote<K, V>> {
        let origin = table.origin();
        let mut wrote = Vec::new();
        for event in table.written_since(before.get(origin)) {
            self.spend(&event.dot, &event.key);
            let alive: BTreeSet<(&NodeId, u64)> =
                table.live(&event.key).map(|(origin, counter, _)| (origin, counter)).collect();
            let history = self.keys.entry(event.key.clone()).or_default();
            let replaced = |(_, old): &(usize, &Entry<V>)| {
                let theirs = self.kind == Kind::OwnerWritten && old.origin != *origin;
                let later = old.origin == *origin && old.counter >= event.dot.counter;
                let kept = alive.contains(&(&old.origin, old.counter));
                !theirs && !later && !kept && table.context().contains(&old.origin, old.counter)
            };
            let kills: BTreeSet<usize> = history.iter().enumerate().filter(replaced).map(|(place, _)| place).collect();
            let held = expected(history, table.context());
            let killed = |place: &&usize| held.contains_key(&(&history[**place].origin, history[**place].counter));
            let gone = kills.iter().filter(killed).filter_map(|place| {
                let entry = &history[*place];
                Some((entry.origin.clone(), entry.counter, entry.value.clone()?))
            });
            let gone = gone.collect();
            wrote.push(Wrote { key: event.key.clone(), put: event.value.is_some(), gone });
            let (origin, counter) = (event.dot.actor.clone(), event.dot.counter);
            history.push(Entry { origin, counter, value: event.value.clone(), kills });
        }
        wrote
    }

    fn spend(&mut self, dot: &Dot, key: &K) {
        match self.spent.get_mut(&dot.actor) {
            None => drop(self.spent.insert(dot.actor.clone(), dot.counter)),
            Some(last) if *last < dot.counter => *last = dot.counter,
            Some(_) => self.twice = Some(format!("{dot:?} was written again, for {key:?}")),
        }
    }

    /// How a replica differs from its twin. While it is being healed by state it may lack, of what it claims to have
    /// seen, values that were removed somewhere: `strict` says that it is not.
    pub(crate) fn difference(&self, table: &Table<K, V>, strict: bool) -> Option<String> {
        for (key, history) in &self.keys {
            let expected = expected(history, table.context());
            let held: BTreeMap<_, _> =
                table.live(key).map(|(origin, counter, value)| ((origin, counter), value)).collect();
            if expected == held {
                continue;
            }
            if let Some((dot, value)) = held.iter().find(|(dot, value)| expected.get(*dot) != Some(value)) {
                return Some(format!("{key:?} holds {value:?} of {dot:?}, which its twin does not"));
            }
            let removed: BTreeSet<usize> = history.iter().flat_map(|entry| &entry.kills).copied().collect();
            let lacking = history.iter().enumerate().find(|(place, entry)| {
                let dot = (&entry.origin, entry.counter);
                expected.contains_key(&dot) && !held.contains_key(&dot) && (strict || !removed.contains(place))
            });
            if let Some((_, entry)) = lacking {
                return Some(format!("{key:?} lacks {:?} of {:?}, which its twin holds", entry.value, entry.origin));
            }
        }
        table.keys().find(|key| !self.keys.contains_key(key)).map(|key| format!("{key:?} was never written"))
    }
}

/// What a replica with this context must hold under a key.
fn expected<'a, V>(history: &'a [Entry<V>], context: &Context) -> BTreeMap<(&'a NodeId, u64), &'a V> {
    let seen = |entry: &&Entry<V>| context.contains(&entry.origin, entry.counter);
    let killed: BTreeSet<usize> = history.iter().filter(seen).flat_map(|entry| &entry.kills).copied().collect();
    let alive = history.iter().enumerate().filter(|(place, entry)| seen(entry) && !killed.contains(place));
    alive.filter_map(|(_, entry)| Some(((&entry.origin, entry.counter), entry.value.as_ref()?))).collect()
}

/// The twins of every table.
pub(crate) struct Twin {
    pub(crate) names: Model<Name, Claim>,
    pub(crate) desired: Model<ChildId, Desired>,
    pub(crate) actual: Model<ChildId, Actual>,
    pub(crate) marks: Model<MarkKey, Mark>,
    pub(crate) facts: Model<FactsKey, Facts>,
}

impl Default for Twin {
    fn default() -> Self {
        Self {
            names: Model::new(Kind::OwnerWritten),
            desired: Model::new(Kind::Shared),
            actual: Model::new(Kind::OwnerWritten),
            marks: Model::new(Kind::Shared),
            facts: Model::new(Kind::OwnerWritten),
        }
    }
}

impl Twin {
    /// How any table of a node differs from its twin.
    pub(crate) fn difference(&self, upper: &Upper, strict: bool) -> Option<String> {
        let about = |table: &str, found: Option<String>| found.map(|found| format!("{table}: {found}"));
        about("names", self.names.difference(upper.names().names().table(), strict)).or_else(|| {
            let children = upper.children()?;
            about("desired", self.desired.difference(children.desired().table(), strict))
                .or_else(|| about("actual", self.actual.difference(children.actual().table(), strict)))
                .or_else(|| about("marks", self.marks.difference(children.marks().table(), strict)))
                .or_else(|| about("facts", self.facts.difference(children.facts().table(), strict)))
        })
    }

    /// A dot that was written twice, in any table.
    pub(crate) fn twice(&self) -> Option<String> {
        let tables = [
            ("names", &self.names.twice),
            ("desired", &self.desired.twice),
            ("actual", &self.actual.twice),
            ("marks", &self.marks.twice),
            ("facts", &self.facts.twice),
        ];
        tables.into_iter().find_map(|(table, twice)| Some(format!("{table}: {}", twice.as_ref()?)))
    }
}
