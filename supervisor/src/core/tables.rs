//! What supervisors replicate: what should run, what runs, marks beside it, and facts about nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ordu_registry::core::clock::Dot;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::wire::{Malformed, Reader, Writer};
use ordu_registry::core::{Fence, Rank};
use ordu_transport::core::{Hlc, NodeId, NodeName, Pid};
use serde::{Deserialize, Serialize};

use super::checkpoint::Keepers;
use super::quorum::Terms;
use super::spec::{ChildId, ChildSpec, labels_bytes};
use super::wire;
use super::wishes::Wishes;

/// A start: it says that its child should run. Shared: written by whoever was asked, removed by whoever terminates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Desired {
    /// What should run.
    pub spec: Arc<ChildSpec>,
    /// When it was asked for: of concurrent starts the latest wins.
    pub at: Hlc,
    /// Who asked.
    pub caller: NodeId,
    /// For how long the caller waits: until then a failing init is told to it instead of being tried again.
    pub wait_ms: u64,
    /// The caller's request; asking again with the same one is the same start.
    pub request: u64,
}

/// What a node says of a child that it holds. Owner-written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actual {
    /// The child's kind.
    pub kind: Arc<str>,
    /// The desired event that it runs.
    pub dot: Dot,
    /// The desired event that its process was activated for, where another with an equal spec has won since.
    pub begun: Option<Dot>,
    /// Its process, while there is one.
    pub pid: Option<Pid>,
    /// The process's place in conflicts.
    pub rank: Rank,
    /// The fence of its last activation.
    pub fence: Option<Fence>,
    /// Where it is in its life.
    pub state: State,
    /// The move that brought it here, if one did.
    pub token: Option<u64>,
    /// The process gives way to every other: it lost a conflict and is on its way out, or is to succeed one that runs and is
    /// not through its init.
    pub losing: bool,
    /// Some process for its start got through its init.
    pub ran: bool,
    /// Restarts after an abnormal or permanent exit.
    pub restarts: u64,
    /// The wishes to restart it that were followed.
    pub followed: Wishes,
    /// Since when it is in this state, by its node's wall clock.
    pub since_ms: u64,
    /// The operating system's process id, where it is an OS process.
    pub os_pid: Option<u32>,
    /// Where its output is kept.
    pub log: Option<Arc<str>>,
    /// How it ended last.
    pub reason: Option<Arc<str>>,
}

/// Where a held child is in its life, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Its init runs.
    #[serde(rename = "s")]
    Starting,
    /// It runs.
    #[serde(rename = "r")]
    Running,
    /// It was asked to stop.
    #[serde(rename = "x")]
    Stopping,
    /// It goes to another node; counts as running until that node claims it with the token.
    #[serde(rename = "m")]
    Moving {
        /// The only node that may start it.
        to: NodeId,
        /// Which move.
        token: u64,
        /// Its process here has ended: `to` may start it.
        released: bool,
        /// It left something for the next one, which is on its way.
        carries: bool,
        /// Its process here runs on until that of `to` is through its init: `to` may start it now.
        #[serde(default)]
        ahead: bool,
    },
    /// It ended and waits to be started again, here.
    #[serde(rename = "b")]
    Backoff,
    /// It failed too often and is left alone until somebody restarts or terminates it.
    #[serde(rename = "q")]
    Quarantined,
    /// Its init failed and its caller is being told.
    #[serde(rename = "f")]
    Failed,
    /// It ended for good.
    #[serde(rename = "d")]
    Done,
}

impl Actual {
    /// The start that its process was activated for.
    pub fn begun(&self) -> &Dot {
        self.begun.as_ref().unwrap_or(&self.dot)
    }

    /// Whether the node still holds the child: nobody else starts it.
    pub fn is_held(&self) -> bool {
        self.state != State::Done
    }

    /// Whether it takes one of the places that its node has: it has a process there, or will have one by itself. A child that
    /// is assigned to another node, and was never activated here, takes none.
    pub fn takes_place(&self) -> bool {
        match self.state {
            State::Quarantined | State::Done => false,
            State::Moving { .. } => self.fence.is_some(),
            State::Starting | State::Running | State::Stopping | State::Backoff | State::Failed => true,
        }
    }

    /// Whether it is on its way to another node.
    pub fn is_moving(&self) -> bool {
        matches!(self.state, State::Moving { .. })
    }

    /// Whether a process of it may be alive.
    pub fn has_process(&self) -> bool {
        self.pid.is_some()
    }
}

/// Names one start of one child.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MarkKey {
    /// The child.
    pub child: ChildId,
    /// Who wrote the start.
    pub origin: NodeId,
    /// Which of its.
    pub counter: u64,
}

impl MarkKey {
    /// The key of a start.
    pub fn new(child: &ChildId, dot: &Dot) -> Self {
        Self { child: child.clone(), origin: dot.actor.clone(), counter: dot.counter }
    }

    /// The start's dot.
    pub fn dot(&self) -> Dot {
        Dot::new(self.origin.clone(), self.counter)
    }
}

