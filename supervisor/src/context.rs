//! What a child sees of its supervisor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::Registry;
use ordu_registry::core::{Fence, Name, RegisterError};
use ordu_transport::core::{NodeName, Pid};
use tokio::sync::{Notify, mpsc, watch};

use crate::core::handoff::STATE_BYTES_MAX;
use crate::core::{ChildId, ChildSpec, StartedInfo};
use crate::supervisor::Supervisor;

/// What a child says of itself once it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Started {
    /// The operating system's process id, where it is an OS process.
    pub os_pid: Option<u32>,
    /// Where its output is kept, on its node.
    pub log: Option<String>,
}

/// A child leaves more for its next activation than one may. Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state of {bytes} bytes is longer than {STATE_BYTES_MAX}")]
pub struct StateTooLong {
    /// How long it is.
    pub bytes: usize,
}

/// Most states of losers that wait for a child to take them, see [`Context::merged`]; further ones are dropped.
pub const MERGES_MAX: usize = 64;

/// What another process of a child left that lost to this one in a conflict, or to one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The process that lost.
    pub loser: Pid,
    /// What it handed off when it was asked to stop, or else its last checkpoint.
    pub state: Bytes,
}

/// One activation of a child, as its own code sees it. Clones are the same activation.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) pid: Pid,
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) state: Option<Bytes>,
    pub(crate) told: watch::Receiver<Told>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisor: Supervisor,
    pub(crate) holds: mpsc::WeakSender<()>,
}

/// As long as anybody has one, the end of its activation is not told, though its future have ended: something of it may still
/// run elsewhere, and a second copy must not be started beside it.
#[derive(Debug, Clone)]
pub struct Hold {
    _sender: mpsc::Sender<()>,
}

/// What all clones of a context share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) is_started: AtomicBool,
    /// How many checkpoints it made.
    checkpoints: AtomicU64,
    /// What losers of conflicts left, and nobody has taken.
    merged: Mutex<VecDeque<Merged>>,
    arrived: Notify,
}

impl Shared {
    /// False, and it is dropped, if there is no room.
    pub(crate) fn put(&self, merged: Merged) -> bool {
        let mut waiting = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < MERGES_MAX;
        if has_room {
            waiting.push_back(merged);
            self.arrived.notify_one();
        }
        has_room
    }

    fn take(&self) -> Option<Merged> {
        let mut waiting = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = waiting.pop_front();
        if !waiting.is_empty() {
            // For whoever else waits.
            self.arrived.notify_one();
        }
        merged
    }
}

/// What the supervisor tells a running child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) fence: Fence,
    /// How long it may take, once it was asked to stop.
    pub(crate) stopping: Option<Duration>,
    /// The last of its checkpoints that is kept, and by how many nodes.
    pub(crate) kept: Option<(u64, usize)>,
}

impl Context {
    /// The child's id.
    pub fn id(&self) -> &ChildId {
        &self.spec.id
    }

    /// This activation's pid.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// The node that runs it.
    pub fn node(&self) -> &NodeName {
        &self.pid.node.name
    }

    /// The spec's arguments.
    pub fn args(&self) -> &Bytes {
        &self.spec.args
    }

    /// The spec.
    pub fn spec(&self) -> &ChildSpec {
        &self.spec
    }

    /// This activation's fence now. Later activations that heard of this one have higher ones: hand it to whatever must
    /// refuse an older activation's writes. Ask for it before you read what a write depends on, and write under that one.
    /// If the write is refused, end with [`Exit::Fenced`](crate::Exit::Fenced).
    pub fn fence(&self) -> Fence {
        self.told.borrow().fence
    }

    /// Resolves with the fence once that is another than `known`: it rises when this activation wins a conflict. Safe to
    /// cancel.
    pub async fn fence_changed(&self, known: Fence) -> Fence {
        let mut told = self.told.clone();
        match told.wait_for(|told| told.fence != known).await.map(|told| told.fence) {
            Ok(fence) => fence,
            // It has ended: its fence changes no more.
            Err(_) => std::future::pending().await,
        }
    }

    /// The init is over: the child runs. Further calls only change what is shown of it.
    pub fn started(&self, started: Started) {
        self.shared.is_started.store(true, Ordering::Relaxed);
        let info = StartedInfo { os_pid: started.os_pid, log: started.log.map(Arc::from) };
        self.supervisor.child_started(&self.pid, info);
    }

    /// Resolves once the child is asked to stop: within [`Context::stop_timeout`] it should have ended. Safe to cancel.
    pub async fn stopping(&self) {
        let mut told = self.told.clone();
        // An error means that it has ended, and nobody can ask it any more.
        let _ = told.wait_for(|told| told.stopping.is_some()).await;
    }

