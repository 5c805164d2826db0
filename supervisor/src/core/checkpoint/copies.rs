//! What is kept for others, and how fast it is sent to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_registry::core::clock::Dot;
use ordu_transport::core::{Instant, NodeId, Now};

use super::{COPIES_BYTES_MAX, Checkpoint};
use crate::core::handoff::STATE_BYTES_MAX;
use crate::core::spec::ChildId;
use crate::core::supervisor::Supervisor;

/// How many bytes are on their way to one node at once, but for one checkpoint that is longer.
pub(super) const WINDOW_BYTES: usize = 2 << 20;
/// After so long without an answer all that is on its way to a node is sent again.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a checkpoint is kept whose start is not known here.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// What each takes beside its bytes.
const COPY_BYTES: usize = 512;

impl Checkpoint {
    /// About how much memory it takes.
    pub(super) fn size_bytes(&self) -> usize {
        self.state.len() + COPY_BYTES
    }
}

/// The checkpoints that a node keeps for others, one of each child.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies {
    held: BTreeMap<ChildId, Checkpoint>,
    bytes: usize,
    /// Those whose start is not known here, and until when they are kept all the same.
    unknown: BTreeMap<ChildId, Instant>,
}

impl Copies {
    pub(super) fn get(&self, child: &ChildId) -> Option<&Checkpoint> {
        self.held.get(child)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Keeps a checkpoint, unless there is a later one. Whether one of both is here now.
    fn put(&mut self, child: &ChildId, checkpoint: Checkpoint) -> bool {
        let had = self.held.get(child);
        if let Some(had) = had.filter(|had| had.stamp > checkpoint.stamp) {
            return had.start == checkpoint.start;
        }
        let bytes = self.bytes - had.map_or(0, Checkpoint::size_bytes) + checkpoint.size_bytes();
        if bytes > COPIES_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.held.insert(child.clone(), checkpoint);
        true
    }

    fn remove(&mut self, child: &ChildId) -> Option<Checkpoint> {
        self.unknown.remove(child);
        let copy = self.held.remove(child)?;
        self.bytes -= copy.size_bytes();
        Some(copy)
    }

    /// When one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.unknown.values().min().copied()
    }
}

impl Supervisor {
    /// Keeps a checkpoint of somebody else's child. Whether it is safe here, or need not be: its child is no more.
    pub(super) fn keep_copy(&mut self, now: Now, child: &ChildId, checkpoint: Checkpoint) -> bool {
        if checkpoint.state.len() > STATE_BYTES_MAX {
            return false;
        }
        let start = checkpoint.start.clone();
        if self.is_gone(child, &start) {
            return true;
        }
        let copies = &mut self.checkpoints.copies;
        let taken = copies.put(child, checkpoint);
        if taken && !self.is_live(child, &start) {
            self.checkpoints.copies.unknown.entry(child.clone()).or_insert(now.at + UNKNOWN_MAX);
        }
        taken
    }

    /// Whether a start was here and is no more.
    fn is_gone(&self, child: &ChildId, start: &Dot) -> bool {
        self.desired.table().context().contains(&start.actor, start.counter) && !self.is_live(child, start)
    }

    /// After a child was looked at: its checkpoint is not kept here any longer than it has to be.
    pub(in crate::core) fn review_copy(&mut self, child: &ChildId) {
        let Some(copy) = self.checkpoints.copies.get(child) else { return };
        let (start, listed) = (copy.start.clone(), copy.listed);
        let known = self.is_live(child, &start);
        let keepers = self.mark_of(child, &start).keepers;
        let others = keepers.is_some_and(|said| said.at > listed && !said.nodes.contains(&self.id().name));
        let own = self.local.get(child).and_then(|local| local.checkpoint.as_ref());
        let later = own.is_some_and(|own| own.checkpoint.start == start && own.checkpoint.stamp >= copy.stamp);
        if known {
            self.checkpoints.copies.unknown.remove(child);
        }
        if later || others || self.is_gone(child, &start) {
            self.checkpoints.copies.remove(child);
        }
    }

    /// A child that we let go of: what it would need to go on stays with us until others have it.
    pub(in crate::core) fn leave_copy(&mut self, child: &ChildId, checkpoint: Checkpoint) {
        if self.is_live(child, &checkpoint.start) {
            self.checkpoints.copies.put(child, checkpoint);
        }
    }

    /// Drops what was kept for children of which nobody has told.
    pub(super) fn forget_unknown(&mut self, now: Now) {
        let copies = &mut self.checkpoints.copies;
        let over: Vec<ChildId> =
            copies.unknown.iter().filter(|(_, until)| **until <= now.at).map(|(child, _)| child.clone()).collect();
        over.iter().for_each(|child| drop(copies.remove(child)));
    }
}

/// What is on its way to each node.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows(BTreeMap<NodeId, Window>);

#[derive(Debug, Clone, Default)]
struct Window {
    /// Which children's, and how long they are.
    under_way: BTreeMap<ChildId, usize>,
    bytes: usize,
    /// Those that have to wait.
    waiting: BTreeSet<ChildId>,
    /// When something was sent or answered last.
    since: Instant,
}

impl Windows {
    /// Whether a checkpoint may be sent to a node now; otherwise it is told of when it may. Of each child one at a time is
    /// on its way: meanwhile later ones take the place of one another.
    pub(super) fn open(&mut self, now: Instant, node: &NodeId, child: &ChildId, bytes: usize) -> bool {
        let window = self.0.entry(node.clone()).or_default();
        if window.under_way.contains_key(child) {
            return false;
        }
        if window.bytes > 0 && window.bytes + bytes > WINDOW_BYTES {
            window.waiting.insert(child.clone());
            return false;
        }
        window.waiting.remove(child);
        window.under_way.insert(child.clone(), bytes);
        (window.bytes, window.since) = (window.bytes + bytes, now);
        true
    }

    /// A node has answered. Returns which children to look at, this one's included.
    pub(super) fn close(&mut self, now: Instant, node: &NodeId, child: &ChildId) -> BTreeSet<ChildId> {
        let Some(window) = self.0.get_mut(node) else { return BTreeSet::new() };
        if let Some(bytes) = window.under_way.remove(child) {
            (window.bytes, window.since) = (window.bytes - bytes, now);
        }
        // As many as could be sent if each were as small as can be.
        let room = WINDOW_BYTES.saturating_sub(window.bytes) / COPY_BYTES;
        let mut next: BTreeSet<ChildId> = BTreeSet::new();
        while next.len() < room
            && let Some(child) = window.waiting.pop_first()
        {
            next.insert(child);
        }
        if window.under_way.is_empty() && next.is_empty() {
            self.0.remove(node);
        }
        next
    }

    /// Whatever was on its way to a node may be lost. Returns which children to look at.
    pub(super) fn reset(&mut self, node: &NodeId) -> BTreeSet<ChildId> {
        let Some(Window { under_way, mut waiting, .. }) = self.0.remove(node) else { return BTreeSet::new() };
        waiting.extend(under_way.into_keys());
        waiting
    }

    /// The children whose checkpoints were sent long ago to nodes that have not answered since.
    pub(super) fn stale(&mut self, now: Instant) -> BTreeSet<ChildId> {
        let late = self.0.iter().filter(|(_, window)| window.since + ANSWER_MAX <= now).map(|(node, _)| node.clone());
        late.collect::<Vec<_>>().iter().flat_map(|node| self.reset(node)).collect()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|window| window.since + ANSWER_MAX).min()
    }
}
