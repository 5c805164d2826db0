//! A member that is asked: whom it vouches for, and which child it has granted to whom.
//!
//! A grant lasts until its holder releases it, or until nobody can be running by it any more: that long after the last
//! time that this member vouched for the holder. All grants of a holder go together then, and he is told by a new epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, NodeId};

use crate::core::spec::ChildId;

/// Most lives of nodes that a member vouches for at once; further ones are not vouched for.
pub(super) const HOLDERS_MAX: usize = 256;
/// Most children that are granted at once; further ones are refused.
pub(super) const GRANTS_MAX: usize = 1 << 22;

/// Whom this member vouches for, and what it has granted.
#[derive(Debug, Clone)]
pub(super) struct Grants {
    /// How long after the last time that we vouched for somebody nothing runs by our grants any more.
    void_after: Duration,
    /// Before that nothing is granted: an earlier life of ours may have granted it to somebody.
    from: Instant,
    /// By life.
    holders: BTreeMap<u64, Holder>,
    children: BTreeMap<ChildId, Grant>,
    epoch: u64,
}

#[derive(Debug, Clone)]
struct Holder {
    node: NodeId,
    epoch: u64,
    vouched: Instant,
}

#[derive(Debug, Clone)]
struct Grant {
    /// To which life.
    to: u64,
    /// The last ask that it answers.
    number: u64,
}

/// What becomes of an ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answered {
    pub(super) yes: Vec<ChildId>,
    pub(super) no: Vec<ChildId>,
    /// By whom those are held that were refused.
    pub(super) held: BTreeMap<NodeId, Vec<ChildId>>,
}

impl Grants {
    pub(super) fn new(void_after: Duration, from: Instant) -> Self {
        Self { void_after, from, holders: BTreeMap::new(), children: BTreeMap::new(), epoch: 0 }
    }

    /// Until when this member grants nothing.
    pub(super) fn from(&self) -> Instant {
        self.from
    }

    /// It is known that no earlier life of ours has granted anything that counts.
    pub(super) fn begin(&mut self, now: Instant) {
        self.from = self.from.min(now);
    }

    /// Vouches for a life. Returns in which epoch: what was granted in another is void.
    pub(super) fn vouch(&mut self, now: Instant, life: u64, node: &NodeId) -> Option<u64> {
        self.drop_void(now);
        if !self.holders.contains_key(&life) {
            if self.holders.len() >= HOLDERS_MAX {
                let holding: BTreeSet<u64> = self.children.values().map(|grant| grant.to).collect();
                self.holders.retain(|life, _| holding.contains(life));
            }
            if self.holders.len() >= HOLDERS_MAX {
                return None;
            }
            self.epoch += 1;
            self.holders.insert(life, Holder { node: node.clone(), epoch: self.epoch, vouched: now });
        }
        let holder = self.holders.get_mut(&life)?;
        (holder.node, holder.vouched) = (node.clone(), now);
        Some(holder.epoch)
    }

    /// In which epoch we vouch for a life, if we do.
    pub(super) fn epoch_of(&self, life: u64) -> Option<u64> {
        self.holders.get(&life).map(|holder| holder.epoch)
    }

    /// Answers a life that asks for children, by the number of its ask. Whom we do not vouch for gets nothing.
    pub(super) fn ask(&mut self, now: Instant, life: u64, number: u64, children: Vec<ChildId>) -> Answered {
        self.drop_void(now);
        let mut answered = Answered::default();
        if !self.holders.contains_key(&life) || self.from > now {
            answered.no = children;
            return answered;
        }
        for child in children {
            let room = self.children.len() < GRANTS_MAX;
            match self.children.get_mut(&child) {
                Some(grant) if grant.to == life => grant.number = grant.number.max(number),
                Some(grant) if !is_present(Defect::GrantsTwice) => {
                    if let Some(holder) = self.holders.get(&grant.to) {
                        answered.held.entry(holder.node.clone()).or_default().push(child.clone());
                    }
                    answered.no.push(child);
                    continue;
                }
                None if !room => {
                    answered.no.push(child);
                    continue;
                }
                Some(_) | None => drop(self.children.insert(child.clone(), Grant { to: life, number })),
            }
            answered.yes.push(child);
        }
        answered
    }

