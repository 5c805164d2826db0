//! A small world at one moment, in numbers; what may happen next, and what is then.

use std::collections::{BTreeMap, BTreeSet};

use ordu_registry::core::clock::Dot;
use ordu_transport::core::hash::stable_hash;
use ordu_transport::core::{Lane, NodeId};

use super::book::{Book, Taken};
use super::local::{Fact, Local, Peer, Step};
use super::worlds::{NODES_MAX, Op};

const LANES: usize = Lane::ALL.len();
const PURPOSE_STATE: u64 = 0x57a7e;

/// What is remembered beside the cores, for the promises only: nothing reads it to decide what happens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ghost {
    /// Which start each operation wrote: origin and counter.
    pub(super) wishes: BTreeMap<u8, (NodeId, u64)>,
    /// Starts that were removed, each with the event that did it.
    pub(super) removed: BTreeMap<(NodeId, u64), BTreeSet<(NodeId, u64)>>,
    /// Starts that a caller was told run, while the asked node had somebody to tell.
    pub(super) accepted: BTreeSet<u8>,
}

/// A small world at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The nodes, by their numbers in the book; 0 is one that is down.
    pub(super) nodes: [u32; NODES_MAX],
    boots: [u8; NODES_MAX],
    /// Which life of a peer a node has a session with; 0 is none.
    sides: [[u8; NODES_MAX]; NODES_MAX],
    /// Which life of a peer a node holds as living; 0 is none.
    held: [[u8; NODES_MAX]; NODES_MAX],
    /// What is on its way, from whom, to whom, on which lane.
    lanes: [[[u32; LANES]; NODES_MAX]; NODES_MAX],
    /// Which node is cut off from all others; above the last is none.
    cut: u8,
    /// The operations that were done, by bit.
    done: u16,
    cuts: u8,
    crashes: u8,
    breaks: u8,
    beats: [u8; NODES_MAX],
    ghost: u32,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Deliver {
        from: u8,
        to: u8,
        lane: u8,
    },
    /// A node notices that its session with another is over, or that the other is gone.
    Notice {
        node: u8,
        peer: u8,
    },
    Meet {
        one: u8,
        other: u8,
    },
    Op(u8),
    Started {
        node: u8,
        serial: u64,
    },
    Ended {
        node: u8,
        serial: u64,
    },
    Beat {
        node: u8,
    },
    Cut {
        node: u8,
    },
    Heal,
    Crash {
        node: u8,
    },
    Restart {
        node: u8,
    },
    Break {
        one: u8,
        other: u8,
    },
}

const NOBODY: u8 = u8::MAX;

impl State {
    /// All nodes up, nobody met.
    pub(super) fn first(book: &mut Book) -> Self {
        let world = book.world;
        let mut state = Self {
            nodes: [0; NODES_MAX],
            boots: [0; NODES_MAX],
            sides: Default::default(),
            held: Default::default(),
            lanes: Default::default(),
            cut: NOBODY,
            done: (1u16 << world.before.len()) - 1,
            cuts: world.cuts,
            crashes: world.crashes,
            breaks: world.breaks,
            beats: [world.beats; NODES_MAX],
            ghost: 0,
        };
        for node in 0..world.nodes {
            state.boots[node] = 1;
            state.nodes[node] = book.add_local(Local::new(state.peer(node), world));
        }
        state
    }

    pub(super) fn fingerprint(&self) -> u64 {
        stable_hash(PURPOSE_STATE, self)
    }

    /// The same without what may still be done or go wrong: equal ones come to the same rest.
    pub(super) fn calm(mut self) -> Self {
        (self.done, self.cuts, self.crashes, self.breaks) = (u16::MAX, 0, 0, 0);
        self.beats = [0; NODES_MAX];
        self
    }

    /// The same with all that may still be done and go wrong, as it is in `fresh`.
    pub(super) fn renewed(mut self, fresh: &State) -> Self {
        (self.done, self.cuts, self.crashes, self.breaks) = (fresh.done, fresh.cuts, fresh.crashes, fresh.breaks);
        self.beats = fresh.beats;
        self
    }

    fn peer(&self, node: usize) -> Peer {
        (index(node), self.boots[node])
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.nodes[node] != 0
    }

    /// Whether what is sent from one arrives at the other.
    pub(super) fn is_open(&self, one: usize, other: usize) -> bool {
        self.cut != index(one) && self.cut != index(other)
    }

    /// Whether this is the node that is cut off.
    pub(super) fn is_apart(&self, node: usize) -> bool {
        self.cut == index(node)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut != NOBODY
    }

    pub(super) fn ghost(&self) -> u32 {
        self.ghost
    }

    fn has_session(&self, node: usize, peer: usize) -> bool {
        self.sides[node][peer] != 0
    }

    /// Whether both sides hold the same session.
    fn is_whole(&self, one: usize, other: usize) -> bool {
        self.sides[one][other] == self.boots[other] && self.sides[other][one] == self.boots[one]
    }

