//! What is replicated about names: claims of processes to names, and the fences of their activations.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;

use bytes::Bytes;
use compact_str::CompactString;
use ordu_transport::core::id::validate_name;
use ordu_transport::core::{Hlc, InvalidName, NodeId, Pid};
use serde::{Deserialize, Serialize};

use super::delta::{Key, Payload, place_of};
use super::groups::{check, place_of_group};
use super::rank::Rank;
use super::table::Shared;
use super::wire::{Malformed, Near, Reader, Writer};

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
        check(&text).map(|()| Self(text))
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
    fn size_bytes(&self) -> usize {
        self.0.len() + 2
    }

    fn write<'a>(&'a self, _: &NodeId, to: &mut Writer<'a>) {
        to.bytes(self.0.as_bytes());
    }

    fn read(from: &mut Reader<'_>, _: &NodeId) -> Result<Self, Malformed> {
        let text = from.text()?;
        check(text).map_err(Malformed::new)?;
        Ok(Self(text.into()))
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

/// A text is not a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fence is {FENCE_DIGITS} digits of 0-9 and a-f")]
pub struct InvalidFence;

/// How many digits a fence is displayed as.
pub const FENCE_DIGITS: usize = 32;

impl FromStr for Fence {
    type Err = InvalidFence;
    /// What [`Display`](fmt::Display) shows, and nothing else: other texts would not sort as the fences do.
    fn from_str(text: &str) -> Result<Self, InvalidFence> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != FENCE_DIGITS || !text.bytes().all(is_digit) {
            return Err(InvalidFence);
        }
        let (at, node) = text.split_at(FENCE_DIGITS / 2);
        let number = |half: &str| u64::from_str_radix(half, 16).map_err(|_| InvalidFence);
        Ok(Fence { at: Hlc::from_u64(number(at)?), node: number(node)? })
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

/// What the first byte of a claim on the wire says: which of the parts that most claims do without are there.
const NODE: u8 = 1;
const RANK: u8 = 2;
const FENCE: u8 = 4;
const VALUE: u8 = 8;
const LOSING: u8 = 16;

/// On the wire: flags; the process's serial; when it was activated; and where they do not follow from those and from who
/// wrote the claim, the node under which the process began, an earlier incarnation of its writer; its rank; its fence; its
/// value; to whom it loses.
impl Payload for Claim {
    fn size_bytes(&self) -> usize {
        const FIXED_BYTES: usize = 64;
        FIXED_BYTES + self.pid.node.name.as_str().len() + self.rank.size_bytes() + self.value.len()
    }

    fn write<'a>(&'a self, origin: &NodeId, to: &mut Writer<'a>) {
        let Claim { pid, rank, fence, since, value, losing } = self;
        let node = Some(&pid.node).filter(|node| *node != origin);
        let rank = Some(rank).filter(|rank| **rank != Rank::longest_running(*since));
        let fence = Some(fence).filter(|fence| **fence != Fence::new(*since, origin));
        let value = Some(value).filter(|value| !value.is_empty());
        let parts = [
            (node.is_some(), NODE),
            (rank.is_some(), RANK),
            (fence.is_some(), FENCE),
            (value.is_some(), VALUE),
            (losing.is_some(), LOSING),
        ];
        to.byte(parts.iter().filter(|(is_there, _)| *is_there).fold(0, |flags, (_, part)| flags | part));
        to.near(Near::Serial, pid.serial);
        to.near(Near::Stamp, since.as_u64());
        if let Some(node) = node {
            to.node(node);
        }
        if let Some(rank) = rank {
            to.bytes(rank.as_bytes());
        }
        if let Some(fence) = fence {
            to.near(Near::Stamp, fence.at.as_u64());
            to.number(fence.node);
        }
        if let Some(value) = value {
            to.bytes(value);
        }
        if let Some(pid) = losing {
            to.node(&pid.node);
            to.number(pid.serial);
        }
    }

    fn read(from: &mut Reader<'_>, origin: &NodeId) -> Result<Self, Malformed> {
        let flags = from.byte()?;
        if flags & !(NODE | RANK | FENCE | VALUE | LOSING) != 0 {
            return Err(Malformed::new(format_args!("a claim of unknown flags {flags:#04x}")));
        }
        let has = |part: u8| flags & part != 0;
        let serial = from.near(Near::Serial)?;
        let since = Hlc::from_u64(from.near(Near::Stamp)?);
        let node = if has(NODE) { from.node()? } else { origin };
        let rank = if has(RANK) { Rank::new(from.bytes()?) } else { Rank::longest_running(since) };
        let fence = if has(FENCE) {
            Fence { at: Hlc::from_u64(from.near(Near::Stamp)?), node: from.number()? }
        } else {
            Fence::new(since, origin)
        };
        let value = if has(VALUE) { Bytes::copy_from_slice(from.bytes()?).into() } else { Value::default() };
        let losing = if has(LOSING) { Some(Box::new(Pid::new(from.node()?.clone(), from.number()?))) } else { None };
        Ok(Claim { pid: Pid::new(node.clone(), serial), rank, fence, since, value, losing })
    }
}

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
    fn a_fence_is_read_as_it_is_displayed_and_in_no_other_way() {
        for (at, node) in [(0, 0), (u64::MAX, u64::MAX), (0x0193_5f00_0000_0001, 0xabcd)] {
            let fence = Fence { at: Hlc::from_u64(at), node };
            assert_eq!(fence.to_string().parse(), Ok(fence));
        }
        let digits = "0123456789abcdef0123456789abcdef";
        assert_eq!(digits.parse::<Fence>().map(|fence| fence.to_string()).as_deref(), Ok(digits));
        let (short, long) = (&digits[1..], format!("{digits}0"));
        let (upper, signed) = (digits.to_uppercase(), format!("+{}", &digits[1..]));
        let (spaced, wide) = (format!("{} ", &digits[1..]), format!("{}\u{e4}", &digits[2..]));
        for text in ["", short, &long, &upper, &signed, &spaced, &wide, "\u{e4}"] {
            assert_eq!(text.parse::<Fence>(), Err(InvalidFence), "{text:?}");
        }
    }

    #[test]
    fn a_value_is_what_it_was_made_of() {
        for bytes in [Bytes::new(), Bytes::from_static(b"here")] {
            let value = Value::from(bytes.clone());
            assert_eq!((&*value, Bytes::from(value.clone())), (&bytes, bytes.clone()));
        }
    }
}