    /// Whether the child was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.told.borrow().stopping.is_some()
    }

    /// How long the child may take to stop: the spec's `stop_timeout`; once it was asked to, perhaps less, where the cluster
    /// needs a quorum.
    pub fn stop_timeout(&self) -> Duration {
        self.told.borrow().stopping.unwrap_or(self.spec.stop_timeout)
    }

    /// Leaves something for the next activation, which finds it as [`Context::handed_off`], here or on another node: to be
    /// called once the child is asked to stop, and before it ends. Of several the last counts. It gets there if the child is
    /// moved, or restarted because somebody asked for that; not if it fails, if its node dies before the next activation
    /// has got it, if it should not run any more or as another kind, or if this activation was not through its init. For
    /// failures there is [`Context::checkpoint`].
    ///
    /// # Errors
    /// If it is longer than [`STATE_BYTES_MAX`](crate::core::handoff::STATE_BYTES_MAX); then nothing is left, or what was
    /// before.
    pub fn hand_off(&self, state: impl Into<Bytes>) -> Result<(), StateTooLong> {
        let state = state.into();
        if state.len() > STATE_BYTES_MAX {
            return Err(StateTooLong { bytes: state.len() });
        }
        self.supervisor.child_hands_off(&self.pid, state);
        Ok(())
    }

    /// Says what the next activation would need to go on if this one failed, or its node did: it finds that as
    /// [`Context::handed_off`], if this one has not handed off anything. Of several the last counts. It is kept in the memory
    /// of some other nodes, [`SupervisorConfig::copies`](crate::SupervisorConfig::copies), and dropped when the child ends
    /// for good. For a child that is through its init and was not asked to stop; one that runs once at most needs none.
    ///
    /// It returns at once. To know that it is safe, wait for [`Context::checkpointed`].
    ///
    /// # Errors
    /// If it is longer than [`STATE_BYTES_MAX`](crate::core::handoff::STATE_BYTES_MAX); then the one before stands.
    pub fn checkpoint(&self, state: impl Into<Bytes>) -> Result<(), StateTooLong> {
        let state = state.into();
        if state.len() > STATE_BYTES_MAX {
            return Err(StateTooLong { bytes: state.len() });
        }
        let number = self.shared.checkpoints.fetch_add(1, Ordering::Relaxed) + 1;
        self.supervisor.child_checkpoints(&self.pid, number, state);
        Ok(())
    }

    /// Resolves once other nodes keep the last checkpoint that was made before the call, or a later one. Returns how many:
    /// 0 where there is no other node, or none with room. Never for a child that made none, or may not. Safe to cancel.
    pub async fn checkpointed(&self) -> usize {
        let (mut told, number) = (self.told.clone(), self.shared.checkpoints.load(Ordering::Relaxed));
        let is_kept = |told: &Told| told.kept.is_some_and(|(kept, _)| kept >= number);
        match told.wait_for(is_kept).await.map(|told| told.kept) {
            Ok(kept) => kept.map_or(0, |(_, keepers)| keepers),
            // It has ended: nobody is told any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// What the activation before this one left for it: what it handed off when it was asked to stop, or else its last
    /// checkpoint. An activation that does not get through its init leaves it to the next.
    pub fn handed_off(&self) -> Option<&Bytes> {
        self.state.as_ref()
    }

    /// The next state that a copy of this child left which lost to it when a partition healed, or that came to it from one
    /// before. Each comes once, unless a node dies meanwhile: the loser's pid tells which it is. What nobody takes is gone
    /// when this activation ends, so take all that there is before you hand off. Safe to cancel; clones share it.
    pub async fn merged(&self) -> Merged {
        loop {
            if let Some(merged) = self.shared.take() {
                return merged;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// Registers a further name for this activation, beside the child's id, which it holds already. Names are released
    /// when it ends. Losing one to another process is as losing the id: it is asked to stop.
    ///
    /// # Errors
    /// See [`RegisterError`]; nothing changed.
    pub fn register(&self, name: Name, value: impl Into<Bytes>) -> Result<(), RegisterError> {
        self.registry().register(&self.pid, name, value)
    }

    /// Keeps this activation's end from being told until the hold is dropped: for who has something run outside of this
    /// future, as another process, and cannot tell at once that it is gone when the future is dropped. `None` once the future
    /// has ended.
    pub fn hold(&self) -> Option<Hold> {
        self.holds.upgrade().map(|sender| Hold { _sender: sender })
    }

    /// This node's registry.
    pub fn registry(&self) -> &Registry {
        self.supervisor.registry()
    }

    /// This node's supervisor.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}
