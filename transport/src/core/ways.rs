//! The ways to members with whom there is no session: what is for them is passed on by others, along the
//! [`Overlay`]'s edges, on a shortest path.
//!
//! ```text
//!   a ── c ── f ── d      a's frame for d goes to c, which passes it to f, which passes it to d: each looks at its own
//!        │    │           ways, and a dead end goes around by whoever has a session, but never back
//!        e ── b
//! ```
//!
//! Nobody negotiates and nobody keeps anything about what passes. It may be lost, and then nobody is told; it comes in
//! order as long as the sessions on its way are the same. A member vouches for what it passes on as it does for what it
//! says: whose certificate the cluster has signed is believed.

use std::collections::VecDeque;

use super::id::NodeId;
use super::overlay::{Members, Overlay};

/// How often something is passed on at most. With a thousand members a path has about four hops.
pub const HOPS_MAX: u8 = 12;
/// How many bytes a [`Passed`] has on the wire.
pub const PASSED_BYTES: usize = 17;
/// Most sessions that are taken for first hops.
const FIRST_HOPS_MAX: usize = 64;

/// What stands before something that is passed on. Both ends are named by their nonces, which are random and unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passed {
    /// For whom it is.
    pub to: u64,
    /// Whose it is.
    pub from: u64,
    /// How often it may yet be passed on.
    pub hops: u8,
}

impl Passed {
    /// As it goes over the wire: hops, receiver, sender.
    pub fn to_bytes(self) -> [u8; PASSED_BYTES] {
        let mut bytes = [self.hops; PASSED_BYTES];
        bytes[1..9].copy_from_slice(&self.to.to_be_bytes());
        bytes[9..].copy_from_slice(&self.from.to_be_bytes());
        bytes
    }

    /// Whatever the bytes, they are one.
    pub fn from_bytes(bytes: [u8; PASSED_BYTES]) -> Self {
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { hops: bytes[0], to: number(1), from: number(9) }
    }
}

/// What becomes of something that is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// It is for us, from this member.
    Here(NodeId),
    /// It goes to this peer.
    On(NodeId, Passed),
    /// It is for nobody whom we know, or has come too far.
    Nowhere,
}

/// The ways of one node. See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    own: u64,
    members: Members,
    /// Which of the first hops lead to each of them on a shortest path; none to whom there is no way.
    by: Vec<u64>,
    /// Those with whom there is a session.
    first: Vec<NodeId>,
}

