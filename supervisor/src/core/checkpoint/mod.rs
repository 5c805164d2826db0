//! What a running child leaves with other nodes now and then, so that its next activation finds it after a crash.
//!
//! ```text
//!   the node that has it                         its keepers
//!      ├── a mark beside the start: who keeps ───────▶│  everybody knows it
//!      ├── the checkpoint ───────────────────────────▶│  keeps the latest
//!      │◀──────────────────────────────── kept ───────┤  the child is told once all have it
//!      ✗
//!                      the node that starts it anew   │
//!                         ├── have you a later one? ─▶│  it is asked unless it is down
//!                         │◀────────── yes, this ─────┤
//!                         starts it with the latest, and keeps that at keepers of its own
//! ```
//!
//! A checkpoint belongs to a start and is dropped with it: a child that was terminated and is started again begins with
//! nothing. Of two the one with the later fence is the later, then the one that was made later under that fence; who wins a
//! conflict tells its keepers its own again, under its new fence. The first keeper is the node that would have the child
//! next, so that it mostly finds it at home.
//!
//! Keepers have checkpoints in memory only: when all of them and the child's node fail at once, it is gone.

mod copies;
mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Fence;
use ordu_registry::core::clock::Dot;
use ordu_transport::core::{Hlc, Instant, Lane, NodeId, NodeName, Now, Pid};
use serde::{Deserialize, Serialize};

use self::copies::Copies;
use self::fetch::Fetches;
pub(super) use self::fetch::Found;
pub use self::fetch::{CATCH_UP_PAUSE, FETCH_MAX};
use super::child::{Local, Phase};
use super::handoff::STATE_BYTES_MAX;
use super::placement;
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::Mark;
use super::windows::Windows;
use super::words::{Control, Effect, Message};

/// How many other nodes keep the checkpoint of a child, unless its node is told otherwise.
pub const COPIES: usize = 2;
/// The most that may be asked for.
pub const COPIES_MAX: usize = 7;
/// Most bytes of checkpoints that a node keeps for others, what each takes beside its bytes included.
pub const COPIES_BYTES_MAX: usize = 256 << 20;
/// Of how many checkpoints on their way it is known which they are.
const SENT_MAX: usize = 32;
/// Most nodes that a mark names: those that keep it now, and those that did until these have it.
const LISTED_MAX: usize = 2 * COPIES_MAX;
/// How long a node that has no room is not asked again.
const REFUSED: Duration = Duration::from_secs(10);

/// Its place among the checkpoints of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The fence of the activation that made it, raised when that wins a conflict.
    pub fence: Fence,
    /// Which under that fence.
    pub number: u64,
}

/// What a child last said that it needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The start that it belongs to.
    pub start: Dot,
    /// Its place among others.
    pub stamp: Stamp,
    /// By which mark it is kept: a later one says who keeps it now.
    pub listed: Hlc,
    /// The kind of the child: another would not know what to do with it.
    pub kind: Arc<str>,
    /// What.
    pub state: Bytes,
}

/// What nodes say to one another about checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// Keep this.
    #[serde(rename = "k")]
    Keep {
        /// Of which child.
        child: ChildId,
        /// What.
        checkpoint: Checkpoint,
    },
    /// I have this one, which you sent or which is later, or need not; or there is no room.
    #[serde(rename = "d")]
    Kept {
        /// Of which child.
        child: ChildId,
        /// Which I have.
        stamp: Stamp,
        /// Whether it is safe with me.
        taken: bool,
    },
    /// I am to start this child: have you a checkpoint of it?
    #[serde(rename = "f")]
    Fetch {
        /// Which child.
        child: ChildId,
        /// Which start of it.
        start: Dot,
        /// I have this one, and want a later one only.
        have: Option<Stamp>,
    },
    /// This is it; `None`: I have no later one.
    #[serde(rename = "g")]
    Fetched {
        /// Of which child.
        child: ChildId,
        /// Which start of it.
        start: Dot,
        /// What I have.
        checkpoint: Option<Checkpoint>,
    },
}

/// Who keeps the checkpoints of a child, as a mark beside its start says it: of several the latest counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Keepers {
    /// When that was settled.
    pub at: Hlc,
    /// Who.
    pub nodes: Vec<NodeName>,
}

/// The checkpoint of a child that this node holds.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) checkpoint: Checkpoint,
    /// Who keeps it, and which one each has.
    keepers: Vec<(NodeId, Option<Stamp>)>,
    /// Its number for its process, which made it, while that is to be told that it is kept.
    asked: Option<(Pid, u64)>,
    /// Those that were sent and of which it was not told yet, in order: while it makes others all the time, earlier ones are
    /// kept.
    sent: VecDeque<(Stamp, Pid, u64)>,
}

