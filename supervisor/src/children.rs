//! The children that run on this node: their tasks, and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Fence;
use ordu_registry::process::describe;
use ordu_transport::core::Pid;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::context::{Context, Merged, Shared, Told};
use crate::core::{ChildSpec, Exit, StartedInfo};
use crate::kinds::Kind;
use crate::supervisor::Supervisor;

/// How much longer than its `stop_timeout` a child may take before its task is aborted: a child that has to kill something
/// of its own at the end of that time still can.
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// How often a child that was aborted and did not end is told of in the log.
const STUCK_EVERY: Duration = Duration::from_secs(30);

/// The children of one node whose tasks have not ended.
#[derive(Debug)]
pub(crate) struct Children {
    runtime: Handle,
    running: BTreeMap<Pid, Running>,
}

#[derive(Debug)]
struct Running {
    told: watch::Sender<Told>,
    shared: Arc<Shared>,
    /// How long it may take once it is asked to stop; set by whoever asks, before `told`.
    stop: watch::Sender<Option<Duration>>,
    stop_timeout: Duration,
}

impl Children {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, running: BTreeMap::new() }
    }

    /// Starts a child's task. Whatever becomes of it, its exit is told to the supervisor exactly once.
    pub(crate) fn start(
        &mut self,
        supervisor: Supervisor,
        kind: Option<Arc<dyn Kind>>,
        pid: Pid,
        spec: Arc<ChildSpec>,
        fence: Fence,
        state: Option<Bytes>,
    ) {
        let told = watch::Sender::new(Told { fence, stopping: None, kept: None });
        let (stop, stopped) = watch::channel(None);
        let (told_here, shared) = (told.subscribe(), Arc::<Shared>::default());
        let holds = mpsc::channel(1);
        let context = Context {
            pid: pid.clone(),
            spec: spec.clone(),
            state,
            told: told_here,
            shared: shared.clone(),
            supervisor: supervisor.clone(),
            holds: holds.0.downgrade(),
        };
        match kind {
            Some(kind) => {
                // In a task of its own, so that a panic ends it and nothing else; `run` itself is called in there too.
                let task = self.runtime.spawn(async move { kind.run(context).await });
                self.runtime.spawn(attend(supervisor, pid.clone(), shared.clone(), task, stopped, holds));
            }
            None => {
                // The core places children only where their kind is offered.
                let exit = Exit::Abnormal(format!("this node does not offer the kind {:?}", &*spec.kind));
                self.runtime.spawn(async move { context.supervisor.child_exited(&context.pid, exit) });
            }
        }
        self.running.insert(pid, Running { told, shared, stop, stop_timeout: spec.stop_timeout });
    }

    /// Asks a child to stop; its task is aborted some time after `timeout`.
    pub(crate) fn stop(&self, pid: &Pid, timeout: Duration) {
        if let Some(running) = self.running.get(pid) {
            running.stop.send_replace(Some(timeout));
            running.told.send_modify(|told| told.stopping = Some(timeout));
        }
    }

    /// A child's fence rose.
    pub(crate) fn raise_fence(&self, pid: &Pid, fence: Fence) {
        if let Some(running) = self.running.get(pid) {
            running.told.send_modify(|told| told.fence = fence);
        }
    }

    /// A child's checkpoint is kept.
    pub(crate) fn checkpointed(&self, pid: &Pid, number: u64, keepers: usize) {
        if let Some(running) = self.running.get(pid) {
            running.told.send_modify(|told| told.kept = Some((number, keepers)));
        }
    }

    /// What another process of a child left that lost to it.
    pub(crate) fn merge(&self, pid: &Pid, loser: Pid, state: Bytes) {
        let Some(running) = self.running.get(pid) else { return };
        if !running.shared.put(Merged { loser, state }) {
            tracing::warn!(%pid, "a child does not take what losers of conflicts left: there is no room for more");
        }
    }

    /// A child's task has ended.
    pub(crate) fn ended(&mut self, pid: &Pid) {
        self.running.remove(pid);
    }

    /// How long it takes at most until all have ended once they are asked to.
    pub(crate) fn stop_max(&self) -> Duration {
        let slowest = self.running.values().map(|running| running.stop_timeout).max();
        slowest.map_or(Duration::ZERO, |slowest| slowest.saturating_add(STOP_GRACE))
    }
}

/// One activation, from its first poll to the report of its exit.
async fn attend(
    supervisor: Supervisor,
    pid: Pid,
    shared: Arc<Shared>,
    mut task: JoinHandle<Exit>,
    mut stopped: watch::Receiver<Option<Duration>>,
    (holds, held): (mpsc::Sender<()>, mpsc::Receiver<()>),
) {
    let ended = tokio::select! {
        biased;
        ended = &mut task => ended,
        timeout = late(&mut stopped) => abort(&pid, timeout, task).await,
    };
    drop(holds);
    let_go(&pid, held).await;
    let exit = ended.unwrap_or_else(|error| Exit::Abnormal(describe(error)));
    if exit == Exit::Normal && !shared.is_started.load(Ordering::Relaxed) {
        // One that did all its work before it said so has run.
        supervisor.child_started(&pid, StartedInfo::default());
    }
    supervisor.child_exited(&pid, exit);
}

/// Resolves when a child that was asked to stop has had its time.
async fn late(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    let timeout = match stopped.wait_for(Option::is_some).await.map(|timeout| *timeout) {
        Ok(Some(timeout)) => timeout,
        Ok(None) | Err(_) => std::future::pending().await,
    };
    tokio::time::sleep(timeout.saturating_add(STOP_GRACE)).await;
    timeout
}

/// Resolves when nobody holds the child's end back any more.
async fn let_go(pid: &Pid, mut held: mpsc::Receiver<()>) {
    while tokio::time::timeout(STUCK_EVERY, held.recv()).await.is_err() {
        tracing::error!(%pid, "a child has ended but for what it began elsewhere, of which the end is not known");
    }
}

async fn abort(pid: &Pid, timeout: Duration, mut task: JoinHandle<Exit>) -> Result<Exit, JoinError> {
    task.abort();
    loop {
        match tokio::time::timeout(STUCK_EVERY, &mut task).await {
            Ok(Ok(exit)) => return Ok(exit),
            Ok(Err(error)) if error.is_cancelled() => {
                return Ok(Exit::Abnormal(format!("aborted: it had not ended {timeout:?} after it was asked to stop")));
            }
            Ok(Err(error)) => return Err(error),
            // To say that it has ended would let a second copy start beside it.
            Err(_) => tracing::error!(%pid, "a child blocks its thread and cannot be stopped"),
        }
    }
}
