//! What goes into a node's supervisor and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::names::{self, NameConflict};
use ordu_registry::core::{Entry, Fence, Gone, GroupEntry, Name, RankPolicy, delta};
use ordu_transport::core::{Lane, Member, NodeId, Pid};
use serde::{Deserialize, Serialize};

use super::calls::Reply;
use super::checkpoint;
use super::child::Exit;
use super::digests::Digests;
use super::durable::Stored;
use super::expect::Expect;
use super::merge::Left;
use super::moves::Redistribution;
use super::placement::Preference;
use super::quorum::{self, Partition};
use super::room::Bounds;
use super::row::Event;
use super::spec::{ChildId, ChildSpec};
use super::tables::{Actual, Desired, Facts, FactsKey, Mark, MarkKey};

/// What supervisors say to one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// About names.
    #[serde(rename = "n")]
    Names(names::Message),
    /// About what should run.
    #[serde(rename = "d")]
    Desired(delta::Message<ChildId, Desired>),
    /// About what runs.
    #[serde(rename = "a")]
    Actual(delta::Message<ChildId, Actual>),
    /// About marks.
    #[serde(rename = "m")]
    Marks(delta::Message<MarkKey, Mark>),
    /// About nodes.
    #[serde(rename = "f")]
    Facts(delta::Message<FactsKey, Facts>),
    /// The digests of several tables.
    #[serde(rename = "g")]
    Digests(Digests),
    /// A request to the node.
    #[serde(rename = "c")]
    Control(Control),
}

/// A request from node to node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Control {
    /// Take no children and give yours away, or take some again.
    #[serde(rename = "d")]
    Drain {
        /// Which of both.
        on: bool,
    },
    /// What a child that comes to you by this move has left for its next process.
    #[serde(rename = "s")]
    State {
        /// Which child.
        child: ChildId,
        /// Which move.
        token: u64,
        /// What.
        state: Bytes,
    },
    /// Give these children where they belong.
    #[serde(rename = "r")]
    Rebalance {
        /// Which.
        children: Vec<ChildId>,
    },
    /// Take no children and keep yours, or take some again.
    #[serde(rename = "k")]
    Cordon {
        /// Which of both.
        on: bool,
    },
    /// About what running children leave with other nodes.
    #[serde(rename = "p")]
    Checkpoint(checkpoint::Word),
    /// What a process left that lost its child to a copy which is with you.
    #[serde(rename = "w")]
    Merge(Left),
    /// I have that.
    #[serde(rename = "e")]
    Merged {
        /// Of which child.
        child: ChildId,
        /// Of which process of it.
        loser: Pid,
    },
    /// About who may run what, in a cluster that needs a quorum.
    #[serde(rename = "q")]
    Quorum(quorum::Word),
}

/// What happens to a supervisor. Calls come by [`call`](super::Supervisor::call), local processes by
/// [`with_registry`](super::Supervisor::with_registry).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// The view changed.
    Member(Member),
    /// A session with a peer began.
    Connected(NodeId),
    /// A session with a peer ended.
    Disconnected(NodeId),
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// This node goes on under a new identity.
    Reborn(NodeId),
    /// A child's init is over.
    Started {
        /// Its process: of an earlier activation, the input is late and ignored.
        pid: Pid,
        /// What is to be shown of it.
        info: StartedInfo,
    },
    /// A child leaves this for its next activation, if it is asked to stop so that it is started again; of several the last
    /// counts. At most [`STATE_BYTES_MAX`](super::handoff::STATE_BYTES_MAX) bytes, or it is ignored.
    HandedOff {
        /// Its process.
        pid: Pid,
        /// What.
        state: Bytes,
    },
    /// A running child says what its next activation would need to go on after a crash; of several the last counts. At most
    /// [`STATE_BYTES_MAX`](super::handoff::STATE_BYTES_MAX) bytes, or it is ignored. [`Effect::Checkpointed`] follows, unless
    /// another comes first.
    Checkpoint {
        /// Its process.
        pid: Pid,
        /// Its number, for the process.
        number: u64,
        /// What.
        state: Bytes,
    },
    /// A child's process has ended, or never began.
    Exited {
        /// Its process.
        pid: Pid,
        /// How.
        exit: Exit,
    },
    /// Give all children away, or stop them where nobody can take them; [`Effect::Drained`] says when none is left.
    Shutdown,
    /// Stop all children at once; [`Effect::Drained`] says when none is left.
    StopAll,
    /// The disk holds what was to be saved.
    Saved {
        /// By which [`Effect::Save`].
        number: u64,
    },
}