    /// Whether the life of a peer that a node has a session with, or holds as living, cannot be reached.
    fn is_gone(&self, node: usize, peer: usize) -> bool {
        let life = if self.has_session(node, peer) { self.sides[node][peer] } else { self.held[node][peer] };
        life != 0 && (!self.is_open(node, peer) || !self.is_up(peer) || self.boots[peer] != life)
    }

    fn notices(&self, node: usize, peer: usize) -> bool {
        let over = self.has_session(node, peer) && !self.is_whole(node, peer);
        self.is_up(node) && (over || self.is_gone(node, peer))
    }

    fn may_meet(&self, one: usize, other: usize) -> bool {
        let free = |a: usize, b: usize| self.sides[a][b] == 0 || self.sides[a][b] != self.boots[b];
        self.is_up(one) && self.is_up(other) && self.is_open(one, other) && free(one, other) && free(other, one)
    }

    // ---- what may happen

    /// What happens by itself where nothing more goes wrong: deliveries, sessions, and what processes do.
    pub(super) fn natural(&self, book: &Book, actions: &mut Vec<Action>) {
        let nodes = book.world.nodes;
        for (from, to) in pairs(nodes) {
            if self.is_up(to) && self.is_open(from, to) {
                let waiting = (0..LANES).filter(|lane| self.lanes[from][to][*lane] != 0);
                actions.extend(waiting.map(|lane| Action::Deliver {
                    from: index(from),
                    to: index(to),
                    lane: index(lane),
                }));
            }
        }
        for node in (0..nodes).filter(|node| self.is_up(*node)) {
            for (&serial, process) in &book.local(self.nodes[node]).processes {
                if process.asked {
                    actions.push(Action::Ended { node: index(node), serial });
                }
                if !process.runs {
                    actions.push(Action::Started { node: index(node), serial });
                }
            }
        }
        for (one, other) in pairs(nodes) {
            if self.notices(one, other) {
                actions.push(Action::Notice { node: index(one), peer: index(other) });
            }
            if one < other && self.may_meet(one, other) {
                actions.push(Action::Meet { one: index(one), other: index(other) });
            }
        }
    }

    /// Everything that may happen.
    pub(super) fn actions(&self, book: &Book, actions: &mut Vec<Action>) {
        let world = book.world;
        self.natural(book, actions);
        let ops = &book.ops;
        for (number, op) in ops.iter().enumerate() {
            let done = |number: usize| self.done & (1 << number) != 0;
            let earlier = ops[..number]
                .iter()
                .enumerate()
                .filter(|(_, before)| before.process().is_some() && before.process() == op.process());
            if !done(number) && self.is_up(usize::from(op.node())) && earlier.map(|(before, _)| before).all(done) {
                actions.push(Action::Op(index(number)));
            }
        }
        for node in (0..world.nodes).map(index) {
            let up = self.is_up(usize::from(node));
            if up && self.beats[usize::from(node)] > 0 {
                actions.push(Action::Beat { node });
            }
            // Of two nodes either is cut off by cutting off the other.
            if self.cuts > 0 && !self.is_cut() && (world.nodes > 2 || node == 0) {
                actions.push(Action::Cut { node });
            }
            if up && self.crashes > 0 {
                actions.push(Action::Crash { node });
            }
            if !up {
                actions.push(Action::Restart { node });
            }
        }
        if self.is_cut() {
            actions.push(Action::Heal);
        }
        if self.breaks > 0 {
            let whole = pairs(world.nodes).filter(|(one, other)| one < other && self.is_whole(*one, *other));
            actions.extend(whole.map(|(one, other)| Action::Break { one: index(one), other: index(other) }));
        }
    }

    // ---- what is then

