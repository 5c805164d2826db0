//! G1: a delta replica holds exactly what its full-state twin holds.

use ordu_transport::core::NodeId;

use super::{Broken, Invariant, Moment, tables};
use crate::musts::Must;
use crate::twin::{Difference, Lack};
use crate::world::World;

/// Its name.
pub const NAME: &str = "twin";

/// How often the twins are compared while faults last; it is the dearest check.
const EVERY_US: u64 = 1_000_000;
/// Of how many nodes they are compared then; they take turns. Once all is quiet, all are.
const NODES_MAX: usize = 100;

impl World {
    /// A message was handled: a story may want to know at once.
    pub(crate) fn watch_twin(&mut self, node: usize) {
        let Some(life) = self.life(node).filter(|_| !self.plan.musts.is_empty()) else { return };
        let (number, musts) = (life.number, &self.plan.musts);
        let difference = if musts.contains(&Must::TwinAlways) {
            self.twin.difference(node, number, &life.upper)
        } else if musts.contains(&Must::SharedTwinAlways) {
            life.upper.children().and_then(|children| {
                let desired = self.twin.desired.difference(node, number, children.desired().table());
                desired.or_else(|| self.twin.marks.difference(node, number, children.marks().table()))
            })
        } else {
            None
        };
        let what = difference.and_then(|difference| match difference {
            Difference::Wrong(what) => Some(what),
            Difference::Early(lacks) => lacks.into_iter().next().map(|lack| lack.what),
        });
        if let Some(what) = what {
            self.violate(NAME, false, format!("n{node}, {what}"));
        }
    }
}

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G1",
    caveat: "trusts a replica's context; that contexts meet is for the invariant `converge`; a removal of which only those \
             knew who are gone may have done its work without being known to anybody",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any && !world.now.is_multiple_of(EVERY_US) {
        return None;
    }
    let groups = world.nodes.len().div_ceil(NODES_MAX);
    let turn = usize::try_from(world.now / EVERY_US).unwrap_or(0) % groups;
    let is_its_turn = |node: usize| moment == Moment::Quiet || node % groups == turn;
    let mut lives = world.up().filter(|(node, _)| is_its_turn(*node));
    lives.find_map(|(node, life)| match world.twin.difference(node, life.number, &life.upper)? {
        Difference::Wrong(what) => Some(Broken::Safety(format!("n{node}, {what}"))),
        Difference::Early(lacks) if moment == Moment::Quiet => {
            let is_known = |lack: &&Lack| {
                let mut looks = world.up().flat_map(|(_, life)| tables(&life.upper));
                looks.any(|look| {
                    let knows = |(of, counter): &(NodeId, u64)| look.context.contains(of, *counter);
                    look.name == lack.table && lack.removals.iter().any(knows)
                })
            };
            let lack = lacks.iter().find(is_known)?;
            Some(Broken::NotYet(format!("n{node}, {}", lack.what)))
        }
        Difference::Early(_) => None,
    })
}
