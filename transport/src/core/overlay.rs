//! Which members speak to one another where they are too many for all to: a partial view that follows from the full one.
//!
//! Each of a few rings holds all members in an order of its own, by a hash of their names, and a member's neighbours are
//! those before and behind it on every ring. That is a random graph of constant degree in which few hops lead anywhere
//! (an expander, with high probability: Law and Siu, "Distributed Construction of Random Expander Networks", 2003). Nobody
//! negotiates: whoever sees the same members sees the same graph, and a member that comes or goes changes the neighbours
//! of the two beside it on each ring and of nobody else.
//!
//! ```text
//!   ring 0   … c ── a ── f ── d ── b ── e …         neighbours of a: c and f, e and d
//!   ring 1   … f ── b ── e ── a ── d ── c …         tree: the shortest paths from one root, the same at everyone
//! ```
//!
//! Where a neighbour is out of reach, the next one on that ring takes its place, for whoever cannot reach it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::hash::StableHasher;
use super::id::NodeId;

const PURPOSE_RING: u64 = 0x72_696e_6700;
const PURPOSE_MEMBERS: u64 = 0x6d_656d_6265;

/// Most others that all speak to, each to each; with more of them there is an overlay.
pub const DIRECT_PEERS_MAX: usize = 31;
/// On how many rings a member has neighbours: it speaks to twice as many others.
pub const RINGS: usize = 4;

/// How long changes of the members, and of sessions, are gathered before the graph follows them.
pub const OVERLAY_DELAY: Duration = Duration::from_millis(100);

/// When there is an overlay, and how dense it is. All nodes of a cluster should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mesh {
    /// Most others that all speak to, each to each; [`DIRECT_PEERS_MAX`] by default.
    pub direct_peers: usize,
    /// On how many rings a member has neighbours; [`RINGS`] by default.
    pub rings: usize,
}

impl Default for Mesh {
    fn default() -> Self {
        Self { direct_peers: DIRECT_PEERS_MAX, rings: RINGS }
    }
}

/// The graph of the members, as one of them sees it. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    members: Members,
    hash: u64,
    neighbours: Vec<NodeId>,
    substitutes: Vec<NodeId>,
    parent: Option<NodeId>,
    children: Vec<NodeId>,
    stand_ins: Vec<NodeId>,
    graph: Graph,
}

/// Members; clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) in_order: Arc<[NodeId]>,
    /// The nonce of each, and its place in the order, by nonce.
    pub(super) by_nonce: Arc<[(u64, usize)]>,
}

impl Members {
    fn new(in_order: Vec<NodeId>) -> Self {
        let mut by_nonce: Vec<_> = in_order.iter().enumerate().map(|(at, id)| (id.nonce, at)).collect();
        by_nonce.sort_unstable();
        Self { in_order: in_order.into(), by_nonce: by_nonce.into() }
    }
}

impl Overlay {
    /// The graph of these members, ourselves included, as we see it, on so many rings.
    pub fn new(own: &NodeId, mut members: Vec<NodeId>, rings: usize, in_reach: impl Fn(&NodeId) -> bool) -> Self {
        members.sort_unstable();
        members.dedup();
        let rings = rings.max(1);
        let hasher = StableHasher::new(PURPOSE_MEMBERS).number(rings as u64).number(members.len() as u64);
        let hash = members.iter().fold(hasher, |hasher, id| hasher.node(id)).finish();
        let (neighbours, substitutes, parent, children, stand_ins) = Default::default();
        let graph = Graph::new(&members, rings);
        let members = Members::new(members);
        let overlay = Self { members, hash, neighbours, substitutes, parent, children, stand_ins, graph };
        let Ok(we) = overlay.members().binary_search(own) else { return overlay };
        let graph = &overlay.graph;
        let Tree { parents, depths } = graph.shortest_paths();
        let beside: Vec<usize> = graph.beside(we).collect();
        let mut substitutes = graph.instead(we, |at| in_reach(&overlay.members()[at]));
        substitutes.retain(|at| !beside.contains(at));
        let mut neighbours = [beside, substitutes.clone()].concat();
        neighbours.sort_unstable();
        neighbours.dedup();
        let named = |at: &usize| overlay.members()[*at].clone();
        let is_above = |at: &&usize| depths[**at] <= depths[we] && parents[we] != Some(**at);
        let mut above: Vec<usize> = neighbours.iter().filter(is_above).copied().collect();
        above.sort_by_key(|at| depths[*at]);
        let parent = parents[we].as_ref().map(named);
        let children = neighbours.iter().filter(|at| parents[**at] == Some(we)).map(named).collect();
        let stand_ins = above.iter().map(named).collect();
        let substitutes = substitutes.iter().map(named).collect();
        let neighbours = neighbours.iter().map(named).collect();
        Self { neighbours, substitutes, parent, children, stand_ins, ..overlay }
    }

