//! What is noted of one run, as plain data: spans and points in simulated microseconds, nodes by their number.
//!
//! Nothing here knows how it came about or how it will be drawn.

use serde::Serialize;

/// Everything that was noted of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// The nodes, by their number.
    pub lanes: Vec<Lane>,
    /// Directions that were cut.
    pub cuts: Vec<Cut>,
    /// Faults, in the order in which they began.
    pub faults: Vec<FaultNote>,
    /// What users did.
    pub operations: Vec<Operation>,
    /// Every process that ran for a child.
    pub children: Vec<ChildNote>,
    /// Every other process.
    pub processes: Vec<ProcessNote>,
    /// What nodes thought of each other.
    pub views: Vec<ViewNote>,
    /// What travelled, in the order in which it was sent.
    pub messages: Vec<MessageNote>,
    /// The texts that messages refer to.
    pub texts: Vec<String>,
    /// How many messages were sent before those in `messages`, and are not kept.
    pub messages_forgotten: u64,
    /// When all faults were undone and operations stopped.
    pub heal_us: Option<u64>,
    /// The promise that was broken.
    pub violation: Option<ViolationNote>,
    /// When the run ended.
    pub end_us: u64,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Its incarnations, in order.
    pub lives: Vec<LifeNote>,
    /// When it stood still.
    pub paused: Vec<Span>,
    /// When it was giving its children away before it left.
    pub leaving: Vec<Span>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
}

/// One incarnation of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LifeNote {
    /// Its identity, as traces show it.
    pub id: String,
    /// Its boot number.
    pub boot: u64,
    /// When it was up.
    pub at: Span,
    /// How it ended; `None` if it did not.
    pub ended: Option<&'static str>,
}

/// One direction that was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Packets of this node
    pub from: usize,
    /// did not reach this one,
    pub to: usize,
    /// for this time.
    pub at: Span,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultNote {
    /// Its number in the run.
    pub number: u64,
    /// What kind it is, in a word or two.
    pub kind: &'static str,
    /// What it does.
    pub text: String,
    /// Whom it is about; empty: the whole network.
    pub nodes: Vec<usize>,
    /// When it was there.
    pub at: Span,
}

/// One thing that a user did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// When.
    pub at: u64,
    /// On which node.
    pub node: usize,
    /// What, in a word.
    pub what: &'static str,
    /// The child or name that it is about, if it is about one.
    pub about: String,
    /// What else was said with it.
    pub detail: String,
    /// What the caller was told.
    pub reply: Option<String>,
    /// Whether that was a yes.
    pub ok: bool,
    /// When the caller was told.
    pub reply_at: Option<u64>,
}

/// That a process was told to exit because it lost its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToldNote {
    /// When.
    pub at: u64,
    /// The process that keeps the name.
    pub by: String,
    /// The name.
    pub name: String,
}

/// One process of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChildNote {
    /// The child.
    pub id: String,
    /// The process.
    pub pid: String,
    /// Its node.
    pub node: usize,
    /// The rest of its spec, for people.
    pub spec: String,
    /// From its activation to its end.
    pub at: Span,
    /// When its init was over.
    pub runs: Option<u64>,
    /// When it was asked to stop.
    pub stop: Option<u64>,
    /// To whom it lost, where it was told so.
    pub told: Option<ToldNote>,
    /// How it ended; `None` if it did not.
    pub exit: Option<String>,
}

/// One process that is no child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessNote {
    /// The process.
    pub pid: String,
    /// Its node.
    pub node: usize,
    /// From its activation to its end.
    pub at: Span,
    /// To whom it lost, where it was told so.
    pub told: Option<ToldNote>,
    /// How it ended; `None` if it did not.
    pub exit: Option<String>,
    /// The names that it held.
    pub names: Vec<Held>,
}

/// A name that a process held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The name.
    pub name: String,
    /// For how long.
    pub at: Span,
}

/// What one node thought of another for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewNote {
    /// Who thought so.
    pub node: usize,
    /// Of whom: an incarnation's text.
    pub peer: String,
    /// That node's number.
    pub peer_node: usize,
    /// What: `up`, `suspect`, `down` or `left`.
    pub status: &'static str,
    /// For how long.
    pub at: Span,
}

/// One frame or datagram; an array in JSON, since there are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageNote {
    /// Its sender.
    pub from: usize,
    /// Its receiver.
    pub to: usize,
    /// Its lane: 0 to 2 as in [`ordu_transport::core::Lane::ALL`], 3 for datagrams.
    pub lane: usize,
    /// Its text, an index into [`Notes::texts`].
    pub text: usize,
    /// Its length, in bytes.
    pub bytes: usize,
    /// When it was sent.
    pub sent: u64,
    /// When it came; `None` if it never did.
    pub received: Option<u64>,
}

impl Serialize for MessageNote {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { from, to, lane, text, bytes, sent, received } = *self;
        (from, to, lane, text, bytes, sent, received).serialize(serializer)
    }
}

/// The promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViolationNote {
    /// Which invariant.
    pub invariant: String,
    /// When.
    pub at: u64,
    /// What was seen.
    pub what: String,
}
