//! The supervisor's public handle.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::Registry;
use ordu_registry::core::RankPolicy;
use ordu_registry::driver::{Closed, Driver, Local};
use ordu_transport::core::{NodeName, Now, Pid, Status};
use ordu_transport::{Cluster, ClusterEvents};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::timeout;

use crate::children::Children;
use crate::core::checkpoint::COPIES;
use crate::core::{
    self, Bounds, Call, CallError, ChildId, ChildRow, ChildSpec, Escalation, Event, Exit, Expect, Explanation, Input,
    MemberRow, Misplaced, Partition, Preference, Redistribution, Reply, StartedInfo, StatusRow, Stored,
};
use crate::driver::Machine;
use crate::error::{DrainError, RemoveError, RestartError, StartError, TerminateError};
use crate::kinds::Kinds;
use crate::store::{self, Store};

/// For how long a node that leaves waits until the others have what it wrote last.
pub const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Most starts of [`Supervisor::start_children`] that go into the core together.
const STARTS_AT_ONCE_MAX: usize = 1_024;
/// How much longer than its slowest child a node waits for all to have stopped.
const STOP_ALL_MARGIN: Duration = Duration::from_secs(1);
/// Makes request numbers differ from what else is drawn with the node's nonce as seed.
const REQUESTS_SEED: u64 = 0x5245_5155;

/// How a supervisor is made.
#[derive(Debug, Clone)]
pub struct SupervisorConfig {
    /// The kinds that this node offers.
    pub kinds: Kinds,
    /// The version of the node's software, shown to the others.
    pub version: Arc<str>,
    /// Its share of children relative to others; 0 for none.
    pub weight: u32,
    /// Text pairs that describe the node; children may ask for some, see
    /// [`Affinity`](crate::core::spec::Affinity).
    pub labels: BTreeMap<String, String>,
    /// Which nodes a child prefers. The same on every node of the cluster.
    pub preference: Preference,
    /// When the node gives away children that run.
    pub redistribution: Redistribution,
    /// How many children there may be, on this node and in the cluster.
    pub bounds: Bounds,
    /// For how long a child that ended for good keeps its row.
    pub keep_done: Duration,
    /// Which process of several that hold a name stays. The same on every node of the cluster.
    pub policy: RankPolicy,
    /// How many members the node waits for before it takes any child, and for how long: so that the first node of a cluster
    /// that starts anew does not take all.
    pub expect: Expect,
    /// What the node does when it is cut off from most others. The same on every node of the cluster.
    pub partition: Partition,
    /// How many other nodes keep what its children leave while they run, see
    /// [`Context::checkpoint`](crate::Context::checkpoint); at most [`COPIES_MAX`](crate::core::checkpoint::COPIES_MAX).
    pub copies: usize,
    /// With a quorum: what kills the children when this node's process is not heard of, for it stands still.
    pub watchdog: Option<Watchdog>,
}

/// Kills the children of a node that has not renewed its lease: in another process, which goes on when this one stands
/// still. It is told how long from now on they may run unless it is told anew, `None` for ever, and must not block.
///
/// Children in this very process stand still with it, and are told to stop when it goes on. What they write then only a
/// fence refuses.
#[derive(Clone)]
pub struct Watchdog(Arc<dyn Fn(Option<Duration>) + Send + Sync>);

impl Watchdog {
    /// One that is told by a call.
    pub fn new(tell: impl Fn(Option<Duration>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, within: Option<Duration>) {
        (self.0)(within);
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watchdog(..)")
    }
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            kinds: Kinds::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            weight: 1,
            labels: BTreeMap::new(),
            preference: Preference::default(),
            redistribution: Redistribution::default(),
            bounds: Bounds::default(),
            keep_done: Duration::from_secs(60),
            policy: RankPolicy::default(),
            expect: Expect::default(),
            partition: Partition::default(),
            copies: COPIES,
            watchdog: None,
        }
    }
}

/// A node's supervisor. Clones are handles of the same one; dropping them stops nothing, see [`Supervisor::shutdown`].
///
/// Every node's supervisor speaks for the whole cluster: what is started here may run anywhere, and every node lists all.
#[derive(Debug, Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    driver: Arc<Driver<Machine>>,
    registry: Registry,
    events: broadcast::Sender<Event>,
    drained: watch::Receiver<bool>,
    escalated: watch::Receiver<Option<Escalation>>,
}

