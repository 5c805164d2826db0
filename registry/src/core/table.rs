//! One replicated table: an add-wins map `key -> { dot -> value }` that keeps its unsuperseded events as its log.
//!
//! After Almeida, Shoker and Baquero, "Delta State Replicated Data Types" (2018), with one addition: removals are events
//! with dots of their own, and every event says what it covers, so that a superseded event may be left out of a delta
//! and events may arrive in any order. Nothing here knows of peers; see `sync`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use crdts::CmRDT;
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::hash::StableHasher;

use triomphe::Arc;

use super::by_place::{ByPlace, Spot};
use super::clock::{Clock, Context, Dot};
use super::covers::Covers;
use super::delta::{Event, Interval, Key, Payload};
use super::log::Log;
use super::retire::Retired;

/// Most removals that a table keeps for peers that have not acknowledged them; past it the oldest go, and peers that
/// lack them are healed by state.
pub const LOG_REMOVALS_MAX: usize = 100_000;

/// Most superseded events of our own that a table remembers the keys of, for peers that are pushed to in parts.
pub const LEFT_OUT_MAX: usize = 16_384;

const PURPOSE_DIGEST: u64 = 2;

/// Who may change an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only its origin: an event touches nothing but its own origin's entries, and retirement drops them.
    OwnerWritten,
    /// Any node may replace or remove any entry; retirement drops nothing.
    Shared,
}

/// An event that several hold.
pub type Shared<K, V> = Arc<Event<K, V>>;

/// A replica of one table.
#[derive(Debug, Clone)]
pub struct Table<K: Key, V: Payload> {
    pub(super) kind: Kind,
    pub(super) origin: NodeId,
    pub(super) context: Context,
    /// The clock below which this replica can no longer tell every removal.
    pub(super) horizon: Clock,
    retired: Retired,
    /// Per origin, its events that nothing supersedes: live puts, and removals not yet dropped.
    pub(super) log: BTreeMap<NodeId, Log<K, V>>,
    /// The same events by their keys.
    pub(super) by_place: ByPlace<K, V>,
    /// Events that their keys showed and that were superseded, until [`Table::show`] says what those show now.
    fallen: BTreeMap<K, Shared<K, V>>,
    /// Of an owner-written table, which key each of our own events was about that another of ours superseded: a push that
    /// ends before our last event brings along what superseded what it leaves out.
    pub(super) left_out: BTreeMap<u64, K>,
    /// Up to here that is forgotten.
    pub(super) forgotten: u64,
    /// The dots of the removals in the log.
    pub(super) removals: BTreeSet<(NodeId, u64)>,
    /// The wrapping sum of the hashes of the live dots.
    sum: u64,
    live: usize,
    /// Counts the changes.
    revision: u64,
    /// What was asked for of the present revision.
    digest: OnceLock<u64>,
    pub(super) kin: OnceLock<Option<NodeId>>,
    /// The keys that changed since they were last saved, where somebody saves them; see `saved`.
    pub(super) unsaved: Option<BTreeSet<K>>,
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
            by_place: ByPlace::default(),
            fallen: BTreeMap::new(),
            left_out: BTreeMap::new(),
            forgotten: 0,
            removals: BTreeSet::new(),
            sum: 0,
            live: 0,
            revision: 0,
            digest: OnceLock::new(),
            kin: OnceLock::new(),
            unsaved: None,
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

    /// The keys that have a live value, in no order that means anything, but in the same one on every machine.
    pub fn unsorted_keys(&self) -> impl Iterator<Item = &K> {
        let mut last = None;
        let live = self.by_place.iter().filter(|event| !event.is_remove());
        // The live values of a key follow one another.
        live.map(|event| &event.key).filter(move |key| last.replace(*key) != Some(*key))
    }