/// What is noted automatically beside a start. Shared, and void once the start is gone, so that nothing automatic can
/// bring a terminated child back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The node that started a temporary child: nobody starts it again.
    pub started: Option<NodeId>,
    /// Who asked for a restart, and when last.
    pub wished: Wishes,
    /// Its caller waits no more: he will not take it back in favour of another.
    pub answered: bool,
    /// Whether it is in quarantine: the latest word counts, until there is a wish that had not been followed then.
    pub quarantine: Option<Quarantine>,
    /// The wishes that had been followed when such a word was written.
    pub followed: Wishes,
    /// Who keeps its checkpoints, if it makes any.
    #[serde(default)]
    pub keepers: Option<Keepers>,
}

/// A word on whether a child is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quarantine {
    /// When.
    pub at: Hlc,
    /// Why it is; `None`: it is not, for it runs.
    pub reason: Option<Arc<str>>,
}

/// What a node says of itself. Owner-written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// It takes no children and gives its own away.
    pub draining: bool,
    /// It takes no children before it has met more members.
    pub waiting: bool,
    /// Its share of children relative to others.
    pub weight: u32,
    /// Text pairs that describe it.
    pub labels: BTreeMap<String, String>,
    /// The kinds it can run.
    pub kinds: Vec<Arc<str>>,
    /// The version of its software.
    pub version: Arc<str>,
    /// It takes no children and keeps those that it has.
    #[serde(default)]
    pub cordoned: bool,
    /// It gives children away only when it may not run them any more.
    #[serde(default)]
    pub passive: bool,
    /// It needs a quorum and has none: it runs no children.
    #[serde(default)]
    pub powerless: bool,
    /// Most children that it holds at once.
    #[serde(default)]
    pub max_children: Option<u32>,
    /// It holds as many: it takes no more and keeps those that it has.
    #[serde(default)]
    pub full: bool,
    /// It was full, and has few places yet: children that run elsewhere are not moved to it.
    #[serde(default)]
    pub crowded: bool,
    /// By which quorum it runs children, if by any.
    #[serde(default)]
    pub terms: Option<Terms>,
}

/// The key of a node's facts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FactsKey(pub NodeName);

const FIXED_BYTES: usize = 48;

impl Key for ChildId {
    fn place(&self) -> u64 {
        self.place_in_tables()
    }
}

impl Key for FactsKey {}

impl Key for MarkKey {
    /// The marks of one child belong together.
    fn place(&self) -> u64 {
        self.child.place()
    }
}

impl Payload for ChildId {
    fn size_bytes(&self) -> usize {
        self.as_str().len() + 2
    }

    fn write<'a>(&'a self, _: &NodeId, to: &mut Writer<'a>) {
        wire::write_id(self, to);
    }

    fn read(from: &mut Reader<'_>, _: &NodeId) -> Result<Self, Malformed> {
        wire::read_id(from)
    }
}

impl Payload for FactsKey {
    fn size_bytes(&self) -> usize {
        self.0.as_str().len() + 2
    }
}

impl Payload for MarkKey {
    fn size_bytes(&self) -> usize {
        self.child.as_str().len() + self.origin.name.as_str().len() + FIXED_BYTES
    }
}

impl Payload for Desired {
    fn size_bytes(&self) -> usize {
        let placement = self.spec.placement.size_bytes();
        let labels = labels_bytes(&self.spec.labels) + self.spec.affinity.size_bytes();
        let texts = self.spec.id.as_str().len() + self.spec.kind.len() + self.caller.name.as_str().len();
        2 * FIXED_BYTES + texts + placement + labels + self.spec.args.len()
    }

    fn write<'a>(&'a self, origin: &NodeId, to: &mut Writer<'a>) {
        wire::write_desired(self, origin, to);
    }

    fn read(from: &mut Reader<'_>, origin: &NodeId) -> Result<Self, Malformed> {
        wire::read_desired(from, origin)
    }
}

impl Payload for Actual {
    fn size_bytes(&self) -> usize {
        let dots = [Some(&self.dot), self.begun.as_ref()].into_iter().flatten();
        let names = dots.map(|dot| dot.actor.name.as_str().len()).sum::<usize>()
            + self.pid.as_ref().map_or(0, |pid| pid.node.name.as_str().len());
        let texts =
            self.kind.len() + self.log.as_deref().map_or(0, str::len) + self.reason.as_deref().map_or(0, str::len);
        3 * FIXED_BYTES + names + texts + self.followed.size_bytes()
    }

    fn write<'a>(&'a self, origin: &NodeId, to: &mut Writer<'a>) {
        wire::write_actual(self, origin, to);
    }

    fn read(from: &mut Reader<'_>, origin: &NodeId) -> Result<Self, Malformed> {
        wire::read_actual(from, origin)
    }
}

impl Payload for Mark {
    fn size_bytes(&self) -> usize {
        let reason = self.quarantine.as_ref().and_then(|quarantine| quarantine.reason.as_deref()).map_or(0, str::len);
        let wishes = self.wished.size_bytes() + self.followed.size_bytes();
        let keepers = self
            .keepers
            .as_ref()
            .map_or(0, |keepers| keepers.nodes.iter().map(|name| name.as_str().len() + 2).sum::<usize>() + FIXED_BYTES);
        FIXED_BYTES + keepers + self.started.as_ref().map_or(0, |id| id.name.as_str().len()) + reason + wishes
    }
}

impl Payload for Facts {
    fn size_bytes(&self) -> usize {
        FIXED_BYTES
            + labels_bytes(&self.labels)
            + self.kinds.iter().map(|kind| kind.len() + 2).sum::<usize>()
            + self.version.len()
    }
}
