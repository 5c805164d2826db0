//! One replicated table: an add-wins map `key -> { dot -> value }` that keeps its unsuperseded events as its log.
//!
//! After Almeida, Shoker and Baquero, "Delta State Replicated Data Types" (2018), with one addition: removals are events
//! with dots of their own, and every event says what it covers, so that a superseded event may be left out of a delta
//! and events may arrive in any order. Nothing here knows of peers; see `sync`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::NodeId;
use ordu_transport::core::hash::StableHasher;

use super::clock::{Clock, Context, Dot};
use super::defects;
use super::delta::{Event, Interval, Key, Payload};
use super::retire::Retired;

/// Most removals that a table keeps for peers that have not acknowledged them; past it the oldest go, and peers that
/// lack them are healed by state.
pub const LOG_REMOVALS_MAX: usize = 100_000;

const PURPOSE_DOT: u64 = 1;
const PURPOSE_DIGEST: u64 = 2;

/// Who may change an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only its origin: an event touches nothing but its own origin's entries, and retirement drops them.
    OwnerWritten,
    /// Any node may replace or remove any entry; retirement drops nothing.
    Shared,
}

type Shared<K, V> = Arc<Event<K, V>>;
/// Events, and the intervals that they complete.
type Batch<K, V> = (Vec<Shared<K, V>>, Vec<Interval>);

/// A replica of one table.
#[derive(Debug, Clone)]
pub struct Table<K: Key, V: Payload> {
    kind: Kind,
    origin: NodeId,
    context: Context,
    /// The clock below which this replica can no longer tell every removal.
    horizon: Clock,
    retired: Retired,
    /// Per origin, its events that nothing supersedes: live puts, and removals not yet dropped.
    log: BTreeMap<NodeId, BTreeMap<u64, Shared<K, V>>>,
    /// Per key, the dots of its events in the log.
    keys: BTreeMap<K, BTreeSet<(NodeId, u64)>>,
    /// The dots of the removals in the log.
    removals: BTreeSet<(NodeId, u64)>,
    /// The wrapping sum of the hashes of the live dots.
    sum: u64,
    live: usize,
}

impl<K: Key, V: Payload> Table<K, V> {
    /// An empty replica that writes as `origin`.
    pub fn new(kind: Kind, origin: NodeId) -> Self {
        Self {
            kind,
            origin,
            context: Context::default(),
            horizon: Clock::default(),
            retired: Retired::default(),
            log: BTreeMap::new(),
            keys: BTreeMap::new(),
            removals: BTreeSet::new(),
            sum: 0,
            live: 0,
        }
    }

    // ---- reading

