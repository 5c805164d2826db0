//! Anti-entropy of one table: pushes, acknowledgements, digests, pulls and whole states, peer by peer.
//!
//! The log is the queue: a peer has a cursor, not a queue. *sent* moves when we push, *acked* is the clock that the peer
//! reported; a new session starts at acked. What pushes lose, the digests find: each repair interval some peers are told a
//! hash of our state, and one whose own hash differs pulls what it lacks; see `digest`.
//!
//! ```text
//!   push     Delta{events} … Delta{events, closing}  ->            <- Ack{clock}      in large clusters by way of `relay`
//!            small ones share one Ack, which comes a moment later
//!   repair   Digest{hash} ->   <- Pull{context}   Delta … closing ->   <- Ack
//!   much, or below the horizon <- Pull{context}   State{part} ->   <- More   State{…} ->   <- Ack; see `reconcile`
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;
use triomphe::Arc;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::overlay::Mesh;
use ordu_transport::core::{Instant, Lane, NodeId, Overlay};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clock::{Clock, Dot};
use super::delta::{Closing, Event, Key, Message, Payload, Purpose};
use super::reconcile::{Incoming, Progress};
use super::retire::Retired;
use super::stable::{Branches, Stable};
use super::table::{Kind, LOG_REMOVALS_MAX, Table};

/// How often peers are told our digest; jittered by a quarter either way.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(1);
/// A repair comes up to this much early, along with another table's, so that the digests of all tables of a node travel
/// together: as much as their times differ by.
const REPAIR_EARLY: Duration = Duration::from_millis(300);
/// A pull that was not answered for this long may be sent again.
pub const PULL_PATIENCE: Duration = Duration::from_secs(4);
/// About how many bytes of events one message carries at most.
pub const PART_BYTES_MAX: usize = 256 << 10;
/// Most events that one push carries. A peer that lacks more is pushed to in parts, or, in a shared table, must pull.
pub const PUSH_EVENTS_MAX: usize = 4_096;
/// About how many bytes of events one push carries at most.
pub const PUSH_BYTES_MAX: usize = 1 << 20;
/// About how many bytes of events one answer to a pull carries at most; a peer that lacks more is sent them part by part as
/// it takes them.
pub const DELTA_BYTES_MAX: usize = 4 << 20;
/// Most pushes to a peer that it may not have acknowledged, or [`SMALL_PUSHES_WEIGH`] times as many small ones. Whatever is
/// written meanwhile waits and goes as one: under load batches grow with the round trip, and where there is none a push
/// leaves at once.
pub const PUSHES_IN_FLIGHT_MAX: usize = 4;
/// Most of our events that a peer may be sent without having acknowledged them.
pub const PUSH_WINDOW_EVENTS: u64 = 16_384;
/// Most unfinished deltas that are kept track of per peer; the oldest is given up first.
pub const OPEN_DELTAS_MAX: usize = 16;

/// How long an acknowledgement of a small push may wait for others, so that one does for all of them: nobody waits for most
/// of them, and each costs as much as the push.
pub const ACK_DELAY: Duration = Duration::from_millis(5);
/// A push of at most so many events, of at most [`SMALL_PUSH_BYTES`], is small. A longer one is acknowledged at once: its
/// sender may have more to send.
pub const SMALL_PUSH_EVENTS: usize = 8;
/// About how many bytes of events a small push has at most.
pub const SMALL_PUSH_BYTES: usize = 4 << 10;
/// After this many small pushes their acknowledgement does not wait any longer: half of what may be in flight.
pub const SMALL_PUSHES_MAX: usize = 8;
/// How many small pushes in flight count as much as one other. To their sender a push is small only if nothing more waits
/// behind it.
pub const SMALL_PUSHES_WEIGH: usize = 4;
const _: () = assert!(2 * SMALL_PUSHES_MAX == PUSHES_IN_FLIGHT_MAX * SMALL_PUSHES_WEIGH);

/// Whether a push of these events is small.
pub(super) fn is_small<K: Key, V: Payload>(events: &[Arc<Event<K, V>>]) -> bool {
    events.len() <= SMALL_PUSH_EVENTS
        && events.iter().map(|event| event.size_bytes()).sum::<usize>() <= SMALL_PUSH_BYTES
}