impl From<Arc<Inner>> for Supervisor {
    fn from(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

impl Supervisor {
    /// Runs a supervisor, and the registry in it, on a cluster.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(cluster: Cluster, events: ClusterEvents, config: SupervisorConfig) -> Supervisor {
        let (supervisor, run) = Self::begin(cluster, events, config, None);
        run();
        supervisor
    }

    /// The same, and what should run is kept in a file: callers are told that something is done when the file says so too,
    /// and a supervisor that is started with it goes on with what it says, even where all nodes stopped at once.
    ///
    /// While the file cannot be written, calls that change something time out, and what runs goes on.
    ///
    /// # Errors
    /// If the thread that writes it cannot be started. Nothing runs then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_durable(
        cluster: Cluster,
        events: ClusterEvents,
        config: SupervisorConfig,
        mut store: Store,
    ) -> io::Result<Supervisor> {
        let stored = store.take();
        let (supervisor, run) = Self::begin(cluster, events, config, Some(stored));
        let saves = store::begin(store, Arc::downgrade(&supervisor.inner))?;
        supervisor.inner.driver.with(|machine, _, _| machine.set_saves(saves));
        run();
        Ok(supervisor)
    }

    fn begin(
        cluster: Cluster,
        events: ClusterEvents,
        config: SupervisorConfig,
        disk: Option<Stored>,
    ) -> (Supervisor, impl FnOnce()) {
        let SupervisorConfig {
            kinds,
            version,
            weight,
            labels,
            preference,
            redistribution,
            bounds,
            keep_done,
            policy,
            expect,
            partition,
            copies,
            watchdog,
        } = config;
        let (id, local) = (cluster.id(), Local::new());
        // The nonce is random, and of this start alone.
        let seed = id.nonce;
        let names = kinds.names().cloned().collect();
        let config = core::Config {
            id,
            policy,
            kinds: names,
            version,
            weight,
            labels,
            preference,
            redistribution,
            bounds,
            keep_done,
            disk,
            expect,
            partition,
            copies,
            seed,
        };
        let children = Children::new(Handle::current());
        let rng = ChaCha8Rng::seed_from_u64(seed ^ REQUESTS_SEED);
        let mut machine = Machine::new(core::Supervisor::new(config), kinds, children, local.clone(), rng);
        machine.watchdog = watchdog;
        let (tell, drained, escalated) =
            (machine.events.clone(), machine.drained.subscribe(), machine.escalated.subscribe());
        let driver = Arc::new(Driver::new(cluster, machine));
        let registry = Registry::over(driver.clone(), local);
        let inner = Arc::new(Inner { driver, registry, events: tell, drained, escalated });
        inner.driver.with(|machine, _, _| machine.set_handle(Arc::downgrade(&inner)));
        let running = inner.clone();
        let run = move || drop(tokio::spawn(async move { running.driver.run(events).await }));
        (Supervisor { inner }, run)
    }

    /// The cluster beneath.
    pub fn cluster(&self) -> &Cluster {
        self.inner.driver.cluster()
    }

    /// The node's registry. Every running child holds its id as a name in it.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    // ---- children

    /// Starts a child and waits until it runs, wherever that is. On `Ok` this node's reads and lookups show it.
    ///
    /// # Errors
    /// See [`StartError`], which says what is kept.
    pub async fn start_child(&self, spec: ChildSpec, deadline: Duration) -> Result<ChildRow, StartError> {
        self.start_or_ensure(spec, false, deadline).await
    }

    /// Like [`Supervisor::start_child`], but a child of this id that is desired already is waited for and returned, as it
    /// is; its spec is not changed.
    ///
    /// # Errors
    /// See [`StartError`]; never `AlreadyRunning`, unless a concurrent start elsewhere won.
    pub async fn ensure_child(&self, spec: ChildSpec, deadline: Duration) -> Result<ChildRow, StartError> {
        self.start_or_ensure(spec, true, deadline).await
    }

