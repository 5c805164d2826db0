//! The processes that live on this node.

use std::collections::BTreeMap;

use ordu_transport::core::{Hlc, Pid};

use super::claim::Fence;
use super::held::Held;
use super::rank::Rank;

/// A local process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) rank: Rank,
    pub(super) fence: Fence,
    pub(super) since: Hlc,
    pub(super) names: Held,
    /// The process that this one lost to; it was told.
    pub(super) lost_to: Option<Pid>,
}

/// Processes by their serial: a node gives each out once, under whatever incarnation of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Processes(BTreeMap<u64, Process>);

impl Processes {
    pub(super) fn get(&self, pid: &Pid) -> Option<&Process> {
        self.0.get(&pid.serial).filter(|process| process.pid == *pid)
    }

    pub(super) fn get_mut(&mut self, pid: &Pid) -> Option<&mut Process> {
        self.0.get_mut(&pid.serial).filter(|process| process.pid == *pid)
    }

    pub(super) fn insert(&mut self, process: Process) {
        self.0.insert(process.pid.serial, process);
    }

    pub(super) fn remove(&mut self, pid: &Pid) -> Option<Process> {
        self.get(pid)?;
        self.0.remove(&pid.serial)
    }

    /// All, in the order of their activation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.values()
    }
}
