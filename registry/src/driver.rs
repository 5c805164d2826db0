//! Runs a core on tokio: one lock around it, one task that feeds it, and its effects executed in the order it gave them.
//! For the supervisor, whose core contains the registry's, and for whoever builds another layer on it.
//!
//! ```text
//!   a caller's operation                         the task: events of the cluster, decoded; time
//!          \                                       /
//!           lock -> one call of the core -> execute its effects -> unlock -> send what it wants sent
//! ```
//!
//! Everything but sending is executed under the lock: each effect is a few instructions that wait for nobody (an update of
//! the index, a wake-up, a spawned task), and this way a caller's own effects are there when its operation returns. What
//! is to be sent goes, under the same lock, to the end of a queue; whoever is there encodes and sends from its front, one
//! at a time. So messages leave in the order of the core too, without anybody encoding under the lock, and without a
//! detour over the task for the common case of one small message. The queue is bounded by what the core may send without
//! an acknowledgement: its push window, and one answer to each message of a peer.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use ordu_transport::core::{
    Addr, DecodeError, FRAME_BYTES_MAX, Instant, Kind, Lane, Member, NodeId, NodeName, Now, codec,
};
use ordu_transport::{Cluster, ClusterEvent, ClusterEvents};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

pub use crate::local::Local;

use crate::core::names::EFFECTS_KEPT_MAX;
use crate::core::{self, names};

/// Most events that the task takes under one lock.
pub const EVENTS_PER_TURN_MAX: usize = 256;
/// Most messages that a caller's operation sends by itself before it leaves the rest to the task.
pub const SENDS_PER_CALL_MAX: usize = 32;
/// A core that wants to be called at once again and again is called no more often than this.
const TURN_PAUSE: Duration = Duration::from_millis(1);
/// Shortest time between two lines of log about malformed frames of one peer.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Most peers whose last such line is remembered.
const LOGGED_PEERS_MAX: usize = 1024;

/// What the cluster tells a core.
#[derive(Debug)]
pub enum Input<M> {
    /// The view changed.
    Member(Member),
    /// A session with a peer began.
    Connected(NodeId),
    /// A session with a peer ended.
    Disconnected(NodeId),
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: M,
    },
    /// This node goes on under a new identity.
    Reborn(NodeId),
}

/// A message on its way; it is encoded once for all its receivers.
#[derive(Debug)]
pub struct Outgoing<M> {
    /// The receivers, in order.
    pub to: Vec<NodeId>,
    /// The lane.
    pub lane: Lane,
    /// The message.
    pub message: M,
}

/// A core together with whatever executes its effects. All of it is called under the driver's lock and must not wait, nor
/// call the driver.
pub trait Core: Send + 'static {
    /// What nodes say to one another.
    type Message: Serialize + DeserializeOwned + Send + 'static;
    /// What the core wants done.
    type Effect: Send + 'static;

    /// Something happened.
    fn handle(&mut self, now: Now, input: Input<Self::Message>, effects: &mut Vec<Self::Effect>);
    /// The next of what happened, in its order: the first, or as many as the core takes at once.
    fn handle_next(&mut self, now: Now, inputs: &mut VecDeque<Input<Self::Message>>, effects: &mut Vec<Self::Effect>) {
        if let Some(input) = inputs.pop_front() {
            self.handle(now, input, effects);
        }
    }
    /// Time has passed.
    fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Self::Effect>);
    /// When [`Core::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The registry in it.
    fn registry(&self) -> &core::Registry;
    /// Runs something on the registry in it, and follows what comes of it.
    fn with_registry(&mut self, now: Now, effects: &mut Vec<Self::Effect>, run: &mut RegistryCall<'_>);
    /// Executes one effect. Returns a message if that is what it is.
    fn execute(&mut self, effect: Self::Effect) -> Option<Outgoing<Self::Message>>;
    /// The cluster is closed, or its name is another node's: local processes are to stop, and nobody is answered any more.
    /// May come twice.
    fn close(&mut self, now: Now, effects: &mut Vec<Self::Effect>);
}

/// Something that is run on a registry's core.
pub type RegistryCall<'a> = dyn FnMut(&mut core::Registry, Now, &mut Vec<names::Effect>) + 'a;

/// Why a node is no part of its cluster any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Another living node holds its name. The process should end.
    NameTaken {
        /// Where it is.
        holder: Addr,
    },
    /// It left, as it was told to.
    Shutdown,
}

/// A core that runs.
pub struct Driver<C: Core> {
    cluster: Cluster,
    state: Mutex<State<C>>,
    /// Held by whoever encodes and sends.
    sending: Mutex<()>,
    /// Wakes the task: its timer moved forward, or there is more to send than a caller sends.
    wake: Notify,
    /// Tells whoever waits for something in the core that it was called.
    turned: Notify,
    closed: watch::Sender<Option<Closed>>,
    frames_refused: AtomicU64,
}

