//! What the loser of a conflict leaves goes to the winner, the copy of its child that stays.
//!
//! ```text
//!   the loser's node                              the winner's node
//!      ├── the loser ends and leaves its state        │
//!      ├── the state ────────────────────────────────▶│  keeps it until the winner is through its init
//!      │◀─────────────────────────────── I have it ───┤  gives it to the winner, once
//!                                                     │  if that has lost as well, or has moved on: passes it on
//! ```
//!
//! A child that is not asked to merge anything loses nothing by it: what no process takes is forgotten with the process.
//! What a loser leaves is what it hands off when it is asked to stop, or else its last checkpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::clock::Dot;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId, Now, Pid};
use serde::{Deserialize, Serialize};

use super::child::{Phase, Then};
use super::handoff::{STATE_BYTES_MAX, STATES_BYTES_MAX};
use super::spec::ChildId;
use super::supervisor::Supervisor;
use super::tables::State;
use super::windows::Windows;
use super::words::{Control, Effect, Message};

/// How long what a loser left waits on a node for somebody to take it.
pub const MERGE_MAX: Duration = Duration::from_secs(30);
/// How often it is passed on.
pub const HOPS_MAX: u8 = 16;
/// How long it stays before it is sent back to where it came from.
const BACK_AFTER: Duration = Duration::from_millis(500);
/// How many losers a node remembers whose states it has taken, so that none is merged twice.
const TAKEN_MAX: usize = 16_384;
/// What each takes beside its bytes.
const LEFT_BYTES: usize = 512;

/// What a loser left.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Left {
    /// The child.
    pub child: ChildId,
    /// The start that it ran: another of this child has nothing to do with it.
    pub start: Dot,
    /// The process that lost.
    pub loser: Pid,
    /// The process that it lost to.
    pub winner: Pid,
    /// The kind of the child.
    pub kind: Arc<str>,
    /// How often it was passed on.
    pub hops: u8,
    /// What it left.
    pub state: Bytes,
}

#[derive(Debug, Clone)]
struct Held {
    left: Left,
    until: Instant,
    /// Who sent it here, and until when it is not sent back: both may know of the other's loss only.
    from: Option<(NodeId, Instant)>,
    /// Who it was sent to: he may have taken it, and until he answers or is down nobody else is to have it.
    sent: Option<NodeId>,
}

/// What losers left, and who is to have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Merges {
    held: BTreeMap<ChildId, BTreeMap<Pid, Held>>,
    bytes: usize,
    ends: BTreeSet<(Instant, ChildId, Pid)>,
    windows: Windows,
    /// The losers whose states were given to processes here.
    taken: BTreeSet<Pid>,
    /// The first ones first.
    in_order: VecDeque<Pid>,
}

impl Merges {
    fn get(&self, child: &ChildId, loser: &Pid) -> Option<&Held> {
        self.held.get(child)?.get(loser)
    }

    fn get_mut(&mut self, child: &ChildId, loser: &Pid) -> Option<&mut Held> {
        self.held.get_mut(child)?.get_mut(loser)
    }

    /// Takes what a loser left. Whether it is here now, or was given to a process here.
    fn put(&mut self, now: Instant, left: Left, from: Option<&NodeId>) -> bool {
        let (child, loser) = (left.child.clone(), left.loser.clone());
        let twice = self.taken.contains(&loser) && !is_present(Defect::MergesTwice);
        if twice || self.get(&child, &loser).is_some() {
            return true;
        }
        let bytes = left.state.len() + LEFT_BYTES;
        // What others send leaves room for what our own processes leave.
        let most = if from.is_some() { STATES_BYTES_MAX / 2 } else { STATES_BYTES_MAX };
        if left.state.len() > STATE_BYTES_MAX || self.bytes + bytes > most {
            return false;
        }
        let (until, from) = (now + MERGE_MAX, from.map(|from| (from.clone(), now + BACK_AFTER)));
        self.bytes += bytes;
        self.ends.insert((until, child.clone(), loser.clone()));
        self.held.entry(child).or_default().insert(loser, Held { left, until, from, sent: None });
        true
    }

    /// A process here has been given what a loser left.
    fn note_taken(&mut self, loser: Pid) {
        if self.taken.insert(loser.clone()) {
            self.in_order.push_back(loser);
        }
        while self.in_order.len() > TAKEN_MAX
            && let Some(first) = self.in_order.pop_front()
        {
            self.taken.remove(&first);
        }
    }

    fn remove(&mut self, child: &ChildId, loser: &Pid) -> Option<Left> {
        let of_child = self.held.get_mut(child)?;
        let Held { left, until, .. } = of_child.remove(loser)?;
        if of_child.is_empty() {
            self.held.remove(child);
        }
        self.ends.remove(&(until, child.clone(), loser.clone()));
        self.bytes -= left.state.len() + LEFT_BYTES;
        Some(left)
    }

    /// When something is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.ends.first().map(|(until, ..)| *until), self.windows.next()].into_iter().flatten().min()
    }
}

impl Supervisor {
    /// A process of ours has ended that lost its child to a copy: what it left goes there.
    pub(super) fn leave_to_winner(&mut self, now: Now, id: &ChildId, loser: &Pid, winner: Pid) {
        let Some(local) = self.local.get_mut(id) else { return };
        let Some(state) = local.given.take().filter(|_| !is_present(Defect::LoserForgets)) else { return };
        let (child, loser, kind, start) = (id.clone(), loser.clone(), local.kind.clone(), local.dot.clone());
        let left = Left { child, start, loser, winner, kind, hops: 0, state };
        if !self.is_live(id, &left.start) {
            return;
        }
        if !self.merges.put(now.at, left, None) {
            tracing::warn!(child = %id, "what the loser of a conflict left is lost: there is no room");
        }
        self.dirty.insert(id.clone());
    }

