//! A full-state twin beside the delta replicas: what every table must hold, by the plainest model of an add-wins map.
//!
//! The twin keeps every event that was ever written, with the events of its key that its writer had seen: those it kills,
//! for ever. What a replica must hold then follows from which events it claims to have seen, and from nothing else: the
//! puts it has seen, less those killed by an event that it has seen. No clock arithmetic, no superseding, no log, no
//! order of arrival. A replica whose context is wider than its state, or which brings back what it has seen removed,
//! differs from its twin at that very moment.
//!
//! Which events a replica claims to have seen only grows, but for origins that it forgets: so a [`Mirror`] of each
//! replica remembers them from one look to the next, and a replica that did not change is not looked at again. The end
//! of a run looks at everything anew.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ordu_registry::core::clock::Context;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::{Kind, Table};
use ordu_registry::core::{Claim, Name};
use ordu_supervisor::core::ChildId;
use ordu_supervisor::core::tables::{Actual, Desired, Facts, FactsKey, Mark, MarkKey};
use ordu_transport::core::NodeId;

use crate::upper::Upper;

/// A set of places in a history.
#[derive(Debug, Clone, Default)]
struct Places(Vec<u64>);

impl Places {
    /// Returns whether it is new.
    fn insert(&mut self, place: usize) -> bool {
        let (word, bit) = (place / 64, 1 << (place % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    fn extend(&mut self, other: &Places) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// In order.
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        bits(self.0.iter().copied())
    }

    /// The places that are here and not in `other`, in order.
    fn less<'a>(&'a self, other: &'a Places) -> impl Iterator<Item = usize> + 'a {
        let theirs = other.0.iter().copied().chain(std::iter::repeat(0));
        bits(self.0.iter().zip(theirs).map(|(word, theirs)| word & !theirs))
    }
}

/// Which bits are set.
fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words
        .enumerate()
        .flat_map(|(at, word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
}

/// One event ever written.
#[derive(Debug)]
struct Entry<V> {
    /// Its writer, by its place in the model's list.
    origin: usize,
    counter: u64,
    value: Option<V>,
    /// The events of the key, by their place in its history, that the writer had seen and meant to replace.
    kills: Places,
    /// Those of them that the event itself does not name: what removed them had left its writer's log.
    unnamed: Places,
}

/// One event as its writer wrote it.
pub(crate) struct Wrote<K, V> {
    pub(crate) key: K,
    pub(crate) put: bool,
    /// Whether the writer holds anything under the key after it.
    pub(crate) left: bool,
    /// What the writer held and went by it: whose event it was, which of its, and the value.
    pub(crate) gone: Vec<(NodeId, u64, V)>,
}

/// Where an event is: the history, and the place in it.
type At = (usize, usize);

/// All events ever written to one table, by key.
#[derive(Debug)]
pub(crate) struct Model<K: Key, V: Payload> {
    kind: Kind,
    keys: BTreeMap<K, usize>,
    histories: Vec<Vec<Entry<V>>>,
    origins: BTreeMap<NodeId, usize>,
    /// Of each origin, its events in the order in which it wrote them.
    written: Vec<(NodeId, Vec<(u64, At)>)>,
    /// Whether no node ever counted backwards.
    in_order: bool,
    /// A dot that was written twice, in whatever lives.
    twice: Option<String>,
    /// Every event in the order of writing.
    order: Vec<At>,
    mirrors: RefCell<BTreeMap<usize, Mirror>>,
}

/// What one replica claims to have seen.
#[derive(Debug, Default)]
struct Mirror {
    life: u64,
    revision: u64,
    context: Context,
    /// How much of the model was looked at.
    known: usize,
    /// Per history, which events were seen, and which are killed by those.
    seen: Vec<(Places, Places)>,
    /// What the last look came to.
    found: Option<Difference>,
}

/// A value that a replica lacks and that somebody removed, or still holds beside what replaced it and cannot tell.
#[derive(Debug, Clone)]
pub(crate) struct Lack {
    pub(crate) what: String,
    /// In which table.
    pub(crate) table: &'static str,
    /// Each event that removed it: whose, and which of its.
    pub(crate) removals: Vec<(NodeId, u64)>,
}

/// How a replica differs from its twin.
#[derive(Debug, Clone)]
pub(crate) enum Difference {
    /// It holds what it must not, or lacks what nobody has removed.
    Wrong(String),
    /// It lacks, of what it claims to have seen, values that were removed somewhere; or still holds one, beside what replaced
    /// it and does not name it, for the removal between them had left its writer's log. So it may be while it is being
    /// healed by state, and stay if nobody is left who knows of the removal.
    Early(Vec<Lack>),
}

/// Which events of each origin a context holds.
struct Seen<'a> {
    closed: Vec<u64>,
    context: &'a Context,
    has_early: bool,
}

impl Seen<'_> {
    fn contains<K: Key, V: Payload>(&self, model: &Model<K, V>, origin: usize, counter: u64) -> bool {
        counter <= self.closed[origin] || (self.has_early && self.context.contains(&model.written[origin].0, counter))
    }
}

impl<K: Key, V: Payload> Model<K, V> {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            keys: BTreeMap::new(),
            histories: Vec::new(),
            origins: BTreeMap::new(),
            written: Vec::new(),
            in_order: true,
            twice: None,
            order: Vec::new(),
            mirrors: RefCell::default(),
        }
    }

    fn seen_by<'a>(&self, context: &'a Context) -> Seen<'a> {
        let closed = self.written.iter().map(|(origin, _)| context.clock().get(origin)).collect();
        Seen { closed, context, has_early: context.cloud().next().is_some() }
    }

    /// Takes what the replica's own node wrote after `counter`.
    pub(crate) fn record(&mut self, counter: u64, table: &Table<K, V>) -> Vec<Wrote<K, V>> {
        let mut wrote = Vec::new();
        for event in table.written_since(counter) {
            let next = self.written.len();
            let origin = *self.origins.entry(event.dot.actor.clone()).or_insert(next);
            if origin == next {
                self.written.push((event.dot.actor.clone(), Vec::new()));
            }
            let seen = self.seen_by(table.context());
            let next = self.histories.len();
            let history = *self.keys.entry(event.key.clone()).or_insert(next);
            if history == next {
                self.histories.push(Vec::new());
            }
            let alive: Vec<(&NodeId, u64)> =
                table.live(&event.key).map(|(origin, counter, _)| (origin, counter)).collect();
            let (mut kills, mut killed) = (Places::default(), Places::default());
            for (place, old) in self.histories[history].iter().enumerate() {
                // A removal may also mean what its writer has only heard of.
                let named = event.value.is_none() && event.covers.get(&self.written[old.origin].0) == old.counter;
                if !seen.contains(self, old.origin, old.counter) && !named {
                    continue;
                }
                killed.extend(&old.kills);
                let theirs = self.kind == Kind::OwnerWritten && old.origin != origin;
                let later = old.origin == origin && old.counter >= event.dot.counter;
                if !theirs && !later && !alive.contains(&(&self.written[old.origin].0, old.counter)) {
                    kills.insert(place);
                }
            }
            let gone = kills.less(&killed).filter_map(|place| {
                let entry = &self.histories[history][place];
                Some((self.written[entry.origin].0.clone(), entry.counter, entry.value.clone()?))
            });
            let gone = gone.collect();
            if event.value.is_none() {
                // A withdrawal means one value and what that had replaced, and nothing else that its writer has seen dead.
                let mut meant = Places::default();
                for place in kills.less(&killed) {
                    meant.insert(place);
                    meant.extend(&self.histories[history][place].kills);
                }
                kills = meant;
            }
            if event.value.is_some() && self.kind == Kind::Shared {
                // It stands for the removals that it replaces, also for what those had only heard of.
                kills.extend(&killed);
            }
            let mut unnamed = Places::default();
            for place in kills.iter() {
                let old = &self.histories[history][place];
                if event.covers.get(&self.written[old.origin].0) < old.counter {
                    unnamed.insert(place);
                }
            }
            let (put, left) = (event.value.is_some(), !alive.is_empty());
            wrote.push(Wrote { key: event.key.clone(), put, left, gone });
            let at = (history, self.histories[history].len());
            let entry = Entry { origin, counter: event.dot.counter, value: event.value.clone(), kills, unnamed };
            self.histories[history].push(entry);
            let written = &mut self.written[origin].1;
            if written.last().is_some_and(|(last, _)| *last >= event.dot.counter) {
                self.in_order = false;
                self.twice = Some(format!("{:?} was written again, for {:?}", event.dot, event.key));
            }
            written.push((event.dot.counter, at));
            self.order.push(at);
        }
        wrote
    }

    /// Whether any event that was ever written means to remove or replace this one.
    pub(crate) fn is_undone(&self, key: &K, dot: &(NodeId, u64)) -> bool {
        let Some(&history) = self.keys.get(key) else { return false };
        let place = self.place_of(history, dot);
        place.is_some_and(|place| self.histories[history].iter().any(|entry| entry.kills.contains(place)))
    }

    /// Where in the history of its key an event is.
    fn place_of(&self, history: usize, (origin, counter): &(NodeId, u64)) -> Option<usize> {
        let is_it = |entry: &Entry<V>| entry.counter == *counter && self.written[entry.origin].0 == *origin;
        self.histories[history].iter().position(is_it)
    }

    /// Every value that was ever put under a key, in the order of writing.
    pub(crate) fn values_of(&self, key: &K) -> impl Iterator<Item = &V> {
        let entries = self.keys.get(key).into_iter().flat_map(|&history| &self.histories[history]);
        entries.filter_map(|entry| entry.value.as_ref())
    }

    /// How a replica differs from its twin.
    pub(crate) fn difference(&self, node: usize, life: u64, table: &Table<K, V>) -> Option<Difference> {
        let mut mirrors = self.mirrors.borrow_mut();
        let mirror = mirrors.entry(node).or_default();
        let same = mirror.life == life && mirror.revision == table.revision();
        if same && mirror.known == self.order.len() {
            return mirror.found.clone();
        }
        if mirror.life != life || !self.follow(mirror, table.context()) {
            *mirror = Mirror { life, ..Mirror::default() };
            self.follow(mirror, table.context());
        }
        mirror.revision = table.revision();
        mirror.found = self.compare(mirror, table);
        mirror.found.clone()
    }

    /// Adds what was seen since the last look. Returns false if something is not seen any more.
    fn follow(&self, mirror: &mut Mirror, context: &Context) -> bool {
        let shrunk = mirror.context.clock().dots.iter().any(|(origin, &counter)| context.clock().get(origin) < counter);
        let mut early = mirror.context.cloud();
        if shrunk || early.any(|(origin, dots)| dots.iter().any(|&dot| !context.contains(origin, dot))) {
            return false;
        }
        drop(early);
        mirror.seen.resize_with(self.histories.len(), Default::default);
        let take = |seen: &mut Vec<(Places, Places)>, (history, place): At| {
            if seen[history].0.insert(place) {
                seen[history].1.extend(&self.histories[history][place].kills);
            }
        };
        let seen = self.seen_by(context);
        for (origin, (id, written)) in self.written.iter().enumerate() {
            let before = mirror.context.clock().get(id);
            if before < seen.closed[origin] {
                let from = written.partition_point(|(counter, _)| *counter <= before);
                let from = if self.in_order { from } else { 0 };
                let news = written[from..].iter().filter(|(counter, _)| *counter <= seen.closed[origin]);
                news.for_each(|(_, at)| take(&mut mirror.seen, *at));
            }
        }
        for (id, dots) in context.cloud() {
            let Some(&origin) = self.origins.get(id) else { continue };
            for (_, at) in self.written[origin].1.iter().filter(|(counter, _)| dots.contains(counter)) {
                take(&mut mirror.seen, *at);
            }
        }
        // What was written meanwhile may have been claimed before.
        for &(history, place) in &self.order[mirror.known..] {
            let entry = &self.histories[history][place];
            if seen.contains(self, entry.origin, entry.counter) {
                take(&mut mirror.seen, (history, place));
            }
        }
        mirror.known = self.order.len();
        if mirror.context != *context {
            mirror.context = context.clone();
        }
        true
    }

    fn compare(&self, mirror: &Mirror, table: &Table<K, V>) -> Option<Difference> {
        let mut early = Vec::new();
        let mut held = table.entries().peekable();
        for (key, &history) in &self.keys {
            if let Some((unknown, _)) = held.next_if(|(of, _)| *of < key) {
                return Some(Difference::Wrong(format!("{unknown:?} was never written")));
            }
            let (seen, killed) = &mirror.seen[history];
            let entries = &self.histories[history];
            let mut expected = seen.less(killed).filter(|&place| entries[place].value.is_some()).peekable();
            let Some((_, values)) = held.next_if(|(of, _)| *of == key) else {
                if expected.peek().is_some() {
                    drop(expected);
                    match self.tell(mirror, key, history, table) {
                        Some(Difference::Early(lacks)) => early.extend(lacks),
                        wrong => return wrong,
                    }
                }
                continue;
            };
            // One value is by far the most usual: the order, by dots here and by time there, then says nothing.
            let (mut same, mut count) = (true, 0);
            let values: Vec<(&NodeId, u64, &V)> = values.collect();
            for place in expected {
                let entry = &entries[place];
                count += 1;
                same &= values.iter().any(|(origin, counter, value)| {
                    *counter == entry.counter
                        && **origin == self.written[entry.origin].0
                        && Some(*value) == entry.value.as_ref()
                });
            }
            if !same || count != values.len() {
                match self.tell(mirror, key, history, table) {
                    Some(Difference::Early(lacks)) => early.extend(lacks),
                    wrong => return wrong,
                }
            }
        }
        match held.next() {
            Some((unknown, _)) => Some(Difference::Wrong(format!("{unknown:?} was never written"))),
            None => Some(early).filter(|early| !early.is_empty()).map(Difference::Early),
        }
    }

    /// Says how the replica differs under one key.
    fn tell(&self, mirror: &Mirror, key: &K, history: usize, table: &Table<K, V>) -> Option<Difference> {
        let entries = &self.histories[history];
        let (seen, killed) = &mirror.seen[history];
        let dot = |entry: &Entry<V>| (self.written[entry.origin].0.clone(), entry.counter);
        let expected: BTreeMap<(NodeId, u64), &V> = seen
            .less(killed)
            .filter_map(|place| Some((dot(&entries[place]), entries[place].value.as_ref()?)))
            .collect();
        let held: BTreeMap<(NodeId, u64), &V> =
            table.live(key).map(|(origin, counter, value)| ((origin.clone(), counter), value)).collect();
        let mut early = Vec::new();
        for (dot, value) in held.iter().filter(|(dot, value)| expected.get(*dot) != Some(value)) {
            let what = format!("{key:?} holds {value:?} of {dot:?}, which its twin does not");
            match self.untold(history, seen, dot) {
                Some(removals) => early.push(Lack { what, table: "", removals }),
                None => return Some(Difference::Wrong(what)),
            }
        }
        let mut removed = Places::default();
        entries.iter().for_each(|entry| removed.extend(&entry.kills));
        let lacking = || {
            entries.iter().enumerate().filter(|(_, entry)| {
                let dot = dot(entry);
                expected.contains_key(&dot) && !held.contains_key(&dot)
            })
        };
        let what =
            |entry: &Entry<V>| format!("{key:?} lacks {:?} of {:?}, which its twin holds", entry.value, dot(entry).0);
        if let Some((_, entry)) = lacking().find(|(place, _)| !removed.contains(*place)) {
            return Some(Difference::Wrong(what(entry)));
        }
        let lacks = lacking().map(|(place, entry)| {
            let removals = entries.iter().filter(|removal| removal.kills.contains(place)).map(dot).collect();
            // Which table this is, the caller knows.
            Lack { what: what(entry), table: "", removals }
        });
        early.extend(lacks);
        Some(early).filter(|early| !early.is_empty()).map(Difference::Early)
    }

    /// What killed the event of this dot, where nothing that the replica has seen of that names it.
    fn untold(&self, history: usize, seen: &Places, dot: &(NodeId, u64)) -> Option<Vec<(NodeId, u64)>> {
        let entries = &self.histories[history];
        let place = self.place_of(history, dot)?;
        let killers = entries.iter().enumerate().filter(|(at, of)| of.kills.contains(place) && seen.contains(*at));
        let killers: Vec<&Entry<V>> = killers.map(|(_, of)| of).collect();
        let silent = self.kind == Kind::Shared && killers.iter().all(|of| of.unnamed.contains(place));
        let dots = killers.iter().map(|of| (self.written[of.origin].0.clone(), of.counter)).collect();
        (silent && seen.contains(place) && !killers.is_empty()).then_some(dots)
    }
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
    /// How the tables of a node differ from their twins: the first that is wrong, or all that is early.
    pub(crate) fn difference(&self, node: usize, life: u64, upper: &Upper) -> Option<Difference> {
        let mut found = vec![("names", self.names.difference(node, life, upper.names().names().table()))];
        if let Some(children) = upper.children() {
            found.extend([
                ("desired", self.desired.difference(node, life, children.desired().table())),
                ("actual", self.actual.difference(node, life, children.actual().table())),
                ("marks", self.marks.difference(node, life, children.marks().table())),
                ("facts", self.facts.difference(node, life, children.facts().table())),
            ]);
        }
        let mut early = Vec::new();
        for (table, difference) in found {
            match difference {
                None => {}
                Some(Difference::Wrong(what)) => return Some(Difference::Wrong(format!("{table}: {what}"))),
                Some(Difference::Early(lacks)) => {
                    early.extend(lacks.into_iter().map(|lack| {
                        let what = format!("{table}: {}", lack.what);
                        Lack { what, table, ..lack }
                    }));
                }
            }
        }
        Some(early).filter(|early| !early.is_empty()).map(Difference::Early)
    }

    /// Forgets what was seen of the replicas, so that the next look is at everything.
    pub(crate) fn look_anew(&self) {
        self.names.mirrors.borrow_mut().clear();
        self.desired.mirrors.borrow_mut().clear();
        self.actual.mirrors.borrow_mut().clear();
        self.marks.mirrors.borrow_mut().clear();
        self.facts.mirrors.borrow_mut().clear();
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