struct State<C: Core> {
    core: C,
    /// Empty between calls: memory for what the core wants done.
    effects: Vec<C::Effect>,
    outbox: VecDeque<Outgoing<C::Message>>,
    /// When the task wakes by itself.
    wakes_at: Option<Instant>,
}

impl<C: Core> State<C> {
    /// Calls the core, and executes what comes of it.
    fn call<T>(&mut self, now: Now, run: impl FnOnce(&mut C, Now, &mut Vec<C::Effect>) -> T) -> T {
        let mut effects = std::mem::take(&mut self.effects);
        let value = run(&mut self.core, now, &mut effects);
        self.outbox.extend(effects.drain(..).filter_map(|effect| self.core.execute(effect)));
        if effects.capacity() <= EFFECTS_KEPT_MAX {
            self.effects = effects;
        }
        value
    }
}

impl<C: Core> fmt::Debug for Driver<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("node", &self.cluster.id()).finish_non_exhaustive()
    }
}

impl<C: Core> Driver<C> {
    /// A core that does not run yet; see [`Driver::run`].
    pub fn new(cluster: Cluster, core: C) -> Self {
        Self {
            cluster,
            state: Mutex::new(State { core, effects: Vec::new(), outbox: VecDeque::new(), wakes_at: None }),
            sending: Mutex::new(()),
            wake: Notify::new(),
            turned: Notify::new(),
            closed: watch::Sender::new(None),
            frames_refused: AtomicU64::new(0),
        }
    }

    /// The cluster beneath.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How many frames of peers could not be read.
    pub fn frames_refused(&self) -> u64 {
        self.frames_refused.load(Ordering::Relaxed)
    }