    async fn start_or_ensure(&self, spec: ChildSpec, ensure: bool, deadline: Duration) -> Result<ChildRow, StartError> {
        let reply = self.call(Call::Start { spec, ensure }, deadline).await.ok_or(StartError::Closed)?;
        child(reply).map_err(StartError::from)
    }

    /// Starts many children at once, and waits until each runs or has failed: one answer for each, in their order, as
    /// [`Supervisor::start_child`] gives it. The starts travel together, so this is cheaper than as many calls.
    ///
    /// At most [`CALLS_MAX`](core::calls::CALLS_MAX) calls wait on one node; those beyond are answered
    /// [`StartError::Busy`] at once.
    pub async fn start_children(
        &self,
        specs: impl IntoIterator<Item = ChildSpec>,
        deadline: Duration,
    ) -> Vec<Result<ChildRow, StartError>> {
        self.start_or_ensure_many(specs, false, deadline).await
    }

    /// The same, as [`Supervisor::ensure_child`] does it for one.
    pub async fn ensure_children(
        &self,
        specs: impl IntoIterator<Item = ChildSpec>,
        deadline: Duration,
    ) -> Vec<Result<ChildRow, StartError>> {
        self.start_or_ensure_many(specs, true, deadline).await
    }

    async fn start_or_ensure_many(
        &self,
        specs: impl IntoIterator<Item = ChildSpec>,
        ensure: bool,
        deadline: Duration,
    ) -> Vec<Result<ChildRow, StartError>> {
        let mut calls = specs.into_iter().map(|spec| Call::Start { spec, ensure });
        let mut replied = Vec::new();
        loop {
            // Others want the core too.
            let some: Vec<Call> = calls.by_ref().take(STARTS_AT_ONCE_MAX).collect();
            if some.is_empty() {
                break;
            }
            replied.extend(self.call_many(some, deadline));
            tokio::task::yield_now().await;
        }
        let mut answers = Vec::with_capacity(replied.len());
        for reply in replied {
            let reply = reply.await.map_err(|_| StartError::Closed);
            answers.push(reply.and_then(|reply| child(reply).map_err(StartError::from)));
        }
        answers
    }

    /// Ends a child for good, in whatever status it is, and waits until it has ended.
    ///
    /// # Errors
    /// See [`TerminateError`].
    pub async fn terminate_child(&self, id: &ChildId, deadline: Duration) -> Result<(), TerminateError> {
        let reply = self.call(Call::Terminate(id.clone()), deadline).await.ok_or(TerminateError::Closed)?;
        done(reply).map_err(TerminateError::from)
    }

    /// Stops a child and starts it again, without pause, and waits until it runs.
    ///
    /// # Errors
    /// See [`RestartError`].
    pub async fn restart_child(&self, id: &ChildId, deadline: Duration) -> Result<ChildRow, RestartError> {
        let reply = self.call(Call::Restart(id.clone()), deadline).await.ok_or(RestartError::Closed)?;
        child(reply).map_err(RestartError::from)
    }

    /// All children that should run, run, or ended a while ago, by id.
    pub fn children(&self) -> Vec<ChildRow> {
        self.read(|core, _| core.rows())
    }

    /// One child.
    pub fn child(&self, id: &ChildId) -> Option<ChildRow> {
        self.read(|core, _| core.row(id))
    }

    /// What a child should be: the spec of its start, of several concurrent ones that of the latest. `None` if it is not
    /// desired, also where it was and its row still stands.
    pub fn spec(&self, id: &ChildId) -> Option<Arc<ChildSpec>> {
        self.read(|core, _| core.spec(id).cloned())
    }

    /// Why a child is where it is, and where it would go, as this node sees it. `None` if there is no such child.
    pub fn explain(&self, id: &ChildId) -> Option<Explanation> {
        self.read(|core, now| core.explain(now, id))
    }

    // ---- nodes

    /// All members, by name.
    pub fn members(&self) -> Vec<MemberRow> {
        self.read(|core, _| core.member_rows())
    }

    /// The cluster as this node sees it.
    pub fn status(&self) -> StatusRow {
        self.read(core::Supervisor::status_row)
    }

