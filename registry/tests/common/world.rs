//! Replicas of one table, everything that may happen to them, and an oracle that knows every event ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use ordu_transport::core::hash::StableHasher;

use ordu_registry::core::clock::{Clock, Dot};
use ordu_registry::core::delta::Interval;
use ordu_registry::core::reconcile::Incoming;
use ordu_registry::core::retire::Retired;
use ordu_registry::core::table::{Kind, LOG_REMOVALS_MAX, Table};
use ordu_transport::core::NodeId;

use super::{Event, K, T, V, all_events, boot, by_delta, incoming, next_turn, node, sync};

/// What may happen. Numbers that name a replica, key or place are taken modulo what there is; an action that makes no
/// sense at its moment does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A replica puts a new value.
    Put { by: u8, key: u8 },
    /// A replica removes what it sees.
    Remove { by: u8, key: u8 },
    /// A replica removes one value that it sees.
    Withdraw { by: u8, key: u8, which: u8 },
    /// One event of a delta arrives, and nothing else of it.
    Early { from: u8, to: u8, which: u8 },
    /// A delta arrives whole.
    Delta { from: u8, to: u8 },
    /// A push arrives whole; its sender knows what the receiver has seen, or nothing of it.
    Push { from: u8, to: u8, acked: bool },
    /// A delta is on its way.
    Send { from: u8, to: u8 },
    /// The first events of a delta on its way arrive, in turned order; and its closing part if all do. It may come again.
    Receive { which: u8, events: u8, turn: u8 },
    /// The next range of a state arrives; the first one if none is under way.
    Range { from: u8, to: u8 },
    /// A state is cut off.
    Cut { from: u8, to: u8 },
    /// A replica drops the removals that all others have acknowledged.
    Collect { by: u8 },
    /// A replica takes another's present identity as over.
    Retire { by: u8, whom: u8 },
    /// A replica that learned that it is over goes on under a new identity.
    Reborn { by: u8 },
}

#[derive(Debug, Clone)]
struct Wire {
    to: usize,
    events: Vec<Event>,
    intervals: Vec<Interval>,
}

/// The replicas, what is on its way between them, and what the oracle knows.
#[derive(Debug, Clone)]
pub struct World {
    pub kind: Kind,
    pub tables: Vec<T>,
    keys: u8,
    wires: Vec<Wire>,
    states: BTreeMap<(usize, usize), Incoming>,
    /// Every event ever written, as it was written.
    written: BTreeMap<(NodeId, u64), Event>,
    values: u32,
    boots: u64,
}

/// Most deltas on their way at once.
const WIRES_MAX: usize = 4;

impl World {
    pub fn new(kind: Kind, replicas: usize, keys: u8) -> Self {
        let tables = ["a", "b", "c", "d", "e"][..replicas].iter().map(|name| Table::new(kind, node(name))).collect();
        let (wires, states, written) = Default::default();
        Self { kind, tables, keys, wires, states, written, values: 0, boots: 1 }
    }

    /// Lets something happen, and holds every replica against the oracle. Returns whether it made sense.
    pub fn act(&mut self, action: Action) -> bool {
        let happened = self.happen(action);
        if happened {
            self.check(&format!("after {action:?}"));
        }
        happened
    }

