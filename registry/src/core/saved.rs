//! What of a replica outlives its process: its whole state, or what changed of it since it was last asked for.
//!
//! ```text
//!   changes   -> unsaved keys -> Saved (those keys as they are now, and what the replica has seen) -> a disk
//!   a restart -> Saved (all keys) -> a replica that goes on as the one did that was saved
//! ```
//!
//! On a disk everything is MessagePack with names, so that later versions can read it, and every record has a checksum.
//!
//! Each [`Saved`] is one moment of the replica: what it says to have seen, it holds, or holds what superseded it. So what
//! comes back from a disk is a replica that was away for a while, and is healed as such a one is.

use std::collections::BTreeSet;

use ordu_transport::core::NodeId;
use ordu_transport::core::hash::StableHasher;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use triomphe::Arc;

use super::clock::{Clock, Context, Dot};
use super::covers::Covers;
use super::delta::{Event, Key, Payload};
use super::retire::Retired;
use super::sync::Replica;
use super::table::{Shared, Table};

/// A replica as it was at one moment: all of its keys, or those that changed since the last one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Saved<K: Key, V: Payload> {
    /// What it had seen.
    pub context: Context,
    /// Below this it could no longer tell every removal.
    pub horizon: Clock,
    /// Which incarnations it knew to be over.
    pub retired: Retired,
    /// How many events it held in all, under these keys and the others.
    pub events: u64,
    /// Keys in order, each with all its events that nothing supersedes; none: the key is gone.
    pub keys: Vec<(K, Vec<Shared<K, V>>)>,
}

impl<K: Key, V: Payload> Default for Saved<K, V> {
    fn default() -> Self {
        let (context, horizon, retired, events, keys) = Default::default();
        Self { context, horizon, retired, events, keys }
    }
}

/// The record cannot be read: something else has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record is damaged or missing")]
pub struct Damaged;

/// An event as it is kept: its key is the record's.
#[derive(Serialize, Deserialize)]
struct Row<V> {
    origin: NodeId,
    counter: u64,
    value: Option<V>,
    covers: Covers,
}

/// What a replica had seen, as it is kept.
#[derive(Deserialize)]
struct Seen {
    context: Context,
    horizon: Clock,
    retired: Retired,
    events: u64,
}

/// The same, on its way there.
#[derive(Serialize)]
struct SeenOf<'a> {
    context: &'a Context,
    horizon: &'a Clock,
    retired: &'a Retired,
    events: u64,
}

const PURPOSE_SAVED: u64 = 9;
const CHECKSUM_BYTES: usize = 8;

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    StableHasher::new(PURPOSE_SAVED).bytes(key).bytes(value).finish().to_le_bytes()
}

/// A value as the record of a key holds it.
pub fn seal<T: Serialize>(key: &[u8], value: &T) -> Vec<u8> {
    let bytes = rmp_serde::to_vec_named(value).expect("what is kept can be written");
    [&checksum(key, &bytes)[..], &bytes].concat()
}

/// The value that the record of a key holds.
///
/// # Errors
/// [`Damaged`] if it holds something else.
pub fn unseal<T: DeserializeOwned>(key: &[u8], record: &[u8]) -> Result<T, Damaged> {
    let (sum, bytes) = record.split_at_checked(CHECKSUM_BYTES).ok_or(Damaged)?;
    if sum != checksum(key, bytes) {
        return Err(Damaged);
    }
    rmp_serde::from_slice(bytes).map_err(|_| Damaged)
}

/// A record: its key, and what it holds; `None`: it goes.
pub type Record = (Vec<u8>, Option<Vec<u8>>);

impl<K: Key, V: Payload> Saved<K, V> {
    /// The record of what was seen, under a key of its own.
    pub fn seen_record(&self, key: &[u8]) -> Vec<u8> {
        let Self { context, horizon, retired, events, .. } = self;
        seal(key, &SeenOf { context, horizon, retired, events: *events })
    }

