//! Who: names of nodes, identities of their incarnations, and processes.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::defects::{Defect, is_present};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Longest node name, child id and registry name, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`] bytes.
    #[error("it has {0} bytes, more than {NAME_BYTES_MAX}")]
    TooLong(usize),
    /// The text holds a character that names do not have.
    #[error("{0:?} is not one of A-Z a-z 0-9 . _ : -{1}")]
    Character(char, &'static str),
}

/// Checks that `text` is 1 to 200 of `A-Z a-z 0-9 . _ : -`, and `/` where `slash` allows it.
pub fn validate_name(text: &str, slash: bool) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong(text.len()));
    }
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-') || (slash && byte == b'/');
    match text.bytes().position(|byte| !allowed(byte)) {
        // What is before it is ASCII, so a character begins there.
        Some(at) => {
            let c = text[at..].chars().next().unwrap_or_default();
            Err(InvalidName::Character(c, if slash { " /" } else { "" }))
        }
        None => Ok(()),
    }
}

/// The name of a node: what an operator calls it, kept across restarts.
///
/// Compared and ordered as its text is.
#[derive(Clone, Serialize)]
#[serde(into = "Arc<str>")]
pub struct NodeName {
    /// The first bytes of the text, the first one highest, zeros behind a shorter one: most comparisons need no more,
    /// and every table of ours is kept by node.
    head: u64,
    text: Arc<str>,
}

impl NodeName {
    const HEAD_BYTES: usize = 8;

    /// Checks and takes a name: 1 to 200 of `A-Z a-z 0-9 . _ : -`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        validate_name(text, false)?;
        let mut head = [0; Self::HEAD_BYTES];
        let len = text.len().min(Self::HEAD_BYTES);
        head[..len].copy_from_slice(&text.as_bytes()[..len]);
        Ok(Self { head: u64::from_be_bytes(head), text: text.into() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for NodeName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for NodeName {}

impl PartialOrd for NodeName {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeName {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            // No name holds a zero byte: a head that ends in one is the whole name.
            Ordering::Equal if self.head & 0xff == 0 || Arc::ptr_eq(&self.text, &other.text) => Ordering::Equal,
            Ordering::Equal => self.text.cmp(&other.text),
            unequal => unequal,
        }
    }
}

impl Hash for NodeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = NodeName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a node")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NodeName, E> {
                NodeName::new(text).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

impl From<NodeName> for Arc<str> {
    fn from(name: NodeName) -> Self {
        name.text
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One incarnation of a node: a restart is a new `NodeId` with a higher boot.
///
/// Ordered by name, then boot, then nonce, so that of two incarnations of one name the greater is the later. Clones share
/// its [`Incarnation`], because every event that a node writes carries its id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Arc<Incarnation>);

/// What a [`NodeId`] consists of.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// The node's name.
    pub name: NodeName,
    /// Counts the starts of the node, from 1; kept in its data directory.
    pub boot: u64,
    /// Random, so that two incarnations are never taken for one another, even after a lost disk.
    pub nonce: u64,
}

impl NodeId {
    /// An identity from its parts.
    pub fn new(name: NodeName, boot: u64, nonce: u64) -> Self {
        let nonce = if is_present(Defect::DotReuse) { 0 } else { nonce };
        Self(Arc::new(Incarnation { name, boot, nonce }))
    }

    /// Whether `self` is a later incarnation of the same name.
    pub fn supersedes(&self, other: &NodeId) -> bool {
        self.name == other.name && self.cmp(other) == Ordering::Greater
    }
}

impl Deref for NodeId {
    type Target = Incarnation;
    fn deref(&self) -> &Incarnation {
        &self.0
    }
}

impl PartialEq for NodeId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for NodeId {}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl Hash for NodeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.boot)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}~{:04x}", self.name, self.boot, self.nonce & 0xffff)
    }
}

/// A process: the incarnation of the node that runs it, and a number that this incarnation gave out once.
///
/// As text `NODE#BOOT.SERIAL`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid {
    /// The node that runs the process.
    pub node: NodeId,
    /// Counts the processes of that incarnation, from 1.
    pub serial: u64,
}

impl Pid {
    /// A pid from its parts.
    pub fn new(node: NodeId, serial: u64) -> Self {
        Self { node, serial }
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.serial)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.node, self.serial)
    }
}
