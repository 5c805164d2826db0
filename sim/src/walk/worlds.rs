//! The small worlds: who is in them, what users do there, and how much may go wrong.

/// Most nodes of a small world.
pub(super) const NODES_MAX: usize = 3;

/// One thing that a user does, once, at any moment; those of one process, and those with the same node's children, in the
/// order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// A process of the node registers a name; the process begins with its first.
    Register { node: u8, process: u8, name: &'static str },
    /// A process gives a name up.
    Unregister { node: u8, process: u8, name: &'static str },
    /// A process ends by itself.
    End { node: u8, process: u8 },
    /// The child is started by way of this node.
    Start { node: u8 },
    /// The child is terminated by way of this node.
    Terminate { node: u8 },
    /// The child is restarted by way of this node.
    Restart { node: u8 },
}

impl Op {
    pub(super) fn node(self) -> u8 {
        match self {
            Op::Register { node, .. } | Op::Unregister { node, .. } | Op::End { node, .. } => node,
            Op::Start { node } | Op::Terminate { node } | Op::Restart { node } => node,
        }
    }

    /// The process that it is about, where it is about one.
    pub(super) fn process(self) -> Option<u8> {
        match self {
            Op::Register { process, .. } | Op::Unregister { process, .. } | Op::End { process, .. } => Some(process),
            Op::Start { .. } | Op::Terminate { .. } | Op::Restart { .. } => None,
        }
    }
}

/// A small world.
#[derive(Debug)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// How deep it is walked in CI, in actions.
    pub depth: usize,
    pub(super) nodes: usize,
    /// With supervisors, or with registries alone.
    pub(super) children: bool,
    /// Whether the nodes have met, and are at rest, in the beginning.
    pub(super) met: bool,
    /// What was done, and has come to rest, before the walk begins.
    pub(super) before: &'static [Op],
    pub(super) ops: &'static [Op],
    /// How many times one node may be cut off from all others.
    pub(super) cuts: u8,
    /// How many nodes may crash; each may be restarted.
    pub(super) crashes: u8,
    /// How many sessions may break without anybody being cut off.
    pub(super) breaks: u8,
    /// How often each node's time may pass while the rest stands still.
    pub(super) beats: u8,
    /// Whether a node takes all that is on its way on a lane in one action: coarser, and deeper.
    pub(super) bursts: bool,
    /// By how much each node's wall clock is ahead, in milliseconds.
    pub(super) ahead_ms: [u64; NODES_MAX],
}

/// All small worlds.
pub const WORLDS: &[World] = &[
    World {
        name: "pair",
        about: "two registries, one name registered on both, a cut, a process that ends",
        depth: 18,
        nodes: 2,
        children: false,
        met: true,
        before: &[],
        ops: &[
            Op::Register { node: 0, process: 0, name: "x" },
            Op::Register { node: 1, process: 1, name: "x" },
            Op::End { node: 0, process: 0 },
        ],
        cuts: 1,
        crashes: 0,
        breaks: 0,
        beats: 1,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "crossing",
        about: "three registries, two processes that register the same two names in crossing order, one cut",
        depth: 11,
        nodes: 3,
        children: false,
        met: true,
        before: &[],
        ops: &[
            Op::Register { node: 0, process: 0, name: "x" },
            Op::Register { node: 0, process: 0, name: "y" },
            Op::Register { node: 1, process: 1, name: "y" },
            Op::Register { node: 1, process: 1, name: "x" },
        ],
        cuts: 1,
        crashes: 0,
        breaks: 0,
        beats: 0,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "takeover",
        about: "two supervisors, a running child, a crash and a restart of either, a termination by the other",
        depth: 18,
        nodes: 2,
        children: true,
        met: true,
        before: &[Op::Start { node: 0 }],
        ops: &[Op::Terminate { node: 1 }],
        cuts: 0,
        crashes: 1,
        breaks: 0,
        beats: 1,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "heal",
        about: "two registries that meet while both have the name, one giving it up, and sessions that break",
        depth: 40,
        nodes: 2,
        children: false,
        met: false,
        before: &[Op::Register { node: 0, process: 0, name: "x" }, Op::Register { node: 1, process: 1, name: "x" }],
        ops: &[Op::Unregister { node: 0, process: 0, name: "x" }],
        cuts: 0,
        crashes: 0,
        breaks: 1,
        beats: 0,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "lives",
        about: "two registries, a name on one, a crash and a restart of either, the name registered anew by the other",
        depth: 18,
        nodes: 2,
        children: false,
        met: true,
        before: &[Op::Register { node: 0, process: 0, name: "x" }],
        ops: &[Op::Register { node: 1, process: 1, name: "x" }, Op::Register { node: 0, process: 2, name: "x" }],
        cuts: 0,
        crashes: 1,
        breaks: 0,
        beats: 1,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "restart",
        about: "two supervisors, a running child that is asked to restart while the other end crashes or is cut off; lane by lane",
        depth: 12,
        nodes: 2,
        children: true,
        met: true,
        before: &[Op::Start { node: 0 }],
        ops: &[Op::Restart { node: 1 }],
        cuts: 1,
        crashes: 1,
        breaks: 0,
        beats: 0,
        bursts: true,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "duel",
        about: "two supervisors, starts and terminations on both sides of a cut, and a crash; lane by lane",
        depth: 8,
        nodes: 2,
        children: true,
        met: true,
        before: &[],
        ops: &[Op::Start { node: 0 }, Op::Start { node: 1 }, Op::Terminate { node: 0 }, Op::Terminate { node: 1 }],
        cuts: 1,
        crashes: 1,
        breaks: 0,
        beats: 0,
        bursts: true,
        ahead_ms: [0, 60_000, 0],
    },
    World {
        name: "twice",
        about: "two supervisors, the child started on both sides of a cut",
        depth: 13,
        nodes: 2,
        children: true,
        met: true,
        before: &[],
        ops: &[Op::Start { node: 0 }, Op::Start { node: 1 }],
        cuts: 1,
        crashes: 0,
        breaks: 0,
        beats: 1,
        bursts: false,
        ahead_ms: [0, 0, 0],
    },
    World {
        name: "trio",
        about: "three supervisors, a running child, one cut, one crash; lane by lane",
        depth: 7,
        nodes: 3,
        children: true,
        met: true,
        before: &[Op::Start { node: 0 }],
        ops: &[],
        cuts: 1,
        crashes: 1,
        breaks: 0,
        beats: 1,
        bursts: true,
        ahead_ms: [0, 0, 0],
    },
];

/// The world of this name.
pub fn find(name: &str) -> Option<&'static World> {
    WORLDS.iter().find(|world| world.name == name)
}