impl Ways {
    /// The ways from `own` by these sessions. Those on the way are members that speak to one another in the overlay.
    pub fn new<'a>(own: &NodeId, overlay: &Overlay, sessions: impl Iterator<Item = &'a NodeId>) -> Self {
        let members = overlay.members();
        let first: Vec<NodeId> = sessions.filter(|id| overlay.has(id)).take(FIRST_HOPS_MAX).cloned().collect();
        let mut reached = vec![(0_u64, usize::MAX); members.len()];
        let mut next = VecDeque::with_capacity(members.len());
        let we = members.binary_search(own).ok();
        we.into_iter().for_each(|we| reached[we].1 = 0);
        for (bit, id) in first.iter().enumerate() {
            let Ok(at) = members.binary_search(id) else { continue };
            reached[at] = (1 << bit, 1);
            next.push_back(at);
        }
        while let Some(at) = next.pop_front() {
            let (by, hops) = reached[at];
            for other in overlay.beside_member(at) {
                let (others, least) = &mut reached[other];
                if *least == usize::MAX {
                    *least = hops + 1;
                    next.push_back(other);
                }
                if *least == hops + 1 {
                    *others |= by;
                }
            }
        }
        let by = reached.into_iter().map(|(by, _)| by).collect();
        Self { own: own.nonce, members: overlay.shared_members().clone(), by, first }
    }

    /// Whether nobody is reached this way.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// All to whom there is a way, those included with whom there is a session, by their nonces.
    pub fn reached(&self) -> impl Iterator<Item = (u64, &NodeId)> {
        let Members { in_order, by_nonce } = &self.members;
        by_nonce.iter().filter(|(_, at)| self.by[*at] != 0).map(|(nonce, at)| (*nonce, &in_order[*at]))
    }

    /// How something of ours gets to this member.
    pub fn begin(&self, to: &NodeId) -> Option<(NodeId, Passed)> {
        let passed = Passed { to: to.nonce, from: self.own, hops: HOPS_MAX };
        let (_, by) = self.way(to.nonce).filter(|(id, _)| *id == to)?;
        Some((self.first_of(by, &passed, None)?, passed))
    }

    /// What becomes of something that `peer` has passed on to us.
    pub fn step(&self, peer: &NodeId, passed: Passed) -> Step {
        if passed.to == self.own {
            return self.way(passed.from).map_or(Step::Nowhere, |(from, _)| Step::Here(from.clone()));
        }
        let Some(hops) = passed.hops.min(HOPS_MAX).checked_sub(1) else { return Step::Nowhere };
        let (Some((to, by)), true) = (self.way(passed.to), passed.from != self.own) else { return Step::Nowhere };
        if self.first.contains(to) && to != peer {
            return Step::On(to.clone(), Passed { hops, ..passed });
        }
        match self.first_of(by, &passed, Some(peer)) {
            Some(hop) => Step::On(hop, Passed { hops, ..passed }),
            None => Step::Nowhere,
        }
    }

    fn way(&self, nonce: u64) -> Option<(&NodeId, u64)> {
        let Members { in_order, by_nonce } = &self.members;
        let found = by_nonce.binary_search_by_key(&nonce, |(nonce, _)| *nonce).ok()?;
        let (_, at) = *by_nonce.get(found)?;
        Some((in_order.get(at)?, *self.by.get(at).filter(|by| **by != 0)?))
    }

    /// One of the first hops, the same for all that passes between two: one of `by`, or else any, but not where it came
    /// from.
    fn first_of(&self, by: u64, passed: &Passed, but: Option<&NodeId>) -> Option<NodeId> {
        let all = || self.first.iter().enumerate().filter(|(_, id)| Some(*id) != but);
        let nearest: Vec<&NodeId> = all().filter(|(bit, _)| by & (1 << bit) != 0).map(|(_, id)| id).collect();
        let hops = if nearest.is_empty() { all().map(|(_, id)| id).collect() } else { nearest };
        let at = (passed.to ^ passed.from).checked_rem(hops.len() as u64)?;
        hops.into_iter().nth(usize::try_from(at).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::id::NodeName;
    use crate::core::overlay::RINGS;

    fn members(count: usize) -> Vec<NodeId> {
        let id = |at| NodeId::new(NodeName::new(&format!("n{at}")).expect("a name"), 1, at as u64 + 1);
        let mut members: Vec<NodeId> = (0..count).map(id).collect();
        members.sort_unstable();
        members
    }

    /// The ways of all, where these pairs have no session though they are neighbours.
    fn all(members: &[NodeId], cut: &[(usize, usize)]) -> BTreeMap<NodeId, Ways> {
        let is_cut = |one: &NodeId, other: &NodeId| {
            let is = |at: usize, id: &NodeId| members[at] == *id;
            cut.iter().any(|&(a, b)| (is(a, one) && is(b, other)) || (is(a, other) && is(b, one)))
        };
        let ways = members.iter().map(|own| {
            let overlay = Overlay::new(own, members.to_vec(), RINGS, |_| true);
            let sessions = overlay.neighbours().iter().filter(|id| !is_cut(own, id));
            (own.clone(), Ways::new(own, &overlay, sessions))
        });
        ways.collect()
    }

    /// How often something is passed on until it is there.
    fn hops(ways: &BTreeMap<NodeId, Ways>, from: &NodeId, to: &NodeId) -> Option<u8> {
        let (mut at, mut passed) = ways[from].begin(to)?;
        let mut before = from.clone();
        loop {
            match ways[&at].step(&before, passed) {
                Step::Here(whose) => {
                    assert_eq!((&at, &whose), (to, from));
                    return Some(HOPS_MAX - passed.hops);
                }
                Step::On(next, further) => {
                    assert!(next != before && further.hops < passed.hops);
                    (before, at, passed) = (at, next, further);
                }
                Step::Nowhere => return None,
            }
        }
    }

    #[test]
    fn everybody_is_reached_in_a_few_hops() {
        for (count, hops_max) in [(33, 3), (200, 4), (1000, 5)] {
            let members = members(count);
            let ways = all(&members, &[]);
            for to in &members[1..] {
                let hops = hops(&ways, &members[0], to).expect("there is a way");
                assert!(hops <= hops_max, "{count}: {hops} hops");
            }
            assert_eq!(ways[&members[0]].reached().count(), count - 1);
        }
    }

    #[test]
    fn what_is_cut_is_gone_around() {
        let members = members(60);
        let overlay = Overlay::new(&members[0], members.clone(), RINGS, |_| true);
        let beside: Vec<usize> =
            overlay.neighbours().iter().map(|id| members.binary_search(id).expect("a member")).collect();
        for &at in &beside {
            let ways = all(&members, &[(0, at)]);
            let both = [hops(&ways, &members[0], &members[at]), hops(&ways, &members[at], &members[0])];
            assert!(both.iter().all(Option::is_some), "{both:?}");
        }
        let half: Vec<_> = beside.iter().step_by(2).map(|&at| (0, at)).collect();
        let ways = all(&members, &half);
        let arrived = members[1..].iter().filter(|to| hops(&ways, &members[0], to).is_some()).count();
        assert!(arrived >= 57, "{arrived} of 59 though half of the sessions are missing");
    }

    #[test]
    fn strangers_and_wanderers_get_nowhere() {
        let members = members(40);
        let ways = &all(&members, &[])[&members[0]];
        let (peer, stranger) = (ways.first[0].clone(), NodeId::new(members[1].name.clone(), 9, 999));
        assert_eq!(ways.begin(&stranger), None);
        let passed = |to, from, hops| Passed { to, from, hops };
        let (own, other) = (members[0].nonce, members[7].nonce);
        assert_eq!(ways.step(&peer, passed(own, 999, 3)), Step::Nowhere);
        assert_eq!(ways.step(&peer, passed(999, other, 3)), Step::Nowhere);
        assert_eq!(ways.step(&peer, passed(other, members[9].nonce, 0)), Step::Nowhere);
        assert_eq!(ways.step(&peer, passed(other, own, 3)), Step::Nowhere, "it is our own");
        assert_eq!(ways.step(&peer, passed(own, other, 0)), Step::Here(members[7].clone()));
    }

    #[test]
    fn the_wire_is_read_as_it_is_written() {
        let passed = Passed { to: 0x0102_0304_0506_0708, from: 9, hops: 3 };
        assert_eq!(&passed.to_bytes(), b"\x03\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x09");
        assert_eq!(Passed::from_bytes(passed.to_bytes()), passed);
    }
}
