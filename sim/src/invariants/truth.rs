//! G5 and G6: after `register` returns, this node's lookups show it; what a caller is told is so.

use super::{Broken, Invariant, Moment, noted};
use crate::world::World;

/// Its name.
pub const NAME: &str = "told-the-truth";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G5, G6",
    caveat: "looked at in the instant in which the call returns",
    check,
};

/// How late a reply may be.
const REPLY_LATE_US_MAX: u64 = 1_000_000;

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some(broken) = noted(world, NAME) {
        return Some(broken);
    }
    if moment == Moment::Quiet
        && let Some(what) = world.kept_though_refused().or_else(|| world.gone_though_refused())
    {
        return Some(Broken::NotYet(what));
    }
    let late = world.oracle.calls.iter().find(|(_, asked)| {
        world.is_life(asked.node, asked.life)
            && !world.nodes[asked.node].paused
            && world.now > asked.deadline_us + REPLY_LATE_US_MAX
    });
    late.map(|(request, asked)| Broken::Safety(format!("nobody answered {request}, {:?}", asked.call)))
}
