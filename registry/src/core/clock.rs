//! What a replica has seen: a vector clock, plus a cloud of dots that arrived before what precedes them.
//!
//! Built on the `crdts` crate's [`Dot`](crdts::Dot) and [`VClock`](crdts::VClock). The clock says "everything up to
//! here"; the cloud says "and these". A dot that is in neither is news.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use crdts::{CmRDT, CvRDT, ResetRemove};
use ordu_transport::core::NodeId;
use ordu_transport::core::defects::{Defect, is_present};
use serde::{Deserialize, Serialize};

/// The unique id of an event in a table: whose it is, and the how-manieth of its.
pub type Dot = crdts::Dot<NodeId>;
/// Per origin, the highest counter seen with everything below it.
pub type Clock = crdts::VClock<NodeId>;

/// A causal context: a clock and a cloud of early dots above it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Context {
    clock: Clock,
    cloud: BTreeMap<NodeId, BTreeSet<u64>>,
}

impl Context {
    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The early dots, by origin.
    pub fn cloud(&self) -> impl Iterator<Item = (&NodeId, &BTreeSet<u64>)> {
        self.cloud.iter()
    }

    /// Whose dots were seen; those with early dots may come twice.
    pub fn origins(&self) -> impl Iterator<Item = &NodeId> {
        self.clock.dots.keys().chain(self.cloud.keys())
    }

    /// How many early dots there are.
    pub fn cloud_len(&self) -> usize {
        self.cloud.values().map(BTreeSet::len).sum()
    }

    /// Whether the dot was seen.
    pub fn contains(&self, origin: &NodeId, counter: u64) -> bool {
        counter <= self.clock.get(origin) || self.cloud.get(origin).is_some_and(|dots| dots.contains(&counter))
    }

    /// Whether everything that `other` has seen was seen here.
    pub fn contains_all(&self, other: &Context) -> bool {
        let clock = other.clock.dots.iter().all(|(origin, &counter)| self.contains_up_to(origin, counter));
        clock && other.cloud.iter().all(|(origin, dots)| dots.iter().all(|&dot| self.contains(origin, dot)))
    }

    fn contains_up_to(&self, origin: &NodeId, counter: u64) -> bool {
        let closed = self.clock.get(origin);
        // What lies above the clock must all be early; there are never more early dots than were received.
        counter <= closed
            || self
                .cloud
                .get(origin)
                .is_some_and(|dots| dots.range(closed + 1..=counter).count() as u64 == counter - closed)
    }

    /// Takes everything of `origin` in `(from, to]` as seen. Does nothing and returns false where `from` lies above the
    /// clock: what precedes the interval is not known to have been seen.
    pub fn close(&mut self, origin: &NodeId, from: u64, to: u64) -> bool {
        if self.clock.get(origin) < from && !is_present(Defect::AnswerMovesCursor) {
            return false;
        }
        self.clock.apply(Dot::new(origin.clone(), to));
        self.compact(origin);
        true
    }

    /// Drops everything known of an origin, as if never heard of.
    pub fn forget(&mut self, origin: &NodeId) {
        self.clock.dots.remove(origin);
        self.cloud.remove(origin);
    }

    /// Early dots that the clock now reaches, or that follow it without a gap, go into it.
    fn compact(&mut self, origin: &NodeId) {
        let Some(dots) = self.cloud.get_mut(origin) else { return };
        let mut closed = self.clock.get(origin);
        *dots = above(dots, closed);
        while let Some(next) = closed.checked_add(1).filter(|next| dots.first() == Some(next)) {
            dots.pop_first();
            closed = next;
        }
        if dots.is_empty() {
            self.cloud.remove(origin);
        }
        if closed > 0 {
            self.clock.apply(Dot::new(origin.clone(), closed));
        }
    }
}

fn above(dots: &mut BTreeSet<u64>, counter: u64) -> BTreeSet<u64> {
    counter.checked_add(1).map(|next| dots.split_off(&next)).unwrap_or_default()
}

impl CmRDT for Context {
    type Op = Dot;
    type Validation = Infallible;

    fn validate_op(&self, _: &Dot) -> Result<(), Infallible> {
        Ok(())
    }

    /// Takes one dot as seen, early or in turn.
    fn apply(&mut self, dot: Dot) {
        if !self.cloud.contains_key(&dot.actor)
            && let Some(closed) = self.clock.dots.get_mut(&dot.actor)
            && closed.checked_add(1) == Some(dot.counter)
        {
            *closed = dot.counter;
        } else if !self.contains(&dot.actor, dot.counter) {
            self.cloud.entry(dot.actor.clone()).or_default().insert(dot.counter);
            self.compact(&dot.actor);
        }
    }
}

impl CvRDT for Context {
    type Validation = Infallible;

    fn validate_merge(&self, _: &Self) -> Result<(), Infallible> {
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        for (origin, dots) in other.cloud {
            self.cloud.entry(origin).or_default().extend(dots);
        }
        self.clock.merge(other.clock);
        let origins: Vec<NodeId> = self.cloud.keys().cloned().collect();
        origins.iter().for_each(|origin| self.compact(origin));
    }
}

impl ResetRemove<NodeId> for Context {
    /// Forgets every origin whose clock slot does not lie above `clock`'s.
    fn reset_remove(&mut self, clock: &Clock) {
        self.clock.reset_remove(clock);
        for (origin, &counter) in &clock.dots {
            if let Some(dots) = self.cloud.get_mut(origin) {
                *dots = above(dots, counter);
            }
        }
        self.cloud.retain(|_, dots| !dots.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ordu_transport::core::NodeName;

    fn node(name: &str) -> NodeId {
        NodeId::new(NodeName::new(name).unwrap(), 1, 1)
    }

    #[test]
    fn early_dots_wait_in_the_cloud_until_the_gap_closes() {
        let (a, mut context) = (node("a"), Context::default());
        context.apply(Dot::new(a.clone(), 3));
        context.apply(Dot::new(a.clone(), 2));
        assert_eq!((context.clock().get(&a), context.cloud_len()), (0, 2));
        assert!(!context.contains(&a, 1) && context.contains(&a, 2));
        context.apply(Dot::new(a.clone(), 1));
        assert_eq!((context.clock().get(&a), context.cloud_len()), (3, 0));
    }

    #[test]
    fn an_interval_above_the_clock_closes_nothing() {
        let (a, mut context) = (node("a"), Context::default());
        assert!(!context.close(&a, 2, 5));
        assert!(context.close(&a, 0, 2) && context.close(&a, 1, 5));
        assert_eq!(context.clock().get(&a), 5);
    }

    #[test]
    fn containing_all_reads_clock_and_cloud_together() {
        let a = node("a");
        let (mut closed, mut early) = (Context::default(), Context::default());
        closed.close(&a, 0, 2);
        early.apply(Dot::new(a.clone(), 2));
        assert!(closed.contains_all(&early) && !early.contains_all(&closed));
    }
}
