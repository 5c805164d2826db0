//! The registry's public handle, over whichever core holds it, and the core of a node that has nothing but a registry.

use std::sync::Arc;

use bytes::Bytes;
use ordu_transport::core::{NodeId, Now, Pid, View};
use ordu_transport::{Cluster, ClusterEvents};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::sync::futures::Notified;

use crate::core::reconcile::Progress;
use crate::core::{self, Activation, Entry, Fence, Name, RankPolicy, RegisterError, names};
use crate::driver::{Access, Closed, Core, Driver, Input, Outgoing, RegistryCall};
use crate::events::NameEvent;
use crate::local::Local;
use crate::process::{Outcome, Process};

/// How a registry is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegistryConfig {
    /// Which process of several that hold a name stays. The same on every node of the cluster.
    pub policy: RankPolicy,
}

/// A node's registry: names to processes, the same on every node of the cluster. Clones are handles of the same one.
///
/// Reading is local and never waits. Writing goes to this node's own state, and from there to the others.
#[derive(Clone)]
pub struct Registry {
    access: Arc<dyn Access>,
    local: Arc<Local>,
    runtime: Handle,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("node", &self.access.cluster().id()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Runs a registry, and nothing else, on a cluster. Ends when the cluster is left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(cluster: Cluster, events: ClusterEvents, config: RegistryConfig) -> RegistryNode {
        let (id, local) = (cluster.id(), Local::new());
        let core = core::Registry::new(id.clone(), config.policy, id.nonce);
        let driver = Arc::new(Driver::new(cluster, Alone { core, local: local.clone() }));
        let running = driver.clone();
        tokio::spawn(async move { running.run(events).await });
        RegistryNode { registry: Self::over(driver.clone(), local), driver }
    }

    /// The handle of the registry that a core holds. For layers above, which execute its effects on `local`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn over(access: Arc<dyn Access>, local: Arc<Local>) -> Self {
        Self { access, local, runtime: Handle::current() }
    }

    // ---- reading

    /// The process that a name shows: the best-ranked one of those that claim it on nodes that are not down.
    ///
    /// Local, and never waits.
    pub fn lookup(&self, name: &str) -> Option<Entry> {
        self.local.index.lookup(name)
    }

    /// Reads in place what a name shows.
    ///
    /// Local, and never waits; `read` must be short, since memory of replaced entries is kept meanwhile.
    pub fn lookup_with<T>(&self, name: &str, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.local.index.read(name, read)
    }

    /// What the names that begin with `prefix` show, by name. Writers wait meanwhile.
    pub fn entries(&self, prefix: &str) -> Vec<Entry> {
        self.look(|registry, _| registry.entries(prefix).collect())
    }

    /// How many names show a process.
    pub fn count(&self) -> usize {
        self.local.index.len()
    }

    /// The names that a process of this node holds, in order.
    pub fn names_of(&self, pid: &Pid) -> Vec<Name> {
        self.look(|registry, _| registry.names_of(pid).cloned().collect())
    }

    /// What this node believes of the members, as its registry knows it.
    pub fn view(&self) -> View {
        self.look(|registry, _| registry.view().clone())
    }

    /// Who this node is, as its registry knows it.
    pub fn node(&self) -> NodeId {
        self.look(|registry, _| registry.id().clone())
    }

    /// How many processes of this node lost a conflict so far.
    pub fn conflicts_total(&self) -> u64 {
        self.look(|registry, _| registry.conflicts_total())
    }

    /// Whether every living member showed our own digest of the names within the last two repair intervals.
    pub fn is_converged(&self) -> bool {
        self.look(|registry, now| registry.is_converged(now))
    }

    /// How far this node is with the names that it lacks, while it takes them from another; lookups serve meanwhile what is
    /// there. `None` when it takes none.
    pub fn progress(&self) -> Option<Progress> {
        self.look(|registry, now| registry.names().progress(now.at))
    }

    /// What happens to names from now on. A listener that falls more than
    /// [`NAME_EVENTS_MAX`](crate::events::NAME_EVENTS_MAX) events behind is told how many it missed.
    pub fn events(&self) -> broadcast::Receiver<NameEvent> {
        self.local.events.subscribe()
    }

    /// Resolves once `check` holds; it is asked again whenever something may have changed.
    pub async fn wait_until(&self, check: impl Fn(&Registry) -> bool) {
        loop {
            // Before the look, so that no change is missed between both.
            let turned = self.access.turned();
            if check(self) {
                return;
            }
            turned.await;
        }
    }

    // ---- processes

    /// Activates a process that is not a task of ours: it ends with its last handle.
    pub fn process(&self) -> Process {
        self.process_with(Activation::default())
    }

