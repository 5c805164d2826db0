//! G7: queues, frames, deltas and removals stay within their bounds, and what is done with goes.

use ordu_registry::core::table::LOG_REMOVALS_MAX;
use ordu_transport::core::FRAME_BYTES_MAX;

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "bounded";
/// Most effects that one input may have, at the sizes that are simulated here.
pub const EFFECTS_MAX: usize = 2_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "DESIGN.md G7",
    caveat: "the bound on effects is this simulator's, for its sizes; a run is far too small to reach the other bounds",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    let frame = world.net.frame_bytes_most;
    if frame > FRAME_BYTES_MAX {
        return Some(Broken::Safety(format!("a frame of {frame} bytes was sent")));
    }
    let everybody_is_back = world.nodes.iter().all(|node| node.life.is_some());
    for (node, life) in world.up() {
        let table = life.names.names().table();
        let (removals, early) = (table.removals_len(), table.context().cloud_len());
        if removals > LOG_REMOVALS_MAX {
            return Some(Broken::Safety(format!("n{node} keeps {removals} removals")));
        }
        if moment == Moment::Quiet && early > 0 {
            return Some(Broken::NotYet(format!("n{node} keeps {early} early dots")));
        }
        if moment == Moment::Quiet && everybody_is_back && removals > 0 {
            return Some(Broken::NotYet(format!("n{node} keeps {removals} removals that all have acknowledged")));
        }
    }
    None
}
