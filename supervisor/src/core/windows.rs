//! How fast what children leave goes to other nodes: each answers before it gets much more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_transport::core::{Instant, NodeId};

use super::spec::ChildId;

/// How many bytes are on their way to one node at once, but for one state that is longer.
const WINDOW_BYTES: usize = 2 << 20;
/// The least that one counts for.
const LEAST_BYTES: usize = 512;
/// After so long without an answer all that is on its way to a node is sent again.
const ANSWER_MAX: Duration = Duration::from_secs(5);

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
    /// Whether something of a child may be sent to a node now; otherwise it is told of when it may. Of each child one at a time is
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
        let room = WINDOW_BYTES.saturating_sub(window.bytes) / LEAST_BYTES;
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

    /// The children of which something was sent long ago to nodes that have not answered since.
    pub(super) fn stale(&mut self, now: Instant) -> BTreeSet<ChildId> {
        let late = self.0.iter().filter(|(_, window)| window.since + ANSWER_MAX <= now).map(|(node, _)| node.clone());
        late.collect::<Vec<_>>().iter().flat_map(|node| self.reset(node)).collect()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|window| window.since + ANSWER_MAX).min()
    }
}