    /// A hash of the members and of how many rings there are: who has the same sees the same graph.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// All members, ourselves included, in order.
    pub fn members(&self) -> &[NodeId] {
        &self.members.in_order
    }

    /// Whether this one is a member.
    pub fn has(&self, id: &NodeId) -> bool {
        self.members().binary_search(id).is_ok()
    }

    /// Those that we speak to, in order.
    pub fn neighbours(&self) -> &[NodeId] {
        &self.neighbours
    }

    /// Whether we speak to this one.
    pub fn is_neighbour(&self, id: &NodeId) -> bool {
        self.neighbours.binary_search(id).is_ok()
    }

    /// Those of them that stand in for one out of reach: we may not be a neighbour of theirs.
    pub fn substitutes(&self) -> &[NodeId] {
        &self.substitutes
    }

    /// Those that this member speaks to, as far as we can know, in order.
    pub fn neighbours_of(&self, id: &NodeId) -> Vec<NodeId> {
        let Ok(at) = self.members().binary_search(id) else { return Vec::new() };
        let mut beside: Vec<usize> = self.beside_member(at).collect();
        beside.sort_unstable();
        beside.dedup();
        beside.into_iter().map(|at| self.members()[at].clone()).collect()
    }

    /// The first behind `own` on the first ring of which something holds.
    pub fn next_on_ring(&self, own: &NodeId, holds: impl Fn(&NodeId) -> bool) -> Option<&NodeId> {
        let at = self.members().binary_search(own).ok()?;
        let (ring, places) = (self.graph.rings.first()?, self.graph.places.first()?);
        let behind = (1..ring.len()).map(|by| &self.members()[ring[(places[at] + by) % ring.len()]]);
        behind.into_iter().find(|id| holds(id))
    }

    /// Those beside one of [`Self::members`] on the rings, by their places there, some perhaps more than once.
    pub(super) fn beside_member(&self, at: usize) -> impl Iterator<Item = usize> {
        self.graph.beside(at)
    }

    /// [`Self::members`], to be shared.
    pub(super) fn shared_members(&self) -> &Members {
        &self.members
    }

    /// Who stands between us and the root of the tree; `None` at the root.
    pub fn parent(&self) -> Option<&NodeId> {
        self.parent.as_ref()
    }

    /// Who may stand there where that one is out of reach, the best first: neighbours that are no farther from the root, and
    /// so not below us.
    pub fn stand_ins(&self) -> &[NodeId] {
        &self.stand_ins
    }

    /// For whom we stand there, in order.
    pub fn children(&self) -> &[NodeId] {
        &self.children
    }

    /// All beside us in the tree.
    pub fn beside(&self) -> impl Iterator<Item = &NodeId> {
        self.parent.iter().chain(&self.children)
    }
}

/// The members by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Graph {
    /// Per ring, the members around it.
    rings: Vec<Vec<usize>>,
    /// Per ring, where each member stands.
    places: Vec<Vec<usize>>,
}