    /// Makes a node take no children and give its own away, and waits until it says so; its children then leave one after
    /// the other. It lasts as long as the node's process.
    ///
    /// # Errors
    /// See [`DrainError`].
    pub async fn drain(&self, node: &NodeName, deadline: Duration) -> Result<(), DrainError> {
        self.set_draining(node, true, deadline).await
    }

    /// Makes a node take children again, and waits until it says so.
    ///
    /// # Errors
    /// See [`DrainError`].
    pub async fn undrain(&self, node: &NodeName, deadline: Duration) -> Result<(), DrainError> {
        self.set_draining(node, false, deadline).await
    }

    /// Makes a node take no children and keep those that it has, or take some again, and waits until it says so. What it has
    /// is started there again when it ends, and is not moved away unless the node drains; a move that had begun before is
    /// finished. Like a drain it lasts as long as the node's process, and neither ends the other.
    ///
    /// # Errors
    /// See [`DrainError`].
    pub async fn cordon(&self, node: &NodeName, on: bool, deadline: Duration) -> Result<(), DrainError> {
        let call = Call::Cordon { node: node.clone(), on };
        let reply = self.call(call, deadline).await.ok_or(DrainError::Closed)?;
        done(reply).map_err(DrainError::from)
    }

    async fn set_draining(&self, node: &NodeName, on: bool, deadline: Duration) -> Result<(), DrainError> {
        let call = Call::Drain { node: node.clone(), on };
        let reply = self.call(call, deadline).await.ok_or(DrainError::Closed)?;
        done(reply).map_err(DrainError::from)
    }

    /// Up to `most` children that run elsewhere than they belong, as this node sees it, by id.
    pub fn misplaced(&self, most: usize) -> Vec<Misplaced> {
        self.read(|core, _| core.misplaced(most))
    }

    /// Has up to `most` misplaced children moved where they belong, a few at a time on each node. Returns which, before they
    /// have moved; one whose node sees it otherwise stays.
    pub fn rebalance(&self, most: usize) -> Vec<Misplaced> {
        self.inner.driver.with(|machine, now, effects| machine.core.rebalance(now, most, effects))
    }