    /// What losers of a child left, as far as it is here: to the winner, or to the node that has it.
    pub(super) fn pass_to_winner(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(of_child) = self.merges.held.get(id) else { return };
        let losers: Vec<_> = of_child.iter().map(|(loser, held)| (loser.clone(), held.left.start.clone())).collect();
        for (loser, start) in losers {
            if self.is_gone(id, &start) {
                self.merges.remove(id, &loser);
                continue;
            }
            match self.taker(id, &loser) {
                Taker::Here(pid) => {
                    if let Some(Left { loser, state, kind, .. }) = self.merges.remove(id, &loser)
                        && self.local.get(id).is_some_and(|local| local.kind == kind)
                    {
                        self.merges.note_taken(loser.clone());
                        effects.push(Effect::Merge { pid, loser, state });
                    }
                }
                Taker::At(node) => {
                    let Some(Held { left, from, .. }) = self.merges.get(id, &loser).cloned() else { continue };
                    if let Some((_, until)) = from.filter(|(from, until)| *from == node && now.at < *until) {
                        self.timers.insert((until, id.clone()));
                        continue;
                    }
                    if self.merges.windows.open(now.at, &node, id, left.state.len() + LEFT_BYTES) {
                        let left = Left { hops: left.hops.saturating_add(1), ..left };
                        effects.push(send(&node, Control::Merge(left), Lane::Bulk));
                        if let Some(held) = self.merges.get_mut(id, &loser) {
                            held.sent = Some(node);
                        }
                    }
                }
                Taker::NotYet => {}
            }
        }
    }

    /// Who is to have what a loser left.
    fn taker(&self, id: &ChildId, loser: &Pid) -> Taker {
        let sent = self.merges.get(id, loser).and_then(|held| held.sent.as_ref());
        if let Some(node) = sent.filter(|node| self.registry.view().is_living(node)) {
            return Taker::At(node.clone());
        }
        if let Some(local) = self.local.get(id) {
            let pid = local.pid.as_ref().filter(|pid| *pid != loser && self.registry.lost_to(pid).is_none());
            match (&local.phase, pid) {
                (Phase::Running { .. }, Some(pid)) => return Taker::Here(pid.clone()),
                (Phase::Running { .. } | Phase::Stopping(Then::Gone | Then::Move { .. }), _) => {}
                (Phase::Released { .. } | Phase::Done { .. }, _) => {}
                (Phase::Starting { .. } | Phase::Stopping(_) | Phase::Backoff { .. }, _) => return Taker::NotYet,
                (Phase::Quarantined | Phase::Failed { .. }, _) => return Taker::NotYet,
            }
        }
        let held = || self.claims(id).filter(|(node, claim)| *node != self.id() && claim.is_held() && !claim.losing);
        let runs = held().find(|(_, claim)| claim.has_process() && claim.pid.as_ref() != Some(loser));
        let there = runs.or_else(|| held().find(|(_, claim)| !matches!(claim.state, State::Moving { .. })));
        let winner = self.merges.get(id, loser).map(|held| &held.left.winner.node);
        let winner = winner.filter(|node| *node != self.id() && self.registry.view().is_living(node));
        there.map(|(node, _)| node).or(winner).map_or(Taker::NotYet, |node| Taker::At(node.clone()))
    }

    // ---- what others say

    /// A loser's state has come.
    pub(super) fn on_left(&mut self, now: Now, from: &NodeId, left: Left, effects: &mut Vec<Effect>) {
        let (child, loser, hops) = (left.child.clone(), left.loser.clone(), left.hops);
        if hops <= HOPS_MAX && !self.merges.put(now.at, left, Some(from)) {
            // Its node keeps it for a while and sends it again.
            return;
        }
        if hops > HOPS_MAX {
            tracing::warn!(%child, %loser, "what the loser of a conflict left is lost: it was passed on too often");
        }
        self.dirty.insert(child.clone());
        effects.push(send(from, Control::Merged { child, loser }, Lane::Control));
    }

    pub(super) fn on_left_taken(&mut self, now: Now, from: &NodeId, child: ChildId, loser: Pid) {
        self.dirty.extend(self.merges.windows.close(now.at, from, &child));
        self.merges.remove(&child, &loser);
        self.dirty.insert(child);
    }

    /// A session began: what was under way in the one before may be lost.
    pub(super) fn merge_again(&mut self, peer: &NodeId) {
        self.dirty.extend(self.merges.windows.reset(peer));
    }

    /// Forgets what nobody has taken, and looks again at what was not answered.
    pub(super) fn tend_merges(&mut self, now: Now) {
        self.dirty.extend(self.merges.windows.stale(now.at));
        while let Some((until, child, loser)) = self.merges.ends.first().cloned()
            && until <= now.at
        {
            tracing::warn!(%child, %loser, "what the loser of a conflict left is lost: nobody took it");
            self.merges.remove(&child, &loser);
        }
    }
}

/// Where what a loser left goes.
enum Taker {
    Here(Pid),
    At(NodeId),
    NotYet,
}

fn send(to: &NodeId, control: Control, lane: Lane) -> Effect {
    Effect::Send { to: vec![to.clone()], lane, message: Box::new(Message::Control(control)) }
}