impl Graph {
    fn new(members: &[NodeId], rings: usize) -> Self {
        let ring = |number: usize| {
            let place = |at: usize| {
                let name = members[at].name.as_str();
                StableHasher::new(PURPOSE_RING).number(number as u64).bytes(name.as_bytes()).finish()
            };
            let mut ring: Vec<(u64, usize)> = (0..members.len()).map(|at| (place(at), at)).collect();
            ring.sort_unstable();
            ring.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
        };
        let rings: Vec<Vec<usize>> = (0..rings).map(ring).collect();
        let places = rings.iter().map(|ring| {
            let mut places = vec![0; ring.len()];
            ring.iter().enumerate().for_each(|(place, &at)| places[at] = place);
            places
        });
        Self { places: places.collect(), rings }
    }

    /// Those beside a member, some perhaps more than once.
    fn beside(&self, at: usize) -> impl Iterator<Item = usize> {
        let both = self.rings.iter().zip(&self.places).flat_map(move |(ring, places)| {
            let (place, size) = (places[at], ring.len());
            let before = if place == 0 { size - 1 } else { place - 1 };
            let behind = if place + 1 == size { 0 } else { place + 1 };
            [ring[before], ring[behind]]
        });
        both.filter(move |other| *other != at)
    }

    /// On each ring and to each side, whom a member takes instead of one beside it that is out of reach.
    fn instead(&self, at: usize, in_reach: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut instead = Vec::new();
        for (ring, places) in self.rings.iter().zip(&self.places) {
            let (place, size) = (places[at], ring.len());
            let forth = (1..size).map(|by| ring[(place + by) % size]).find(|other| in_reach(*other));
            let back = (1..size).map(|by| ring[(place + size - by) % size]).find(|other| in_reach(*other));
            instead.extend(forth.into_iter().chain(back));
        }
        instead
    }

    /// The tree of the shortest paths from the first member of the first ring.
    fn shortest_paths(&self) -> Tree {
        let members = self.places.first().map_or(0, Vec::len);
        let mut tree = Tree { parents: vec![None; members], depths: vec![usize::MAX; members] };
        let Some(&root) = self.rings.first().and_then(|ring| ring.first()) else { return tree };
        tree.depths[root] = 0;
        let mut next = VecDeque::from([root]);
        while let Some(at) = next.pop_front() {
            for other in self.beside(at) {
                if tree.depths[other] == usize::MAX {
                    (tree.parents[other], tree.depths[other]) = (Some(at), tree.depths[at] + 1);
                    next.push_back(other);
                }
            }
        }
        tree
    }
}

/// The shortest paths from one member to all others.
struct Tree {
    /// Per member, who stands before it.
    parents: Vec<Option<usize>>,
    /// Per member, how many hops it is away.
    depths: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::core::id::NodeName;

    fn members(count: usize) -> Vec<NodeId> {
        let id = |at| NodeId::new(NodeName::new(&format!("n{at}")).expect("a name"), 1, at as u64);
        (0..count).map(id).collect()
    }

    fn all(members: &[NodeId], rings: usize) -> BTreeMap<NodeId, Overlay> {
        members.iter().map(|own| (own.clone(), Overlay::new(own, members.to_vec(), rings, |_| true))).collect()
    }

    /// How many hops the farthest is away, over the edges of `beside`, and how many are reached.
    fn reach<'a>(
        overlays: &'a BTreeMap<NodeId, Overlay>,
        from: &'a NodeId,
        beside: impl Fn(&'a Overlay) -> Vec<&'a NodeId>,
    ) -> (usize, usize) {
        let mut hops = BTreeMap::from([(from, 0)]);
        let mut next = VecDeque::from([from]);
        while let Some(at) = next.pop_front() {
            for other in beside(&overlays[at]) {
                if !hops.contains_key(other) {
                    hops.insert(other, hops[at] + 1);
                    next.push_back(other);
                }
            }
        }
        (hops.values().copied().max().unwrap_or(0), hops.len())
    }

