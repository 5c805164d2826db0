//! G1: a delta replica holds exactly what its full-state twin holds.

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "twin";

/// How often the twins are compared while faults last; it is the dearest check.
const EVERY_US: u64 = 1_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "DESIGN.md G1",
    caveat: "trusts a replica's context; that contexts meet is for the invariant `converge`",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any && !world.now.is_multiple_of(EVERY_US) {
        return None;
    }
    world.up().find_map(|(node, life)| {
        let strict = moment == Moment::Quiet;
        let difference = world.twin.names.difference(life.names.names().table(), false);
        if let Some(difference) = difference {
            return Some(Broken::Safety(format!("names of n{node}: {difference}")));
        }
        let difference = world.twin.names.difference(life.names.names().table(), true).filter(|_| strict)?;
        Some(Broken::NotYet(format!("names of n{node}: {difference}")))
    })
}
