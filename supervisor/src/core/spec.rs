//! What should run: the child spec, as callers write it and as it is replicated.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::delta::place_of;
use ordu_transport::core::id::validate_name;
use ordu_transport::core::{InvalidName, NodeName};
use serde::{Deserialize, Serialize};

/// Longest `args` of a spec, in bytes.
pub const ARGS_BYTES_MAX: usize = 1 << 20;

/// About how long the rest of a spec may be, kind and labels together, in bytes.
pub const REST_BYTES_MAX: usize = 64 << 10;

/// Most restarts that an [`Intensity`] allows.
pub const RESTARTS_MAX: u32 = 1_000;

/// Shortest window of an [`Intensity`].
pub const WITHIN_MIN: Duration = Duration::from_millis(1);

/// Longest window of an [`Intensity`].
pub const WITHIN_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a child's init may take unless its spec says otherwise.
pub const INIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The least that it may be given.
pub const INIT_TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// The name of a child: 1 to 200 of `A-Z a-z 0-9 . _ : -`. A running child holds it as a registry name too.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "Arc<str>")]
pub struct ChildId {
    text: Arc<str>,
    /// Follows from the text; children are looked for by it all the time.
    place: u64,
}

impl ChildId {
    /// Checks and takes an id.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        validate_name(text, false)?;
        Ok(Self { text: text.into(), place: place_of(text) })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// One that is taken for another's neighbour.
    #[cfg(test)]
    pub(super) fn of_place(text: &str, place: u64) -> Self {
        Self { text: text.into(), place }
    }

    /// Where it belongs among the keys of a table.
    pub(super) fn place_in_tables(&self) -> u64 {
        self.place
    }
}

impl PartialEq for ChildId {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for ChildId {}

impl PartialOrd for ChildId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ChildId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.text, &other.text) { Ordering::Equal } else { self.text.cmp(&other.text) }
    }
}

impl Hash for ChildId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl TryFrom<String> for ChildId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<ChildId> for Arc<str> {
    fn from(id: ChildId) -> Self {
        id.text
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// When a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always, with back-off. When its node goes down another takes it over.
    #[default]
    Permanent,
    /// After an abnormal exit only; a normal exit ends it. When its node goes down another takes it over.
    Transient,
    /// Never: it runs once at most. When its node goes down it is suspended.
    Temporary,
}

/// How often a child may be restarted after it ended by itself. When it ends once more it is put into quarantine: no node
/// starts it until somebody restarts or terminates it. A copy on the other side of a cut goes on, and ends the quarantine.
/// Moves, wishes to restart it and lost conflicts do not count; where another node takes it over, or another start of
/// something else, the count begins anew.
///
/// With `escalates` its node is told besides: see [`Supervisor::escalated`](crate::Supervisor::escalated).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Intensity {
    /// So often within the window; at most [`RESTARTS_MAX`]. 0: its first end puts it into quarantine.
    pub restarts: u32,
    /// The window; from [`WITHIN_MIN`] to [`WITHIN_MAX`].
    pub within: Duration,
    /// Whether its failing too often says that something is wrong with its node.
    #[serde(default)]
    pub escalates: bool,
}

impl Intensity {
    /// So many restarts within a window, then quarantine.
    pub fn new(restarts: u32, within: Duration) -> Self {
        Self { restarts, within, escalates: false }
    }

    /// Whether it can be one of a child that is restarted in this way.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, restart: Restart) -> Result<(), String> {
        if restart == Restart::Temporary {
            Err("a temporary child is never restarted".to_owned())
        } else if self.restarts > RESTARTS_MAX {
            Err(format!("{} restarts are more than {RESTARTS_MAX}", self.restarts))
        } else if !(WITHIN_MIN..=WITHIN_MAX).contains(&self.within) {
            Err(format!("{:?} is not between 1ms and 24h", self.within))
        } else {
            Ok(())
        }
    }
}

/// Where a child may run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Placement {
    /// Anywhere: spread evenly by weighted rendezvous hashing of the id over the eligible nodes.
    #[default]
    Uniform,
    /// On the node of this name only; while it is not there the child is pending.
    Pinned(NodeName),
    /// On the node that has fewest children for its weight when it is started. There it stays as long as that may run it.
    LeastLoaded,
    /// Away from the children of a group when it is started. There it stays as long as that may run it.
    Apart(Apart),
}

impl Placement {
    /// Whether where a child goes depends on where others are: then its seat chooses a node for it, perhaps another one.
    pub fn chooses(&self) -> bool {
        match self {
            Placement::Uniform | Placement::Pinned(_) => false,
            Placement::LeastLoaded | Placement::Apart(_) => true,
        }
    }

    /// What it keeps away from in any case.
    pub(super) fn required_apart(&self) -> Option<&Apart> {
        if let Placement::Apart(apart) = self { Some(apart).filter(|apart| apart.required) } else { None }
    }

    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Placement::Uniform | Placement::LeastLoaded => 0,
            Placement::Pinned(name) => name.as_str().len(),
            Placement::Apart(Apart { group: (key, value), over, .. }) => {
                let over = if let Over::Label(label) = over { label.len() } else { 0 };
                key.len() + value.len() + over + 8
            }
        }
    }
}

