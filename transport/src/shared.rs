//! What a cluster's handles may read while its driver works, and the clock that all drivers of a node share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;

use crate::core::membership::Membership;
use crate::core::message::Hello;
use crate::core::{self, Addr, Lane, NodeId, Now, View};
use crate::metrics::Counters;
use crate::session::Session;

/// One clock for all drivers of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Now {
        let micros = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: core::Instant::from_micros(micros), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// When the driver's timers see this point of the cores' clock.
    pub(crate) fn at(&self, instant: core::Instant) -> Instant {
        self.0 + Duration::from_micros(instant.as_micros())
    }
}

/// What handles may read while the driver works.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) addr: Addr,
    pub(crate) local_addr: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    hello: RwLock<Hello>,
    view: RwLock<View>,
    sessions: RwLock<BTreeMap<NodeId, Arc<Session>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    // Nothing panics while one of these is held.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(clock: Clock, core: &Membership, local_addr: SocketAddr) -> Arc<Self> {
        let hello = core.hello();
        Arc::new(Self {
            clock,
            addr: hello.addr.clone(),
            local_addr,
            counters: Arc::default(),
            hello: RwLock::new(hello),
            view: RwLock::new(core.view().clone()),
            sessions: RwLock::default(),
        })
    }

    pub(crate) fn hello(&self) -> Hello {
        read(&self.hello).clone()
    }

    pub(crate) fn view(&self) -> View {
        read(&self.view).clone()
    }

    pub(crate) fn set_hello(&self, hello: Hello) {
        *write(&self.hello) = hello;
    }

    pub(crate) fn set_view(&self, view: View) {
        *write(&self.view) = view;
    }

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        write(&self.sessions).insert(session.hello.id.clone(), session);
    }

    pub(crate) fn remove_session(&self, peer: &NodeId) {
        write(&self.sessions).remove(peer);
    }

    pub(crate) fn clear_sessions(&self) {
        write(&self.sessions).clear();
    }

    pub(crate) fn session(&self, peer: &NodeId) -> Option<Arc<Session>> {
        read(&self.sessions).get(peer).cloned()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        read(&self.sessions).values().cloned().collect()
    }

    pub(crate) fn send(&self, to: &[NodeId], lane: Lane, frame: &Bytes) {
        let sessions = read(&self.sessions);
        let known = || to.iter().filter_map(|peer| sessions.get(peer));
        let queued = known().map(|session| session.queue(lane, frame.clone())).count();
        self.counters.frames_dropped.add((to.len() - queued) as u64);
        // Only then: whoever is woken may want the processor that we are on.
        known().for_each(|session| session.wake(lane));
    }
}
