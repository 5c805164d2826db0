//! Anti-entropy of one table: pushes, acknowledgements, digests, pulls and whole states, peer by peer.
//!
//! The log is the queue: a peer has a cursor, not a queue. *sent* moves when we push, *acked* is the clock that the peer
//! reported; a new session starts at acked. What pushes lose, the digests find: each repair interval every peer is told a
//! hash of our state, and one whose own hash differs pulls what it lacks.
//!
//! ```text
//!   push     Delta{events} … Delta{events, closing}  ->            <- Ack{clock}
//!   repair   Digest{hash} ->   <- Pull{context}   Delta … closing ->   <- Ack
//!   much, or below the horizon <- Pull{context}   State{part} ->   <- More   State{…} ->   <- Ack; see `reconcile`
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clock::{Clock, Context, Dot};
use super::delta::{Closing, Event, Interval, Key, Message, Payload};
use super::reconcile::{Answer, Ask, Incoming, Next};
use super::retire::Retired;
use super::table::{Kind, LOG_REMOVALS_MAX, Table};

/// How often every peer is told our digest; jittered by a quarter either way.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(1);
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
/// Most pushes to a peer that it may not have acknowledged. Whatever is written meanwhile waits and goes as one: under load
/// batches grow with the round trip, and where there is none a push leaves at once.
pub const PUSHES_IN_FLIGHT_MAX: usize = 4;
/// Most of our events that a peer may be sent without having acknowledged them.
pub const PUSH_WINDOW_EVENTS: u64 = 16_384;
/// Most unfinished deltas that are kept track of per peer; the oldest is given up first.
pub const OPEN_DELTAS_MAX: usize = 16;

/// How much a replica sends at once. Simulations make it small, so that what is sent in parts in large clusters is sent in
/// parts in theirs.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            push_events: PUSH_EVENTS_MAX,
            push_bytes: PUSH_BYTES_MAX,
            delta_bytes: DELTA_BYTES_MAX,
            part_bytes: PART_BYTES_MAX,
            removals: LOG_REMOVALS_MAX,
        }
    }
}