impl Own {
    pub(super) fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, keepers: Vec::new(), asked: None, sent: VecDeque::new() }
    }

    /// One of a child that came here with what it left, and makes checkpoints: it has not begun yet.
    pub(super) fn inherited(start: &Dot, state: Bytes) -> Self {
        let stamp = Stamp { fence: Fence::new(Hlc::default(), &start.actor), number: 0 };
        Self::new(Checkpoint { start: start.clone(), stamp, listed: Hlc::default(), kind: "".into(), state })
    }

    /// That which its process is to be told that is kept: all keepers have it, or a later one.
    fn kept(&mut self) -> Option<(Pid, u64)> {
        let least = self.keepers.iter().map(|(_, has)| *has).min();
        if least.is_none_or(|least| least == Some(self.checkpoint.stamp)) {
            self.sent.clear();
            return self.asked.take();
        }
        let mut kept = None;
        while self.sent.front().is_some_and(|(stamp, ..)| Some(Some(*stamp)) <= least) {
            kept = self.sent.pop_front().map(|(_, pid, number)| (pid, number));
        }
        kept
    }

    /// A keeper says which one it has. A later one is of a process that runs no more, or is to lose: ours comes after it.
    /// While it is not known which, neither goes above the other.
    fn heard(&mut self, keeper: &NodeId, has: Stamp, taken: bool, contested: bool) {
        if !taken {
            self.keepers.retain(|(node, _)| node != keeper);
        } else if let Some((_, known)) = self.keepers.iter_mut().find(|(node, _)| node == keeper) {
            *known = Some(has);
            if has > self.checkpoint.stamp && !contested {
                let Checkpoint { start, state, .. } = self.checkpoint.clone();
                self.checkpoint.stamp = has;
                self.renew(start, has.fence, state);
            }
        }
    }

    /// It is being sent.
    fn note_sent(&mut self) {
        let Some((pid, number)) = self.asked.clone() else { return };
        if self.sent.back().is_none_or(|(stamp, ..)| *stamp != self.checkpoint.stamp) {
            self.sent.push_back((self.checkpoint.stamp, pid, number));
        }
        while self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
    }

    /// A checkpoint that its keepers may take for another: they are told anew.
    fn renew(&mut self, start: Dot, fence: Fence, state: Bytes) {
        let Checkpoint { stamp, .. } = self.checkpoint;
        let number = if fence > stamp.fence { 0 } else { stamp.number.saturating_add(1) };
        let stamp = Stamp { fence: fence.max(stamp.fence), number };
        self.checkpoint = Checkpoint { start, stamp, state, ..self.checkpoint.clone() };
    }
}

/// What a node has to do with checkpoints beside those of its own children.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    /// How many nodes are to keep those of its own children.
    wanted: usize,
    copies: Copies,
    windows: Windows,
    fetches: Fetches,
    /// Nodes without room, and until when they are not asked.
    full: BTreeMap<NodeId, Instant>,
}

impl Checkpoints {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted: wanted.min(COPIES_MAX),
            copies: Copies::default(),
            windows: Windows::default(),
            fetches: Fetches::default(),
            full: BTreeMap::new(),
        }
    }

    /// When something is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        let full = self.full.values().min().copied();
        [self.windows.next(), self.copies.next(), self.fetches.next(), full].into_iter().flatten().min()
    }
}

impl Supervisor {
    /// How many checkpoints of others' children this node keeps.
    pub fn copies_len(&self) -> usize {
        self.checkpoints.copies.len()
    }

    // ---- of children of ours

    /// A child of ours says what it needs to go on. Only of a process that is through its init and was not asked to stop:
    /// that hands off what it leaves. Longer ones are not taken; what runs once at most needs none.
    pub(super) fn on_checkpoint(&mut self, pid: &Pid, number: u64, state: Bytes) {
        let Some(id) = self.children_by_pid.get(pid).cloned() else { return };
        let Some(fence) = self.registry.standing(pid).map(|(_, fence)| fence) else { return };
        let Some(local) = self.local.get_mut(&id).filter(|local| local.pid.as_ref() == Some(pid)) else { return };
        let takes = matches!(local.phase, Phase::Running { .. }) && local.spec.restart != Restart::Temporary;
        if !takes || state.len() > STATE_BYTES_MAX {
            return;
        }
        let start = local.dot.clone();
        match &mut local.checkpoint {
            Some(own) => own.renew(start, fence, state),
            None => {
                let (stamp, kind) = (Stamp { fence, number: 0 }, local.kind.clone());
                let checkpoint = Checkpoint { start, stamp, listed: Hlc::default(), kind, state };
                local.checkpoint = Some(Own::new(checkpoint));
            }
        }
        if let Some(own) = &mut local.checkpoint {
            own.asked = Some((pid.clone(), number));
        }
        self.dirty.insert(id);
    }

