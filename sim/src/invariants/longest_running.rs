//! G2, and the policy of the clusters here: of two processes in conflict the one that was activated first stays.

use ordu_registry::core::RankPolicy;
use ordu_supervisor::core::durable::CLOCK_LEAD;

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "longest-running";
/// Stamps count milliseconds: two activations closer than that may be either way round.
const STAMP_US: u64 = 1_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G2; registry/src/core/rank.rs, LongestRunning",
    caveat: "only while every wall clock is right: skew may change which one stays, never how many; a node that came back \
             with its disk gives stamps up to CLOCK_LEAD ahead",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    let longest = world.choices.rank.name() == RankPolicy::LongestRunning.name();
    if !longest || world.nodes.iter().any(|node| node.skew_ms != 0) {
        return None;
    }
    let lead = if world.plan.durable { u64::try_from(CLOCK_LEAD.as_micros()).unwrap_or(u64::MAX) } else { 0 };
    let processes = &world.oracle.processes;
    let losers = world.oracle.losers.iter().filter_map(|pid| Some((pid, processes.get(pid)?)));
    losers.flat_map(|(pid, loser)| loser.told.iter().map(move |told| (pid, loser, told))).find_map(
        |(pid, loser, told)| {
            let winner = processes.get(&told.by)?;
            // It has its rank of the one whose place it took.
            if winner.child.as_ref().is_some_and(|child| child.start_first) {
                return None;
            }
            let (first, then) = (loser.activated_us, winner.activated_us);
            (first + STAMP_US + lead < then).then(|| {
                Broken::Safety(format!(
                    "{pid:?}, activated at {first}, had to give {:?} to {:?}, activated at {then}",
                    told.name, told.by
                ))
            })
        },
    )
}
