//! Planned moves: a child whose seat is another node goes there, a few at a time.
//!
//! ```text
//!   holder   Moving{to, token, released: false}   its process is asked to stop
//!            Moving{to, token, released: true}    it has ended; only `to` may start it
//!   to       Starting{token}                      the holder sees its token and takes its own claim back
//! ```
//!
//! That is a move of a child that stops first; one that starts first is in `successor`.
//!
//! If `to` goes down, refuses or is late, the holder starts the child again itself and does not offer it to that node for
//! a while; if the holder goes down, its claim is hidden and the seat starts the child as after any loss.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use ordu_transport::core::{Lane, NodeId, NodeName, Now};
use rand::RngExt;

use super::child::{Local, Phase, Then};
use super::placement::{self, Candidate, Ineligible};
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::State;
use super::words::{Control, Effect, Message};

/// Most children that one node moves away at once.
pub const MOVES_MAX: usize = 8;
/// How long a released child waits for its new node to claim it.
pub const MOVE_MAX: Duration = Duration::from_secs(2);
/// How long a child that a node did not take is not offered to it again; it doubles each time.
pub const MOVE_AGAIN_MIN: Duration = Duration::from_secs(5);
/// The longest such time.
pub const MOVE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// A node must have been up for this long before children are moved to it; a draining holder does not wait.
pub const STEADY_AFTER: Duration = Duration::from_secs(1);
/// The pause between two looks at the queue of moves, at most; jittered.
pub const MOVE_PAUSE: Duration = Duration::from_millis(100);

/// When a node gives away children that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Redistribution {
    /// When their seat is another node, as when one has come: a few at a time.
    #[default]
    Active,
    /// Only when it may not run them any more: it drains.
    Passive,
}

/// Most children that one rebalancing moves.
pub const REBALANCE_MAX: usize = 10_000;

/// A child that runs on another node than the one that it belongs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Misplaced {
    /// The child.
    pub child: ChildId,
    /// Where it runs.
    pub from: NodeName,
    /// Where it belongs.
    pub to: NodeName,
}

impl Supervisor {
    /// Up to `most` children that run elsewhere than they belong, as this node sees it, in order: what [`Self::rebalance`] would move,
    /// and active nodes move by themselves, unless the node that it belongs on is crowded. What runs once at most stays where
    /// it is, and so does what a cordoned or full node has.
    pub fn misplaced(&self, most: usize) -> Vec<Misplaced> {
        self.found_misplaced().take(most).map(|(_, misplaced)| misplaced).collect()
    }

    /// First what the hash places elsewhere; then what would even out where children are, the fullest nodes first.
    fn found_misplaced(&self) -> impl Iterator<Item = (NodeId, Misplaced)> {
        let living = |node: &NodeId| *node == *self.id() || self.is_up(node);
        let mut chosen: Vec<(&ChildId, &NodeId, &ChildSpec)> = Vec::new();
        let mut placed = Vec::new();
        for id in self.actual.table().keys() {
            let mut running = self.claims(id).filter(|(_, claim)| claim.state == State::Running && !claim.losing);
            let Some((holder, claim)) = running.next() else { continue };
            let Some(start) = self.start_at(id, &claim.dot) else { continue };
            let spec = &*start.spec;
            if spec.restart != Restart::Temporary && living(holder) && !self.keeps(holder, spec) {
                let found = if spec.placement.chooses() { &mut chosen } else { &mut placed };
                found.push((id, holder, spec));
            }
        }
        let mut counts = if chosen.is_empty() { Default::default() } else { self.counts().into_owned() };
        chosen.sort_by_key(|(id, holder, _)| (Reverse(counts.load(holder, self.facts_of(holder))), *id));
        let placed = placed.into_iter().filter_map(move |(id, holder, spec)| {
            let seat = self.seat(spec).filter(|seat| *seat != holder)?;
            Some(Self::found(id, holder, seat))
        });
        let chosen = chosen.into_iter().filter_map(move |(id, holder, spec)| {
            let to = self.evener(&counts, holder, spec, |_| true)?;
            counts.moved(id, &to);
            Some(Self::found(id, holder, &to))
        });
        placed.chain(chosen)
    }

    fn found(id: &ChildId, holder: &NodeId, to: &NodeId) -> (NodeId, Misplaced) {
        (holder.clone(), Misplaced { child: id.clone(), from: holder.name.clone(), to: to.name.clone() })
    }

    /// Asks the holders of up to `most` misplaced children, and of no more than [`REBALANCE_MAX`], to give them where they
    /// belong, a few at a time. Returns which; a holder that sees it otherwise keeps its child.
    pub fn rebalance(&mut self, now: Now, most: usize, effects: &mut Vec<Effect>) -> Vec<Misplaced> {
        let found: Vec<(NodeId, Misplaced)> = self.found_misplaced().take(most.min(REBALANCE_MAX)).collect();
        let mut by_holder: BTreeMap<NodeId, Vec<ChildId>> = BTreeMap::new();
        for (holder, misplaced) in &found {
            by_holder.entry(holder.clone()).or_default().push(misplaced.child.clone());
        }
        for (holder, children) in by_holder {
            if holder == *self.id() {
                self.move_misplaced(now, children);
            } else {
                let message = Message::Control(Control::Rebalance { children });
                effects.push(Effect::Send { to: vec![holder], lane: Lane::Control, message: Box::new(message) });
            }
        }
        found.into_iter().map(|(_, misplaced)| misplaced).collect()
    }

    /// Somebody wants these children where they belong.
    pub(super) fn move_misplaced(&mut self, now: Now, children: Vec<ChildId>) {
        for id in children.into_iter().take(REBALANCE_MAX) {
            let is_moved = |local: &Local| local.spec.restart != Restart::Temporary;
            if self.local.get(&id).is_some_and(is_moved) {
                self.queue_move(now, &id);
                self.to_even.insert(id);
            }
        }
    }