    #[test]
    fn everybody_is_a_few_hops_away() {
        for (count, hops_max, tree_max) in [(2, 1, 1), (3, 1, 2), (33, 3, 6), (100, 4, 8), (400, 5, 9)] {
            let members = members(count);
            let overlays = all(&members, RINGS);
            let (hops, reached) = reach(&overlays, &members[0], |of| of.neighbours().iter().collect());
            let (deep, in_tree) = reach(&overlays, &members[0], |of| of.beside().collect());
            assert_eq!((reached, in_tree), (count, count));
            assert!(hops <= hops_max && deep <= tree_max, "{count}: {hops} hops, {deep} in the tree");
            assert!(overlays.values().all(|of| of.neighbours().len() <= 2 * RINGS));
        }
    }

    #[test]
    fn both_ends_agree() {
        for (count, rings) in [(1, 4), (2, 4), (5, 1), (40, 1), (40, 4)] {
            let members = members(count);
            let overlays = all(&members, rings);
            let hashes: BTreeSet<u64> = overlays.values().map(Overlay::hash).collect();
            assert_eq!(hashes.len(), 1);
            let mut edges = 0;
            for (id, of) in &overlays {
                assert!(of.neighbours().iter().all(|other| overlays[other].is_neighbour(id) && other != id));
                assert!(of.beside().all(|other| of.is_neighbour(other)));
                assert!(of.children().iter().all(|other| overlays[other].parent() == Some(id)));
                assert!(
                    of.stand_ins().iter().all(|other| of.is_neighbour(other) && !of.beside().any(|id| id == other))
                );
                edges += of.children().len();
            }
            assert_eq!(edges, count - 1, "it is a tree");
            assert_eq!(overlays.values().filter(|of| of.parent().is_none()).count(), 1);
        }
    }

    #[test]
    fn who_comes_changes_only_those_beside() {
        let members = members(200);
        let (before, after) = (all(&members[..199], RINGS), all(&members, RINGS));
        let newcomer = &members[199];
        let changed = before.iter().filter(|(id, of)| after[*id].neighbours() != of.neighbours());
        let changed: BTreeSet<&NodeId> = changed.map(|(id, _)| id).collect();
        assert_eq!(changed, after[newcomer].neighbours().iter().collect());
        assert!(before.values().all(|of| of.hash() != after[newcomer].hash()));
        // A restart keeps the place.
        let mut restarted = members.clone();
        restarted[7] = NodeId::new(members[7].name.clone(), 2, 99);
        let again = Overlay::new(&restarted[7].clone(), restarted, RINGS, |_| true);
        assert_eq!(again.neighbours(), after[&members[7]].neighbours());
    }

    #[test]
    fn who_is_out_of_reach_is_gone_around() {
        let members = members(50);
        let near = Overlay::new(&members[0], members.clone(), 1, |_| true);
        let cut = near.neighbours()[0].clone();
        let around = Overlay::new(&members[0], members.clone(), 1, |id| *id != cut);
        assert_eq!(around.neighbours().len(), 3, "the one that is out of reach may come back");
        assert!(near.substitutes().is_empty() && around.substitutes().iter().all(|id| !near.is_neighbour(id)));
        assert!(near.neighbours().iter().all(|id| around.is_neighbour(id)));
        assert_eq!((around.hash(), around.parent()), (near.hash(), near.parent()));
        let alone = Overlay::new(&members[0], members.clone(), 1, |_| false);
        assert_eq!(alone.neighbours(), near.neighbours());
    }

    #[test]
    fn who_is_no_member_speaks_to_nobody() {
        let members = members(3);
        let of = Overlay::new(&members[2], members[..2].to_vec(), RINGS, |_| true);
        assert!(of.neighbours().is_empty() && of.beside().next().is_none());
    }
}
