//! What really happened, as an all-seeing observer knows it: processes, what they were promised and what they were told.
//!
//! Holds facts only. Whether they keep the promises is for `invariants` to say.

use std::collections::BTreeMap;

use ordu_registry::core::{Fence, Name, Rank};
use ordu_transport::core::Pid;

/// That a process was told to exit.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at_us: u64,
    /// The process that it lost to.
    pub(crate) by: Pid,
    pub(crate) name: Name,
}

/// A process that lived.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) rank: Rank,
    pub(crate) told: Vec<Told>,
    /// How many conflict events told of its loss.
    pub(crate) conflicts: u32,
    pub(crate) fence: Option<Fence>,
    pub(crate) ended_us: Option<u64>,
}

/// All facts of a run.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) processes: BTreeMap<Pid, Process>,
    /// Promises that were broken at the very moment they were given.
    pub(crate) lies: Vec<String>,
}

impl Oracle {
    pub(crate) fn activated(&mut self, _at_us: u64, pid: &Pid, node: usize, life: u64, rank: Rank) {
        let process = Process { node, life, rank, told: Vec::new(), conflicts: 0, fence: None, ended_us: None };
        if self.processes.insert(pid.clone(), process).is_some() {
            self.lies.push(format!("the pid {pid:?} was given out twice"));
        }
    }

    pub(crate) fn registered(&mut self, pid: &Pid, name: &Name, shown: Option<Pid>) {
        if shown.as_ref() != Some(pid) {
            self.lies.push(format!("{pid:?} registered {name:?}, but a lookup there shows {shown:?}"));
        }
    }

    pub(crate) fn refused(&mut self, name: &Name, holder: &Pid, shown: Option<Pid>) {
        if shown.as_ref() != Some(holder) {
            self.lies.push(format!("{name:?} was refused for {holder:?}, but a lookup there shows {shown:?}"));
        }
    }

    pub(crate) fn told(&mut self, pid: &Pid, told: Told) {
        match self.processes.get_mut(pid) {
            Some(process) => process.told.push(told),
            None => self.lies.push(format!("{pid:?}, which never was, was told to exit")),
        }
    }

    pub(crate) fn conflict(&mut self, loser: &Pid) {
        if let Some(process) = self.processes.get_mut(loser) {
            process.conflicts += 1;
        }
    }

    pub(crate) fn fence(&mut self, pid: &Pid, fence: Fence) {
        let Some(process) = self.processes.get_mut(pid) else { return };
        if process.fence.is_some_and(|before| before >= fence) {
            self.lies.push(format!("the fence of {pid:?} fell"));
        }
        process.fence = Some(fence);
    }

    pub(crate) fn ended(&mut self, at_us: u64, pid: &Pid) {
        if let Some(process) = self.processes.get_mut(pid) {
            process.ended_us.get_or_insert(at_us);
        }
    }

    pub(crate) fn life_over(&mut self, at_us: u64, node: usize, life: u64) {
        for process in self.processes.values_mut().filter(|process| (process.node, process.life) == (node, life)) {
            process.ended_us.get_or_insert(at_us);
        }
    }
}
