//! Fences follow causality: a process gets a fence above every one that its node had shown under the same name before,
//! and while it lives its fence only rises.

use super::{Broken, Invariant, Moment, noted};
use crate::world::World;

/// Its name.
pub const NAME: &str = "fences-grow";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "registry/src/core/claim.rs, Fence: of two activations that heard of each other, the later has the higher",
    caveat: "counts what lookups of the node showed since its start, not what they hid; a fence that lies more than \
             SKEW_MAX ahead is refused and does not count; a process that registers a name late keeps the fence of its \
             activation, also where the name was taken in between",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    noted(world, NAME)
}