    /// Forgets a member that is down and will not return: what it was the only one to know of is given up, and a temporary
    /// child that ran there has had its run. All others learn it. One that does return is another incarnation, and welcome.
    ///
    /// With a quorum ([`Partition::Quorum`]) this is what lets one form again where members will not return, and so it needs
    /// none: the survivors may do it. It is the operator's word that the node is dead. To remove one that lives, and is only
    /// cut off from here, gives up the promise that no child runs twice: its grants count only for as long again as anything
    /// could have run by them, and then a quorum may form without it.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove(&self, node: &NodeName, deadline: Duration) -> Result<(), RemoveError> {
        let status = |own: &Supervisor| own.cluster().view().get(node).map(|member| member.status);
        match status(self) {
            None => return Err(RemoveError::UnknownNode),
            Some(status) if status.is_living() => return Err(RemoveError::Living),
            Some(_) => self.cluster().remove(node).await,
        }
        let left = self.wait_until(|own| status(own).is_none_or(|status| status == Status::Left));
        timeout(deadline, left).await.map_err(|_| RemoveError::Timeout)
    }

    // ---- events

    /// What happens from now on, as this node sees it. A listener that falls more than
    /// [`EVENTS_BEHIND_MAX`](crate::EVENTS_BEHIND_MAX) events behind is told how many it missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// The latest events, oldest first, at most [`EVENTS_KEPT_MAX`](crate::EVENTS_KEPT_MAX).
    pub fn recent_events(&self) -> Vec<Event> {
        self.inner.driver.read(|machine| machine.recent.iter().cloned().collect())
    }

    /// Both: the latest events, and from then on what happens, without a gap or a repetition between them.
    pub fn recent_and_further_events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.inner.driver.read(|machine| (machine.recent.iter().cloned().collect(), machine.events.subscribe()))
    }

    /// Resolves once `check` holds; it is asked again whenever something may have changed on this node.
    pub async fn wait_until(&self, check: impl Fn(&Supervisor) -> bool) {
        loop {
            // Before the look, so that no change is missed between both.
            let turned = self.inner.driver.turned();
            if check(self) {
                return;
            }
            turned.await;
        }
    }

    // ---- the end

    /// Gives all children away, for at most `drain_timeout`; stops those that are left; leaves the cluster. What should run
    /// stays desired.
    ///
    /// With a child that does not stop when asked it takes as much longer as that child's `stop_timeout` and a little. A
    /// second call with a shorter time hastens the first.
    pub async fn shutdown(&self, drain_timeout: Duration) {
        self.handle(Input::Shutdown);
        if timeout(drain_timeout, self.drained()).await.is_err() {
            let stop_max = self.inner.driver.with(|machine, now, effects| {
                machine.core.handle(now, Input::StopAll, effects);
                machine.children.stop_max()
            });
            if timeout(stop_max.saturating_add(STOP_ALL_MARGIN), self.drained()).await.is_err() {
                tracing::error!("children that do not stop are left behind");
            }
        }
        let is_told = |own: &Supervisor| own.read(|core, _| core.is_acknowledged() && core.is_saved());
        let _ = timeout(FAREWELL_MAX, self.wait_until(is_told)).await;
        self.inner.driver.flush();
        self.cluster().leave().await;
        self.inner.driver.closed().await;
    }

    /// Resolves once this node is no part of its cluster any more: after [`Supervisor::shutdown`], or because another
    /// living node holds its name, and then its children are told to stop.
    pub async fn closed(&self) -> Closed {
        self.inner.driver.closed().await
    }

    /// Resolves once a child has failed so often here that, by its spec, something is wrong with this node: with the first
    /// such. It is in quarantine, so that it does not bring one node down after the other; what becomes of this one is for
    /// its owner to say, who may [shut it down](Supervisor::shutdown). Safe to cancel.
    pub async fn escalated(&self) -> Escalation {
        let mut escalated = self.inner.escalated.clone();
        match escalated.wait_for(Option::is_some).await.map(|first| first.clone()) {
            Ok(Some(first)) => first,
            // It is closed: nothing fails any more.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    async fn drained(&self) {
        // The sender lives as long as we do.
        let _ = self.inner.drained.clone().wait_for(|drained| *drained).await;
    }

    /// How many frames of peers could not be read.
    pub fn frames_refused(&self) -> u64 {
        self.inner.driver.frames_refused()
    }

    // ---- what children report

    pub(crate) fn child_started(&self, pid: &Pid, info: StartedInfo) {
        self.handle(Input::Started { pid: pid.clone(), info });
    }

    pub(crate) fn child_hands_off(&self, pid: &Pid, state: Bytes) {
        self.handle(Input::HandedOff { pid: pid.clone(), state });
    }

    pub(crate) fn child_checkpoints(&self, pid: &Pid, number: u64, state: Bytes) {
        self.handle(Input::Checkpoint { pid: pid.clone(), number, state });
    }

    pub(crate) fn child_exited(&self, pid: &Pid, exit: Exit) {
        self.inner.driver.with(|machine, now, effects| {
            machine.children.ended(pid);
            machine.core.handle(now, Input::Exited { pid: pid.clone(), exit }, effects);
        });
    }

    pub(crate) fn handle(&self, input: Input) {
        self.inner.driver.with(|machine, now, effects| machine.core.handle(now, input, effects));
    }

    fn read<T>(&self, read: impl FnOnce(&core::Supervisor, Now) -> T) -> T {
        let now = self.cluster().now();
        self.inner.driver.read(|machine| read(&machine.core, now))
    }

    /// `None` if this node is closed, or becomes so before there is an answer.
    async fn call(&self, call: Call, wait: Duration) -> Option<Reply> {
        self.call_many(vec![call], wait).pop()?.await.ok()
    }

    fn call_many(&self, calls: Vec<Call>, wait: Duration) -> Vec<oneshot::Receiver<Reply>> {
        self.inner.driver.with(|machine, now, effects| machine.call_many(now, calls, wait, effects))
    }
}

fn child(reply: Reply) -> Result<ChildRow, CallError> {
    match reply {
        Reply::Child(result) => result.map(|row| *row),
        Reply::Done(_) => unreachable!("the core answers this call with a child"),
    }
}

fn done(reply: Reply) -> Result<(), CallError> {
    match reply {
        Reply::Done(result) => result,
        Reply::Child(_) => unreachable!("the core answers this call without a child"),
    }
}