/// How much a replica sends at once, and how soon. Simulations make it small, so that what is sent in parts in large
/// clusters is sent in parts in theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// In place of [`PUSH_EVENTS_MAX`].
    pub push_events: usize,
    /// In place of [`PUSH_BYTES_MAX`].
    pub push_bytes: usize,
    /// In place of [`DELTA_BYTES_MAX`].
    pub delta_bytes: usize,
    /// In place of [`PART_BYTES_MAX`].
    pub part_bytes: usize,
    /// In place of [`LOG_REMOVALS_MAX`].
    pub removals: usize,
    /// When there is an overlay, and how dense it is; the same as of membership.
    pub mesh: Mesh,
    /// In place of [`ACK_DELAY`].
    pub ack_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            push_events: PUSH_EVENTS_MAX,
            push_bytes: PUSH_BYTES_MAX,
            delta_bytes: DELTA_BYTES_MAX,
            part_bytes: PART_BYTES_MAX,
            removals: LOG_REMOVALS_MAX,
            mesh: Mesh::default(),
            ack_delay: ACK_DELAY,
        }
    }
}

impl Limits {
    /// At most this many events a push, and as little of all else; never more than the default.
    pub fn of_events(count: usize) -> Self {
        const EVENT_BYTES: usize = 200;
        let (most, bytes) = (Self::default(), count.saturating_mul(EVENT_BYTES));
        if count >= most.push_events {
            return most;
        }
        Self {
            push_events: count.min(most.push_events),
            push_bytes: bytes.min(most.push_bytes),
            delta_bytes: bytes.saturating_mul(2).min(most.delta_bytes),
            part_bytes: bytes.min(most.part_bytes),
            removals: count.saturating_mul(2).min(most.removals),
            mesh: Mesh { direct_peers: count.min(most.mesh.direct_peers), rings: 1 },
            ack_delay: most.ack_delay,
        }
    }
}

/// How long `until` still lies ahead, for fingerprints: in half seconds, so that jitter does not tell states apart.
pub fn wait(now: Instant, until: Instant) -> u64 {
    const STEP_US: u64 = 500_000;
    until.as_micros().saturating_sub(now.as_micros()).div_ceil(STEP_US)
}

/// A message on its way to one or more peers; it is encoded once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outgoing<K: Key, V: Payload> {
    /// The receivers, in order.
    pub to: Vec<NodeId>,
    /// The lane.
    pub lane: Lane,
    /// The message.
    pub message: Message<K, V>,
}

/// What is known of one peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) connected: bool,
    /// Our own events up to here were pushed in this session.
    pub(super) sent: u64,
    /// Our own events up to here were left to relays in this session.
    pub(super) left_at: u64,
    /// Where each push of this session ended that is not acknowledged, and whether it is a small one.
    pub(super) in_flight: VecDeque<(u64, bool)>,
    /// The clock that the peer reported.
    pub(super) acked: Clock,
    /// Whether this session has carried our retirements as they are.
    pub(super) retired_sent: bool,
    /// When we last asked it for what we lack, while the answer is not complete.
    pub(super) pulling: Option<Instant>,
    /// Which pull that was.
    pub(super) pull_number: u64,
    /// Whether it is to be asked once another peer has sent us everything.
    pub(super) postponed: bool,
    /// When it last took a part of what it lacks of us: pushes wait until it has all of it.
    pub(super) taking: Option<Instant>,
    /// Its unfinished deltas: how many events of each were taken.
    pub(super) open: BTreeMap<u64, u64>,
    /// What it is sending us part by part.
    pub(super) state: Option<Box<Incoming>>,
    /// The digest it showed last, and when.
    pub(super) digest: Option<(u64, Instant)>,
    /// Whether, since it last came up, we had everything that it had at some moment.
    pub(super) heard: bool,
    /// Whether it was told, since it last acknowledged anything, that it is too far behind to be pushed to.
    pub(super) nudged: bool,
    /// Where each delta of others ended that was passed on to it and that it has not acknowledged.
    pub(super) relayed: VecDeque<(NodeId, u64)>,
    /// An acknowledgement that waits for more, or for [`Replica::ack_at`].
    pub(super) owed: Clock,
    /// How many small pushes that one is for.
    pub(super) owed_pushes: usize,
    /// Under which view of the members it turned to us, as it cannot reach the one above it in the tree.
    pub(super) turned: Option<u64>,
    /// What its branch of the tree has had, where it reports to us.
    pub(super) branches: Branches,
    /// Whether we do not speak to it otherwise: it has spoken to us, or was asked.
    pub(super) guest: bool,
    /// Whether it did so in this repair interval.
    pub(super) lingers: bool,
}