    /// A process of ours won a conflict: what it checkpointed is later than what the loser did.
    pub(super) fn raise_checkpoint(&mut self, id: &ChildId, fence: Fence) {
        if let Some(Local { checkpoint: Some(own), .. }) = self.local.get_mut(id) {
            let Checkpoint { start, state, .. } = own.checkpoint.clone();
            own.renew(start, fence, state);
        }
    }

    /// Sees that as many nodes as are wanted have the checkpoint of a child that we hold.
    pub(super) fn keep_checkpoint(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(Local { checkpoint: Some(own), dot, spec, .. }) = self.local.get(id) else { return };
        let (start, spec) = (dot.clone(), spec.clone());
        // Another process of it makes them now.
        let is_other = self.local.get(id).is_some_and(|local| local.ahead || local.lost_to.is_some());
        if is_other || own.checkpoint.kind.is_empty() {
            return;
        }
        let (mut keepers, stamp) = (own.keepers.clone(), own.checkpoint.stamp);
        keepers.retain(|(node, _)| self.registry.view().is_living(node));
        while keepers.len() < self.checkpoints.wanted
            && let Some(next) = self.next_keeper(now, &spec, &keepers)
        {
            keepers.push((next, None));
        }
        let said = self.mark_of(id, &start).keepers;
        let mut nodes: BTreeSet<NodeName> = keepers.iter().map(|(node, _)| node.name.clone()).collect();
        // Whoever has it keeps it until these have it.
        if keepers.iter().any(|(_, has)| *has != Some(stamp)) && said.is_some() {
            let before = said.iter().flat_map(|said| &said.nodes).filter(|name| **name != self.id().name);
            let room = LISTED_MAX.saturating_sub(nodes.len());
            nodes.extend(before.take(room).cloned().collect::<Vec<_>>());
        }
        // Two that hold it would contradict one another until one of them has lost.
        if !self.is_contested(id)
            && self.is_live(id, &start)
            && said.as_ref().is_none_or(|said| !nodes.iter().eq(said.nodes.iter()))
        {
            let after = said.map(|said| Hlc::from_u64(said.at.as_u64().saturating_add(1)));
            let at = self.registry.tick(now).max(after.unwrap_or_default());
            let nodes = nodes.into_iter().collect();
            self.mark(id, &start, |mark| Mark { keepers: Some(Keepers { at, nodes }), ..mark });
        }
        let listed = self.mark_of(id, &start).keepers.map(|keepers| keepers.at).unwrap_or_default();
        let Some(Local { checkpoint: Some(own), .. }) = self.local.get_mut(id) else { return };
        if own.checkpoint.start != start {
            let Checkpoint { stamp, state, .. } = own.checkpoint.clone();
            own.renew(start, stamp.fence, state);
        }
        (own.keepers, own.checkpoint.listed) = (keepers, listed);
        if let Some((pid, number)) = own.kept() {
            effects.push(Effect::Checkpointed { pid, number, keepers: own.keepers.len() });
        }
        let checkpoint = own.checkpoint.clone();
        let behind = own.keepers.iter().filter(|(_, has)| *has != Some(checkpoint.stamp)).map(|(node, _)| node.clone());
        for node in behind.collect::<Vec<_>>() {
            if self.checkpoints.windows.open(now.at, &node, id, checkpoint.size_bytes()) {
                if let Some(Local { checkpoint: Some(own), .. }) = self.local.get_mut(id) {
                    own.note_sent();
                }
                let word = Word::Keep { child: id.clone(), checkpoint: checkpoint.clone() };
                effects.push(send(&node, word, Lane::Bulk));
            }
        }
    }

    /// Whether somebody else has a process of a child.
    fn is_contested(&self, id: &ChildId) -> bool {
        self.claims(id).any(|(node, claim)| node != self.id() && claim.has_process())
    }

    /// A node that keeps a child's checkpoint beside these: rather one that would have the child next.
    fn next_keeper(&self, now: Now, spec: &ChildSpec, beside: &[(NodeId, Option<Stamp>)]) -> Option<NodeId> {
        let is_free = |node: &NodeId| {
            node != self.id()
                && self.is_up(node)
                && !self.has_no_room(now, node)
                && beside.iter().all(|(keeper, _)| keeper != node)
        };
        let free = || self.candidates().filter(|candidate| is_free(candidate.id));
        let seat = placement::seat(spec, &self.preference, free());
        seat.or_else(|| placement::first_of(&spec.id, free())).cloned()
    }

    fn has_no_room(&self, now: Now, node: &NodeId) -> bool {
        self.checkpoints.full.get(node).is_some_and(|&until| now.at < until)
    }

