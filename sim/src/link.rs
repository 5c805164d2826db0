//! The network: who can reach whom, sessions with ordered lanes that can be cut with a lost tail, and datagrams.
//!
//! As over QUIC, a frame is never lost while its session lives: a cut or a loss delays it, and what ends is the whole
//! session, on each side at its own time, with whatever was under way. A direction can be cut alone; the side that hears
//! nothing gives the session up after the idle time. Datagrams travel inside sessions and are lost, delayed, doubled and
//! reordered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::Message;
use ordu_transport::core::message::{Hello, Refusal};
use ordu_transport::core::ways::{Passed, Step};
use ordu_transport::core::{Lane, NodeId};
use rand::RngExt;

use crate::detector::Detector;
use crate::node::{Arrival, Life, addr_of};
use crate::world::{Happening, World};

/// How long a dial may take.
const DIAL_TIMEOUT_US: u64 = 2_000_000;
/// How long a lost packet waits to be sent again, at most.
const RETRANSMIT_US: u64 = 60_000;

/// A frame under way.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    /// Encoded.
    Bytes(Bytes),
    /// As it was handed over.
    Message(Arc<Message>),
}

impl Wire {
    /// How long it is, if it is encoded.
    fn encoded_len(&self) -> usize {
        match self {
            Wire::Bytes(bytes) => bytes.len(),
            Wire::Message(_) => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(u64, Option<Passed>, Wire)>,
    last_ready: u64,
    scheduled: bool,
    /// The front frame waits for the direction to open again.
    stalled: bool,
}

/// Where one side of a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The other side has begun already.
    Coming,
    Up,
    Over,
}

/// One side of a session, and the lanes that lead to it.
#[derive(Debug)]
struct Side {
    node: usize,
    life: u64,
    hello: Hello,
    phase: Phase,
    lanes: [Queue; 3],
}

#[derive(Debug)]
struct Session {
    /// The dialler is side 0.
    sides: [Side; 2],
}

impl Session {
    fn pair(&self) -> (usize, usize) {
        let [one, other] = [self.sides[0].node, self.sides[1].node];
        (one.min(other), one.max(other))
    }
}

#[derive(Debug)]
struct Dial {
    from: usize,
    from_life: u64,
    to: usize,
    hello: Hello,
    /// The dialled side's hello or refusal; `None` if nobody answered.
    answer: Option<Result<(Hello, u64), Refusal>>,
}

/// What a node sent. Bytes of frames are counted only where the plan has frames pass through the codec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) datagrams: u64,
    pub(crate) datagram_bytes: u64,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    /// How many faults cut each direction, and since when it has been cut.
    cuts: Vec<(u32, u64)>,
    /// How often a direction was cut or opened.
    pub(crate) turns: u64,
    sessions: BTreeMap<u64, Session>,
    /// Their numbers by the pair of nodes, the lower one first.
    between: BTreeMap<(usize, usize), BTreeSet<u64>>,
    dials: BTreeMap<u64, Dial>,
    next: u64,
    /// Pairs whose frames wait, from and to.
    pub(crate) stalls: Vec<(usize, usize)>,
    /// Additional loss by storms.
    pub(crate) storm_loss: f64,
    /// Additional share of datagrams that arrive twice.
    pub(crate) storm_doubled: f64,
    /// Additional share of datagrams that arrive behind later ones.
    pub(crate) storm_late: f64,
    /// By how much storms make everything slower.
    pub(crate) storm_delay: u64,
    /// The longest frame that was encoded.
    pub(crate) frame_bytes_most: usize,
    /// What each node sent so far, in all its lives, to each receiver that it had a session with.
    pub(crate) sent: Vec<Sent>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            cuts: vec![(0, 0); nodes * nodes],
            turns: 0,
            sessions: BTreeMap::new(),
            between: BTreeMap::new(),
            dials: BTreeMap::new(),
            next: 0,
            stalls: Vec::new(),
            storm_loss: 0.0,
            storm_doubled: 0.0,
            storm_late: 0.0,
            storm_delay: 1,
            frame_bytes_most: 0,
            sent: vec![Sent::default(); nodes],
        }
    }

    /// Whether packets of `from` reach `to`.
    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.nodes + to].0 == 0
    }

    fn insert(&mut self, number: u64, session: Session) {
        self.between.entry(session.pair()).or_default().insert(number);
        self.sessions.insert(number, session);
    }

    fn remove(&mut self, number: u64) {
        if let Some(session) = self.sessions.remove(&number)
            && let Some(numbers) = self.between.get_mut(&session.pair())
        {
            numbers.remove(&number);
        }
    }

    fn cut_since(&self, from: usize, to: usize) -> Option<u64> {
        let (count, since) = self.cuts[from * self.nodes + to];
        (count > 0).then_some(since)
    }
}

