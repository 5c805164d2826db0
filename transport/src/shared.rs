//! What a cluster's handles may read while its driver works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::core::membership::Membership;
use crate::core::message::Hello;
use crate::core::ways::{Passed, Step};
use crate::core::{Addr, Lane, NodeId, View, Ways};
use crate::metrics::Counters;
use crate::request::Request;
use crate::session::Session;

/// What handles may read while the driver works.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) addr: Addr,
    pub(crate) local_addr: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    hello: RwLock<Hello>,
    view: RwLock<View>,
    sessions: RwLock<Sessions>,
    ways: RwLock<Arc<Ways>>,
    /// Who is within reach without a session, and since which event.
    reached: RwLock<BTreeMap<NodeId, Reached>>,
    /// Where other members' requests go.
    requests: RwLock<Option<mpsc::Sender<Request>>>,
}

type Sessions = BTreeMap<NodeId, Arc<Session>>;

#[derive(Debug)]
struct Reached {
    serial: u64,
    /// Whether the upper layer was told: only then frames of that member mean something to it.
    told: bool,
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
            ways: RwLock::default(),
            reached: RwLock::default(),
            requests: RwLock::default(),
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
        write(&self.reached).clear();
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
        if queued < to.len() {
            let strangers = to.iter().filter(|peer| !sessions.contains_key(*peer));
            let begun = strangers.filter(|peer| self.begin_passing(&sessions, peer, lane, frame)).count();
            self.counters.frames_dropped.add((to.len() - queued - begun) as u64);
        }
        // Only then: whoever is woken may want the processor that we are on.
        known().for_each(|session| session.wake(lane));
    }

    pub(crate) fn set_request_sink(&self, sink: mpsc::Sender<Request>) {
        *write(&self.requests) = Some(sink);
    }

    pub(crate) fn request_sink(&self) -> Option<mpsc::Sender<Request>> {
        read(&self.requests).clone()
    }

    /// Nobody takes requests any more.
    pub(crate) fn close_requests(&self) {
        *write(&self.requests) = None;
    }

    // ---- what is passed on

    /// Sends a frame of ours to a member without a session. Returns whether it is under way.
    fn begin_passing(&self, sessions: &Sessions, to: &NodeId, lane: Lane, frame: &Bytes) -> bool {
        if !read(&self.reached).contains_key(to) {
            return false;
        }
        let Some((hop, passed)) = read(&self.ways).begin(to) else { return false };
        let session = sessions.get(&hop);
        let begun = session.is_some_and(|session| session.pass(lane, passed, frame.clone()).is_ok());
        self.counters.frames_sent.add(u64::from(begun));
        begun
    }

    /// Takes a frame that a peer passed to us: for somebody else, or for us. Then returns whose it is.
    pub(crate) fn pass_on(&self, peer: &NodeId, lane: Lane, passed: Passed, frame: Bytes) -> Option<(NodeId, Bytes)> {
        let step = read(&self.ways).step(peer, passed);
        let passed_on = match step {
            Step::Here(from) if read(&self.reached).get(&from).is_some_and(|reached| reached.told) => {
                return Some((from, frame));
            }
            Step::On(hop, passed) => {
                self.session(&hop).is_some_and(|session| session.pass(lane, passed, frame).is_ok())
            }
            Step::Here(_) | Step::Nowhere => false,
        };
        let counter = if passed_on { &self.counters.frames_passed } else { &self.counters.frames_dropped };
        counter.add(1);
        None
    }

    pub(crate) fn set_ways(&self, ways: Arc<Ways>) {
        *write(&self.ways) = ways;
    }

    /// This member is within reach from now on.
    pub(crate) fn add_reached(&self, peer: NodeId, serial: u64) {
        write(&self.reached).insert(peer, Reached { serial, told: false });
    }

    /// The upper layer knows that, unless it has ended since.
    pub(crate) fn reached_is_told(&self, peer: &NodeId, serial: u64) {
        if let Some(reached) = write(&self.reached).get_mut(peer).filter(|reached| reached.serial == serial) {
            reached.told = true;
        }
    }

    pub(crate) fn is_reached(&self, peer: &NodeId) -> bool {
        read(&self.reached).contains_key(peer)
    }

    /// Returns whether this member was within reach without a session.
    pub(crate) fn remove_reached(&self, peer: &NodeId) -> bool {
        write(&self.reached).remove(peer).is_some()
    }
}
