//! What a user's invariant may look at: the world as an all-seeing observer has it, read-only.

use std::sync::Arc;

use ordu_registry::core::{Entry, Fence, Name};
use ordu_supervisor::core::{ChildId, ChildSpec};
use ordu_transport::core::{NodeName, Pid};

use crate::behaviour::External;
use crate::cast::Cast;
use crate::invariants::Moment;
use crate::world::World;

/// The state of a run at one moment.
pub struct Observation<'a, E: External = ()> {
    pub(crate) world: &'a World,
    pub(crate) cast: &'a Cast<E>,
    pub(crate) moment: Moment,
}

/// A node, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its number in the script.
    pub node: usize,
    /// Its name.
    pub name: NodeName,
    /// Whether it is up: started, and neither crashed nor gone.
    pub is_up: bool,
    /// Whether it stands still, and its children with it.
    pub is_paused: bool,
    /// Whether the network between it and some other node is cut, in either direction.
    pub is_cut: bool,
}

/// A living child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSeen {
    /// The child. Two of one id are copies of one another.
    pub id: ChildId,
    /// What it was started with.
    pub spec: Arc<ChildSpec>,
    /// Its process.
    pub pid: Pid,
    /// Its node, by number.
    pub node: usize,
    /// Its fence now.
    pub fence: Fence,
    /// Since when it lives, in simulated microseconds.
    pub since_us: u64,
    /// Whether its init is over.
    pub is_running: bool,
    /// Whether it was told to stop.
    pub is_stopping: bool,
}

impl<'a, E: External> Observation<'a, E> {
    /// The simulated time, in microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.world.now
    }

    /// Whether faults may still be there, or everything must come to rest.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// The external world.
    pub fn external(&self) -> &'a E {
        self.cast.external()
    }

    /// The nodes, up or not.
    pub fn nodes(&self) -> Vec<NodeSeen> {
        let (world, count) = (self.world, self.world.nodes.len());
        let cut = |one: usize, other: usize| !world.net.is_open(one, other) || !world.net.is_open(other, one);
        let seen = |node: usize| NodeSeen {
            node,
            name: world.nodes[node].name.clone(),
            is_up: world.nodes[node].life.is_some(),
            is_paused: world.nodes[node].paused,
            is_cut: (0..count).any(|other| other != node && cut(node, other)),
        };
        (0..count).map(seen).collect()
    }

    /// The children that live, wherever they do; copies of one child included.
    pub fn children(&self) -> Vec<ChildSeen> {
        let oracle = &self.world.oracle;
        let living = self.cast.members().filter_map(|(pid, member)| {
            let process = oracle.processes.get(pid).filter(|process| process.ended_us.is_none())?;
            Some(ChildSeen {
                id: member.spec.id.clone(),
                spec: member.spec.clone(),
                pid: pid.clone(),
                node: process.node,
                fence: oracle.fence_of(pid)?,
                since_us: member.since_us,
                is_running: member.runs,
                is_stopping: oracle.is_stopping(pid),
            })
        });
        living.collect()
    }

    /// The names as a node shows them; nothing of a node that is not up.
    pub fn names(&self, node: usize) -> impl Iterator<Item = Entry> + use<'a, E> {
        let life = self.world.nodes.get(node).and_then(|node| node.life.as_ref());
        life.into_iter().flat_map(|life| life.upper.names().entries(""))
    }

    /// What a node shows under a name.
    pub fn lookup(&self, node: usize, name: &Name) -> Option<Entry> {
        self.world.nodes.get(node)?.life.as_ref()?.upper.names().lookup(name)
    }
}
