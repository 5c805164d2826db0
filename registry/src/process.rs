//! Local processes: what holds names. A process is an async task, or whatever the embedding program takes for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_transport::core::Pid;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError};

use crate::core::{Activation, Fence, Name, NameConflict, RegisterError};
use crate::local::Standing;
use crate::registry::Registry;

/// How long a spawned process may take to stop when it was told to; then its task is aborted.
pub const STOP_MAX: Duration = Duration::from_secs(10);

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// As it should, or because it was told to stop.
    Normal,
    /// By an error or a panic; the text says which.
    Abnormal(String),
    /// It lost a name to a better-ranked process and was told to stop.
    NameConflict(NameConflict),
}

/// What the future of a process may yield.
pub trait Outcome {
    /// What went wrong, if anything did.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// A process of this node: one pid, one rank and one fence, for all names that it holds.
///
/// Clones are handles of the same process. It ends, and its names are released, when its task ends if it was
/// [spawned](Registry::spawn); otherwise when [`Process::end`] is called or the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pid: Pid,
    registry: Registry,
    standing: watch::Sender<Standing>,
}

impl Process {
    /// Activates a process.
    pub(crate) fn activate(registry: &Registry, activation: Activation<'_>) -> Self {
        let (pid, fence) = registry.activate(activation);
        let standing = watch::Sender::new(Standing { fence, conflict: None, stopping: false, exit: None });
        registry.local().add(pid.clone(), standing.clone());
        Self { inner: Arc::new(Inner { pid, registry: registry.clone(), standing }) }
    }

    /// Activates a process and runs its future as a task. When it is told to stop and has not ended after [`STOP_MAX`], the
    /// task is aborted.
    pub(crate) fn spawn<F, T>(
        registry: &Registry,
        activation: Activation<'_>,
        run: impl FnOnce(Process) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
        T: Outcome + Send + 'static,
    {
        let process = Self::activate(registry, activation);
        let (runtime, own) = (registry.runtime().clone(), process.clone());
        // In a task of its own, so that a panic ends it and nothing else; `run` itself is called in there too.
        let context = process.clone();
        let task = runtime.spawn(async move { run(context).await.failure() });
        runtime.spawn(async move {
            let late = abort_late(own.clone(), task.abort_handle());
            let ended = tokio::select! {
                biased;
                ended = task => ended,
                ended = late => match ended {},
            };
            own.finish(reason(ended));
        });
        process
    }

    /// Its pid.
    pub fn pid(&self) -> &Pid {
        &self.inner.pid
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Its fence now. Hand it to whatever must refuse an older activation's writes.
    pub fn fence(&self) -> Fence {
        self.inner.standing.borrow().fence
    }

    /// Resolves with its fence once that is another than `known`: it rises when this process wins a conflict.
    pub async fn fence_changed(&self, known: Fence) -> Fence {
        self.until(|standing| Some(standing.fence).filter(|fence| *fence != known)).await
    }

    /// See [`Registry::register`].
    pub fn register(&self, name: Name, value: impl Into<Bytes>) -> Result<(), RegisterError> {
        self.inner.registry.register(self.pid(), name, value)
    }

    /// See [`Registry::unregister`].
    pub fn unregister(&self, name: &Name) -> bool {
        self.inner.registry.unregister(self.pid(), name)
    }

    /// See [`Registry::update_value`].
    pub fn update_value(&self, name: &Name, value: impl Into<Bytes>) -> bool {
        self.inner.registry.update_value(self.pid(), name, value)
    }

    /// Tells it to stop. What that means is its own matter; a spawned one that has not ended after [`STOP_MAX`] is aborted.
    pub fn stop(&self) {
        self.inner.standing.send_modify(|standing| standing.stopping = true);
    }

    /// Resolves once it was told to stop: by [`Process::stop`], because it lost a conflict, or because the node closes.
    pub async fn stopping(&self) {
        self.until(|standing| standing.stopping.then_some(())).await;
    }

    /// The conflict that it lost, if it did.
    pub fn conflict(&self) -> Option<NameConflict> {
        self.inner.standing.borrow().conflict.clone()
    }

    /// Resolves with how it ended, once it did.
    pub async fn exited(&self) -> ExitReason {
        self.until(|standing| standing.exit.clone()).await
    }

    /// Ends a process that is not a task: its names are released. The task of a spawned one goes on without names.
    pub fn end(&self) {
        self.finish(ExitReason::Normal);
    }

    async fn until<T>(&self, mut find: impl FnMut(&Standing) -> Option<T>) -> T {
        let mut standing = self.inner.standing.subscribe();
        loop {
            if let Some(found) = find(&standing.borrow_and_update()) {
                return found;
            }
            if standing.changed().await.is_err() {
                // We hold a sender ourselves.
                std::future::pending::<()>().await;
            }
        }
    }

    fn finish(&self, reason: ExitReason) {
        self.inner.finish(reason);
    }
}

impl Inner {
    fn finish(&self, reason: ExitReason) {
        let first = self.standing.send_if_modified(|standing| {
            let first = standing.exit.is_none();
            let reason = standing.conflict.clone().map_or(reason, ExitReason::NameConflict);
            standing.exit.get_or_insert(reason);
            first
        });
        if first {
            self.registry.ended(&self.pid);
            self.registry.local().remove(&self.pid);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish(ExitReason::Normal);
    }
}

async fn abort_late(process: Process, task: AbortHandle) -> std::convert::Infallible {
    process.stopping().await;
    tokio::time::sleep(STOP_MAX).await;
    tracing::warn!(pid = %process.pid(), "a process was told to stop and did not; aborting its task");
    task.abort();
    std::future::pending().await
}

fn reason(ended: Result<Option<String>, JoinError>) -> ExitReason {
    match ended {
        Ok(None) => ExitReason::Normal,
        Ok(Some(failure)) => ExitReason::Abnormal(failure),
        Err(error) => ExitReason::Abnormal(describe(error)),
    }
}

/// How a task ended that did not return: by which panic, or by being aborted.
pub fn describe(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "its task was aborted".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "panicked".to_owned(), |text| format!("panicked: {text}"))
}
