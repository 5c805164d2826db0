//! What is replicated about names: claims of processes to names, and the fences of their activations.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;
use compact_str::CompactString;
use ordu_transport::core::id::validate_name;
use ordu_transport::core::{Hlc, InvalidName, NodeId, Pid};
use serde::{Deserialize, Serialize};

use super::delta::{Key, Payload, place_of};
use super::groups::{checked, place_of_group};
use super::rank::Rank;
use super::table::Shared;
use crate::travels_as_it_is;

/// Longest value of a claim, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// A registry name: 1 to 200 of `A-Z a-z 0-9 . _ : - /`. Short ones need no memory of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "CompactString")]
pub struct Name(CompactString);

impl Name {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        validate_name(text, true)?;
        Ok(Self(text.into()))
    }

    pub(super) fn of_text(text: CompactString) -> Self {
        Self(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, a copy of its own.
    pub fn text(&self) -> std::sync::Arc<str> {
        self.0.as_str().into()
    }
}

impl TryFrom<CompactString> for Name {
    type Error = InvalidName;
    fn try_from(text: CompactString) -> Result<Self, InvalidName> {
        checked(text).map(Self)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key for Name {
    fn place(&self) -> u64 {
        self.group().map_or_else(|| place_of(self), place_of_group)
    }
}

impl Payload for Name {
    travels_as_it_is!();

    fn size_bytes(&self) -> usize {
        self.0.len() + 2
    }
}

/// A totally ordered token of one activation of a process: of two activations that heard of each other, the later has
/// the higher. Displayed as 32 hex digits that sort as the fences do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    at: Hlc,
    node: u64,
}

impl Fence {
    /// The fence of an activation at `at` on `node`.
    pub fn new(at: Hlc, node: &NodeId) -> Self {
        Self { at, node: node.nonce }
    }

    /// When it was given, by the hybrid logical clock of its node.
    pub fn at(&self) -> Hlc {
        self.at
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.at.as_u64(), self.node)
    }
}

/// What a process says of itself under a name. Takes no room of its own while it is empty.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Bytes", into = "Bytes")]
pub struct Value(Option<Box<Bytes>>);

static NOTHING: Bytes = Bytes::new();

impl Deref for Value {
    type Target = Bytes;
    fn deref(&self) -> &Bytes {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(bytes)))
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        Bytes::clone(&value)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A process's claim to a name, as its own node writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The process.
    pub pid: Pid,
    /// Its place in conflicts.
    pub rank: Rank,
    /// Its activation's fence; it rises when a conflict is won.
    pub fence: Fence,
    /// When it was activated.
    pub since: Hlc,
    /// What the process says of itself under this name.
    pub value: Value,
    /// The process lost a conflict against this one and is on its way out.
    pub losing: Option<Box<Pid>>,
}

impl Claim {
    /// The order of conflicts: the lesser stays.
    pub fn order(&self) -> (&Rank, &Pid) {
        (&self.rank, &self.pid)
    }
}

impl Payload for Claim {
    type Packed = PackedClaim;

    fn size_bytes(&self) -> usize {
        const FIXED_BYTES: usize = 64;
        FIXED_BYTES + self.pid.node.name.as_str().len() + self.rank.size_bytes() + self.value.len()
    }

    fn pack(&self, origin: &NodeId) -> PackedClaim {
        let node = (self.pid.node != *origin).then(|| self.pid.node.clone());
        let rank = (self.rank != Rank::longest_running(self.since)).then(|| self.rank.clone());
        let fence = (self.fence != Fence::new(self.since, origin)).then_some(self.fence);
        PackedClaim(
            self.pid.serial,
            node,
            self.since,
            rank,
            fence,
            Bytes::clone(&self.value),
            self.losing.as_deref().cloned(),
        )
    }

    fn unpack(packed: PackedClaim, origin: &NodeId) -> Self {
        let PackedClaim(serial, node, since, rank, fence, value, losing) = packed;
        Claim {
            pid: Pid::new(node.unwrap_or_else(|| origin.clone()), serial),
            rank: rank.unwrap_or_else(|| Rank::longest_running(since)),
            fence: fence.unwrap_or_else(|| Fence::new(since, origin)),
            since,
            value: value.into(),
            losing: losing.map(Box::new),
        }
    }
}

/// A claim as it travels: serial; the node, where its process began under an earlier incarnation of its writer; since;
/// rank, where it is another than that of the longest-running; fence, where it is another than that of the activation;
/// value; to whom it loses.
#[derive(Debug, Serialize, Deserialize)]
pub struct PackedClaim(u64, Option<NodeId>, Hlc, Option<Rank>, Option<Fence>, Bytes, Option<Pid>);

/// What a lookup shows: the best-ranked visible claim to a name. Clones share it, and it is the event that the table holds.
#[derive(Clone)]
pub struct Entry(Shared<Name, Claim>);

impl Entry {
    /// The entry that shows this event, if it claims.
    pub fn of(event: &Shared<Name, Claim>) -> Option<Self> {
        event.value.is_some().then(|| Self(event.clone()))
    }

    pub(super) fn event(&self) -> &Shared<Name, Claim> {
        &self.0
    }

    fn claim(&self) -> &Claim {
        self.0.value.as_ref().expect("an entry is made of an event that claims")
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.0.key
    }

    /// The node whose claim it is.
    pub fn node(&self) -> &NodeId {
        &self.0.dot.actor
    }

    /// The process.
    pub fn pid(&self) -> &Pid {
        &self.claim().pid
    }

    /// Its activation's fence.
    pub fn fence(&self) -> Fence {
        self.claim().fence
    }

    /// When it was activated.
    pub fn since(&self) -> Hlc {
        self.claim().since
    }

    /// What it says of itself under this name.
    pub fn value(&self) -> &Bytes {
        &self.claim().value
    }

    pub(super) fn is_losing(&self) -> bool {
        self.claim().losing.is_some()
    }

    fn shown(&self) -> (&Name, &NodeId, &Pid, Fence, Hlc, &Bytes) {
        (self.name(), self.node(), self.pid(), self.fence(), self.since(), self.value())
    }
}

impl PartialEq for Entry {
    /// Whether both show the same, whichever events they are of.
    fn eq(&self, other: &Self) -> bool {
        Shared::ptr_eq(&self.0, &other.0) || self.shown() == other.shown()
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shown().hash(state);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", self.name())
            .field("node", self.node())
            .field("pid", self.pid())
            .field("fence", &self.fence())
            .field("since", &self.since())
            .field("value", self.value())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::delta::Event;

    /// A million names are a million of these: with its count of owners it fills 128 bytes of the heap.
    #[test]
    fn a_claim_stays_small() {
        assert!(size_of::<Event<Name, Claim>>() <= 120, "{}", size_of::<Event<Name, Claim>>());
    }

    #[test]
    fn a_value_is_what_it_was_made_of() {
        for bytes in [Bytes::new(), Bytes::from_static(b"here")] {
            let value = Value::from(bytes.clone());
            assert_eq!((&*value, Bytes::from(value.clone())), (&bytes, bytes.clone()));
        }
    }
}
