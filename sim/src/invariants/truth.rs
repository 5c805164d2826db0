//! G5 and G6: after `register` returns, this node's lookups show it; what a caller is told is so.

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "told-the-truth";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "DESIGN.md G5, G6",
    caveat: "looked at in the instant in which the call returns",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    world.oracle.lies.first().cloned().map(Broken::Safety)
}
