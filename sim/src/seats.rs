//! What the change of one member costs where children are placed by the hash: how long it takes to find every child's seat
//! anew, and how many children move.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use ordu_supervisor::core::placement::{Candidate, seat};
use ordu_supervisor::core::tables::Facts;
use ordu_supervisor::core::{ChildId, ChildSpec, Preference};
use ordu_transport::core::{NodeId, NodeName};

/// Most children whose seats are found.
pub const SEATS_MAX: u64 = 10_000_000;

/// What was measured of one change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// How long it took to find all seats.
    pub all: Duration,
    /// How long it took to find those that the change can move: the children of the node that went, or each child's choice
    /// between its seat and the node that came.
    pub moving: Duration,
    /// How many children have another seat.
    pub moved: usize,
    /// How many of them had to move: their seat was the node that went, or is the one that came.
    pub had_to: usize,
}

/// Children, and nodes of equal weight that may run each of them.
pub struct Seats {
    specs: Vec<ChildSpec>,
    nodes: Vec<(NodeId, Facts)>,
}

impl Seats {
    /// So many of both.
    #[must_use]
    pub fn new(children: usize, nodes: usize) -> Self {
        let spec = |number| ChildSpec::new(ChildId::new(&format!("child-{number}")).expect("a good id"), "work", "");
        let node = |number| {
            let name = NodeName::new(&format!("node-{number}")).expect("a good name");
            (NodeId::new(name, 1, 1), facts())
        };
        Self { specs: (0..children).map(spec).collect(), nodes: (0..nodes).map(node).collect() }
    }

    fn seat_of(&self, spec: &ChildSpec, nodes: &[usize]) -> usize {
        let candidates = nodes.iter().map(|&node| {
            let (id, facts) = &self.nodes[node];
            Candidate { id, facts: Some(facts) }
        });
        let found = seat(spec, &Preference::default(), candidates).expect("each may run it");
        nodes.iter().copied().find(|&node| self.nodes[node].0 == *found).expect("one of them")
    }

    fn seats(&self, nodes: &[usize]) -> (Vec<usize>, Duration) {
        let began = Instant::now();
        let seats = self.specs.iter().map(|spec| self.seat_of(spec, nodes)).collect();
        (seats, began.elapsed())
    }

    /// The last node goes, and comes back: what either costs.
    #[must_use]
    pub fn change(&self) -> [Change; 2] {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let (left, last) = (&all[..all.len() - 1], all.len() - 1);
        let ((with, with_took), (without, without_took)) = (self.seats(&all), self.seats(left));
        let moved = with.iter().zip(&without).filter(|(before, after)| before != after).count();
        let had_to = with.iter().filter(|seat| **seat == last).count();
        let timed = |find: &dyn Fn(&ChildSpec, usize) -> usize, before: &[usize], after: &[usize]| {
            let began = Instant::now();
            let found: Vec<usize> = self.specs.iter().zip(before).map(|(spec, seat)| find(spec, *seat)).collect();
            assert_eq!(found, after, "either way finds the same seats");
            began.elapsed()
        };
        let goes = timed(&|spec, seat| if seat == last { self.seat_of(spec, left) } else { seat }, &with, &without);
        let comes = timed(&|spec, seat| self.seat_of(spec, &[seat, last]), &without, &with);
        [
            Change { all: without_took, moving: goes, moved, had_to },
            Change { all: with_took, moving: comes, moved, had_to },
        ]
    }
}

fn facts() -> Facts {
    Facts {
        draining: false,
        waiting: false,
        cordoned: false,
        passive: false,
        powerless: false,
        max_children: None,
        full: false,
        crowded: false,
        terms: None,
        weight: 1,
        labels: BTreeMap::new(),
        kinds: vec!["work".into()],
        version: "1".into(),
    }
}

/// A table of what one change costs.
#[must_use]
pub fn seat_table(children: usize, nodes: usize) -> String {
    let changes = Seats::new(children, nodes).change();
    let mut text =
        format!("{children} children on {nodes} nodes, placed by the hash; one node goes, and comes back\n\n");
    text.push_str("         all seats   those that may move   children moved   had to   of all\n");
    for (what, Change { all, moving, moved, had_to }) in ["goes", "comes"].into_iter().zip(changes) {
        let share = 100.0 * moved as f64 / children.max(1) as f64;
        let _ = writeln!(
            text,
            "{what:<5} {:>10.2} s {:>19.2} s {moved:>16} {had_to:>8} {share:>7.2}%",
            all.as_secs_f64(),
            moving.as_secs_f64()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_one_share_and_nobody_else() {
        for change in Seats::new(20_000, 20).change() {
            assert_eq!(change.moved, change.had_to);
            assert!((900..=1_100).contains(&change.moved), "{change:?}");
        }
    }
}
