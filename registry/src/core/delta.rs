//! What travels between two replicas of one table.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use ordu_transport::core::NodeId;
use ordu_transport::core::hash::stable_hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::{Clock, Context, Dot};
use super::covers::Covers;
use super::reconcile::{Answer, Ask};
use super::retire::Retired;
use super::sync::DELTA_BYTES_MAX;
use super::wire::{Events, Malformed, Reader, Writer};

/// A key or a value of a replicated table.
pub trait Payload: Clone + Eq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// About how many bytes it takes on the wire; bounds deltas.
    fn size_bytes(&self) -> usize;

    /// Writes what travels of it in an event of `origin`: all but what follows from that. MessagePack, unless a kind of
    /// payload has better.
    fn write<'a>(&'a self, origin: &NodeId, to: &mut Writer<'a>) {
        let _ = origin;
        to.message_pack(self);
    }

    /// Reads what travelled in an event of `origin`.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    fn read(from: &mut Reader<'_>, origin: &NodeId) -> Result<Self, Malformed> {
        let _ = origin;
        from.message_pack()
    }
}

const PURPOSE_PLACE: u64 = 3;

const DOT_BYTES: usize = 32;
/// Most events of a message: no sender takes more together, as each counts as more than its dot.
pub const EVENTS_MAX: usize = DELTA_BYTES_MAX / DOT_BYTES;
/// Most nodes that a message names beside its events: each slot that they cover counts as much too.
pub const NODES_MAX: usize = EVENTS_MAX;

/// A key of a replicated table. Its `Hash` must be the same on every machine.
pub trait Key: Payload + Ord + Hash {
    /// Where it belongs among the keys of a table, the same on every machine and spread evenly; keys of one place are found
    /// together. A hash of all of it, unless a kind of key wants it otherwise.
    fn place(&self) -> u64 {
        place_of(self)
    }
}

/// A place that follows from all of this, the same on every machine.
pub fn place_of<T: Hash + ?Sized>(what: &T) -> u64 {
    stable_hash(PURPOSE_PLACE, what)
}

/// A change of one key. It supersedes every event of its key that it covers, whichever arrives first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event<K: Key, V: Payload> {
    /// Its unique id.
    pub dot: Dot,
    /// What it changes.
    pub key: K,
    /// What it puts there; `None` removes.
    pub value: Option<V>,
    /// The key's version vector at the writer: per origin the highest dot of this key that the writer knew, including
    /// what those events cover themselves.
    pub covers: Covers,
}

impl<K: Key, V: Payload> Event<K, V> {
    /// Whether `self` supersedes the event of this dot on the same key.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.covers.get(&dot.actor) >= dot.counter
    }

    /// Whether it removes.
    pub fn is_remove(&self) -> bool {
        self.value.is_none()
    }

    /// About how many bytes it takes on the wire.
    pub fn size_bytes(&self) -> usize {
        let covers = DOT_BYTES * self.covers.len();
        self.key.size_bytes() + self.value.as_ref().map_or(1, Payload::size_bytes) + DOT_BYTES + covers
    }
}

/// The claim that every event of `origin` in `(from, to]` was sent, or is superseded by one that was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Whose events.
    pub origin: NodeId,
    /// Below the first, exclusive.
    pub from: u64,
    /// The last, inclusive.
    pub to: u64,
}

/// The last part of a delta: only this moves the receiver's clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Closing {
    /// How many events the delta's parts had in all; a receiver that took fewer does not close.
    pub events: u64,
    /// What is now complete.
    pub intervals: Vec<Interval>,
    /// Why it was sent.
    pub purpose: Purpose,
}

/// Why a delta is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Its sender wrote it, and tells everybody.
    #[serde(rename = "p")]
    Push,
    /// The same, and somebody waits for its acknowledgement.
    #[serde(rename = "h")]
    Hurry,
    /// To be passed on; see `relay`.
    #[serde(rename = "r")]
    Relay,
    /// It answers a pull: the sender had nothing more when it answered.
    #[serde(rename = "a")]
    Answer,
}

/// What many are to have had. See `stable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Of the members that were seen.
    pub members: u64,
    /// A hash of the table, or of the clock that the root has asked about.
    pub hash: u64,
    /// Which of the two.
    pub goal: bool,
}

/// What is said about a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Had {
    /// "My branch of the tree has had it."
    #[serde(rename = "b")]
    Branch {
        /// But for those below these: they cannot reach the one above them.
        without: BTreeSet<NodeId>,
        /// And also those below these, which turned to us.
        with: BTreeSet<NodeId>,
    },
    /// "Has yours?"
    #[serde(rename = "q")]
    Asked,
    /// "I cannot reach the one above me: you are it."
    #[serde(rename = "t")]
    Turned,
    /// "All have."
    #[serde(rename = "a")]
    All,
}

/// What one replica of a table says to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(bound(deserialize = ""))]
pub enum Message<K: Key, V: Payload> {
    /// "This is a hash of my whole state": sent to some peers each repair interval, and on connect.
    #[serde(rename = "g")]
    Digest {
        /// The hash.
        hash: u64,
        /// Whether the receiver shall show its own.
        ask: bool,
    },
    /// "Ours differ: send me what I lack."
    #[serde(rename = "p")]
    Pull {
        /// Which pull of the asker's.
        number: u64,
        /// What the asker has seen.
        context: Context,
        /// Its retirements.
        retired: Retired,
        /// The sum of the hashes of its live dots: with equal contexts it must be equal too.
        sum: u64,
    },
    /// A part of a delta.
    #[serde(rename = "d")]
    Delta {
        /// Which delta of the sender's; parts of one delta share it.
        number: u64,
        /// The sender's retirements, where the receiver may not have them yet.
        retired: Option<Retired>,
        /// Events, to be applied one by one.
        events: Events<K, V>,
        /// Present in the last part.
        closing: Option<Closing>,
    },
    /// "I have everything of these origins up to here."
    #[serde(rename = "a")]
    Ack {
        /// Slots of the receiver's clock.
        clock: Clock,
    },
    /// A turn of a reconciliation, for a peer that lacks much or is below the sender's horizon.
    #[serde(rename = "s")]
    State {
        /// The sender's retirements.
        retired: Retired,
        /// What it says.
        answer: Answer<K, V>,
    },
    /// "Go on."
    #[serde(rename = "m")]
    More(Ask),
    /// Who has had what we have. See `stable`.
    #[serde(rename = "e")]
    Had {
        /// What.
        target: Target,
        /// Who.
        had: Had,
    },
    /// "Who has everything up to this?", from the root of the tree downwards. See `stable`.
    #[serde(rename = "w")]
    Goal {
        /// Of the members that were seen.
        members: u64,
        /// Up to where.
        clock: Clock,
    },
}