impl Peer {
    /// The acknowledgement that it is owed, if any, of what is `known` here still.
    fn take_owed<K: Key, V: Payload>(&mut self, id: &NodeId, known: &Clock) -> Option<Outgoing<K, V>> {
        self.owed_pushes = 0;
        let mut clock = std::mem::take(&mut self.owed);
        // An origin that turned out to be over meanwhile was dropped.
        clock.dots.retain(|origin, counter| known.get(origin) >= *counter);
        if clock.is_empty() {
            return None;
        }
        Some(Outgoing { to: vec![id.clone()], lane: Lane::Delta, message: Message::Ack { clock } })
    }

    /// Whether it was asked for what we lack and may still answer.
    pub(super) fn is_asked(&self, now: Instant) -> bool {
        self.pulling.is_some_and(|since| now < since + PULL_PATIENCE)
    }

    /// Whether another push may be sent to it.
    pub(super) fn has_room(&self) -> bool {
        let small = self.in_flight.iter().filter(|(_, small)| *small).count();
        let weight = (self.in_flight.len() - small) * SMALL_PUSHES_WEIGH + small;
        weight < PUSHES_IN_FLIGHT_MAX * SMALL_PUSHES_WEIGH
    }

    /// It has reported what it has, of ours too.
    pub(super) fn has_up_to(&mut self, origin: &NodeId) {
        let acked = self.acked.get(origin);
        self.sent = self.sent.max(acked);
        while self.in_flight.pop_front_if(|(end, _)| *end <= acked).is_some() {}
    }
}

/// A table and its cursors: one node's whole part in the replication of one table.
#[derive(Debug, Clone)]
pub struct Replica<K: Key, V: Payload> {
    pub(super) table: Table<K, V>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// With whom there is a session.
    pub(super) sessions: BTreeSet<NodeId>,
    /// Whom of those we speak to; `None`: all of them.
    pub(super) overlay: Option<std::sync::Arc<Overlay>>,
    pub(super) stable: Stable,
    /// The members whose acknowledgements removals wait for.
    pub(super) counted: std::sync::Arc<BTreeSet<NodeId>>,
    pub(super) touched: Vec<K>,
    pub(super) next_number: u64,
    pub(super) limits: Limits,
    pub(super) repair_at: Instant,
    /// When acknowledgements that wait are sent.
    pub(super) ack_at: Option<Instant>,
    /// Every peer to whom we speak was sent our own events up to here, or they were left to relays.
    pub(super) caught_up: Option<u64>,
    /// Our own events up to here are to be acknowledged at once.
    pub(super) hurried: u64,
    /// The peer that was told our digest last in its turn.
    pub(super) turn: Option<NodeId>,
    /// Whom of those to whom we do not speak we have asked last for theirs.
    pub(super) stranger: Option<NodeId>,
    pub(super) alarms: u64,
    pub(super) hearings: u64,
    pub(super) rng: ChaCha8Rng,
}

