//! G1: no dot is spent twice. An event's dot is its name in every clock; two events of one dot are one to everybody but
//! their writer.

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "dots-once";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G1",
    caveat: "of several events that one input writes under one key only the last is seen",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    world.twin.twice().map(Broken::Safety)
}