    /// The live values of a key, by origin and counter.
    pub fn live<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a NodeId, u64, &'a V)> + 'a + use<'a, K, V> {
        self.events_of(key).filter_map(|event| Some((&event.dot.actor, event.dot.counter, event.value.as_ref()?)))
    }

    /// The one live value that an origin of an owner-written table has under a key.
    pub fn live_of(&self, key: &K, origin: &NodeId) -> Option<&V> {
        self.live(key).find(|(of, _, _)| *of == origin).map(|(_, _, value)| value)
    }

    /// The keys that have a live value, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.keys().filter(|key| self.live(key).next().is_some())
    }

    /// The keys, from `from` on in order, that have a live value.
    pub fn keys_from<'a>(&'a self, from: &K) -> impl Iterator<Item = &'a K> + 'a {
        self.keys.range(from.clone()..).map(|(key, _)| key).filter(|key| self.live(key).next().is_some())
    }

    /// The keys under which an origin has a live value, in the order it wrote them.
    pub fn keys_of<'a>(&'a self, origin: &NodeId) -> impl Iterator<Item = &'a K> + 'a + use<'a, K, V> {
        let events = self.log.get(origin).into_iter().flat_map(BTreeMap::values);
        events.filter(|event| !event.is_remove()).map(|event| &event.key)
    }

    /// This origin's own events after `counter` that nothing supersedes, in the order it wrote them.
    pub fn written_since(&self, counter: u64) -> impl Iterator<Item = &Shared<K, V>> {
        let own = self.log.get(&self.origin).into_iter();
        own.flat_map(move |log| log.range((Bound::Excluded(counter), Bound::Unbounded))).map(|(_, event)| event)
    }

    /// How many live values there are.
    pub fn live_len(&self) -> usize {
        self.live
    }

    /// How many removals wait in the log.
    pub fn removals_len(&self) -> usize {
        self.removals.len()
    }

    /// Who writes here.
    pub fn origin(&self) -> &NodeId {
        &self.origin
    }

    /// What was seen.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Below this, removals may be missing here.
    pub fn horizon(&self) -> &Clock {
        &self.horizon
    }

    /// Which incarnations are over.
    pub fn retired(&self) -> &Retired {
        &self.retired
    }

    /// The sum of the hashes of the live dots.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// A hash of the whole state. Costs one step per origin, however many entries there are.
    pub fn digest(&self) -> u64 {
        let mut hasher = StableHasher::new(PURPOSE_DIGEST).number(self.sum);
        for (origin, &counter) in &self.context.clock().dots {
            hasher = hasher.node(origin).number(counter);
        }
        for (origin, dots) in self.context.cloud() {
            hasher = dots.iter().fold(hasher.number(1).node(origin), |hasher, &dot| hasher.number(dot));
        }
        hasher = self.retired.iter().fold(hasher.number(2), |hasher, id| hasher.node(&id));
        hasher.finish()
    }

    fn events_of<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        let dots = self.keys.get(key).into_iter().flatten();
        dots.filter_map(|(origin, counter)| self.log.get(origin)?.get(counter))
    }

    // ---- writing here

    /// Puts a value under a key, in place of every value of it that this origin may replace and has seen.
    pub fn put(&mut self, key: K, value: V) -> Dot {
        let covers = self.known(&key);
        self.write(key, Some(value), covers)
    }

    /// Removes every value of a key that this origin may remove and has seen. Returns false, and changes nothing, where
    /// there is none.
    pub fn remove(&mut self, key: &K) -> bool {
        let covers = self.known(key);
        if !self.live(key).any(|(origin, counter, _)| covers.get(origin) >= counter) {
            return false;
        }
        self.write(key.clone(), None, covers);
        true
    }

    /// Removes just one value of a key, and what it had covered. Returns false, and changes nothing, if it is not live.
    pub fn withdraw(&mut self, key: &K, dot: &Dot) -> bool {
        let Some(event) = self.events_of(key).find(|event| event.dot == *dot && !event.is_remove()) else {
            return false;
        };
        let mut covers = event.covers.clone();
        covers.apply(dot.clone());
        self.write(key.clone(), None, covers);
        true
    }

    fn write(&mut self, key: K, value: Option<V>, covers: Clock) -> Dot {
        let dot = self.context.clock().inc(self.origin.clone());
        self.insert(Arc::new(Event { dot: dot.clone(), key, value, covers }));
        dot
    }

    /// The version vector of a key, as far as this origin may cover it.
    fn known(&self, key: &K) -> Clock {
        let mut known = Clock::default();
        for event in self.events_of(key) {
            if self.kind == Kind::Shared || event.dot.actor == self.origin {
                known.merge(event.covers.clone());
                known.apply(event.dot.clone());
            }
        }
        known
    }

    // ---- taking what others wrote

    /// Takes one event as an early dot. Returns whether the key's live values may have changed.
    pub fn apply(&mut self, event: Shared<K, V>) -> bool {
        let ours = event.dot.actor == self.origin;
        if ours || self.is_dropped(&event.dot.actor) || self.context.contains(&event.dot.actor, event.dot.counter) {
            return false;
        }
        self.insert(event)
    }

    fn insert(&mut self, event: Shared<K, V>) -> bool {
        self.context.apply(event.dot.clone());
        let foreign = |other: &Event<K, V>| self.kind == Kind::OwnerWritten && other.dot.actor != event.dot.actor;
        let (mut superseded, mut dead) = (Vec::new(), false);
        for other in self.events_of(&event.key).filter(|other| !foreign(other)) {
            dead |= other.covers(&event.dot);
            if event.covers(&other.dot) {
                superseded.push(other.dot.clone());
            }
        }
        let mut changed = false;
        for dot in &superseded {
            changed |= self.drop_event(&dot.actor, dot.counter).is_some_and(|event| !event.is_remove());
        }
        if dead {
            return changed;
        }
        let (origin, counter) = (event.dot.actor.clone(), event.dot.counter);
        if event.is_remove() {
            self.removals.insert((origin.clone(), counter));
        } else {
            self.sum = self.sum.wrapping_add(dot_hash(&origin, counter));
            self.live += 1;
            changed = true;
        }
        self.keys.entry(event.key.clone()).or_default().insert((origin.clone(), counter));
        self.log.entry(origin).or_default().insert(counter, event);
        changed
    }

    fn drop_event(&mut self, origin: &NodeId, counter: u64) -> Option<Shared<K, V>> {
        let events = self.log.get_mut(origin)?;
        let event = events.remove(&counter)?;
        if events.is_empty() {
            self.log.remove(origin);
        }
        let dot = (origin.clone(), counter);
        if let Some(dots) = self.keys.get_mut(&event.key) {
            dots.remove(&dot);
            if dots.is_empty() {
                self.keys.remove(&event.key);
            }
        }
        if event.is_remove() {
            self.removals.remove(&dot);
        } else {
            self.sum = self.sum.wrapping_sub(dot_hash(origin, counter));
            self.live -= 1;
        }
        Some(event)
    }

    /// Moves the clock over intervals whose events were all applied.
    pub fn close(&mut self, intervals: &[Interval]) {
        for interval in intervals {
            if interval.origin != self.origin && !self.is_dropped(&interval.origin) {
                self.context.close(&interval.origin, interval.from, interval.to);
            }
        }
    }

    /// Takes one range of a peer's whole state: its events come here, and what it had seen when it began but does not
    /// hold any more goes. Returns the keys whose live values may have changed.
    pub fn apply_range(
        &mut self,
        start: &Context,
        after: Option<&K>,
        upto: Option<&K>,
        events: Vec<Shared<K, V>>,
    ) -> BTreeSet<K> {
        let listed: BTreeSet<(&NodeId, u64)> = events.iter().map(|e| (&e.dot.actor, e.dot.counter)).collect();
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), upto.map_or(Bound::Unbounded, Bound::Included));
        let empty = matches!((after, upto), (Some(after), Some(upto)) if after >= upto);
        let mut gone = Vec::new();
        if !empty {
            for (origin, counter) in self.keys.range::<K, _>(range).flat_map(|(_, dots)| dots) {
                let own = self.kind == Kind::OwnerWritten && *origin == self.origin;
                let removal = self.removals.contains(&(origin.clone(), *counter));
                if !own && !removal && start.contains(origin, *counter) && !listed.contains(&(origin, *counter)) {
                    gone.push((origin.clone(), *counter));
                }
            }
        }
        let mut touched = BTreeSet::new();
        for (origin, counter) in gone {
            self.horizon.apply(Dot::new(origin.clone(), counter));
            touched.extend(self.drop_event(&origin, counter).map(|event| event.key.clone()));
        }
        for event in events {
            let key = event.key.clone();
            if self.apply(event) {
                touched.insert(key);
            }
        }
        touched
    }

    /// After the last range: takes what the peer had seen when it began as seen here.
    pub fn adopt(&mut self, mut start: Context) {
        start.forget(&self.origin);
        let origins: Vec<NodeId> =
            start.clock().dots.keys().chain(start.cloud().map(|(origin, _)| origin)).cloned().collect();
        for origin in origins.iter().filter(|origin| self.is_dropped(origin)) {
            start.forget(origin);
        }
        for (origin, &counter) in &start.clock().dots {
            self.horizon.apply(Dot::new(origin.clone(), counter));
        }
        for (origin, dots) in start.cloud() {
            dots.last().into_iter().for_each(|&last| self.horizon.apply(Dot::new(origin.clone(), last)));
        }
        self.context.merge(start);
    }

    // ---- retirement and rebirth

    /// Whether nothing of this origin is kept or taken here.
    fn is_dropped(&self, origin: &NodeId) -> bool {
        self.kind == Kind::OwnerWritten && *origin != self.origin && self.retired.contains(origin)
    }

    /// Takes incarnations as over. In an owner-written table everything of theirs goes: events, slots and early dots; in
    /// a shared one nothing changes. Returns the live events that went.
    pub fn retire(&mut self, retired: &Retired) -> Vec<Shared<K, V>> {
        if !self.retired.merge(retired) {
            return Vec::new();
        }
        let seen = self.context.clock().dots.keys().chain(self.context.cloud().map(|(origin, _)| origin));
        let over: BTreeSet<NodeId> = seen.filter(|origin| self.is_dropped(origin)).cloned().collect();
        let mut gone = Vec::new();
        for origin in &over {
            let counters: Vec<u64> =
                self.log.get(origin).map(|events| events.keys().copied().collect()).unwrap_or_default();
            gone.extend(counters.into_iter().filter_map(|counter| self.drop_event(origin, counter)));
            self.context.forget(origin);
            self.horizon.dots.remove(origin);
        }
        gone.retain(|event| !event.is_remove());
        gone
    }

    /// Goes on under a new identity. In an owner-written table the old one is retired and its live entries are written
    /// again; in a shared one the entries stay what they are. Returns the keys written again.
    pub fn reborn(&mut self, id: NodeId) -> Vec<K> {
        let old = std::mem::replace(&mut self.origin, id);
        let mut over = Retired::default();
        over.insert(&old);
        let mine = self.retire(&over);
        let mut keys = Vec::new();
        for event in mine.into_iter().filter(|event| event.dot.actor == old) {
            if let Some(value) = event.value.clone() {
                self.put(event.key.clone(), value);
                keys.push(event.key.clone());
            }
        }
        keys
    }

    // ---- serving others

    /// Our own events after `from`, at most `events_max` of them, for a peer that has acknowledged `acked`; and the
    /// interval that they complete. In a shared table, what superseded one of ours comes along as early dots. `None`
    /// where the peer cannot be served from our log.
    pub fn own_delta(&self, from: u64, acked: &Clock, events_max: usize) -> Option<(Vec<Shared<K, V>>, Interval)> {
        let last = self.context.clock().get(&self.origin);
        if !self.serves_own(from, acked) {
            return None;
        }
        let own =
            self.log.get(&self.origin).into_iter().flat_map(|log| log.range((Bound::Excluded(from), Bound::Unbounded)));
        let mut events: Vec<Shared<K, V>> = own.take(events_max).map(|(_, event)| event.clone()).collect();
        let to = if events.len() < events_max { last } else { events.last().map_or(last, |event| event.dot.counter) };
        if self.kind == Kind::Shared {
            for (origin, log) in self.log.iter().filter(|(origin, _)| **origin != self.origin) {
                let unseen = log.range((Bound::Excluded(acked.get(origin)), Bound::Unbounded)).map(|(_, event)| event);
                events.extend(unseen.filter(|event| event.covers.get(&self.origin) > from).cloned());
            }
        }
        defects::tamper_delta(&mut events);
        Some((events, Interval { origin: self.origin.clone(), from, to }))
    }

    fn serves_own(&self, from: u64, acked: &Clock) -> bool {
        match self.kind {
            Kind::OwnerWritten => from >= self.horizon.get(&self.origin),
            Kind::Shared => {
                self.horizon.dots.iter().all(|(origin, &counter)| {
                    (if *origin == self.origin { from } else { acked.get(origin) }) >= counter
                })
            }
        }
    }

    /// Everything that a peer with this context lacks, and the intervals that it completes. `None` where the peer is
    /// below our horizon and must be healed by state.
    pub fn delta_for(&self, theirs: &Context) -> Option<Batch<K, V>> {
        if self.horizon.dots.iter().any(|(origin, &counter)| theirs.clock().get(origin) < counter) {
            return None;
        }
        let mut events = Vec::new();
        for (origin, log) in &self.log {
            let unseen = log.range((Bound::Excluded(theirs.clock().get(origin)), Bound::Unbounded));
            events.extend(
                unseen.filter(|(counter, _)| !theirs.contains(origin, **counter)).map(|(_, event)| event.clone()),
            );
        }
        let clock = self.context.clock().dots.iter();
        let behind =
            clock.map(|(origin, &to)| Interval { origin: origin.clone(), from: theirs.clock().get(origin), to });
        let intervals = behind.filter(|interval| interval.from < interval.to).collect();
        defects::tamper_delta(&mut events);
        Some((events, intervals))
    }

    /// The state of the keys after `after`, at most about `bytes_max` of it: live events, and removals that cover what
    /// the receiver will not have seen once it has adopted `start`. The second value is the last key of the range, or
    /// `None` if it reaches the end.
    pub fn range_after(&self, start: &Context, after: Option<&K>, bytes_max: usize) -> (Vec<Shared<K, V>>, Option<K>) {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let bound = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut keys = self.keys.range::<K, _>(bound).peekable();
        while let Some((key, _)) = keys.next() {
            for event in self.events_of(key) {
                let early = || event.covers.dots.iter().any(|(origin, &counter)| start.clock().get(origin) < counter);
                if !event.is_remove() || early() {
                    bytes += event.size_bytes();
                    events.push(event.clone());
                }
            }
            if bytes >= bytes_max && keys.peek().is_some() {
                return (events, Some(key.clone()));
            }
        }
        (events, None)
    }

    /// Drops removals that nobody needs any more: their dot is acknowledged by everyone that counts (`acked` tells per
    /// origin), and what they cover was seen here. Past [`LOG_REMOVALS_MAX`] the oldest go whoever lacks them. Raises
    /// the horizon accordingly.
    pub fn collect(&mut self, acked: impl Fn(&NodeId) -> u64) {
        let clock = self.context.clock();
        let needless = |(origin, counter): &&(NodeId, u64)| {
            let covers = self.log.get(origin).and_then(|log| log.get(counter)).map(|event| &event.covers);
            *counter <= acked(origin)
                && *counter <= clock.get(origin)
                && covers.is_none_or(|covers| covers.dots.iter().all(|(origin, &counter)| clock.get(origin) >= counter))
        };
        let mut drop: Vec<(NodeId, u64)> = self.removals.iter().filter(needless).cloned().collect();
        if self.removals.len() - drop.len() > LOG_REMOVALS_MAX {
            let excess = self.removals.len() - LOG_REMOVALS_MAX;
            drop.extend(self.removals.iter().take(excess).cloned());
        }
        for (origin, counter) in drop {
            self.drop_event(&origin, counter);
            self.horizon.apply(Dot::new(origin, counter));
        }
    }
}

impl<K: Key, V: Payload> PartialEq for Table<K, V> {
    /// Whether both hold the same state, whoever writes in them and whatever removals each still keeps.
    fn eq(&self, other: &Self) -> bool {
        let live = |table: &Self| -> Vec<Shared<K, V>> {
            table.log.values().flat_map(BTreeMap::values).filter(|event| !event.is_remove()).cloned().collect()
        };
        self.context == other.context && self.retired == other.retired && live(self) == live(other)
    }
}

fn dot_hash(origin: &NodeId, counter: u64) -> u64 {
    StableHasher::new(PURPOSE_DOT).node(origin).number(counter).finish()
}