impl<K: Key, V: Payload> Replica<K, V> {
    /// An empty replica. `seed` decides its jitter.
    pub fn new(kind: Kind, origin: NodeId, seed: u64) -> Self {
        Self {
            table: Table::new(kind, origin),
            peers: BTreeMap::new(),
            sessions: BTreeSet::new(),
            overlay: None,
            stable: Stable::default(),
            counted: std::sync::Arc::default(),
            touched: Vec::new(),
            next_number: 0,
            limits: Limits::default(),
            repair_at: Instant::default(),
            ack_at: None,
            caught_up: None,
            hurried: 0,
            turn: None,
            stranger: None,
            alarms: 0,
            hearings: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Sends no more at once than this.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The table.
    pub fn table(&self) -> &Table<K, V> {
        &self.table
    }

    /// Puts a value; see [`Table::put`].
    pub fn put(&mut self, key: K, value: V) -> Dot {
        self.touched.push(key.clone());
        self.table.put(key, value)
    }

    /// Puts a value under a key that has no event at all; see [`Table::put_first`]. It does not count as touched.
    pub fn put_first(&mut self, place: u64, key: K, value: V) -> Arc<Event<K, V>> {
        self.table.put_first(place, key, value)
    }

    /// Wants the next event that is written acknowledged at once.
    pub fn hurry(&mut self) {
        self.hurried = self.table.context().clock().get(self.table.origin()) + 1;
    }

    /// Removes what was seen under a key; see [`Table::remove`].
    pub fn remove(&mut self, key: &K) -> bool {
        self.remove_with(key, &[])
    }

    /// The same, and values that were heard of and may not have come yet; see [`Table::remove_with`].
    pub fn remove_with(&mut self, key: &K, heard_of: &[Dot]) -> bool {
        let removed = self.table.remove_with(key, heard_of);
        if removed {
            self.touched.push(key.clone());
        }
        removed
    }

    /// Removes one value; see [`Table::withdraw`].
    pub fn withdraw(&mut self, key: &K, dot: &Dot) -> bool {
        let removed = self.table.withdraw(key, dot);
        if removed {
            self.touched.push(key.clone());
        }
        removed
    }

    /// The keys whose live values may have changed since the last call, in order.
    pub fn take_touched(&mut self) -> Vec<K> {
        let mut touched = std::mem::take(&mut self.touched);
        if touched.len() > 1 {
            touched.sort_unstable();
            touched.dedup();
        }
        touched
    }

    /// The same, as they were touched, and some perhaps more than once.
    pub fn take_touched_list(&mut self) -> Vec<K> {
        std::mem::take(&mut self.touched)
    }

    /// From now on a key shows this of its events; see [`Table::show`].
    pub(super) fn show(&mut self, place: u64, key: &K, event: Option<&Event<K, V>>) -> Option<Arc<Event<K, V>>> {
        self.table.show(place, key, event)
    }

    /// Takes into `hasher` all that decides what this replica will do, as it is at `now`, times by how long they are still
    /// waited for. Left out is what is drawn (jitter, and with it when the next repair is due), how deltas are numbered,
    /// and what is kept for the reader only: two that give the same do the same from here on, up to jitter.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher)
    where
        K: Hash,
        V: Hash,
    {
        let Self { table, peers, counted, touched, ack_at, hurried, sessions, overlay, stable, .. } = self;
        table.fingerprint(hasher);
        sessions.hash(hasher);
        overlay.as_ref().map(|overlay| (overlay.hash(), overlay.neighbours())).hash(hasher);
        stable.fingerprint(now, hasher);
        (counted, touched, ack_at.map(|at| wait(now, at)), hurried).hash(hasher);
        for (id, peer) in peers {
            let Peer {
                connected,
                sent,
                left_at,
                in_flight,
                acked,
                retired_sent,
                pulling,
                postponed,
                taking,
                open,
                state,
                heard,
                nudged,
                relayed,
                owed,
                owed_pushes,
                turned,
                branches,
                guest,
                lingers,
                pull_number: _,
                digest: _,
            } = peer;
            (id, connected, sent, left_at, in_flight, acked, retired_sent, postponed, state, heard, nudged)
                .hash(hasher);
            (relayed, owed, owed_pushes, turned, branches, guest, lingers).hash(hasher);
            [pulling, taking].map(|since| since.map(|since| wait(now, since + PULL_PATIENCE))).hash(hasher);
            open.values().for_each(|taken| taken.hash(hasher));
        }
    }

    /// How far this replica is with what it lacks, while it takes that from a peer part by part.
    pub fn progress(&self, now: Instant) -> Option<Progress> {
        let asked = self.peers.values().filter(|peer| peer.is_asked(now));
        asked.filter_map(|peer| peer.state.as_ref()).map(|state| state.progress()).next()
    }

    /// How often equal contexts came with unequal sums. Anything but zero is a bug of ours.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// We have everything that this peer has had at some moment since it last came up.
    pub(super) fn hear(&mut self, from: &NodeId) {
        self.stable.hear(from);
        let peer = self.peer(from);
        if !std::mem::replace(&mut peer.heard, true) {
            self.hearings += 1;
        }
    }

    /// Counts how often a peer was heard that had not been since it came up.
    pub fn hearings(&self) -> u64 {
        self.hearings
    }

    /// Whether, since this peer last came up, we had everything that it had at some moment.
    pub fn has_heard(&self, peer: &NodeId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.heard) || self.stable.has_heard(peer)
    }

    /// Whether somebody else has this event, so that it outlives this node; also where nobody else is connected.
    pub fn is_kept_elsewhere(&self, dot: &Dot) -> bool {
        let mut connected = self.peers.values().filter(|peer| peer.connected);
        self.sessions.is_empty() || connected.any(|peer| peer.acked.get(&dot.actor) >= dot.counter)
    }

    /// Whether the peer has reported to have seen everything up to `clock`.
    pub fn has_acked(&self, peer: &NodeId, clock: &Clock) -> bool {
        clock.dots.iter().all(|(origin, &counter)| self.acked(peer, origin) >= counter)
    }

    /// The peer went down: what it has now must be heard anew once it is back.
    pub fn unhear(&mut self, peer: &NodeId) {
        self.stable.unhear(peer);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.heard = false;
        }
    }