    /// The keys that have a live value, in order. Costs a sort of them.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        let mut keys: Vec<&K> = self.unsorted_keys().collect();
        keys.sort_unstable();
        keys.into_iter()
    }

    /// The keys of one place that have a live value, in order; see [`Key::place`].
    pub fn keys_at(&self, place: u64) -> impl Iterator<Item = &K> {
        let mut last = None;
        let live = self.by_place.alike(place).filter(|event| !event.is_remove());
        live.map(|event| &event.key).filter(move |key| last.replace(*key) != Some(*key))
    }

    /// The keys that have a live value, in order, and their live values.
    pub fn entries(&self) -> impl Iterator<Item = (&K, impl Iterator<Item = (&NodeId, u64, &V)>)> {
        self.keys().map(|key| (key, self.live(key)))
    }

    /// The keys under which an origin has a live value, in the order it wrote them.
    pub fn keys_of<'a>(&'a self, origin: &NodeId) -> impl Iterator<Item = &'a K> + 'a + use<'a, K, V> {
        let events = self.log.get(origin).into_iter().flat_map(Log::events);
        events.filter(|event| !event.is_remove()).map(|event| &event.key)
    }

    /// This origin's own events after `counter` that nothing supersedes, in the order it wrote them.
    pub fn written_since(&self, counter: u64) -> impl Iterator<Item = &Shared<K, V>> {
        self.log.get(&self.origin).into_iter().flat_map(move |log| log.after(counter))
    }

    /// Whether an event of the key is an early dot: others may not know of it, whatever clock they reported.
    pub fn has_early(&self, key: &K) -> bool {
        self.events_of(key).any(|event| event.dot.counter > self.context.clock().get(&event.dot.actor))
    }

    /// Whether it holds no event at all, removals included.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Who may write which events.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many live values there are.
    pub fn live_len(&self) -> usize {
        self.live
    }

    /// How many events the log holds: the live ones, and the removals that wait.
    pub fn log_len(&self) -> usize {
        self.log.values().map(Log::len).sum()
    }

    /// The removals that wait in the log, by dot.
    pub fn removals(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.removals.iter().filter_map(|(origin, counter)| self.log.get(origin)?.get(*counter))
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

    /// The latest other incarnation of our own name that wrote here and is not known to be over.
    pub fn kin(&self) -> Option<&NodeId> {
        self.kin.get_or_init(|| self.find_kin()).as_ref()
    }

    fn find_kin(&self) -> Option<NodeId> {
        let name = &self.origin.name;
        let ends = [(0, 0), (u64::MAX, u64::MAX)].map(|(boot, nonce)| NodeId::new(name.clone(), boot, nonce));
        let [first, last] = ends;
        let closed = self.context.clock().dots.range(first..=last).map(|(origin, _)| origin);
        let early = self.context.cloud().map(|(origin, _)| origin).filter(|origin| origin.name == *name);
        let others = closed.chain(early).filter(|origin| **origin != self.origin && !self.retired.contains(origin));
        others.max().cloned()
    }

    /// The sum of the hashes of the live dots.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Counts the changes of this replica: where it is the same as before, the replica is too.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn changed(&mut self) {
        self.revision += 1;
        self.digest.take();
    }

    /// Another incarnation of our own name may have come into sight, or out of it.
    pub(super) fn met(&mut self, origin: &NodeId) {
        if origin.name == self.origin.name && *origin != self.origin {
            self.kin.take();
        }
    }

    /// A hash of the whole state. Costs one step per origin after a change, however many entries there are.
    pub fn digest(&self) -> u64 {
        let digest = *self.digest.get_or_init(|| self.hash_anew());
        debug_assert_eq!(digest, self.hash_anew(), "a change was not noted");
        digest
    }

    /// [`Self::digest`] without what is remembered of it.
    pub fn hash_anew(&self) -> u64 {
        let clock = &self.context.clock().dots;
        let mut hasher = StableHasher::new(PURPOSE_DIGEST).number(self.sum).number(clock.len() as u64);
        for (origin, &counter) in clock {
            hasher = hasher.node(origin).number(counter);
        }
        hasher = hasher.number(self.context.cloud().count() as u64);
        for (origin, dots) in self.context.cloud() {
            hasher = dots.iter().fold(hasher.node(origin).number(dots.len() as u64), |hasher, &dot| hasher.number(dot));
        }
        self.retired.iter().fold(hasher, |hasher, id| hasher.node(&id)).finish()
    }

    /// Takes the whole state into `hasher`, what it still knows of superseded events included.
    pub fn fingerprint(&self, hasher: &mut impl Hasher)
    where
        K: Hash,
        V: Hash,
    {
        // The rest follows from the log.
        let Self { kind, origin, context, horizon, retired, log, .. } = self;
        (kind, origin, context, horizon, retired, log.len()).hash(hasher);
        for (origin, log) in log {
            (origin, log.len()).hash(hasher);
            log.events().for_each(|event| event.hash(hasher));
        }
    }

    /// The unsuperseded events of a key, removals included, by dot.
    pub fn events_of<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        self.events_at(key.place(), key)
    }

    /// The same, for whoever knows the place of the key already.
    pub fn events_at<'a>(&'a self, place: u64, key: &K) -> impl Iterator<Item = &'a Shared<K, V>> + 'a + use<'a, K, V> {
        self.by_place.of(place, key)
    }

    // ---- what keys show, of tables where somebody looks at that

    /// The event that a key shows.
    pub fn shown(&self, key: &K) -> Option<&Shared<K, V>> {
        self.by_place.shown(key.place(), key).or_else(|| self.fallen.get(key))
    }

    /// The events that their keys show, of all keys of one place, in order; see [`Key::place`].
    pub(super) fn shown_at(&self, place: u64) -> impl Iterator<Item = &Shared<K, V>> {
        self.by_place.shown_at(place)
    }

    /// The events that their keys show, from a place on, each with its place.
    pub(super) fn shown_from(&self, place: u64) -> impl Iterator<Item = (u64, &Shared<K, V>)> {
        self.by_place.shown_from(place)
    }

    /// The events that their keys show, in no order that means anything, but in the same one on every machine.
    pub fn all_shown(&self) -> impl Iterator<Item = &Shared<K, V>> {
        self.by_place.all_shown().chain(self.fallen.values())
    }

    /// From now on a key shows this of its events, or none. Returns the event that it showed before.
    pub(super) fn show(&mut self, place: u64, key: &K, event: Option<&Event<K, V>>) -> Option<Shared<K, V>> {
        let before = self.by_place.show(place, key, event.map(|event| &event.dot));
        if self.fallen.is_empty() { before } else { before.or(self.fallen.remove(key)) }
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
        self.remove_with(key, &[])
    }

    /// The same, and of a shared table also the values of these dots: they were heard of and may not have come yet.
    pub fn remove_with(&mut self, key: &K, heard_of: &[Dot]) -> bool {
        let mut covers = self.known(key);
        let mut any = self.live(key).any(|(origin, counter, _)| covers.get(origin) >= counter);
        if self.kind == Kind::Shared {
            for dot in heard_of.iter().filter(|dot| !self.context.contains(&dot.actor, dot.counter)) {
                covers.apply(&dot.actor, dot.counter);
                any = true;
            }
        }
        if any {
            self.write(key.clone(), None, covers);
        }
        any
    }

    /// Removes just one value of a key, and what it had covered. Returns false, and changes nothing, if it is not live or
    /// not this origin's to remove.
    pub fn withdraw(&mut self, key: &K, dot: &Dot) -> bool {
        let ours = self.kind == Kind::Shared || dot.actor == self.origin;
        let Some(event) = self.events_of(key).find(|event| ours && event.dot == *dot && !event.is_remove()) else {
            return false;
        };
        let mut covers = event.covers.clone();
        covers.apply(&dot.actor, dot.counter);
        self.write(key.clone(), None, covers);
        true
    }

    fn write(&mut self, key: K, value: Option<V>, covers: Covers) -> Dot {
        let dot = self.next_dot();
        self.insert(Arc::new(Event { dot: dot.clone(), key, value, covers }));
        dot
    }

    fn next_dot(&self) -> Dot {
        Dot::new(self.origin.clone(), self.context.clock().get(&self.origin) + 1)
    }

    /// Puts a value under a key that has no event at all. `place` is the key's.
    pub fn put_first(&mut self, place: u64, key: K, value: V) -> Shared<K, V> {
        let spot = self.by_place.spot(place, &key);
        debug_assert!(spot.is_vacant(), "it is not the first");
        self.changed();
        let dot = self.next_dot();
        self.context.apply(dot.clone());
        let event = Arc::new(Event { dot, key, value: Some(value), covers: Covers::default() });
        self.hold(spot, event.clone());
        event
    }

    /// The version vector of a key, as far as this origin may cover it.
    fn known(&self, key: &K) -> Covers {
        let mut known = Covers::default();
        for event in self.events_of(key) {
            if self.kind == Kind::Shared || event.dot.actor == self.origin {
                known.merge(&event.covers);
                // A put stands for every earlier event of its writer under the key. A removal does not: a withdrawal
                // leaves some, and where it came early they have not been seen.
                if !event.is_remove() || event.dot.counter <= self.context.clock().get(&event.dot.actor) {
                    known.apply(&event.dot.actor, event.dot.counter);
                }
            }
        }
        known
    }

    // ---- taking what others wrote

    /// Takes one event as an early dot. Returns whether the key's live values may have changed.
    pub fn apply(&mut self, mut event: Shared<K, V>) -> bool {
        let ours = event.dot.actor == self.origin;
        if ours || self.is_dropped(&event.dot.actor) || self.context.contains(&event.dot.actor, event.dot.counter) {
            return false;
        }
        let covered = event.covers.get(&self.origin);
        // Nobody can have seen what we have not written; it must not kill what we write next.
        if covered > 0 {
            let written = self.context.clock().get(&self.origin);
            if covered > written {
                Arc::make_mut(&mut event).covers.limit(&self.origin, written);
            }
        }
        self.insert(event)
    }

    /// Superseding is transitive, whatever each event says: what supersedes another may have been written where that was
    /// only heard of, or where its knowledge had left the log already. In an owner-written table one that goes leaves what
    /// it covers to one that stays. In a shared one it stays as a removal: others may never see it otherwise, and would hold
    /// for live what it covers.
    pub(super) fn insert(&mut self, mut event: Shared<K, V>) -> bool {
        self.changed();
        self.met(&event.dot.actor);
        self.context.apply(event.dot.clone());
        let place = event.key.place();
        let spot = self.by_place.spot(place, &event.key);
        if spot.is_vacant() {
            let live = !event.is_remove();
            self.hold(spot, event);
            return live;
        }
        let foreign = |other: &Event<K, V>| self.kind == Kind::OwnerWritten && other.dot.actor != event.dot.actor;
        let (mut superseded, mut killers) = (Vec::new(), Vec::new());
        for other in self.by_place.at(spot).filter(|other| !foreign(other)) {
            if self.supersedes(&event, &other.dot) {
                superseded.push(other.clone());
            }
            if self.supersedes(other, &event.dot) {
                killers.push(other.clone());
            }
        }
        let (mut changed, mut kept) = (false, Vec::new());
        for old in superseded {
            self.drop_event(&old.dot.actor, old.dot.counter);
            changed |= !old.is_remove();
            if self.kind == Kind::OwnerWritten && old.dot.actor == self.origin {
                self.leave_out(&old);
            }
            if old.covers.is_within(&event.covers) {
                continue;
            } else if self.kind == Kind::OwnerWritten {
                Arc::make_mut(&mut event).covers.merge(&old.covers);
            } else {
                kept.push(old);
            }
        }
        let is_told = killers.iter().any(|killer| event.covers.is_within(&killer.covers));
        match killers.pop() {
            None => {
                changed |= !event.is_remove();
                self.hold(self.by_place.spot(place, &event.key), event);
            }
            Some(_) if is_told => {}
            Some(killer) if self.kind == Kind::OwnerWritten => {
                let mut heir = Event::clone(&killer);
                heir.covers.merge(&event.covers);
                self.replace(place, Arc::new(heir));
            }
            Some(_) => kept.push(event),
        }
        for mut event in kept {
            if !event.is_remove() {
                Arc::make_mut(&mut event).value = None;
            }
            self.hold(self.by_place.spot(place, &event.key), event);
        }
        changed
    }

    /// Whether an event supersedes the one of this dot on the same key. In an owner-written table a later event of an origin
    /// does, whatever it covers: it may have been written when what it follows had left the log.
    fn supersedes(&self, event: &Event<K, V>, dot: &Dot) -> bool {
        let follows = event.dot.actor == dot.actor && event.dot.counter > dot.counter;
        event.covers(dot) || (self.kind == Kind::OwnerWritten && follows)
    }

    /// Takes an event up that nothing supersedes, where its key's are.
    fn hold(&mut self, spot: Spot, event: Shared<K, V>) {
        self.unsave(&event.key);
        let Dot { actor, counter } = &event.dot;
        let log = match self.log.get_mut(actor) {
            Some(log) => log,
            None => self.log.entry(actor.clone()).or_insert_with(|| Log::of(actor)),
        };
        if event.is_remove() {
            self.removals.insert((actor.clone(), *counter));
        } else {
            self.sum = self.sum.wrapping_add(log.dot_hash(*counter));
            self.live += 1;
        }
        log.insert(*counter, event.clone());
        self.by_place.insert(spot, event);
    }

    fn unsave(&mut self, key: &K) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(key.clone());
        }
    }

    fn leave_out(&mut self, old: &Event<K, V>) {
        self.left_out.insert(old.dot.counter, old.key.clone());
        if self.left_out.len() > LEFT_OUT_MAX {
            self.forgotten = self.left_out.pop_first().map_or(0, |(counter, _)| counter);
        }
    }

    /// Everybody who is pushed to has our own events up to here.
    pub(super) fn forget_left_out(&mut self, upto: u64) {
        self.left_out = upto.checked_add(1).map(|next| self.left_out.split_off(&next)).unwrap_or_default();
        self.forgotten = self.forgotten.max(upto);
    }

    /// Puts an event in place of the one of its dot.
    fn replace(&mut self, place: u64, event: Shared<K, V>) {
        self.unsave(&event.key);
        self.by_place.replace(place, event.clone());
        if let Some(log) = self.log.get_mut(&event.dot.actor) {
            log.insert(event.dot.counter, event);
        }
    }

    pub(super) fn drop_event(&mut self, origin: &NodeId, counter: u64) -> Option<Shared<K, V>> {
        let events = self.log.get_mut(origin)?;
        let event = events.remove(counter)?;
        let hash = events.dot_hash(counter);
        if events.is_empty() {
            self.log.remove(origin);
        }
        self.changed();
        self.unsave(&event.key);
        if self.by_place.remove(event.key.place(), &event.key, &event.dot) {
            self.fallen.insert(event.key.clone(), event.clone());
        }
        if event.is_remove() {
            self.removals.remove(&(origin.clone(), counter));
        } else {
            self.sum = self.sum.wrapping_sub(hash);
            self.live -= 1;
        }
        Some(event)
    }

    /// Moves the clock over intervals whose events were all applied. One above the clock that holds just one dot makes
    /// it an early dot.
    pub fn close(&mut self, intervals: &[Interval]) {
        if !intervals.is_empty() {
            self.changed();
        }
        for Interval { origin, from, to } in intervals {
            if *origin == self.origin || self.is_dropped(origin) {
                continue;
            }
            self.met(origin);
            if !self.context.close(origin, *from, *to) && from.checked_add(1) == Some(*to) {
                self.context.apply(Dot::new(origin.clone(), *to));
            }
        }
    }

    // ---- retirement and rebirth

    /// Whether nothing of this origin is kept or taken here.
    pub(super) fn is_dropped(&self, origin: &NodeId) -> bool {
        let droppable = self.kind == Kind::OwnerWritten || is_present(Defect::RetireDropsDesired);
        droppable && *origin != self.origin && self.retired.contains(origin)
    }

    /// What of a peer's context concerns this replica: all but the origins of which nothing is kept here.
    pub(super) fn wanted(&self, mut theirs: Context) -> Context {
        let origins: Vec<NodeId> = theirs.origins().filter(|origin| self.is_dropped(origin)).cloned().collect();
        origins.iter().for_each(|origin| theirs.forget(origin));
        theirs
    }

    /// Takes incarnations as over. In an owner-written table everything of theirs goes: events, slots and early dots; in
    /// a shared one nothing changes. Returns the live events that went.
    pub fn retire(&mut self, retired: &Retired) -> Vec<Shared<K, V>> {
        if self.retired.merge(retired) { self.drop_retired() } else { Vec::new() }
    }

    fn drop_retired(&mut self) -> Vec<Shared<K, V>> {
        self.changed();
        self.kin.take();
        let over: BTreeSet<NodeId> = self.context.origins().filter(|origin| self.is_dropped(origin)).cloned().collect();
        let mut gone = Vec::new();
        for origin in &over {
            let counters: Vec<u64> = self
                .log
                .get(origin)
                .map(|log| log.events().map(|event| event.dot.counter).collect())
                .unwrap_or_default();
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
        (self.left_out, self.forgotten) = (BTreeMap::new(), 0);
        // Whether or not others had retired it before: until now it was ours and nothing of it was dropped.
        self.retired.insert(&old);
        self.changed();
        let mine = self.drop_retired();
        let mut keys = Vec::new();
        for event in mine.into_iter().filter(|event| event.dot.actor == old) {
            if let Some(value) = event.value.clone() {
                self.put(event.key.clone(), value);
                keys.push(event.key.clone());
            }
        }
        keys
    }
}

impl<K: Key, V: Payload> PartialEq for Table<K, V> {
    /// Whether both hold the same state, whoever writes in them and whatever each still knows of superseded events.
    fn eq(&self, other: &Self) -> bool {
        fn live<K: Key, V: Payload>(table: &Table<K, V>) -> impl Iterator<Item = (&Dot, &K, &V)> {
            let events = table.log.values().flat_map(Log::events);
            events.filter_map(|event| Some((&event.dot, &event.key, event.value.as_ref()?)))
        }
        self.context == other.context && self.retired == other.retired && live(self).eq(live(other))
    }
}