    /// The same, with what its rank may depend on: where the cluster goes by [`RankPolicy::Priority`], a higher one stays.
    ///
    /// ```no_run
    /// # use ordu_registry::{Registry, core::{Activation, Name}};
    /// # fn example(registry: &Registry) -> Result<(), Box<dyn std::error::Error>> {
    /// let master = registry.process_with(Activation { priority: 10, ..Activation::default() });
    /// master.register(Name::new("master")?, "")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn process_with(&self, activation: Activation<'_>) -> Process {
        Process::activate(self, activation)
    }

    /// Runs a future as a process. What it registers is released when it ends, however it ends.
    ///
    /// When it loses a conflict it is told by [`Process::stopping`], and aborted if it has not ended after
    /// [`STOP_MAX`](crate::process::STOP_MAX).
    pub fn spawn<F, T>(&self, run: impl FnOnce(Process) -> F + Send + 'static) -> Process
    where
        F: Future<Output = T> + Send + 'static,
        T: Outcome + Send + 'static,
    {
        Process::spawn(self, Activation::default(), run)
    }

    /// The same, with what its rank may depend on; see [`Registry::process_with`].
    pub fn spawn_with<F, T>(
        &self,
        activation: Activation<'_>,
        run: impl FnOnce(Process) -> F + Send + 'static,
    ) -> Process
    where
        F: Future<Output = T> + Send + 'static,
        T: Outcome + Send + 'static,
    {
        Process::spawn(self, activation, run)
    }

    /// Registers a name for a process of this node. On `Ok` this node's lookups show it; others follow.
    ///
    /// Two nodes that have not heard of one another may both succeed: then the better-ranked process stays, and the other
    /// is told to stop.
    ///
    /// # Errors
    /// See [`RegisterError`]; nothing changed.
    pub fn register(&self, pid: &Pid, name: Name, value: impl Into<Bytes>) -> Result<(), RegisterError> {
        let value = value.into();
        self.call(|registry, now, out| registry.register(now, pid, name.clone(), value.clone(), out))
    }

    /// Releases a name. Returns false, and changes nothing, if that process does not hold it.
    pub fn unregister(&self, pid: &Pid, name: &Name) -> bool {
        self.call(|registry, now, out| registry.unregister(now, pid, name, out))
    }

    /// Replaces the value under a name. Returns false, and changes nothing, if that process does not hold the name or the
    /// value is too long.
    pub fn update_value(&self, pid: &Pid, name: &Name, value: impl Into<Bytes>) -> bool {
        let value = value.into();
        self.call(|registry, now, out| registry.update_value(now, pid, name, value.clone(), out))
    }

    pub(crate) fn activate(&self, activation: Activation<'_>) -> (Pid, Fence) {
        self.call(|registry, now, _| {
            let pid = registry.activate_with(now, activation);
            let fence = registry.standing(&pid).map(|(_, fence)| fence);
            (pid, fence.expect("a process was activated under the same lock"))
        })
    }

    pub(crate) fn ended(&self, pid: &Pid) {
        self.call(|registry, now, out| registry.ended(now, pid, out));
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Resolves after the next call of the core, counted from this call.
    pub(crate) fn turned(&self) -> Notified<'_> {
        self.access.turned()
    }

    pub(crate) fn call<T>(&self, mut run: impl FnMut(&mut core::Registry, Now, &mut Vec<names::Effect>) -> T) -> T {
        let mut value = None;
        self.access.call(&mut |registry, now, out| value = Some(run(registry, now, out)));
        value.expect("the call was made")
    }

    pub(crate) fn look<T>(&self, mut read: impl FnMut(&core::Registry, Now) -> T) -> T {
        let mut value = None;
        self.access.look(&mut |registry, now| value = Some(read(registry, now)));
        value.expect("the look was taken")
    }
}

/// A node that has nothing but a registry. Clones are handles of the same one; dropping them stops nothing.
#[derive(Clone)]
pub struct RegistryNode {
    registry: Registry,
    driver: Arc<Driver<Alone>>,
}

impl RegistryNode {
    /// Its registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The cluster beneath.
    pub fn cluster(&self) -> &Cluster {
        self.driver.cluster()
    }

    /// Tells the local processes to stop and leaves the cluster.
    pub async fn shutdown(&self) {
        self.registry.local.stop_all();
        self.driver.cluster().leave().await;
        self.driver.closed().await;
    }

    /// Resolves once the node is no part of its cluster any more.
    pub async fn closed(&self) -> Closed {
        self.driver.closed().await
    }
}

impl std::ops::Deref for RegistryNode {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        &self.registry
    }
}

/// A registry's core by itself.
struct Alone {
    core: core::Registry,
    local: Arc<Local>,
}

impl Core for Alone {
    type Message = names::Message;
    type Effect = names::Effect;

    fn handle(&mut self, now: Now, input: Input<names::Message>, effects: &mut Vec<names::Effect>) {
        let input = match input {
            Input::Member(member) => names::Input::Member(member),
            Input::Connected(peer) => names::Input::Connected(peer),
            Input::Disconnected(peer) => names::Input::Disconnected(peer),
            Input::Message { from, message } => names::Input::Message { from, message },
            Input::Reborn(id) => names::Input::Reborn(id),
        };
        self.core.handle(now, input, effects);
    }

    fn handle_timeout(&mut self, now: Now, effects: &mut Vec<names::Effect>) {
        self.core.handle_timeout(now, effects);
    }

    fn poll_timeout(&self) -> Option<ordu_transport::core::Instant> {
        self.core.poll_timeout()
    }

    fn registry(&self) -> &core::Registry {
        &self.core
    }

    fn with_registry(&mut self, now: Now, effects: &mut Vec<names::Effect>, run: &mut RegistryCall<'_>) {
        run(&mut self.core, now, effects);
    }

    fn execute(&mut self, effect: names::Effect) -> Option<Outgoing<names::Message>> {
        match effect {
            names::Effect::Send { to, lane, message } => return Some(Outgoing { to, lane, message: *message }),
            names::Effect::Visible { name, entry, was: _, gone } => self.local.show(&name, entry, gone),
            names::Effect::Member { entry, was, gone } => self.local.show_member(entry, was, gone),
            names::Effect::Fence { pid, fence } => drop(self.local.raise_fence(&pid, fence)),
            names::Effect::Exit { pid, conflict } => drop(self.local.exit(&pid, *conflict)),
            names::Effect::Conflict { loser, conflict } => self.local.tell_conflict(loser, *conflict),
            names::Effect::Superseded(by) => tracing::warn!(%by, "a later incarnation of this node's name is known"),
        }
        None
    }

    fn close(&mut self, _: Now, _: &mut Vec<names::Effect>) {
        self.local.stop_all();
    }
}
