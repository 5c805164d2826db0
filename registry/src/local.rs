//! What a core's effects change on its own node: what lookups show, and what local processes are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ordu_transport::core::Pid;
use tokio::sync::{broadcast, watch};

use crate::core::{Entry, Fence, Gone, GroupEntry, Name, NameConflict};
use crate::events::{NAME_EVENTS_MAX, NameEvent};
use crate::groups::GroupCache;
use crate::index::Index;
use crate::meta::Meta;
use crate::process::ExitReason;

/// One node's names and processes outside of the core. A driver's core executes its effects on it.
#[derive(Debug)]
pub struct Local {
    pub(crate) index: Index,
    pub(crate) groups: GroupCache,
    pub(crate) meta: Meta,
    pub(crate) events: broadcast::Sender<NameEvent>,
    processes: Mutex<BTreeMap<Pid, watch::Sender<Standing>>>,
}

/// What a local process is told.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its fence.
    pub(crate) fence: Fence,
    /// The conflict that it lost.
    pub(crate) conflict: Option<NameConflict>,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    /// It has ended.
    pub(crate) exit: Option<ExitReason>,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            index: Index::default(),
            groups: GroupCache::default(),
            meta: Meta::default(),
            events: broadcast::Sender::new(NAME_EVENTS_MAX),
            processes: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Local {
    /// Nothing is shown, no process runs.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Pid, watch::Sender<Standing>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- effects

    /// Lookups of the name show this now; and why they do not show the process any more that they showed before.
    pub fn show(&self, name: &Name, entry: Option<Entry>, gone: Option<Gone>) {
        let before = self.index.set(name, entry.clone());
        if self.events.receiver_count() == 0 {
            return;
        }
        let stays = before.is_some() && gone.is_none();
        if let (Some(before), Some(why)) = (before, gone) {
            self.tell(NameEvent::Released { name: before.name().clone(), pid: before.pid().clone(), why });
        }
        if let Some(entry) = entry {
            self.tell(if stays { NameEvent::Updated(entry) } else { NameEvent::Registered(entry) });
        }
    }

    /// Reads of a group show this of one process now, in place of that.
    pub fn show_member(&self, entry: Option<GroupEntry>, was: Option<GroupEntry>, gone: Option<Gone>) {
        let Some(group) = entry.as_ref().or(was.as_ref()).map(GroupEntry::group) else { return };
        self.groups.forget(group);
        match (entry, was, gone) {
            (Some(entry), Some(_), _) => self.tell(NameEvent::MemberUpdated(entry)),
            (Some(entry), None, _) => self.tell(NameEvent::Joined(entry)),
            (None, Some(entry), Some(why)) => self.tell(NameEvent::Left { entry, why }),
            (None, _, _) => {}
        }
    }

    fn tell(&self, event: NameEvent) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    /// A process of this node lost a conflict.
    pub fn tell_conflict(&self, loser: Pid, conflict: NameConflict) {
        self.tell(NameEvent::Conflict { loser, conflict });
    }

    /// The fence of a local process rose. Returns false if it is none of the registry's processes.
    pub fn raise_fence(&self, pid: &Pid, fence: Fence) -> bool {
        self.change(pid, |standing| standing.fence = fence)
    }

    /// A local process lost a conflict and is to stop. Returns false if it is none of the registry's processes.
    pub fn exit(&self, pid: &Pid, conflict: NameConflict) -> bool {
        self.change(pid, |standing| (standing.conflict, standing.stopping) = (Some(conflict), true))
    }

    /// All local processes are to stop.
    pub fn stop_all(&self) {
        for process in self.processes().values() {
            process.send_modify(|standing| standing.stopping = true);
        }
    }

    // ---- processes

    pub(crate) fn add(&self, pid: Pid, process: watch::Sender<Standing>) {
        self.processes().insert(pid, process);
    }

    pub(crate) fn remove(&self, pid: &Pid) {
        self.processes().remove(pid);
    }

    fn change(&self, pid: &Pid, change: impl FnOnce(&mut Standing)) -> bool {
        self.processes().get(pid).map(|process| process.send_modify(change)).is_some()
    }
}