    /// A session began: what was under way in the one before may be lost.
    pub(super) fn keep_again(&mut self, peer: &NodeId) {
        self.dirty.extend(self.checkpoints.windows.reset(peer));
    }

    /// Nothing that processes of a child left here is to come back.
    pub(super) fn forget_what_was_left(&mut self, id: &ChildId) {
        if let Some(local) = self.local.get_mut(id) {
            (local.given, local.left, local.checkpoint) = (None, None, None);
        }
    }

    /// What a process that ended leaves for the next one, if it handed nothing on: its checkpoint.
    pub(super) fn give_checkpoint(&mut self, id: &ChildId) {
        if let Some(local) = self.local.get_mut(id) {
            let checkpoint = local.checkpoint.as_ref().map(|own| &own.checkpoint);
            let fits = checkpoint.filter(|checkpoint| checkpoint.kind == local.spec.kind);
            local.given = fits.map(|checkpoint| checkpoint.state.clone());
        }
    }

    /// A process begins under this fence: what it is given is its first checkpoint, if the child makes any.
    pub(super) fn begin_checkpoint(&mut self, id: &ChildId, fence: Fence) {
        let Some(local) = self.local.get_mut(id) else { return };
        let Some(own) = &mut local.checkpoint else { return };
        own.asked = None;
        own.sent.clear();
        match &local.given {
            Some(given) if own.checkpoint.kind != local.spec.kind || own.checkpoint.state != *given => {
                own.renew(local.dot.clone(), fence, given.clone());
                own.checkpoint.kind = local.spec.kind.clone();
            }
            Some(_) => {}
            // What it does not go on with is not to come back.
            None => local.checkpoint = None,
        }
    }

    // ---- what others say

    pub(super) fn on_checkpoint_word(&mut self, now: Now, from: &NodeId, word: Word, effects: &mut Vec<Effect>) {
        match word {
            Word::Keep { child, checkpoint } => {
                let (stamp, taken) = self.keep_copy(now, &child, checkpoint);
                effects.push(send(from, Word::Kept { child, stamp, taken }, Lane::Control));
            }
            Word::Kept { child, stamp, taken } => {
                self.dirty.extend(self.checkpoints.windows.close(now.at, from, &child));
                if !taken {
                    tracing::warn!(peer = %from, %child, "a node has no room for a checkpoint");
                    self.checkpoints.full.retain(|_, until| now.at < *until);
                    self.checkpoints.full.insert(from.clone(), now.at + REFUSED);
                }
                let contested = self.is_contested(&child);
                if let Some(Local { checkpoint: Some(own), lost_to: None, .. }) = self.local.get_mut(&child) {
                    own.heard(from, stamp, taken, contested);
                }
                self.dirty.insert(child);
            }
            Word::Fetch { child, start, have } => {
                let found = self.copy_of(&child, &start).filter(|found| have.is_none_or(|have| found.stamp > have));
                let lane = if found.is_some() { Lane::Bulk } else { Lane::Control };
                effects.push(send(from, Word::Fetched { child, start, checkpoint: found.cloned() }, lane));
            }
            Word::Fetched { child, start, checkpoint } => self.on_fetched(from, child, &start, checkpoint),
        }
    }

    /// What this node has of a child: as one that keeps it for others, or of its own process.
    fn copy_of(&self, child: &ChildId, start: &Dot) -> Option<&Checkpoint> {
        let own = self.local.get(child).and_then(|local| local.checkpoint.as_ref()).map(|own| &own.checkpoint);
        let found = [self.checkpoints.copies.get(child), own].into_iter().flatten();
        found.filter(|found| found.start == *start).max_by_key(|found| found.stamp)
    }

    /// Sees whether something has waited for too long.
    pub(super) fn tend_checkpoints(&mut self, now: Now) {
        self.dirty.extend(self.checkpoints.windows.stale(now.at));
        self.checkpoints.fetches.forget(now.at);
        let before = self.checkpoints.full.len();
        self.checkpoints.full.retain(|_, until| now.at < *until);
        if self.checkpoints.full.len() < before {
            let lacking = |own: &Own| own.keepers.len() < self.checkpoints.wanted;
            let local = self.local.iter().filter(|(_, local)| local.checkpoint.as_ref().is_some_and(lacking));
            self.dirty.extend(local.map(|(id, _)| id.clone()).collect::<Vec<_>>());
        }
        self.forget_unknown(now);
    }
}

fn send(to: &NodeId, word: Word, lane: Lane) -> Effect {
    let message = Box::new(Message::Control(Control::Checkpoint(word)));
    Effect::Send { to: vec![to.clone()], lane, message }
}
