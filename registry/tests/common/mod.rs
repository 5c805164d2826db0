//! Tables with small keys and values, and the ways in which their events travel.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "shared between test binaries")]

pub mod world;

use std::collections::BTreeSet;
use triomphe::Arc;

use ordu_registry::core::clock::{Context, Dot};
use ordu_registry::core::delta::{self, Payload};
use ordu_registry::core::reconcile::{Ask, Incoming, Next};
use ordu_registry::core::table::{Kind, Table};
use ordu_transport::core::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct K(pub u8);

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct V(pub u32);

impl delta::Key for K {
    /// In their own order, so that tests can tell where a range ends.
    fn place(&self) -> u64 {
        u64::from(self.0) << 40
    }
}

impl Payload for K {
    fn size_bytes(&self) -> usize {
        1
    }
}

impl Payload for V {
    fn size_bytes(&self) -> usize {
        4
    }
}

pub type T = Table<K, V>;
pub type Event = Arc<delta::Event<K, V>>;
pub type Message = delta::Message<K, V>;

/// The key of tests that need just one.
pub const KEY: K = K(7);

/// First boot of the node of this name.
pub fn node(name: &str) -> NodeId {
    boot(name, 1)
}

/// The node of this name in this boot.
pub fn boot(name: &str, boot: u64) -> NodeId {
    NodeId::new(NodeName::new(name).unwrap(), boot, boot)
}

pub fn shared(name: &str) -> T {
    Table::new(Kind::Shared, node(name))
}

pub fn owned(name: &str) -> T {
    Table::new(Kind::OwnerWritten, node(name))
}

/// The event of this dot, from a log that still holds it.
pub fn event(table: &T, dot: &Dot) -> Event {
    let (events, _) = table.delta_for(&Context::default()).expect("nothing was collected here");
    events.into_iter().find(|event| event.dot == *dot).expect("the event is in the log")
}

/// Puts, and returns the event.
pub fn put(table: &mut T, key: K, value: u32) -> Event {
    let dot = table.put(key, V(value));
    latest(table, dot)
}

/// Removes, and returns the event.
pub fn remove(table: &mut T, key: K) -> Event {
    assert!(table.remove(&key), "there is something to remove");
    let dot = table.context().clock().dot(table.origin().clone());
    latest(table, dot)
}

/// Withdraws, and returns the event.
pub fn withdraw(table: &mut T, key: K, what: &Dot) -> Event {
    assert!(table.withdraw(&key, what), "there is something to withdraw");
    let dot = table.context().clock().dot(table.origin().clone());
    latest(table, dot)
}

/// An event that was written just now, whatever the horizon.
fn latest(table: &T, dot: Dot) -> Event {
    all_events(table).into_iter().find(|event| event.dot == dot).expect("the event is in the log")
}

/// Everything in a table's log.
pub fn all_events(table: &T) -> Vec<Event> {
    table.answer(&Ask::default(), usize::MAX).events.into()
}

/// The live values under a key, in order.
pub fn live(table: &T, key: K) -> Vec<u32> {
    let mut values: Vec<u32> = table.live(&key).map(|(_, _, value)| value.0).collect();
    values.sort_unstable();
    values
}

/// Everything live.
pub fn contents(table: &T) -> BTreeSet<(K, NodeId, u64, V)> {
    let keys = table.keys().copied();
    keys.flat_map(|key| table.live(&key).map(move |(origin, counter, value)| (key, origin.clone(), counter, *value)))
        .collect()
}

/// Brings `to` what it lacks of `from` by a delta, or returns false where it is below the horizon.
pub fn by_delta(from: &T, to: &mut T) -> bool {
    to.retire(from.retired());
    let Some((events, intervals)) = from.delta_for(to.context()) else { return false };
    events.into_iter().for_each(|event| {
        to.apply(event);
    });
    to.close(&intervals);
    true
}

/// Brings `to` everything of `from` by reconciliation, about `bytes_max` of it at a time.
pub fn by_state(from: &T, to: &mut T, bytes_max: usize) {
    to.retire(from.retired());
    let mut incoming = incoming(to);
    while next_turn(from, to, &mut incoming, bytes_max) {}
    to.adopt(incoming);
}

/// The beginning of a reconciliation.
pub fn incoming(to: &T) -> Incoming {
    Incoming::new(0, to.context().clone())
}

/// Brings `to` the next answer of `from`. Returns whether another one follows.
pub fn next_turn(from: &T, to: &mut T, incoming: &mut Incoming, bytes_max: usize) -> bool {
    let answer = from.answer(incoming.ask(), bytes_max);
    match to.take_answer(incoming, answer, &mut Vec::new()) {
        Next::Ask => true,
        Next::Adopt => false,
        next => panic!("{next:?}"),
    }
}

/// Brings `to` everything of `from` as production does.
pub fn sync(from: &T, to: &mut T) {
    if !by_delta(from, to) {
        by_state(from, to, 1);
    }
}
