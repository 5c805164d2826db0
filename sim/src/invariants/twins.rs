//! G1: a delta replica holds exactly what its full-state twin holds.

use super::{Broken, Invariant, Moment};
use crate::musts::Must;
use crate::twin::Difference;
use crate::world::World;

/// Its name.
pub const NAME: &str = "twin";

/// How often the twins are compared while faults last; it is the dearest check.
const EVERY_US: u64 = 1_000_000;

impl World {
    /// A message was handled: a story may want to know at once.
    pub(crate) fn watch_twin(&mut self, node: usize) {
        if self.plan.musts.contains(&Must::TwinAlways)
            && let Some(life) = self.life(node)
            && let Some(Difference::Wrong(difference) | Difference::Early(difference)) =
                self.twin.difference(node, life.number, &life.upper)
        {
            self.violate(NAME, false, format!("n{node}, {difference}"));
        }
    }
}

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G1",
    caveat: "trusts a replica's context; that contexts meet is for the invariant `converge`",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any && !world.now.is_multiple_of(EVERY_US) {
        return None;
    }
    world.up().find_map(|(node, life)| match world.twin.difference(node, life.number, &life.upper)? {
        Difference::Wrong(what) => Some(Broken::Safety(format!("n{node}, {what}"))),
        Difference::Early(what) if moment == Moment::Quiet => Some(Broken::NotYet(format!("n{node}, {what}"))),
        Difference::Early(_) => None,
    })
}
