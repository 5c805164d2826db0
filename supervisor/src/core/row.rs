//! What callers are shown: rows of children and members, and events, as plain data.

use std::collections::BTreeMap;
use std::sync::Arc;

use ordu_registry::core::reconcile::Progress;
use ordu_registry::core::{Fence, Name};
use ordu_transport::core::{Addr, NodeName, Pid};
use serde::{Deserialize, Serialize};

use super::quorum::QuorumStatus;
use super::spec::ChildId;

/// Where a child is in its life, as its row shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildStatus {
    /// Accepted, and not yet taken by a node; the reason says why.
    Pending,
    /// Its init runs.
    Starting,
    /// It runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It is on its way to another node.
    Moving,
    /// It ended and waits to be started again.
    Backoff,
    /// It failed too often and waits for an operator.
    Quarantined,
    /// A temporary child whose node is down.
    Suspended,
    /// It ended for good; the row stays for a while.
    Done,
}

/// One child as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChildRow {
    /// Its name.
    pub id: ChildId,
    /// Its kind.
    pub kind: Arc<str>,
    /// The node that holds it, if any does.
    pub node: Option<NodeName>,
    /// Its process, while it has one.
    pub pid: Option<Pid>,
    /// The operating system's process id, where it is an OS process.
    pub os_pid: Option<u32>,
    /// Where it is in its life.
    pub status: ChildStatus,
    /// Restarts after an abnormal or permanent exit; moves are not counted.
    pub restarts: u64,
    /// When it got this status, in milliseconds since the Unix epoch, by its node's clock.
    pub since_ms: u64,
    /// Its activation's fence, while it has one.
    pub fence: Option<Fence>,
    /// Why it is pending, or how it ended last.
    pub reason: Option<String>,
    /// The spec's labels.
    pub labels: BTreeMap<String, String>,
    /// Where its output is kept, on its node.
    pub log: Option<String>,
}

/// What is believed of a member, its own facts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// It answers.
    Up,
    /// It did not answer a probe lately.
    Suspect,
    /// It takes no children and gives its own away.
    Draining,
    /// It did not answer for too long.
    Down,
    /// It said that it leaves.
    Left,
}

/// One member as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberRow {
    /// Its name.
    pub name: NodeName,
    /// Its incarnation.
    pub boot: u64,
    /// Where others dial it.
    pub addr: Addr,
    /// What is believed of it.
    pub status: MemberStatus,
    /// How many children it holds.
    pub children: usize,
    /// Text pairs that describe it.
    pub labels: BTreeMap<String, String>,
    /// The kinds it offers.
    pub kinds: Vec<Arc<str>>,
    /// The version of its software.
    pub version: Arc<str>,
    /// It takes no children and keeps those that it has.
    pub cordoned: bool,
    /// Most children that it holds at once.
    pub max_children: Option<u32>,
    /// It holds as many, and takes no more.
    pub full: bool,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatusRow {
    /// Members that are up, suspect or draining, this node included.
    pub members_up: usize,
    /// All members known.
    pub members: usize,
    /// Children that should run.
    pub children: usize,
    /// Children that run.
    pub running: usize,
    /// Registry names that lookups show.
    pub names: usize,
    /// Processes of this node that lost a name conflict since it started.
    pub conflicts_total: u64,
    /// Checkpoints that this node keeps for children of others.
    pub checkpoints: usize,
    /// A digest over every table; equal on two nodes exactly when their tables are.
    pub clock_hash: u64,
    /// Whether every member that is up showed our own digests within the last two repair intervals.
    pub converged: bool,
    /// How far this node is with what it lacks, all tables together, while it takes that from others.
    pub progress: Option<Progress>,
    /// How it stands with its quorum, where it needs one.
    pub quorum: Option<QuorumStatus>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch, by the wall clock of the node that tells.
    pub at_ms: u64,
    /// Where it happened.
    pub node: NodeName,
    /// What.
    pub what: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the event of its name in the outside contract")]
pub enum EventKind {
    MemberUp { member: NodeName },
    MemberSuspect { member: NodeName },
    MemberDown { member: NodeName },
    MemberLeft { member: NodeName },
    Draining { member: NodeName },
    ChildStarting { child: ChildId, fence: Option<Fence> },
    ChildRunning { child: ChildId, fence: Option<Fence> },
    ChildExited { child: ChildId, reason: String },
    ChildMoved { child: ChildId, to: NodeName },
    ChildPending { child: ChildId, reason: String },
    ChildQuarantined { child: ChildId },
    ChildDone { child: ChildId },
    NameRegistered { name: Name, pid: Pid },
    NameReleased { name: Name, pid: Pid },
    QuorumLost,
    QuorumRegained,
    NameConflict { name: Name, winner: Pid, loser: Pid, policy: &'static str, since_ms: u64 },
}