    fn happen(&mut self, action: Action) -> bool {
        let n = self.tables.len();
        let at = |which: u8| usize::from(which) % n;
        let pair = |from: u8, to: u8| (at(from) != at(to)).then(|| (at(from), at(to)));
        let keys = self.keys;
        let key = |key: u8| K(key % keys);
        match action {
            Action::Put { by, key: k } => {
                self.values += 1;
                let value = V(self.values);
                self.write(at(by), |table| drop(table.put(key(k), value)))
            }
            Action::Remove { by, key: k } => self.write(at(by), |table| {
                table.remove(&key(k));
            }),
            Action::Withdraw { by, key: k, which } => {
                let live: Vec<Dot> =
                    self.tables[at(by)].live(&key(k)).map(|(of, n, _)| Dot::new(of.clone(), n)).collect();
                let Some(dot) = live.get(usize::from(which)) else { return false };
                self.write(at(by), |table| {
                    table.withdraw(&key(k), dot);
                })
            }
            Action::Early { from, to, which } => {
                let Some((from, to)) = pair(from, to) else { return false };
                let delta = self.tables[from].delta_for(self.tables[to].context());
                let Some(event) = delta.and_then(|(events, _)| events.get(usize::from(which)).cloned()) else {
                    return false;
                };
                self.tables[to].apply(event);
                true
            }
            Action::Delta { from, to } => pair(from, to).is_some_and(|(from, to)| {
                let [from, to] = self.tables.get_disjoint_mut([from, to]).expect("two replicas");
                by_delta(from, to)
            }),
            Action::Push { from, to, acked } => pair(from, to).is_some_and(|(from, to)| self.push(from, to, acked)),
            Action::Send { from, to } => pair(from, to).is_some_and(|(from, to)| {
                let delta = self.tables[from].delta_for(self.tables[to].context());
                let Some((events, intervals)) = delta.filter(|_| self.wires.len() < WIRES_MAX) else { return false };
                self.wires.push(Wire { to, events, intervals });
                true
            }),
            Action::Receive { which, events, turn } => self.receive(which, events, turn),
            Action::Range { from, to } => pair(from, to).is_some_and(|(from, to)| self.range(from, to)),
            Action::Cut { from, to } => {
                pair(from, to).is_some_and(|(from, to)| self.states.remove(&(from, to)).is_some())
            }
            Action::Collect { by } => {
                let clocks: Vec<(NodeId, Clock)> =
                    self.tables.iter().map(|t| (t.origin().clone(), t.context().clock().clone())).collect();
                let by = &mut self.tables[at(by)];
                let me = by.origin().clone();
                let before = by.removals_len();
                by.collect(LOG_REMOVALS_MAX, |of| {
                    let others = clocks.iter().filter(|(id, _)| *id != me && id != of);
                    others.map(|(_, clock)| clock.get(of)).min().unwrap_or(u64::MAX)
                });
                by.removals_len() < before
            }
            Action::Retire { by, whom } => pair(by, whom).is_some_and(|(by, whom)| {
                let mut retired = Retired::default();
                retired.insert(self.tables[whom].origin());
                let news = !self.tables[by].retired().contains(self.tables[whom].origin());
                self.tables[by].retire(&retired);
                news
            }),
            Action::Reborn { by } => self.reborn(at(by)),
        }
    }

    /// Writes, and tells the oracle. What an event covers must have been seen by its writer, or be covered by something
    /// that was.
    fn write(&mut self, by: usize, write: impl FnOnce(&mut T)) -> bool {
        let table = &mut self.tables[by];
        let (before, origin) = (table.context().clone(), table.origin().clone());
        write(table);
        let after = table.context().clock().get(&origin);
        let all = all_events(table);
        for counter in before.clock().get(&origin) + 1..=after {
            let event = all.iter().find(|event| event.dot == Dot::new(origin.clone(), counter)).expect("just written");
            let seen = |dot: &Dot| before.contains(&dot.actor, dot.counter);
            let on_key = || self.written.values().filter(|other| other.key == event.key);
            for other in on_key().filter(|other| event.covers(&other.dot) && !seen(&other.dot)) {
                // A put stands for what its writer wrote before: it covered that, or knew it to be removed.
                let stands = |put: &Event| !put.is_remove() && put.dot > other.dot;
                let covered = on_key().any(|by| seen(&by.dot) && (by.covers(&other.dot) || stands(by)));
                assert!(covered, "{event:?} covers {other:?}, which its writer cannot know");
            }
            self.written.insert((origin.clone(), counter), event.clone());
        }
        after > before.clock().get(&origin)
    }

    fn push(&mut self, from: usize, to: usize, acked: bool) -> bool {
        let [from, to] = self.tables.get_disjoint_mut([from, to]).expect("two replicas");
        to.retire(from.retired());
        let acked = if acked { to.context().clock().clone() } else { Clock::default() };
        let sent = acked.get(from.origin());
        let Some((events, interval)) = from.own_delta(sent, &acked, 1000, usize::MAX) else { return false };
        for event in events {
            to.apply(event);
        }
        to.close(&[interval]);
        true
    }

    fn receive(&mut self, which: u8, count: u8, turn: u8) -> bool {
        let Some(at) = usize::from(which).checked_rem(self.wires.len()) else { return false };
        let wire = self.wires[at].clone();
        let count = usize::from(count).min(wire.events.len());
        let mut part = wire.events[..count].to_vec();
        if count > 0 {
            part.rotate_left(usize::from(turn) % count);
        }
        for event in part {
            self.tables[wire.to].apply(event);
        }
        if count == wire.events.len() {
            self.tables[wire.to].close(&wire.intervals);
        }
        if !turn.is_multiple_of(3) {
            self.wires.remove(at);
        }
        true
    }

