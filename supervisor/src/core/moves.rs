//! Planned moves: a child whose seat is another node goes there, a few at a time.
//!
//! ```text
//!   holder   Moving{to, token, released: false}   its process is asked to stop
//!            Moving{to, token, released: true}    it has ended; only `to` may start it
//!   to       Starting{token}                      the holder sees its token and takes its own claim back
//! ```
//!
//! If `to` goes down, refuses or is late, the holder starts the child again itself and does not offer it to that node for
//! a while; if the holder goes down, its claim is hidden and the seat starts the child as after any loss.

use std::time::Duration;

use ordu_transport::core::{NodeId, Now};
use rand::RngExt;

use super::child::{Phase, Then};
use super::spec::ChildId;
use super::supervisor::{Effect, Supervisor};

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

impl Supervisor {
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
        let moving = |phase: &Phase| matches!(phase, Phase::Stopping(Then::Move { .. }) | Phase::Released { .. });
        let mut under_way = self.local.values().filter(|local| moving(&local.phase)).count();
        let queue = std::mem::take(&mut self.move_queue);
        for id in queue {
            match self.destination(now, &id) {
                Destination::None => {}
                Destination::Later => drop(self.move_queue.insert(id)),
                Destination::Now(_) if under_way >= MOVES_MAX => drop(self.move_queue.insert(id)),
                Destination::Now(to) => {
                    under_way += 1;
                    let token = self.rng.random();
                    self.stop(&id, Then::Move { to, token }, effects);
                    self.dirty.insert(id);
                }
            }
        }
        let again = now.at + MOVE_PAUSE.mul_f64(self.rng.random_range(0.25..1.0));
        self.next_move_at = (!self.move_queue.is_empty()).then_some(again);
    }

    fn destination(&self, now: Now, id: &ChildId) -> Destination {
        let Some(local) = self.local.get(id) else { return Destination::None };
        if !matches!(local.phase, Phase::Running { .. }) {
            return Destination::None;
        }
        let Some(seat) = self.seat(&local.spec).filter(|seat| *seat != self.id()) else { return Destination::None };
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
    pub(super) fn release(&mut self, now: Now, id: &ChildId, to: NodeId) {
        let token = self.rng.random();
        if let Some(local) = self.local.get_mut(id) {
            local.phase = Phase::Released { to, token, until: now.at + MOVE_MAX };
            local.since_ms = now.wall_ms;
        }
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