impl Limits {
    /// At most this many events a push, and as little of all else; never more than the default.
    pub fn of_events(count: usize) -> Self {
        const EVENT_BYTES: usize = 200;
        let (most, bytes) = (Self::default(), count.saturating_mul(EVENT_BYTES));
        Self {
            push_events: count.min(most.push_events),
            push_bytes: bytes.min(most.push_bytes),
            delta_bytes: bytes.saturating_mul(2).min(most.delta_bytes),
            part_bytes: bytes.min(most.part_bytes),
            removals: count.saturating_mul(2).min(most.removals),
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
#[derive(Debug, Clone)]
struct Peer {
    connected: bool,
    /// Our own events up to here were pushed in this session.
    sent: u64,
    /// Where each push of this session ended that is not acknowledged.
    in_flight: VecDeque<u64>,
    /// The clock that the peer reported.
    acked: Clock,
    /// Whether this session has carried our retirements as they are.
    retired_sent: bool,
    /// When we last asked it for what we lack, while the answer is not complete.
    pulling: Option<Instant>,
    /// Which pull that was.
    pull_number: u64,
    /// Whether it is to be asked once another peer has sent us everything.
    postponed: bool,
    /// When it last took a part of what it lacks of us: pushes wait until it has all of it.
    taking: Option<Instant>,
    /// Its unfinished deltas: how many events of each were taken.
    open: BTreeMap<u64, u64>,
    /// What it is sending us part by part.
    state: Option<Incoming>,
    /// The digest it showed last, and when.
    digest: Option<(u64, Instant)>,
    /// Whether, since it last came up, we had everything that it had at some moment.
    heard: bool,
    /// Whether it was told, since it last acknowledged anything, that it is too far behind to be pushed to.
    nudged: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            connected: false,
            sent: 0,
            in_flight: VecDeque::new(),
            acked: Clock::default(),
            retired_sent: false,
            pulling: None,
            pull_number: 0,
            postponed: false,
            taking: None,
            open: BTreeMap::new(),
            state: None,
            digest: None,
            heard: false,
            nudged: false,
        }
    }
}

impl Peer {
    /// It has reported what it has, of ours too.
    fn has_up_to(&mut self, origin: &NodeId) {
        let acked = self.acked.get(origin);
        self.sent = self.sent.max(acked);
        while self.in_flight.pop_front_if(|end| *end <= acked).is_some() {}
    }
}

/// A table and its cursors: one node's whole part in the replication of one table.
#[derive(Debug, Clone)]
pub struct Replica<K: Key, V: Payload> {
    table: Table<K, V>,
    peers: BTreeMap<NodeId, Peer>,
    /// The members whose acknowledgements removals wait for.
    counted: BTreeSet<NodeId>,
    touched: Vec<K>,
    next_number: u64,
    limits: Limits,
    repair_at: Instant,
    alarms: u64,
    rng: ChaCha8Rng,
}

impl<K: Key, V: Payload> Replica<K, V> {
    /// An empty replica. `seed` decides its jitter.
    pub fn new(kind: Kind, origin: NodeId, seed: u64) -> Self {
        Self {
            table: Table::new(kind, origin),
            peers: BTreeMap::new(),
            counted: BTreeSet::new(),
            touched: Vec::new(),
            next_number: 0,
            limits: Limits::default(),
            repair_at: Instant::default(),
            alarms: 0,
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
    pub fn take_touched(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// The same, where many are expected and looked at once: in order, each once.
    pub fn take_touched_list(&mut self) -> Vec<K> {
        let mut touched = std::mem::take(&mut self.touched);
        if touched.len() > 1 {
            touched.sort_unstable();
            touched.dedup();
        }
        touched
    }

    /// Takes into `hasher` all that decides what this replica will do, as it is at `now`, times by how long they are still
    /// waited for. Left out is what is drawn (jitter, and with it when the next repair is due), how deltas are numbered,
    /// and what is kept for the reader only: two that give the same do the same from here on, up to jitter.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher)
    where
        K: Hash,
        V: Hash,
    {
        let Self { table, peers, counted, touched, .. } = self;
        table.fingerprint(hasher);
        (counted, touched).hash(hasher);
        for (id, peer) in peers {
            let Peer {
                connected,
                sent,
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
                pull_number: _,
                digest: _,
            } = peer;
            (id, connected, sent, in_flight, acked, retired_sent, postponed, state, heard, nudged).hash(hasher);
            [pulling, taking].map(|since| since.map(|since| wait(now, since + PULL_PATIENCE))).hash(hasher);
            open.values().for_each(|taken| taken.hash(hasher));
        }
    }

    /// How often equal contexts came with unequal sums. Anything but zero is a bug of ours.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Whether, since this peer last came up, we had everything that it had at some moment.
    pub fn has_heard(&self, peer: &NodeId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.heard)
    }

    /// Whether somebody else has this event, so that it outlives this node; also where nobody else is connected.
    pub fn is_kept_elsewhere(&self, dot: &Dot) -> bool {
        let mut connected = self.peers.values().filter(|peer| peer.connected).peekable();
        connected.peek().is_none() || connected.any(|peer| peer.acked.get(&dot.actor) >= dot.counter)
    }

    /// Whether the peer has reported to have seen everything up to `clock`.
    pub fn has_acked(&self, peer: &NodeId, clock: &Clock) -> bool {
        let acked = self.peers.get(peer).map(|peer| &peer.acked);
        acked.is_some_and(|acked| clock.dots.iter().all(|(origin, &counter)| acked.get(origin) >= counter))
    }

    /// The peer went down: what it has now must be heard anew once it is back.
    pub fn unhear(&mut self, peer: &NodeId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.heard = false;
        }
    }

    /// Whether every connected peer has acknowledged all our own events.
    pub fn is_acknowledged(&self) -> bool {
        let origin = self.table.origin();
        let last = self.table.context().clock().get(origin);
        self.peers.values().filter(|peer| peer.connected).all(|peer| peer.acked.get(origin) >= last)
    }

    /// Whether the peer showed our present digest at `since` or later.
    pub fn is_alike(&self, peer: &NodeId, since: Instant) -> bool {
        let seen = self.peers.get(peer).and_then(|peer| peer.digest);
        seen.is_some_and(|(hash, at)| at >= since && hash == self.table.digest())
    }

    /// The members whose acknowledgements removals wait for.
    pub fn counted(&self) -> &BTreeSet<NodeId> {
        &self.counted
    }

    /// Sets the members whose acknowledgements removals wait for, ourselves excluded.
    pub fn set_counted(&mut self, counted: BTreeSet<NodeId>) {
        self.peers.retain(|id, peer| peer.connected || counted.contains(id));
        self.counted = counted;
    }

    /// A session with a peer began.
    pub fn connected(&mut self, id: &NodeId, out: &mut Vec<Outgoing<K, V>>) {
        let peer = self.peers.entry(id.clone()).or_default();
        let sent = peer.acked.get(self.table.origin());
        let Peer { acked, heard, digest, .. } = std::mem::take(peer);
        *peer = Peer { connected: true, sent, acked, heard, digest, ..Peer::default() };
        out.push(self.digest_to(vec![id.clone()]));
    }

    /// The session with a peer ended.
    pub fn disconnected(&mut self, id: &NodeId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.connected = false;
            (peer.state, peer.pulling, peer.taking, peer.postponed) = (None, None, None, false);
        }
        if !self.counted.contains(id) {
            self.peers.remove(id);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.repair_at
    }

    /// Tells every connected peer our digest once the repair interval is over, and drops removals that nobody needs.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        if now < self.repair_at {
            return;
        }
        self.repair_at = now + REPAIR_INTERVAL.mul_f64(self.rng.random_range(0.75..1.25));
        self.peers.values_mut().for_each(|peer| {
            peer.taking.take_if(|since| now >= *since + PULL_PATIENCE);
        });
        let connected: Vec<NodeId> = self.connected_peers().cloned().collect();
        if !connected.is_empty() {
            out.push(self.digest_to(connected));
        }
        self.collect();
    }