    /// Whether a child that we hold, and that belongs elsewhere, is to go there.
    pub(super) fn gives_away(&self, spec: &ChildSpec, seat: &NodeId) -> bool {
        let own = Candidate { id: self.id(), facts: self.facts_of(self.id()) };
        match placement::eligible(spec, own) {
            Ok(_) => self.redistribution == Redistribution::Active && !self.has_few_places(seat),
            Err(Ineligible::Cordoned | Ineligible::Full) => false,
            Err(_) => true,
        }
    }

    /// Whether a node keeps a child that it has though others would be given it: it is cordoned or full, and could run it.
    pub(super) fn keeps(&self, holder: &NodeId, spec: &ChildSpec) -> bool {
        let holder = Candidate { id: holder, facts: self.facts_of(holder) };
        matches!(placement::eligible(spec, holder), Err(Ineligible::Cordoned | Ineligible::Full))
    }

    /// Notes that a child of ours belongs elsewhere.
    pub(super) fn queue_move(&mut self, now: Now, id: &ChildId) {
        self.move_queue.insert(id.clone());
        if self.next_move_at.is_none() {
            self.next_move_at = Some(now.at + MOVE_PAUSE.mul_f64(self.rng.random_range(0.25..1.0)));
        }
    }

    /// Begins as many moves as may be under way at once.
    pub(super) fn begin_moves(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.next_move_at.is_none_or(|at| now.at < at) {
            return;
        }
        let moving = |local: &Local| {
            matches!(local.phase, Phase::Stopping(Then::Move { .. }) | Phase::Released { .. })
                || local.successor.is_some()
        };
        let mut under_way = self.local.values().filter(|local| moving(local)).count();
        let queue = std::mem::take(&mut self.move_queue);
        let mut places: BTreeMap<NodeId, usize> = BTreeMap::new();
        for id in queue {
            match self.destination(now, &id) {
                Destination::None => {}
                Destination::Later => drop(self.move_queue.insert(id)),
                Destination::Now(_) if under_way >= MOVES_MAX => drop(self.move_queue.insert(id)),
                Destination::Now(to) => {
                    let places = places.entry(to.clone()).or_insert_with(|| self.places_at(&to));
                    let Some(left) = places.checked_sub(1) else {
                        self.move_queue.insert(id);
                        continue;
                    };
                    *places = left;
                    under_way += 1;
                    if !self.begin_successor(now, &id, &to) {
                        let token = self.rng.random();
                        self.stop(&id, Then::Move { to, token }, effects);
                    }
                    if self.counts.is_some() {
                        // The next choice counts it.
                        self.publish(now, &id);
                        self.recount(&id);
                    }
                    self.dirty.insert(id);
                }
            }
        }
        self.to_even.retain(|id| self.move_queue.contains(id));
        let again = now.at + MOVE_PAUSE.mul_f64(self.rng.random_range(0.25..1.0));
        self.next_move_at = (!self.move_queue.is_empty()).then_some(again);
    }

    fn destination(&self, now: Now, id: &ChildId) -> Destination {
        let Some(local) = self.local.get(id) else { return Destination::None };
        if !matches!(local.phase, Phase::Running { .. })
            || local.successor.is_some()
            || self.keeps(self.id(), &local.spec)
        {
            return Destination::None;
        }
        let mut seat = self.home(now, self.id(), &local.spec).filter(|seat| seat != self.id());
        if seat.is_none() && local.spec.placement.chooses() && self.to_even.contains(id) {
            let may = |node: &NodeId| !self.is_refused_by(now, id, node);
            seat = self.evener(&self.counts(), self.id(), &local.spec, may);
        }
        let Some(seat) = &seat else { return Destination::None };
        if self.is_refused_by(now, id, seat) {
            return Destination::Later;
        }
        let steady = self.up_since.get(seat).is_some_and(|&since| now.at.saturating_since(since) >= STEADY_AFTER);
        if self.is_up(seat) && self.has_heard(seat) && (steady || self.is_draining()) {
            return Destination::Now(seat.clone());
        }
        Destination::Later
    }

    /// Whether a node did not take the child a while ago.
    pub(super) fn is_refused_by(&self, now: Now, id: &ChildId, node: &NodeId) -> bool {
        let refused = self.local.get(id).and_then(|local| local.refused.as_ref());
        refused.is_some_and(|(by, until, _)| by == node && now.at < *until)
    }

    /// Notes that a node has not taken a child that was released to it.
    pub(super) fn note_refusal(&mut self, now: Now, id: &ChildId, to: NodeId) {
        let Some(local) = self.local.get_mut(id) else { return };
        let times = local.refused.take().filter(|(by, _, _)| *by == to).map_or(0, |(_, _, times)| times + 1);
        let pause = MOVE_AGAIN_MIN.saturating_mul(1 << times.min(16)).min(MOVE_AGAIN_MAX);
        local.refused = Some((to, now.at + pause, times));
    }

    /// Lets another node have a child that has no process here.
    pub(super) fn release(&mut self, now: Now, id: &ChildId, to: NodeId, effects: &mut Vec<Effect>) {
        let token = self.rng.random();
        let until = self.kept_back_until(now, id);
        if let Some(local) = self.local.get_mut(id) {
            local.phase = Phase::Released { to, token, until };
            local.since_ms = now.wall_ms;
        }
        self.send_state(id, effects);
    }
}

/// Where a queued child goes.
enum Destination {
    /// It stays after all.
    None,
    /// Its seat is not ready for it yet.
    Later,
    Now(NodeId),
}