    /// Whether every connected peer that we push to has acknowledged all our own events.
    pub fn is_acknowledged(&self) -> bool {
        let origin = self.table.origin();
        let last = self.table.context().clock().get(origin);
        let relays = self.has_relays().then(|| self.first_relays());
        let is_pushed_to = |id: &NodeId| relays.as_ref().is_none_or(|relays| relays.contains(id));
        let mut pushed_to = self.peers.iter().filter(|(id, peer)| peer.connected && is_pushed_to(id));
        pushed_to.all(|(_, peer)| peer.acked.get(origin) >= last)
    }

    /// The members whose acknowledgements removals wait for.
    pub fn counted(&self) -> &std::sync::Arc<BTreeSet<NodeId>> {
        &self.counted
    }

    /// Sets the members whose acknowledgements removals wait for, ourselves excluded.
    pub fn set_counted(&mut self, counted: std::sync::Arc<BTreeSet<NodeId>>) {
        self.peers.retain(|id, peer| peer.connected || counted.contains(id));
        self.counted = counted;
    }

    /// A session with a peer began.
    pub fn connected(&mut self, id: &NodeId, out: &mut Vec<Outgoing<K, V>>) {
        self.sessions.insert(id.clone());
        if self.speaks_to(id) {
            self.begin(id, false);
            self.link(id, out);
        } else {
            self.end(id);
        }
    }

    /// The session with a peer ended.
    pub fn disconnected(&mut self, id: &NodeId) {
        self.sessions.remove(id);
        self.end(id);
    }

    /// From now on we speak to a peer, with whom there is a session.
    pub(super) fn link(&mut self, id: &NodeId, out: &mut Vec<Outgoing<K, V>>) {
        if !self.is_linked(id) {
            self.begin(id, false);
        }
        let known = self.known_of(id).filter(|_| self.peers.get(id).is_some_and(|peer| peer.guest)).cloned();
        let origin = self.table.origin().clone();
        let peer = self.peer(id);
        peer.guest = false;
        if let Some(known) = known {
            peer.acked.merge(known);
            peer.has_up_to(&origin);
        }
        out.push(self.digest_to(vec![id.clone()], false));
    }

    pub(super) fn begin(&mut self, id: &NodeId, guest: bool) {
        let Peer { mut acked, heard, digest, .. } = self.peers.remove(id).unwrap_or_default();
        if !guest {
            // Guests are many, and nothing is pushed to them.
            self.known_of(id).into_iter().for_each(|known| acked.merge(known.clone()));
        }
        let sent = acked.get(self.table.origin());
        self.caught_up = None;
        self.peers.insert(id.clone(), Peer { connected: true, sent, acked, heard, digest, guest, ..Peer::default() });
    }