    fn connected_peers(&self) -> impl Iterator<Item = &NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| id)
    }

    fn digest_to(&self, to: Vec<NodeId>) -> Outgoing<K, V> {
        Outgoing { to, lane: Lane::Delta, message: Message::Digest { hash: self.table.digest() } }
    }

    fn collect(&mut self) {
        let (counted, peers) = (&self.counted, &self.peers);
        self.table.collect(self.limits.removals, |origin| {
            let acked = |id| peers.get(id).map_or(0, |peer: &Peer| peer.acked.get(origin));
            counted.iter().filter(|id| *id != origin).map(acked).min().unwrap_or(u64::MAX)
        });
        let origin = self.table.origin();
        let last = self.table.context().clock().get(origin);
        let behind = self.peers.values().map(|peer| peer.acked.get(origin)).min().unwrap_or(last);
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
            (peer.sent, peer.retired_sent) = (0, false);
            peer.in_flight.clear();
        }
    }

    /// Pushes our own events to every connected peer that has not been sent them and has room in its window.
    pub fn flush(&mut self, out: &mut Vec<Outgoing<K, V>>) {
        // Each round brings every peer a push further, and there is room for a few of them.
        while self.push(out) {}
    }

    /// Brings each peer with room one push further. Returns whether there was any.
    fn push(&mut self, out: &mut Vec<Outgoing<K, V>>) -> bool {
        let last = self.table.context().clock().get(self.table.origin());
        // Whoever is over is heard by nobody who knows it; it goes on under a new identity.
        let over = self.table.retired().contains(self.table.origin());
        if over || !self.peers.values().any(|peer| peer.connected && peer.sent < last) {
            return false;
        }
        let mut pushed = false;
        let origin = self.table.origin().clone();
        let mut groups: Vec<(u64, bool, Clock, Vec<NodeId>)> = Vec::new();
        for (id, peer) in self.peers.iter().filter(|(_, peer)| peer.connected && peer.sent < last) {
            let waits = peer.sent.saturating_sub(peer.acked.get(&origin)) >= PUSH_WINDOW_EVENTS;
            if waits || peer.taking.is_some() || peer.in_flight.len() >= PUSHES_IN_FLIGHT_MAX {
                continue;
            }
            // Peers at the same position are sent the same bytes.
            match groups
                .iter_mut()
                .find(|(sent, told, acked, _)| *sent == peer.sent && *told == peer.retired_sent && *acked == peer.acked)
            {
                Some((_, _, _, to)) => to.push(id.clone()),
                None => groups.push((peer.sent, peer.retired_sent, peer.acked.clone(), vec![id.clone()])),
            }
        }
        let Limits { push_events, push_bytes, .. } = self.limits;
        for (sent, told, acked, to) in groups {
            let Some((events, interval)) = self.table.own_delta(sent, &acked, push_events, push_bytes) else {
                self.nudge(to, out);
                continue;
            };
            for id in &to {
                if let Some(peer) = self.peers.get_mut(id) {
                    (peer.sent, peer.retired_sent) = (interval.to, true);
                    peer.in_flight.push_back(interval.to);
                    pushed = true;
                }
            }
            let retired = (!told).then(|| self.table.retired().clone()).filter(|retired| !retired.is_empty());
            self.send_delta(to, Lane::Delta, retired, events, vec![interval], false, out);
        }
        pushed
    }

    /// Shows our digest to peers that cannot be pushed to, so that they pull; once until they acknowledge anything.
    fn nudge(&mut self, mut to: Vec<NodeId>, out: &mut Vec<Outgoing<K, V>>) {
        to.retain(|id| !std::mem::replace(&mut self.peer(id).nudged, true));
        if !to.is_empty() {
            out.push(self.digest_to(to));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the messages it builds")]
    fn send_delta(
        &mut self,
        to: Vec<NodeId>,
        lane: Lane,
        mut retired: Option<Retired>,
        events: Vec<Arc<Event<K, V>>>,
        intervals: Vec<Interval>,
        answers_pull: bool,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        let mut closing = Some(Closing { events: events.len() as u64, intervals, answers_pull });
        let mut events = events.into_iter().peekable();
        while closing.is_some() {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while let Some(event) = events.next_if(|_| bytes < self.limits.part_bytes) {
                bytes += event.size_bytes();
                part.push(event);
            }
            let closing = if events.peek().is_none() { closing.take() } else { None };
            let message = Message::Delta { number, retired: retired.take(), events: part.into(), closing };
            out.push(Outgoing { to: to.clone(), lane, message });
        }
    }

    /// Takes a message of a peer.
    pub fn handle(&mut self, now: Instant, from: &NodeId, message: Message<K, V>, out: &mut Vec<Outgoing<K, V>>) {
        if !self.peers.get(from).is_some_and(|peer| peer.connected) {
            return;
        }
        match message {
            Message::Digest { hash } => self.on_digest(now, from, hash, out),
            Message::Pull { number, context, retired, sum } => {
                self.on_pull(now, from, number, context, &retired, sum, out);
            }
            Message::Delta { number, retired, events, closing } => {
                retired.iter().for_each(|retired| drop(self.retire(retired)));
                self.on_delta(from, number, events.into(), closing, out);
            }
            Message::Ack { clock } => self.on_ack(from, clock),
            Message::State { retired, answer } => {
                self.retire(&retired);
                self.on_state(now, from, answer, out);
            }
            Message::More(ask) => self.send_state(now, from, &ask, out),
        }
    }

    fn peer(&mut self, id: &NodeId) -> &mut Peer {
        self.peers.entry(id.clone()).or_default()
    }

    fn on_digest(&mut self, now: Instant, from: &NodeId, hash: u64, out: &mut Vec<Outgoing<K, V>>) {
        let alike = hash == self.table.digest();
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.digest = Some((hash, now));
        if !alike {
            return self.pull(now, from, out);
        }
        (peer.heard, peer.pulling, peer.nudged) = (true, None, false);
        let clock = self.table.context().clock();
        if peer.acked != *clock {
            peer.acked.merge(clock.clone());
        }
        peer.has_up_to(self.table.origin());
    }

    fn pull(&mut self, now: Instant, from: &NodeId, out: &mut Vec<Outgoing<K, V>>) {
        let is_waiting = |peer: &Peer| peer.pulling.is_some_and(|since| now < since + PULL_PATIENCE);
        // What one peer sends part by part is mostly what the others would.
        let elsewhere = self.peers.iter().any(|(id, peer)| id != from && peer.state.is_some() && is_waiting(peer));
        let number = self.next_number;
        self.next_number += 1;
        let peer = self.peer(from);
        peer.postponed = elsewhere;
        if elsewhere || is_waiting(peer) {
            return;
        }
        (peer.pulling, peer.pull_number, peer.state) = (Some(now), number, None);
        let (context, retired) = (self.table.context().clone(), self.table.retired().clone());
        let message = Message::Pull { number, context, retired, sum: self.table.sum() };
        out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message });
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the message it takes")]
    fn on_pull(
        &mut self,
        now: Instant,
        from: &NodeId,
        number: u64,
        theirs: Context,
        retired: &Retired,
        sum: u64,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let retired_alike = *retired == *self.table.retired();
        self.retire(retired);
        self.on_ack(from, theirs.clock().clone());
        let alarm = retired_alike && theirs == *self.table.context() && sum != self.table.sum();
        let delta_bytes = self.limits.delta_bytes;
        let fits =
            |events: &[Arc<Event<K, V>>]| events.iter().map(|event| event.size_bytes()).sum::<usize>() <= delta_bytes;
        match self.table.delta_for(&theirs).filter(|(events, _)| !alarm && fits(events)) {
            Some((events, intervals)) => {
                let retired = Some(self.table.retired().clone());
                self.send_delta(vec![from.clone()], Lane::Bulk, retired, events, intervals, true, out);
            }
            None => {
                let ask = Ask { number, seen: theirs.clone(), ..Ask::default() };
                self.send_state(now, from, &ask, out);
            }
        }
        if is_present(Defect::AnswerMovesCursor) {
            self.peer(from).sent = self.table.context().clock().get(self.table.origin());
        }
        if alarm {
            self.alarms += 1;
            tracing::error!(peer = %from, "equal clocks with unequal contents: reconciling by state");
        }
        // What it holds of origins that are over here is nothing to ask for: two that have retired each other would pull
        // back and forth without a pause.
        if alarm || !self.table.context().contains_all(&self.table.wanted(theirs)) {
            self.pull(now, from, out);
        }
    }

    fn on_delta(
        &mut self,
        from: &NodeId,
        number: u64,
        events: Vec<Arc<Event<K, V>>>,
        closing: Option<Closing>,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let taken = self.peer(from).open.remove(&number).unwrap_or(0) + events.len() as u64;
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
        if closing.answers_pull {
            let peer = self.peer(from);
            (peer.heard, peer.pulling) = (true, None);
        }
        let mut clock = Clock::default();
        for interval in &closing.intervals {
            let counter = self.table.context().clock().get(&interval.origin);
            clock.apply(Dot::new(interval.origin.clone(), counter));
        }
        if !clock.is_empty() {
            out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message: Message::Ack { clock } });
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

    fn on_ack(&mut self, from: &NodeId, clock: Clock) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.acked.merge(clock);
        (peer.nudged, peer.taking) = (false, None);
        peer.has_up_to(self.table.origin());
    }

    fn send_state(&mut self, now: Instant, to: &NodeId, ask: &Ask, out: &mut Vec<Outgoing<K, V>>) {
        let answer = self.table.answer(ask, self.limits.part_bytes);
        self.peer(to).taking = Some(now);
        let message = Message::State { retired: self.table.retired().clone(), answer };
        out.push(Outgoing { to: vec![to.clone()], lane: Lane::Bulk, message });
    }

    fn on_state(&mut self, now: Instant, from: &NodeId, answer: Answer<K, V>, out: &mut Vec<Outgoing<K, V>>) {
        let elsewhere = self.peers.iter().any(|(id, peer)| id != from && peer.state.is_some());
        let peer = self.peers.entry(from.clone()).or_default();
        if peer.pulling.is_none() || peer.pull_number != answer.number {
            return;
        }
        let mut incoming = match peer.state.take() {
            Some(incoming) => incoming,
            // What one peer sends part by part is mostly what the others would.
            None if elsewhere => return (peer.pulling, peer.postponed) = (None, true),
            None => Incoming::new(answer.number, self.table.context().clone()),
        };
        match self.table.take_answer(&mut incoming, answer, &mut self.touched) {
            Next::Ask => {
                let message = Message::More(incoming.ask().clone());
                let peer = self.peer(from);
                (peer.state, peer.pulling) = (Some(incoming), Some(now));
                out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message });
            }
            Next::Stale => self.peer(from).state = Some(incoming),
            Next::Refused => {
                tracing::warn!(peer = %from, "a peer answers what it was not asked; giving its answer up");
            }
            Next::Adopt => {
                let touched = self.table.adopt(incoming);
                self.touched.extend(touched);
                let clock = self.table.context().clock().clone();
                let peer = self.peer(from);
                (peer.pulling, peer.heard) = (None, true);
                out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message: Message::Ack { clock } });
                let postponed = self.peers.iter().filter(|(_, peer)| peer.postponed).map(|(id, _)| id.clone());
                postponed.collect::<Vec<_>>().iter().for_each(|id| self.pull(now, id, out));
            }
        }
    }
}