    /// A life runs these no more. Of what it asked for since, nothing changes.
    pub(super) fn release(&mut self, life: u64, number: u64, children: &[ChildId]) {
        for child in children {
            if self.children.get(child).is_some_and(|grant| grant.to == life && grant.number < number) {
                self.children.remove(child);
            }
        }
    }

    fn drop_void(&mut self, now: Instant) {
        let void_after = self.void_after;
        let is_void = |holder: &Holder| now.saturating_since(holder.vouched) >= void_after;
        let before = self.holders.len();
        self.holders.retain(|_, holder| !is_void(holder));
        if self.holders.len() < before {
            let holders = &self.holders;
            self.children.retain(|_, grant| holders.contains_key(&grant.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::quorum::testing::{at, child, node};

    const W: Duration = Duration::from_secs(10);

    #[test]
    fn a_child_is_granted_to_one_at_a_time() {
        let mut grants = Grants::new(W, at(0));
        let x = || vec![child("x")];
        assert_eq!(grants.ask(at(0), 1, 1, x()).no, x(), "nobody vouches for it");
        grants.vouch(at(0), 1, &node("a"));
        grants.vouch(at(0), 2, &node("b"));
        assert_eq!(grants.ask(at(0), 1, 1, x()).yes, x());
        assert_eq!(grants.ask(at(1), 1, 2, x()).yes, x(), "the same again");
        let refused = grants.ask(at(1), 2, 1, x());
        assert_eq!((refused.no, refused.held), (x(), BTreeMap::from([(node("a"), x())])));
        grants.release(1, 2, &x());
        assert_eq!(grants.ask(at(2), 2, 2, x()).no, x(), "a release from before the last ask is late");
        grants.release(1, 3, &x());
        assert_eq!(grants.ask(at(3), 2, 3, x()).yes, x());
        grants.release(1, 9, &x());
        assert_eq!(grants.ask(at(3), 1, 9, x()).no, x(), "who does not hold it releases nothing");
    }

    #[test]
    fn what_a_silent_holder_has_is_free_after_a_while_and_he_is_told_by_the_epoch() {
        let mut grants = Grants::new(W, at(0));
        let first = grants.vouch(at(0), 1, &node("a"));
        assert_eq!(grants.ask(at(0), 1, 1, vec![child("x"), child("y")]).yes.len(), 2);
        assert_eq!(grants.vouch(at(9_999), 1, &node("a")), first);
        grants.vouch(at(10_000), 2, &node("b"));
        assert_eq!(grants.ask(at(19_998), 2, 1, vec![child("x")]).no.len(), 1);
        assert_eq!(grants.ask(at(19_999), 2, 2, vec![child("x")]).yes.len(), 1);
        assert_eq!(grants.children.len(), 1, "what nobody asked for is free as well");
        assert_ne!(grants.vouch(at(20_000), 1, &node("a")), first);
    }

    #[test]
    fn a_member_that_has_just_begun_grants_nothing_for_as_long() {
        let mut grants = Grants::new(W, at(10_000));
        grants.vouch(at(0), 1, &node("a"));
        assert_eq!(grants.ask(at(9_999), 1, 1, vec![child("x")]).no.len(), 1);
        grants.vouch(at(9_999), 1, &node("a"));
        assert_eq!(grants.ask(at(10_000), 1, 2, vec![child("x")]).yes.len(), 1);
        let mut grants = Grants::new(W, at(10_000));
        grants.vouch(at(0), 1, &node("a"));
        grants.begin(at(1));
        assert_eq!(grants.ask(at(1), 1, 1, vec![child("x")]).yes.len(), 1);
    }
}