    /// The records of the keys.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.keys.iter().map(|(key, events)| {
            let key = rmp_serde::to_vec_named(key).expect("a key can be written");
            let row = |event: &Shared<K, V>| Row {
                origin: event.dot.actor.clone(),
                counter: event.dot.counter,
                value: event.value.clone(),
                covers: event.covers.clone(),
            };
            let rows: Vec<Row<V>> = events.iter().map(row).collect();
            let record = (!rows.is_empty()).then(|| seal(&key, &rows));
            (key, record)
        })
    }

    /// What the records say. Takes the keys in any order.
    ///
    /// # Errors
    /// [`Damaged`] if one of them cannot be read, or some are missing: what was seen and is not held counts as gone.
    pub fn from_records(
        seen_key: &[u8],
        seen: &[u8],
        records: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, Damaged> {
        let Seen { context, horizon, retired, events } = unseal(seen_key, seen)?;
        let mut keys = Vec::new();
        for (key_bytes, record) in records {
            let key: K = rmp_serde::from_slice(&key_bytes).map_err(|_| Damaged)?;
            let rows: Vec<Row<V>> = unseal(&key_bytes, &record)?;
            let event = |Row { origin, counter, value, covers }: Row<V>| {
                Arc::new(Event { dot: Dot::new(origin, counter), key: key.clone(), value, covers })
            };
            let events: Vec<Shared<K, V>> = rows.into_iter().map(event).collect();
            keys.push((key, events));
        }
        keys.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let held: usize = keys.iter().map(|(_, events)| events.len()).sum();
        if held as u64 != events {
            return Err(Damaged);
        }
        Ok(Self { context, horizon, retired, events, keys })
    }

    /// Takes later changes up, as a disk does.
    pub fn apply(&mut self, later: Saved<K, V>) {
        let Saved { context, horizon, retired, events, keys } = later;
        (self.context, self.horizon, self.retired, self.events) = (context, horizon, retired, events);
        for (key, events) in keys {
            match self.keys.binary_search_by(|(of, _)| of.cmp(&key)) {
                Ok(at) if events.is_empty() => drop(self.keys.remove(at)),
                Ok(at) => self.keys[at].1 = events,
                Err(_) if events.is_empty() => {}
                Err(at) => self.keys.insert(at, (key, events)),
            }
        }
    }
}

impl<K: Key, V: Payload> Replica<K, V> {
    /// Goes on where the one was that was saved, under an identity of its own; keeps note of changes from then on. Only for
    /// a replica that has seen nothing.
    pub fn restore(&mut self, saved: Saved<K, V>) {
        debug_assert!(self.table.is_empty(), "it has seen something");
        self.touched.extend(saved.keys.iter().map(|(key, _)| key.clone()));
        self.table.restore(saved);
        self.table.unsaved = Some(BTreeSet::new());
    }

    /// Whether keys have changed that were not taken with [`Self::take_unsaved`].
    pub fn is_unsaved(&self) -> bool {
        self.table.unsaved.as_ref().is_some_and(|keys| !keys.is_empty())
    }

    /// The keys that changed since the last call, as they are now. `None` if none did, or nobody wants to know.
    pub fn take_unsaved(&mut self) -> Option<Saved<K, V>> {
        let keys = self.table.unsaved.as_mut().map(std::mem::take).filter(|keys| !keys.is_empty())?;
        let table = &self.table;
        let keys = keys.into_iter().map(|key| {
            let events = table.events_of(&key).cloned().collect();
            (key, events)
        });
        Some(Saved {
            keys: keys.collect(),
            context: table.context().clone(),
            horizon: table.horizon().clone(),
            retired: table.retired().clone(),
            events: (table.live_len() + table.removals_len()) as u64,
        })
    }
}

impl<K: Key, V: Payload> Table<K, V> {
    fn restore(&mut self, saved: Saved<K, V>) {
        let Saved { context, horizon, retired, keys, .. } = saved;
        self.retire(&retired);
        for event in keys.into_iter().flat_map(|(_, events)| events) {
            self.insert(event);
        }
        // What was seen and superseded is seen all the same.
        (self.context, self.horizon) = (context, horizon);
        self.kin.take();
        self.changed();
    }
}