fn lane_index(lane: Lane) -> usize {
    Lane::ALL.iter().position(|&other| other == lane).unwrap_or(0)
}

impl World {
    // ---- what packets meet with

    fn delay(&mut self) -> u64 {
        let (least, most) = self.plan.latency_us;
        self.rng.random_range(least..=most) * self.net.storm_delay
    }

    fn is_lost(&mut self) -> bool {
        let loss = (f64::from(self.plan.loss_permille) / 1_000.0 + self.net.storm_loss).min(0.6);
        loss > 0.0 && self.rng.random_bool(loss)
    }

    // ---- cuts

    /// Cuts one direction, once more if it is cut already.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        let now = self.now;
        let cut = &mut self.net.cuts[from * self.net.nodes + to];
        cut.0 += 1;
        if cut.0 > 1 {
            return;
        }
        cut.1 = now;
        self.net.turns += 1;
        self.record.cut(now, from, to);
        for (session, side) in self.sides_between(from, to) {
            let at = now + self.plan.idle_us + self.rng.random_range(0..200_000);
            self.schedule(at, Happening::IdleCheck { session, side, silent_since: now });
        }
    }

    /// Takes one cut away again.
    pub(crate) fn uncut(&mut self, from: usize, to: usize) {
        let cut = &mut self.net.cuts[from * self.net.nodes + to];
        cut.0 = cut.0.saturating_sub(1);
        if cut.0 == 0 {
            self.net.turns += 1;
            self.record.uncut(self.now, from, to);
            self.unstall(from, to);
        }
    }

    pub(crate) fn unstall(&mut self, from: usize, to: usize) {
        for (session, side) in self.sides_between(from, to) {
            for lane in 0..3 {
                let at = self.now + self.rng.random_range(0..RETRANSMIT_US * 4);
                let Some(open) = self.net.sessions.get_mut(&session) else { continue };
                let queue = &mut open.sides[side].lanes[lane];
                if std::mem::replace(&mut queue.stalled, false) {
                    queue.scheduled = true;
                    self.schedule(at, Happening::LaneDue { session, side, lane });
                }
            }
        }
    }

    /// The sides of `to` in sessions with `from`.
    fn sides_between(&self, from: usize, to: usize) -> Vec<(u64, usize)> {
        let numbers = self.net.between.get(&(from.min(to), from.max(to))).into_iter().flatten();
        numbers.filter_map(|number| Some((*number, self.side_of(*number, to)?))).collect()
    }

    /// The sessions of this node as the others see them: they hear nothing any more.
    pub(crate) fn silence(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            for (session, side) in self.sides_between(node, peer) {
                let at = self.now + self.plan.idle_us + self.rng.random_range(0..200_000);
                self.schedule(at, Happening::IdleCheck { session, side, silent_since: self.now });
            }
        }
    }

    pub(crate) fn on_idle_check(&mut self, session: u64, side: usize, silent_since: u64) {
        let Some(open) = self.net.sessions.get(&session) else { return };
        let (to, other) = (open.sides[side].node, &open.sides[1 - side]);
        let cut = self.net.cut_since(other.node, to).is_some_and(|since| since <= silent_since);
        let dead = !self.is_life(other.node, other.life) && self.nodes[other.node].died_us <= silent_since;
        let paused = self.faults.paused_since(other.node).is_some_and(|since| since <= silent_since);
        if cut || dead || paused {
            self.side_down(session, side);
        }
    }

    // ---- sessions

    /// One side learns that the session is over; the other will, if it can be told, or by its own idle time.
    pub(crate) fn side_down(&mut self, session: u64, side: usize) {
        let Some(open) = self.net.sessions.get_mut(&session) else { return };
        let (other_node, other_over) = (open.sides[1 - side].node, open.sides[1 - side].phase == Phase::Over);
        let this = &mut open.sides[side];
        if std::mem::replace(&mut this.phase, Phase::Over) == Phase::Over {
            return;
        }
        let (node, life) = (this.node, this.life);
        let peer = open.sides[1 - side].hello.id.clone();
        if !other_over {
            let told = self.net.is_open(node, other_node);
            let after = if told { self.delay() } else { self.rng.random_range(0..self.plan.idle_us) };
            self.schedule(self.now + after, Happening::SideDown { session, side: 1 - side });
        } else {
            self.net.remove(session);
        }
        if self.is_life(node, life)
            && let Some(living) = self.life_mut(node)
            && living.sessions.get(&peer) == Some(&session)
        {
            living.sessions.remove(&peer);
            self.schedule(self.now, Happening::Arrive { node, life, arrival: Arrival::Disconnected { peer } });
        }
    }

    /// The node ends its session with this peer.
    pub(crate) fn reset(&mut self, node: usize, peer: &NodeId) {
        let Some(&session) = self.life(node).and_then(|life| life.sessions.get(peer)) else { return };
        if let Some(side) = self.side_of(session, node) {
            self.side_down(session, side);
        }
    }

    fn side_of(&self, session: u64, node: usize) -> Option<usize> {
        self.net.sessions.get(&session)?.sides.iter().position(|side| side.node == node)
    }

    /// The node ends its session with this peer and says why.
    pub(crate) fn close(&mut self, node: usize, peer: &NodeId, refusal: Refusal) {
        let Some(&session) = self.life(node).and_then(|life| life.sessions.get(peer)) else { return };
        let Some(side) = self.side_of(session, node) else { return };
        let Some(open) = self.net.sessions.get(&session) else { return };
        let (other, other_life) = (open.sides[1 - side].node, open.sides[1 - side].life);
        let told = open.sides[1 - side].phase == Phase::Up && self.net.is_open(node, other);
        self.side_down(session, side);
        if told {
            // Behind the word that the session is over, or in place of it.
            let at = self.now + self.delay();
            self.schedule(at, Happening::SideDown { session, side: 1 - side });
            let arrival = Arrival::DialFailed { addr: addr_of(node), refusal: Some(refusal) };
            self.schedule(at, Happening::Arrive { node: other, life: other_life, arrival });
        }
    }

    /// A session of this pair breaks, at both ends at their own times.
    pub(crate) fn break_sessions(&mut self, one: usize, other: usize) {
        for (session, side) in self.sides_between(one, other) {
            let (first, second) = (self.delay(), self.delay());
            self.schedule(self.now + first, Happening::SideDown { session, side });
            self.schedule(self.now + second, Happening::SideDown { session, side: 1 - side });
        }
    }

    /// A life is over: its sides are gone, and the others hear nothing any more.
    pub(crate) fn drop_sides(&mut self, node: usize, life: &Life) {
        for session in life.sessions.values() {
            if let Some(side) = self.side_of(*session, node)
                && let Some(open) = self.net.sessions.get_mut(session)
            {
                open.sides[side].phase = Phase::Over;
            }
        }
        self.silence(node);
    }

    /// A byte for the peer's port, which the kernel of its machine, or a firewall on the way, may refuse.
    pub(crate) fn check_port(&mut self, node: usize, peer: &NodeId) {
        let Some(&session) = self.life(node).and_then(|life| life.sessions.get(peer)) else { return };
        let Some(side) = self.side_of(session, node) else { return };
        let Some(to) = self.net.sessions.get(&session).map(|open| open.sides[1 - side].node) else { return };
        let open = self.net.is_open(node, to) && self.net.is_open(to, node);
        let is_closed = self.life(to).is_none() && self.nodes[to].host_answers;
        let refused = if open { is_closed } else { self.plan.cuts_refuse };
        let rtt = self.delay() + self.delay();
        let lost = self.is_lost();
        if let Some(life) = self.life(node).map(|life| life.number)
            && refused
            && !lost
        {
            let arrival = Arrival::Unreachable { peer: peer.clone(), rtt: Duration::from_micros(rtt) };
            self.schedule(self.now + rtt, Happening::Arrive { node, life, arrival });
        }
    }

    // ---- dialling

    /// Dials, unless a session with that address exists or is being dialled.
    pub(crate) fn dial(&mut self, from: usize, to: usize) {
        let Some(hello) = self.hello(from) else { return };
        let addr = addr_of(to);
        let connected = self.life(from).is_some_and(|life| {
            life.sessions.values().any(|session| {
                let open = self.net.sessions.get(session);
                open.is_some_and(|open| open.sides.iter().any(|side| side.hello.addr == addr))
            })
        });
        let Some(life) = self.life_mut(from) else { return };
        if connected || !life.dialling.insert(to) {
            return;
        }
        let from_life = life.number;
        self.net.next += 1;
        let dial = self.net.next;
        self.net.dials.insert(dial, Dial { from, from_life, to, hello, answer: None });
        let mut at = self.now;
        for _ in 0..3 {
            at += self.delay() + if self.is_lost() { RETRANSMIT_US } else { 0 };
        }
        if at > self.now + DIAL_TIMEOUT_US {
            return self.schedule(self.now + DIAL_TIMEOUT_US, Happening::DialAnswered { dial });
        }
        self.schedule(at, Happening::DialArrives { dial });
    }

    pub(crate) fn on_dial_arrives(&mut self, number: u64) {
        let Some(dial) = self.net.dials.get(&number) else { return };
        let (from, to, hello) = (dial.from, dial.to, dial.hello.clone());
        let open = self.net.is_open(from, to) && self.net.is_open(to, from);
        let alive = self.life(to).map(|life| life.number).filter(|_| !self.nodes[to].paused);
        let mut after = self.delay().min(DIAL_TIMEOUT_US);
        let answer = match alive.filter(|_| open) {
            Some(life) => match self.judge(to, from, &hello) {
                Ok(()) => self.hello(to).map(|hello| Ok((hello, life))),
                Err(refusal) => Some(Err(refusal)),
            },
            None => {
                let refused = open && self.life(to).is_none() && self.rng.random_bool(0.5);
                after = if refused { after } else { DIAL_TIMEOUT_US };
                None
            }
        };
        if let Some(dial) = self.net.dials.get_mut(&number) {
            dial.answer = answer;
        }
        self.schedule(self.now + after, Happening::DialAnswered { dial: number });
    }

    pub(crate) fn on_dial_answered(&mut self, number: u64) {
        let Some(Dial { from, from_life, to, hello, answer }) = self.net.dials.remove(&number) else { return };
        if !self.is_life(from, from_life) {
            return;
        }
        if let Some(life) = self.life_mut(from) {
            life.dialling.remove(&to);
        }
        let open = self.net.is_open(from, to) && self.net.is_open(to, from);
        let own = self.hello(from);
        let failed = |refusal| Arrival::DialFailed { addr: addr_of(to), refusal };
        match answer.filter(|_| open && !self.nodes[from].paused && own.as_ref() == Some(&hello)) {
            None => self.arrive(from, failed(None)),
            Some(Err(refusal)) => self.arrive(from, failed(Some(refusal))),
            Some(Ok((theirs, to_life))) => match self.judge(from, to, &theirs) {
                Ok(()) => self.begin_session([(from, from_life, hello), (to, to_life, theirs)]),
                Err(refusal) => {
                    let at = self.now + self.delay();
                    let arrival = Arrival::DialFailed { addr: addr_of(from), refusal: Some(refusal) };
                    self.schedule(at, Happening::Arrive { node: to, life: to_life, arrival });
                    self.arrive(from, failed(None));
                }
            },
        }
    }

    /// The dialler has a session. One connection a pair: if both sides still hold another one, one of the two goes.
    fn begin_session(&mut self, ends: [(usize, u64, Hello); 2]) {
        let peer = ends[1].2.id.clone();
        if let Some(&old) = self.life(ends[0].0).and_then(|life| life.sessions.get(&peer)) {
            let whole =
                self.net.sessions.get(&old).is_some_and(|old| old.sides.iter().all(|side| side.phase == Phase::Up));
            if whole && self.rng.random_bool(0.5) {
                return;
            }
            self.reset(ends[0].0, &peer);
        }
        let (node, life) = (ends[0].0, ends[0].1);
        let sides =
            ends.map(|(node, life, hello)| Side { node, life, hello, phase: Phase::Coming, lanes: Default::default() });
        self.net.next += 1;
        let session = self.net.next;
        self.net.insert(session, Session { sides });
        self.raise_side(session, 0);
        let after = self.delay();
        self.schedule(self.now + after, Happening::SessionUp { session });
        // A direction that is cut from now on is noticed by `cut`; one that was cut in between is noticed here.
        self.schedule(self.now + self.plan.idle_us, Happening::IdleCheck { session, side: 0, silent_since: self.now });
        self.trace.world(self.now, &format_args!("SESSION {session} of n{node}.{life} with {peer:?}"));
    }

    pub(crate) fn on_session_up(&mut self, session: u64) {
        let Some(open) = self.net.sessions.get(&session) else { return };
        let (from, to, life) = (open.sides[0].node, open.sides[1].node, open.sides[1].life);
        let same = self.hello(to).as_ref() == Some(&open.sides[1].hello);
        if !self.is_life(to, life) || !self.net.is_open(from, to) || open.sides[0].phase == Phase::Over || !same {
            let at = self.now + self.rng.random_range(0..=self.plan.idle_us);
            return self.schedule(at, Happening::SideDown { session, side: 0 });
        }
        let peer = open.sides[0].hello.id.clone();
        self.reset(to, &peer);
        self.raise_side(session, 1);
    }

    fn raise_side(&mut self, session: u64, side: usize) {
        let Some(open) = self.net.sessions.get_mut(&session) else { return };
        open.sides[side].phase = Phase::Up;
        let (node, life) = (open.sides[side].node, open.sides[side].life);
        let hello = open.sides[1 - side].hello.clone();
        let earlier = |id: &&NodeId| id.name == hello.id.name && **id != hello.id;
        let earlier = self.life(node).and_then(|life| life.sessions.keys().find(earlier).cloned());
        if let Some(earlier) = earlier {
            self.reset(node, &earlier);
        }
        if let Some(life) = self.life_mut(node) {
            life.sessions.insert(hello.id.clone(), session);
        }
        let dialled = (side == 0).then(|| hello.addr.clone());
        // An earlier session with this peer was reset at this instant: its end is told first.
        self.schedule(self.now, Happening::Arrive { node, life, arrival: Arrival::Connected { hello, dialled } });
    }

    // ---- what travels

    /// Sends one frame to each receiver that there is a session with, or that others pass it on to.
    pub(crate) fn send(&mut self, node: usize, to: &[NodeId], lane: Lane, wire: Wire) {
        self.net.frame_bytes_most = self.net.frame_bytes_most.max(wire.encoded_len());
        let lane = lane_index(lane);
        for peer in to {
            if self.life(node).is_some_and(|life| life.sessions.contains_key(peer)) {
                self.send_frame(node, peer, lane, None, wire.clone());
            } else if let Some((hop, passed)) = self.way(node, peer) {
                self.send_frame(node, &hop, lane, Some(passed), wire.clone());
            }
        }
    }

    fn way(&self, node: usize, peer: &NodeId) -> Option<(NodeId, Passed)> {
        let Detector::Swim(membership) = &self.life(node)?.detector else { return None };
        membership.ways().begin(peer).filter(|_| membership.is_reached(peer))
    }

    /// A frame came that is passed on: to this node, and then returns whose it is, or to another one.
    pub(crate) fn pass_on(
        &mut self,
        node: usize,
        peer: &NodeId,
        lane: usize,
        passed: Passed,
        wire: &Wire,
    ) -> Option<NodeId> {
        let Detector::Swim(membership) = &self.life(node)?.detector else { return None };
        match membership.ways().step(peer, passed) {
            Step::Here(from) => membership.is_reached(&from).then_some(from),
            Step::On(hop, passed) => {
                self.send_frame(node, &hop, lane, Some(passed), wire.clone());
                None
            }
            Step::Nowhere => None,
        }
    }

    /// Sends one frame over the session with this peer.
    fn send_frame(&mut self, node: usize, peer: &NodeId, lane: usize, passed: Option<Passed>, wire: Wire) {
        let Some(&session) = self.life(node).and_then(|life| life.sessions.get(peer)) else { return };
        let Some(side) = self.side_of(session, node) else { return };
        let mut ready = self.now + self.delay();
        while self.is_lost() {
            ready += self.rng.random_range(1..RETRANSMIT_US);
        }
        let most = self.plan.lane_frames_max;
        let Some(open) = self.net.sessions.get_mut(&session) else { return };
        let queue = &mut open.sides[1 - side].lanes[lane];
        if queue.frames.len() >= most {
            // What is passed on may be lost anywhere.
            if passed.is_none() {
                self.reset(node, peer);
            }
            return;
        }
        ready = ready.max(queue.last_ready);
        queue.last_ready = ready;
        self.net.sent[node].frames += 1;
        self.net.sent[node].frame_bytes += wire.encoded_len() as u64;
        self.record.sent(self.now, (session, 1 - side, lane), node, peer, &wire);
        queue.frames.push_back((ready, passed, wire));
        if !queue.scheduled && !queue.stalled {
            queue.scheduled = true;
            self.schedule(ready, Happening::LaneDue { session, side: 1 - side, lane });
        }
    }

    pub(crate) fn on_lane_due(&mut self, session: u64, side: usize, lane: usize) {
        let Some(open) = self.net.sessions.get_mut(&session) else { return };
        let (from, node, life) = (open.sides[1 - side].node, open.sides[side].node, open.sides[side].life);
        let phase = open.sides[side].phase;
        let from_id = open.sides[1 - side].hello.id.clone();
        let queue = &mut open.sides[side].lanes[lane];
        queue.scheduled = false;
        if phase == Phase::Over {
            return queue.frames.clear();
        }
        if self.net.cuts[from * self.net.nodes + node].0 > 0 || self.net.stalls.contains(&(from, node)) {
            queue.stalled = true;
            return;
        }
        if phase == Phase::Coming {
            // The dialler may speak before the dialled side has taken the session as begun.
            queue.scheduled = true;
            return self.schedule(self.now + 200, Happening::LaneDue { session, side, lane });
        }
        let Some((_, passed, wire)) = queue.frames.pop_front() else { return };
        self.record.received(self.now, (session, side, lane));
        if let Some((ready, ..)) = queue.frames.front() {
            let ready = *ready;
            queue.scheduled = true;
            self.schedule(ready, Happening::LaneDue { session, side, lane });
        }
        // By way of the heap, so that it comes after the word that the session began.
        let arrival = Arrival::Frame { from: from_id, lane, passed, wire };
        self.schedule(self.now, Happening::Arrive { node, life, arrival });
    }

    /// Sends one membership datagram, if there is a session.
    pub(crate) fn send_datagram(&mut self, node: usize, to: &NodeId, bytes: Bytes) {
        let Some(&session) = self.life(node).and_then(|life| life.sessions.get(to)) else { return };
        let Some(side) = self.side_of(session, node) else { return };
        let doubled = (f64::from(self.plan.doubled_permille) / 1_000.0 + self.net.storm_doubled).min(1.0);
        let late_share = (0.02 + self.net.storm_late).min(1.0);
        self.net.sent[node].datagrams += 1;
        self.net.sent[node].datagram_bytes += bytes.len() as u64;
        let copies = if doubled > 0.0 && self.rng.random_bool(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.rng.random_bool(late_share) { self.delay() * 3 } else { 0 };
            let at = self.now + self.delay() + late;
            let arrives = !self.is_lost();
            self.record.datagram_sent(self.now, (session, 1 - side), node, to, bytes.len(), arrives.then_some(at));
            if arrives {
                self.schedule(at, Happening::Datagram { session, side: 1 - side, bytes: bytes.clone() });
            }
        }
    }

    pub(crate) fn on_datagram(&mut self, session: u64, side: usize, bytes: Bytes) {
        let Some(open) = self.net.sessions.get(&session) else { return };
        let (this, other) = (&open.sides[side], &open.sides[1 - side]);
        if this.phase == Phase::Up && self.net.is_open(other.node, this.node) && self.is_life(this.node, this.life) {
            let (node, from) = (this.node, other.hello.id.clone());
            self.record.datagram_received(self.now, (session, side));
            self.arrive(node, Arrival::Datagram { from, bytes });
        }
    }
}