    /// The world after an action, and what it breaks by itself.
    pub(super) fn after(&self, action: Action, book: &mut Book) -> (State, Option<String>) {
        let mut next = *self;
        let mut fault = None;
        match action {
            Action::Deliver { from, to, lane } => {
                let (from, to, lane) = (usize::from(from), usize::from(to), usize::from(lane));
                let queue = book.queue_of(self.lanes[from][to][lane]);
                let (taken, rest) = queue.split_at(if book.world.bursts { queue.len() } else { 1 });
                let (taken, rest) = (taken.to_vec(), rest.to_vec());
                next.lanes[from][to][lane] = book.queue(rest);
                // From whom: the life that the session is with, also where that one is over.
                let from = (index(from), self.sides[to][from]);
                for message in taken {
                    next.step(to, Step::Message(from, message), book, &mut fault);
                }
            }
            Action::Notice { node, peer } => {
                let (node, peer) = (usize::from(node), usize::from(peer));
                let step = match (self.sides[node][peer], self.is_gone(node, peer)) {
                    (0, _) => Step::Gone((index(peer), self.held[node][peer])),
                    (life, true) => Step::Lost((index(peer), life)),
                    (life, false) => Step::Broke((index(peer), life)),
                };
                if self.is_gone(node, peer) {
                    next.held[node][peer] = 0;
                }
                next.hang_up(node, peer);
                next.step(node, step, book, &mut fault);
            }
            Action::Meet { one, other } => {
                let (one, other) = (usize::from(one), usize::from(other));
                let ended = |a: usize, b: usize| Some(self.sides[a][b]).filter(|boot| *boot != 0);
                for (node, peer) in [(one, other), (other, one)] {
                    next.hang_up(node, peer);
                }
                for (node, peer) in [(one, other), (other, one)] {
                    (next.sides[node][peer], next.held[node][peer]) = (self.boots[peer], self.boots[peer]);
                }
                for (node, peer) in [(one, other), (other, one)] {
                    let ended = ended(node, peer).map(|boot| (index(peer), boot));
                    next.step(node, Step::Met(self.peer(peer), ended), book, &mut fault);
                }
            }
            Action::Op(number) => {
                next.done |= 1 << number;
                next.step(usize::from(Self::op(book, number).node()), Step::Op(number), book, &mut fault);
            }
            Action::Started { node, serial } => {
                next.step(usize::from(node), Step::Started(serial), book, &mut fault);
            }
            Action::Ended { node, serial } => next.step(usize::from(node), Step::Ended(serial), book, &mut fault),
            Action::Beat { node } => {
                next.beats[usize::from(node)] = self.beats[usize::from(node)].saturating_sub(1);
                next.step(usize::from(node), Step::Beat, book, &mut fault);
            }
            Action::Cut { node } => (next.cut, next.cuts) = (node, self.cuts - 1),
            Action::Heal => next.cut = NOBODY,
            Action::Crash { node } => {
                let node = usize::from(node);
                (next.nodes[node], next.crashes) = (0, self.crashes - 1);
                next.held[node] = Default::default();
                (0..book.world.nodes).for_each(|peer| next.hang_up(node, peer));
            }
            Action::Restart { node } => {
                let node = usize::from(node);
                next.boots[node] += 1;
                next.nodes[node] = book.add_local(Local::new(next.peer(node), book.world));
            }
            Action::Break { one, other } => {
                let (one, other) = (usize::from(one), usize::from(other));
                next.breaks -= 1;
                next.hang_up(one, other);
                next.step(one, Step::Broke(self.peer(other)), book, &mut fault);
            }
        }
        (next, fault)
    }

    /// A node's side of a session is over: what is still on its way to it is lost, what it has sent may still arrive.
    fn hang_up(&mut self, node: usize, peer: usize) {
        self.sides[node][peer] = 0;
        self.lanes[peer][node] = Default::default();
    }

    fn step(&mut self, node: usize, step: Step, book: &mut Book, fault: &mut Option<String>) {
        let taken = book.take(self.nodes[node], step);
        self.nodes[node] = taken.local;
        for ((to, boot), lane, message) in &taken.sends {
            let to = usize::from(*to);
            // What is sent on a session that is over at the other end is lost.
            if self.sides[node][to] == *boot && self.is_whole(node, to) && self.is_up(to) {
                let lane = &mut self.lanes[node][to][*lane];
                let mut queue = book.queue_of(*lane).to_vec();
                queue.push(*message);
                *lane = book.queue(queue);
            }
        }
        if let Some(what) = &taken.fault {
            fault.get_or_insert_with(|| format!("n{node}: {what}"));
        }
        self.remember(node, &taken, book);
    }

    fn remember(&mut self, node: usize, taken: &Taken, book: &mut Book) {
        if taken.facts.is_empty() {
            return;
        }
        let mut ghost = book.ghost_of(self.ghost).clone();
        let plain = |dot: &Dot| (dot.actor.clone(), dot.counter);
        for fact in &taken.facts {
            match fact {
                Fact::Wished(op, dot) => drop(ghost.wishes.insert(*op, plain(dot))),
                Fact::Removed(starts, by) => {
                    for start in starts {
                        ghost.removed.entry(plain(start)).or_default().insert(plain(by));
                    }
                }
                Fact::Replied(op, done) => {
                    let heard = (0..book.world.nodes).any(|peer| self.is_whole(node, peer) && peer != node);
                    if *done && heard && ghost.wishes.contains_key(op) {
                        ghost.accepted.insert(*op);
                    }
                }
            }
        }
        self.ghost = book.ghost(ghost);
    }

    /// The operation of this number.
    pub(super) fn op(book: &Book, number: u8) -> Op {
        book.ops[usize::from(number)]
    }

    /// What a node notices of a peer.
    pub(super) fn notice_words(&self, node: usize, peer: usize) -> String {
        match (self.has_session(node, peer), self.is_gone(node, peer)) {
            (true, true) => format!("loses its session with n{peer} and holds it as down"),
            (true, false) => format!("loses its session with n{peer}"),
            (false, _) => format!("holds n{peer} as down"),
        }
    }

    /// What is on its way on a lane.
    pub(super) fn lane<'a>(&self, from: u8, to: u8, lane: u8, book: &'a Book) -> &'a [u32] {
        book.queue_of(self.lanes[usize::from(from)][usize::from(to)][usize::from(lane)])
    }
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(move |one| (0..nodes).filter(move |other| *other != one).map(move |other| (one, other)))
}

fn index(of: usize) -> u8 {
    u8::try_from(of).unwrap_or(u8::MAX)
}