    fn range(&mut self, from: usize, to: usize) -> bool {
        let mut incoming = self.states.remove(&(from, to)).unwrap_or_else(|| incoming(&self.tables[to]));
        let [sender, receiver] = self.tables.get_disjoint_mut([from, to]).expect("two replicas");
        receiver.retire(sender.retired());
        if next_turn(sender, receiver, &mut incoming, 1) {
            self.states.insert((from, to), incoming);
        } else {
            receiver.adopt(incoming);
            // Whoever adopts while it is asked lists less than what it had seen when it sent the roots explains: those who
            // ask it would differ, until they have pulled again, from what their context says.
            self.states.retain(|(serving, _), _| *serving != to);
        }
        true
    }

    fn reborn(&mut self, by: usize) -> bool {
        let id = self.tables[by].origin().clone();
        if !self.tables[by].retired().contains(&id) {
            return false;
        }
        self.boots += 1;
        let id = boot(id.name.as_str(), self.boots);
        self.tables[by].reborn(id.clone());
        for event in all_events(&self.tables[by]).into_iter().filter(|event| event.dot.actor == id) {
            self.written.insert((id.clone(), event.dot.counter), event);
        }
        true
    }

    /// Every replica shows exactly what it has seen and nothing that it has seen covers.
    fn check(&self, when: &str) {
        for table in &self.tables {
            let seen = |event: &&Event| table.context().contains(&event.dot.actor, event.dot.counter);
            let mut expected: BTreeSet<(K, NodeId, u64, V)> = BTreeSet::new();
            for event in self.written.values().filter(seen) {
                let Some(value) = event.value else { continue };
                let may = |other: &Event| self.kind == Kind::Shared || other.dot.actor == event.dot.actor;
                let follows =
                    |other: &Event| other.dot.actor == event.dot.actor && other.dot.counter > event.dot.counter;
                let supersedes =
                    |other: &Event| other.covers(&event.dot) || (self.kind == Kind::OwnerWritten && follows(other));
                let covers = |other: &Event| other.key == event.key && may(other) && supersedes(other);
                if !self.written.values().filter(seen).any(covers) {
                    expected.insert((event.key, event.dot.actor.clone(), event.dot.counter, value));
                }
            }
            assert_eq!(super::contents(table), expected, "{when}, at {}: {table:?}", table.origin());
            assert_eq!(table.live_len(), expected.len(), "{when}");
        }
    }

    /// Everyone is told everything; all are equal then, nothing is missing, and equal digests say so.
    pub fn quiesce(mut self) {
        let order: Vec<(usize, usize)> =
            (0..self.tables.len()).flat_map(|from| (0..self.tables.len()).map(move |to| (from, to))).collect();
        let mut rounds = 0;
        while self.tables.windows(2).any(|pair| pair[0] != pair[1]) {
            for &(from, to) in order.iter().filter(|(from, to)| from != to) {
                self.reborn(from);
                let [from, to] = self.tables.get_disjoint_mut([from, to]).expect("two replicas");
                sync(from, to);
            }
            rounds += 1;
            assert!(rounds <= 6, "the replicas do not converge: {:?}", self.tables);
        }
        self.check("after everything");
        for table in &self.tables {
            assert_eq!(table.digest(), self.tables[0].digest());
            assert_eq!(table.sum(), self.tables[0].sum());
            for (origin, counter) in self.written.keys() {
                let dropped = self.kind == Kind::OwnerWritten && table.retired().contains(origin);
                assert_eq!(table.context().contains(origin, *counter), !dropped, "{origin:?}.{counter} at {table:?}");
            }
        }
    }

    /// What distinguishes this world from others.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = StableHasher::new(0);
        for table in &self.tables {
            (table.origin(), table.digest(), table.horizon()).hash(&mut hasher);
            hash_events(&all_events(table), &mut hasher);
        }
        for wire in &self.wires {
            (wire.to, wire.intervals.len()).hash(&mut hasher);
            hash_events(&wire.events, &mut hasher);
        }
        for (pair, incoming) in &self.states {
            (pair, format!("{incoming:?}")).hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn hash_events(events: &[Event], hasher: &mut StableHasher) {
    for event in events {
        (&event.dot, event.key, event.value, &event.covers).hash(hasher);
    }
}