/// How a child keeps away from others: it goes where fewest of a group are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Apart {
    /// The label, key and value, of those that it keeps away from; most often it has that label too.
    pub group: (String, String),
    /// What they are counted over. On one that has as many as another it goes to the node with fewest of them.
    pub over: Over,
    /// Whether it goes nowhere else than where none of them is; while there is no such place it is pending. Where two meet
    /// all the same, as after a cut, one of them moves as soon as there is such a place.
    pub required: bool,
}

/// What children are kept apart over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Over {
    /// The single node.
    Node,
    /// All nodes that have the same value of this label; those without it count as one place.
    Label(String),
}

/// Which nodes a child asks for by their labels, within its [`Placement`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Affinity {
    /// It runs on nodes that have all of these only; while there is none the child is pending.
    pub require: BTreeMap<String, String>,
    /// It runs on no node that has one of these.
    pub avoid: BTreeMap<String, String>,
    /// Of the nodes that may run it, it goes to one that has most of these.
    pub prefer: BTreeMap<String, String>,
}

impl Affinity {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.require.is_empty() && self.avoid.is_empty() && self.prefer.is_empty()
    }

    /// The first label that a node lacks, or has, so that it may not run the child.
    pub fn refuses<'a>(&'a self, labels: &BTreeMap<String, String>) -> Option<Refused<'a>> {
        let mut lacking = self.require.iter().filter(|(key, value)| labels.get(*key) != Some(*value));
        let mut avoided = self.avoid.iter().filter(|(key, value)| labels.get(*key) == Some(*value));
        let lacking = lacking.next().map(|(key, value)| Refused::Lacks(key, value));
        lacking.or_else(|| avoided.next().map(|(key, value)| Refused::Has(key, value)))
    }

    /// How many of the preferred labels a node lacks.
    pub fn dislikes(&self, labels: &BTreeMap<String, String>) -> u64 {
        self.prefer.iter().filter(|(key, value)| labels.get(*key) != Some(*value)).count() as u64
    }

    pub(super) fn size_bytes(&self) -> usize {
        labels_bytes(&self.require) + labels_bytes(&self.avoid) + labels_bytes(&self.prefer)
    }
}

/// Why a node's labels keep a child off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused<'a> {
    /// It lacks this one.
    Lacks(&'a str, &'a str),
    /// It has this one.
    Has(&'a str, &'a str),
}

/// About how many bytes labels take on the wire.
pub(super) fn labels_bytes(labels: &BTreeMap<String, String>) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len() + 4).sum()
}

/// In which order a child that is moved stops where it was and starts where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// It stops first: there are never two.
    #[default]
    StopFirst,
    /// It starts first: the one that is there goes on until the new one is through its init, and only then loses its name
    /// and is asked to stop. It hands its state to the one that is running by then. In a cluster that needs a quorum it
    /// stops first all the same.
    StartFirst,
}

/// What should run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChildSpec {
    /// The child's name, unique in the cluster.
    pub id: ChildId,
    /// Under which name the nodes list the code that runs it.
    pub kind: Arc<str>,
    /// What that code is given, in its own format; at most [`ARGS_BYTES_MAX`] bytes.
    pub args: Bytes,
    /// When it is started again.
    pub restart: Restart,
    /// How often; `None`: however often it fails, with longer and longer pauses.
    pub intensity: Option<Intensity>,
    /// Where it may run.
    pub placement: Placement,
    /// On nodes of which labels.
    #[serde(default)]
    pub affinity: Affinity,
    /// How long its init may take; at least 1 ms. One that takes longer has failed, and is stopped.
    pub init_timeout: Duration,
    /// How long it may take to stop when asked, before it is killed.
    pub stop_timeout: Duration,
    /// Free-form text pairs, shown in its row.
    pub labels: BTreeMap<String, String>,
    /// How it is moved.
    #[serde(default)]
    pub handover: Handover,
}

impl ChildSpec {
    /// A permanent child of `kind`, placed anywhere, with [`INIT_TIMEOUT`] for its init and 10 s to stop.
    pub fn new(id: ChildId, kind: &str, args: impl Into<Bytes>) -> Self {
        Self {
            id,
            kind: kind.into(),
            args: args.into(),
            restart: Restart::default(),
            intensity: None,
            placement: Placement::default(),
            affinity: Affinity::default(),
            init_timeout: INIT_TIMEOUT,
            stop_timeout: Duration::from_secs(10),
            labels: BTreeMap::new(),
            handover: Handover::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ordu_registry::core::delta::Key;

    use super::*;

    #[test]
    fn an_id_is_its_text_in_order_in_hashes_and_in_tables() {
        let id = |text: &str| ChildId::new(text).unwrap();
        let texts = ["a", "a.b", "ab", "b"];
        for one in texts {
            for other in texts {
                assert_eq!(id(one).cmp(&id(other)), one.cmp(other));
                assert_eq!(id(one) == id(other), one == other);
            }
            assert_eq!((id(one).place(), place_of(&id(one))), (place_of(one), place_of(one)));
        }
    }
}
