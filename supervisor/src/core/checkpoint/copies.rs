//! What is kept for others.

use std::collections::BTreeMap;
use std::time::Duration;

use ordu_registry::core::clock::Dot;
use ordu_transport::core::{Instant, Now};

use super::{COPIES_BYTES_MAX, Checkpoint};
use crate::core::handoff::STATE_BYTES_MAX;
use crate::core::spec::ChildId;
use crate::core::supervisor::Supervisor;

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
