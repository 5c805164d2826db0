//! What is kept for others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_registry::core::clock::Dot;
use ordu_transport::core::{Instant, Now};

use super::{COPIES_BYTES_MAX, Checkpoint, Stamp};
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
    ends: BTreeSet<(Instant, ChildId)>,
}

impl Copies {
    pub(super) fn get(&self, child: &ChildId) -> Option<&Checkpoint> {
        self.held.get(child)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Keeps a checkpoint, unless there is a later one of the same start. Returns which is here now, if there was room.
    fn put(&mut self, child: &ChildId, checkpoint: Checkpoint) -> Option<Stamp> {
        let (had, stamp) = (self.held.get(child), checkpoint.stamp);
        if let Some(had) = had.filter(|had| had.start == checkpoint.start && had.stamp > stamp) {
            return Some(had.stamp);
        }
        let bytes = self.bytes - had.map_or(0, Checkpoint::size_bytes) + checkpoint.size_bytes();
        if bytes > COPIES_BYTES_MAX {
            return None;
        }
        self.bytes = bytes;
        self.held.insert(child.clone(), checkpoint);
        Some(stamp)
    }

    fn wait_for(&mut self, child: &ChildId, until: Instant) {
        if !self.unknown.contains_key(child) {
            self.unknown.insert(child.clone(), until);
            self.ends.insert((until, child.clone()));
        }
    }

    fn is_known(&mut self, child: &ChildId) {
        if let Some(until) = self.unknown.remove(child) {
            self.ends.remove(&(until, child.clone()));
        }
    }

    fn remove(&mut self, child: &ChildId) -> Option<Checkpoint> {
        self.is_known(child);
        let copy = self.held.remove(child)?;
        self.bytes -= copy.size_bytes();
        Some(copy)
    }

    /// When one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }
}

impl Supervisor {
    /// Keeps a checkpoint of somebody else's child. Returns which one is here, and whether that is safe or need not be: its
    /// child is no more.
    pub(super) fn keep_copy(&mut self, now: Now, child: &ChildId, checkpoint: Checkpoint) -> (Stamp, bool) {
        let (start, stamp) = (checkpoint.start.clone(), checkpoint.stamp);
        if checkpoint.state.len() > STATE_BYTES_MAX {
            return (stamp, false);
        }
        if self.is_gone(child, &start) {
            return (stamp, true);
        }
        let has = self.checkpoints.copies.put(child, checkpoint);
        if has.is_some() && !self.is_live(child, &start) {
            self.checkpoints.copies.wait_for(child, now.at + UNKNOWN_MAX);
        }
        (has.unwrap_or(stamp), has.is_some())
    }

    /// Whether a start was here and is no more.
    pub(in crate::core) fn is_gone(&self, child: &ChildId, start: &Dot) -> bool {
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
            self.checkpoints.copies.is_known(child);
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
        while let Some((until, child)) = self.checkpoints.copies.ends.first().cloned()
            && until <= now.at
        {
            self.checkpoints.copies.remove(&child);
        }
    }
}