    pub(super) fn end(&mut self, id: &NodeId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.connected = false;
            (peer.state, peer.pulling, peer.taking, peer.postponed) = (None, None, None, false);
            (peer.owed, peer.owed_pushes) = (Clock::default(), 0);
        }
        // Of members to whom nobody speaks but their neighbours it is known otherwise what they have; see `stable`.
        let is_among_many = self.overlay.as_ref().is_some_and(|overlay| overlay.has(id) && !overlay.is_neighbour(id));
        if is_among_many || !self.counted.contains(id) {
            let heard = self.peers.remove(id).is_some_and(|peer| peer.heard);
            self.stable.remember(id, heard && is_among_many);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.ack_at.map_or(self.repair_at, |at| at.min(self.repair_at))
    }

    /// Sends acknowledgements that have waited, and repairs once the repair interval is over.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        if self.ack_at.take_if(|at| *at <= now).is_some() {
            let known = self.table.context().clock();
            out.extend(self.peers.iter_mut().filter_map(|(id, peer)| peer.take_owed(id, known)));
        }
        if self.is_repair_due(now) {
            self.repair(now, out);
        }
    }

    /// Whether the repair interval is over.
    pub fn is_repair_due(&self, now: Instant) -> bool {
        now >= self.repair_at
    }

    /// Another table of this node repairs now: so does this one, if it would soon.
    pub fn repair_along(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        if now + REPAIR_EARLY >= self.repair_at {
            self.repair(now, out);
        }
    }

    /// Tells some peers our digest, and drops removals that nobody needs.
    fn repair(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        self.repair_at = now + REPAIR_INTERVAL.mul_f64(self.rng.random_range(0.9..1.2));
        self.peers.values_mut().for_each(|peer| {
            peer.taking.take_if(|since| now >= *since + PULL_PATIENCE);
        });
        self.see_guests_off(now);
        self.tell_digests(now, out);
        self.tell_had(now, out);
        self.collect();
    }

    fn collect(&mut self) {
        if self.table.removals_len() > 0 {
            // Most of many members are known to have what all have, and nothing else is known of them.
            let (met, others): (Vec<_>, Vec<_>) = self.counted.iter().partition(|id| self.peers.contains_key(*id));
            let unknown: Vec<&NodeId> = others.into_iter().filter(|id| self.known_of(id).is_none()).take(2).collect();
            let known = self.stable.known_clock().filter(|_| met.len() < self.counted.len());
            let acked = |origin: &NodeId| {
                if unknown.iter().any(|id| *id != origin) {
                    return 0;
                }
                let met = met.iter().filter(|id| **id != origin).map(|id| self.acked(id, origin));
                met.chain(known.map(|known| known.get(origin))).min().unwrap_or(u64::MAX)
            };
            let origins = self.table.context().clock().dots.keys();
            let floor: BTreeMap<NodeId, u64> = origins.map(|origin| (origin.clone(), acked(origin))).collect();
            self.table.collect(self.limits.removals, |origin| floor.get(origin).copied().unwrap_or(u64::MAX));
        }
        let origin = self.table.origin();
        let last = self.table.context().clock().get(origin);
        // Guests are not pushed to.
        let pushed_to = self.peers.values().filter(|peer| !peer.guest);
        let behind = pushed_to.map(|peer| peer.acked.get(origin)).min().unwrap_or(last);
        self.table.forget_left_out(behind);
    }

    /// Takes incarnations as over; see [`Table::retire`]. Returns the live events that went.
    pub fn retire(&mut self, retired: &Retired) -> Vec<Arc<Event<K, V>>> {
        let before = self.table.revision();
        let gone = self.table.retire(retired);
        if before != self.table.revision() {
            self.peers.values_mut().for_each(|peer| peer.retired_sent = false);
        }
        self.touched.extend(gone.iter().map(|event| event.key.clone()));
        gone
    }

    /// Goes on under a new identity; see [`Table::reborn`].
    pub fn reborn(&mut self, id: NodeId) {
        let keys = self.table.reborn(id);
        self.touched.extend(keys);
        for peer in self.peers.values_mut() {
            (peer.sent, peer.left_at, peer.retired_sent) = (0, 0, false);
            peer.in_flight.clear();
        }
        (self.hurried, self.caught_up) = (0, None);
    }

    /// Takes a message of a peer.
    pub fn handle(&mut self, now: Instant, from: &NodeId, message: Message<K, V>, out: &mut Vec<Outgoing<K, V>>) {
        self.receive_guest(from);
        if !self.is_linked(from) {
            return;
        }
        self.note_guest(from);
        match message {
            Message::Digest { hash, ask } => self.on_digest(now, from, hash, ask, out),
            Message::Pull { number, context, retired, sum } => {
                self.on_pull(now, from, number, context, &retired, sum, out);
            }
            Message::Delta { number, retired, events, closing } => {
                retired.iter().for_each(|retired| drop(self.retire(retired)));
                self.on_delta(now, from, number, events.into(), closing, out);
            }
            Message::Ack { clock } => self.on_ack(from, clock),
            Message::State { retired, answer } => {
                self.retire(&retired);
                self.on_state(now, from, answer, out);
            }
            Message::More(ask) => self.send_state(now, from, &ask, out),
            Message::Had { target, had } => self.on_had(now, from, target, had, out),
            Message::Goal { members, clock } => self.on_goal(now, from, members, clock, out),
        }
    }

    pub(super) fn peer(&mut self, id: &NodeId) -> &mut Peer {
        self.peers.entry(id.clone()).or_default()
    }

    fn on_delta(
        &mut self,
        now: Instant,
        from: &NodeId,
        number: u64,
        events: Vec<Arc<Event<K, V>>>,
        closing: Option<Closing>,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let taken = self.peer(from).open.remove(&number).unwrap_or(0) + events.len() as u64;
        // What came in parts is not.
        let small = closing.as_ref().is_some_and(|closing| closing.events == events.len() as u64) && is_small(&events);
        let relayed = closing.as_ref().filter(|closing| closing.purpose == Purpose::Relay);
        let news = relayed.map_or(Vec::new(), |closing| self.news_of(&closing.intervals));
        self.take(events);
        let Some(closing) = closing else {
            let open = &mut self.peer(from).open;
            open.insert(number, taken);
            if open.len() > OPEN_DELTAS_MAX {
                open.pop_first();
            }
            return;
        };
        if closing.events != taken {
            return;
        }
        self.table.close(&closing.intervals);
        if closing.purpose == Purpose::Answer {
            self.peer(from).pulling = None;
            self.hear(from);
        }
        let mut clock = Clock::default();
        for interval in &closing.intervals {
            let counter = self.table.context().clock().get(&interval.origin);
            clock.apply(Dot::new(interval.origin.clone(), counter));
        }
        let waits = small && matches!(closing.purpose, Purpose::Push | Purpose::Relay);
        self.acknowledge(now, from, clock, waits, out);
        match closing.purpose {
            Purpose::Push | Purpose::Hurry => {}
            Purpose::Relay => self.pass_on(now, from, news, &closing.intervals, out),
            Purpose::Answer => self.pull_postponed(now, out),
        }
    }

    /// Tells a peer what of its delta we have: at once, or, after a few small pushes, soon.
    fn acknowledge(&mut self, now: Instant, from: &NodeId, clock: Clock, waits: bool, out: &mut Vec<Outgoing<K, V>>) {
        if clock.is_empty() {
            return;
        }
        let (kind, delay) = (self.table.kind, self.limits.ack_delay);
        let peer = self.peer(from);
        peer.owed.merge(clock);
        peer.owed_pushes += 1;
        // In a shared table callers may wait for it.
        if kind == Kind::OwnerWritten && waits && peer.owed_pushes < SMALL_PUSHES_MAX && !delay.is_zero() {
            self.ack_at = Some(self.ack_at.unwrap_or(now + delay));
        } else {
            let known = self.table.context().clock();
            out.extend(self.peers.get_mut(from).and_then(|peer| peer.take_owed(from, known)));
        }
    }

    fn take(&mut self, events: Vec<Arc<Event<K, V>>>) {
        for event in events {
            let key = event.key.clone();
            if self.table.apply(event) {
                self.touched.push(key);
            }
        }
    }

    pub(super) fn on_ack(&mut self, from: &NodeId, clock: Clock) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.acked.merge(clock);
        (peer.nudged, peer.taking) = (false, None);
        peer.has_up_to(self.table.origin());
        self.note_relayed(from);
    }
}