    /// Resolves once this node is no part of its cluster any more.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.closed.subscribe();
        let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or(Closed::Shutdown)
    }

    /// Calls the core, and executes what comes of it before it returns.
    pub fn with<T>(&self, run: impl FnOnce(&mut C, Now, &mut Vec<C::Effect>) -> T) -> T {
        let (value, wakes, sends) = self.call(|state, now| state.call(now, run));
        let rest = sends && !self.send(SENDS_PER_CALL_MAX);
        if wakes || rest {
            self.wake.notify_one();
        }
        value
    }

    /// Resolves after the next call of the core, counted from this call.
    pub fn turned(&self) -> Notified<'_> {
        self.turned.notified()
    }

    /// Encodes and sends everything that waits to be sent.
    pub fn flush(&self) {
        let _guard = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        while self.send_first() {}
    }

    /// Reads the core.
    pub fn read<T>(&self, run: impl FnOnce(&C) -> T) -> T {
        run(&self.lock().core)
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // A core that panicked has a broken invariant: nobody may go on with it.
        self.state.lock().expect("the core has panicked")
    }

    /// Returns also whether the task must wake earlier than it would, and whether there is something to send.
    fn call<T>(&self, run: impl FnOnce(&mut State<C>, Now) -> T) -> (T, bool, bool) {
        let mut state = self.lock();
        // Under the lock, so that the core never sees time go back.
        let value = run(&mut state, self.cluster.now());
        let next = state.core.poll_timeout();
        let wakes = next.is_some_and(|next| state.wakes_at.is_none_or(|at| next < at));
        if wakes {
            state.wakes_at = next;
        }
        let sends = !state.outbox.is_empty();
        drop(state);
        self.turned.notify_waiters();
        (value, wakes, sends)
    }

    /// Encodes and sends at most `limit` messages, oldest first. Returns false if more are left and nobody sends them.
    fn send(&self, limit: usize) -> bool {
        let mut left = limit;
        loop {
            let guard = match self.sending.try_lock() {
                Ok(guard) => guard,
                // Whoever holds it looks at the queue again after letting go, and so finds ours.
                Err(TryLockError::WouldBlock) => return true,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            while left > 0 && self.send_first() {
                left -= 1;
            }
            drop(guard);
            if self.lock().outbox.is_empty() {
                return true;
            }
            if left == 0 {
                return false;
            }
        }
    }

    /// Encodes and sends the oldest message. Returns false if there is none. The caller holds `sending`.
    fn send_first(&self) -> bool {
        let Some(Outgoing { to, lane, message }) = self.lock().outbox.pop_front() else { return false };
        let frame = codec::encode(Kind::Replication, &message);
        if frame.len() > FRAME_BYTES_MAX {
            // Some peer's doing: an event that no node of ours would have accepted from a caller.
            tracing::error!(bytes = frame.len(), ?to, "a message is too long to be sent; dropping it");
            return true;
        }
        self.cluster.send_all(&to, lane, &frame);
        true
    }

    // ---- the task

    /// Feeds the core until the cluster is closed.
    pub async fn run(&self, mut events: ClusterEvents) {
        let mut taken = Vec::with_capacity(EVENTS_PER_TURN_MAX);
        let mut log = MalformedLog::default();
        loop {
            let pause = self.pause();
            let count = tokio::select! {
                count = events.recv_many(&mut taken, EVENTS_PER_TURN_MAX) => Some(count),
                () = pause => None,
                () = self.wake.notified() => None,
            };
            if count == Some(0) {
                break;
            }
            let inputs = self.decode(&mut taken, &mut log);
            self.turn(inputs);
            while !self.send(usize::MAX) {}
        }
        self.close(Closed::Shutdown);
    }

    /// Waits until the core wants to be called.
    fn pause(&self) -> impl Future<Output = ()> + use<C> {
        let mut state = self.lock();
        state.wakes_at = state.core.poll_timeout();
        let pause = state.wakes_at.map(|at| at.saturating_since(self.cluster.now().at).max(TURN_PAUSE));
        async move {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    fn turn(&self, mut inputs: VecDeque<Input<C::Message>>) {
        self.call(|state, now| {
            while !inputs.is_empty() {
                state.call(now, |core, now, effects| core.handle_next(now, &mut inputs, effects));
            }
            if state.core.poll_timeout().is_some_and(|at| at <= now.at) {
                state.call(now, |core, now, effects| core.handle_timeout(now, effects));
            }
        });
    }

    fn decode(&self, taken: &mut Vec<ClusterEvent>, log: &mut MalformedLog) -> VecDeque<Input<C::Message>> {
        let mut inputs = VecDeque::with_capacity(taken.len());
        for event in taken.drain(..) {
            inputs.push_back(match event {
                ClusterEvent::Member(member) => Input::Member(member),
                ClusterEvent::Connected(peer) => Input::Connected(peer),
                ClusterEvent::Disconnected(peer) => Input::Disconnected(peer),
                ClusterEvent::Reborn(id) => Input::Reborn(id),
                ClusterEvent::Frame { from, frame } => match codec::decode(Kind::Replication, &frame) {
                    Ok(message) => Input::Message { from, message },
                    Err(error) => {
                        self.frames_refused.fetch_add(1, Ordering::Relaxed);
                        log.tell(self.cluster.now().at, &from, &error);
                        continue;
                    }
                },
                ClusterEvent::NameTaken { holder } => {
                    self.close(Closed::NameTaken { holder });
                    continue;
                }
            });
        }
        inputs
    }

    fn close(&self, reason: Closed) {
        self.call(|state, now| state.call(now, |core, now, effects| core.close(now, effects)));
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        });
    }
}

/// A registry's way to its core, whichever core that is.
pub trait Access: Send + Sync + 'static {
    /// Runs something on the registry's core; its effects are executed when this returns.
    fn call(&self, run: &mut RegistryCall<'_>);
    /// Reads the registry's core.
    fn look(&self, read: &mut dyn FnMut(&core::Registry, Now));
    /// Resolves after the next call of the core, counted from this call.
    fn turned(&self) -> Notified<'_>;
    /// The cluster beneath.
    fn cluster(&self) -> &Cluster;
}

impl<C: Core> Access for Driver<C> {
    fn call(&self, run: &mut RegistryCall<'_>) {
        self.with(|core, now, effects| core.with_registry(now, effects, run));
    }

    fn look(&self, read: &mut dyn FnMut(&core::Registry, Now)) {
        self.read(|core| read(core.registry(), self.cluster.now()));
    }

    fn turned(&self) -> Notified<'_> {
        self.turned()
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// When each peer's malformed frames were last told of in the log.
#[derive(Debug, Default)]
struct MalformedLog {
    last: BTreeMap<NodeName, (Instant, u64)>,
}

impl MalformedLog {
    fn tell(&mut self, now: Instant, peer: &NodeId, error: &DecodeError) {
        if let Some((last, left_out)) = self.last.get_mut(&peer.name)
            && now.saturating_since(*last) < LOG_EVERY
        {
            *left_out += 1;
            return;
        }
        let left_out = self.last.get(&peer.name).map_or(0, |(_, left_out)| *left_out);
        tracing::warn!(%peer, %error, left_out, "a frame cannot be read; dropping it");
        if self.last.len() >= LOGGED_PEERS_MAX {
            self.last.pop_first();
        }
        self.last.insert(peer.name.clone(), (now, 0));
    }
}