/// What a child says of itself once it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct StartedInfo {
    /// The operating system's process id, where it is an OS process.
    pub os_pid: Option<u32>,
    /// Where its output is kept.
    pub log: Option<Arc<str>>,
}

/// A child that failed so often that its node is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Escalation {
    /// Which.
    pub child: ChildId,
    /// How it ended last, and how often it may be restarted.
    pub reason: Arc<str>,
}

/// What a supervisor wants done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send a message.
    Send {
        /// The receivers.
        to: Vec<NodeId>,
        /// The lane.
        lane: Lane,
        /// The message; an effect is small without, and most are none.
        message: Box<Message>,
    },
    /// Run a child. [`Input::Started`] follows when its init is over, [`Input::Exited`] when it ended or failed.
    Start {
        /// Its process.
        pid: Pid,
        /// What to run.
        spec: Arc<ChildSpec>,
        /// Its fence.
        fence: Fence,
        /// What its last process left for it.
        state: Option<Bytes>,
    },
    /// Stop a child: gracefully within `timeout`, then by force. [`Input::Exited`] follows in any case.
    Stop {
        /// Its process.
        pid: Pid,
        /// How long it may take.
        timeout: Duration,
    },
    /// The fence of this local process rose.
    Fence {
        /// The process.
        pid: Pid,
        /// Its fence now.
        fence: Fence,
    },
    /// The last checkpoint of this child is kept by other nodes.
    Checkpointed {
        /// Its process.
        pid: Pid,
        /// Which of its.
        number: u64,
        /// By so many; 0 where there is no other.
        keepers: usize,
    },
    /// Give this child what another process of it left, which lost to it in a conflict, or to one before it.
    Merge {
        /// Its process.
        pid: Pid,
        /// The process that lost.
        loser: Pid,
        /// What it left.
        state: Bytes,
    },
    /// Make this local process, which is not a child, exit: it lost a conflict.
    Exit {
        /// The process.
        pid: Pid,
        /// Why.
        conflict: NameConflict,
    },
    /// Lookups of the name show this now; `None`: nothing.
    Visible {
        /// The name.
        name: Name,
        /// What they show.
        entry: Option<Entry>,
        /// Why they do not show the process any more that they showed before, if so.
        gone: Option<Gone>,
    },
    /// Reads of a group show another member, one less, or another value of one.
    Member {
        /// What they show now.
        entry: Option<GroupEntry>,
        /// What they showed before of the same process.
        was: Option<GroupEntry>,
        /// Why they do not show it any more, if so.
        gone: Option<Gone>,
    },
    /// Answer a call.
    Reply {
        /// Which call.
        request: u64,
        /// The answer.
        reply: Reply,
    },
    /// Tell whoever listens.
    Event(Event),
    /// Put this on the disk; [`Input::Saved`] follows when it is there. Until then there is no other.
    Save {
        /// Which save.
        number: u64,
        /// What changes.
        stored: Box<Stored>,
    },
    /// In a cluster that needs a quorum: unless this is told anew, all children have to be killed that long from now on,
    /// whether this core is heard of or not. `None`: there is nothing to kill.
    Lease {
        /// How long.
        within: Option<Duration>,
    },
    /// A child failed too often, and its spec says that this tells of its node. It is in quarantine already.
    Escalate(Escalation),
    /// No child is left, after [`Input::Shutdown`] or [`Input::StopAll`].
    Drained,
    /// A later incarnation of our own name is known to the cluster: membership shall give us a new one above it.
    Superseded(NodeId),
}

/// How a supervisor is made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this node is.
    pub id: NodeId,
    /// Which process of several that hold a name stays.
    pub policy: RankPolicy,
    /// The kinds that this node can run.
    pub kinds: Vec<Arc<str>>,
    /// The version of its software.
    pub version: Arc<str>,
    /// Its share of children relative to others; 1 where nothing speaks against it.
    pub weight: u32,
    /// Text pairs that describe the node; children may ask for some.
    pub labels: BTreeMap<String, String>,
    /// Which nodes a child prefers. The same on every node of the cluster.
    pub preference: Preference,
    /// When it gives away children that run.
    pub redistribution: Redistribution,
    /// How many children there may be.
    pub bounds: Bounds,
    /// For how long a child that ended for good keeps its row.
    pub keep_done: Duration,
    /// What the disk holds of this node; `None`: it keeps nothing there.
    pub disk: Option<Stored>,
    /// How many members it waits for before it takes anything.
    pub expect: Expect,
    /// What it does when it is cut off from most others.
    pub partition: Partition,
    /// How many other nodes keep the checkpoints of its children.
    pub copies: usize,
    /// Decides all jitter.
    pub seed: u64,
}
