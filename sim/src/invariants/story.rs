//! What a story makes sure of beside the promises; see `musts`.

use super::{Broken, Invariant, Moment};
use crate::musts::Must;
use crate::world::World;

/// Its name.
pub const NAME: &str = "story";
/// How long ago a process must have ended for its claims to be old news, in microseconds.
const OLD_NEWS_US: u64 = 1_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "the scenario",
    caveat: "only in scenarios that say so, because nothing in them gives a reason for it",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    world.plan.musts.iter().find_map(|must| broken(world, *must)).map(Broken::Safety)
}

fn broken(world: &World, must: Must) -> Option<String> {
    let oracle = &world.oracle;
    let told = || oracle.processes.iter().flat_map(|(pid, process)| process.told.iter().map(move |told| (pid, told)));
    match must {
        Must::Undisputed => oracle.doubled.clone().or_else(|| {
            let (pid, told) = told().next()?;
            Some(format!("{pid:?} was told to give {:?} to {:?}, and nothing gave a reason", told.name, told.by))
        }),
        Must::NoGhosts => told().find_map(|(pid, told)| {
            let ended = oracle.processes.get(&told.by)?.ended_us?;
            let ghost = told.at_us > ended + OLD_NEWS_US;
            ghost.then(|| format!("{pid:?} was told to give {:?} to {:?}, which ended at {ended}", told.name, told.by))
        }),
        Must::RunsOnce => {
            let again = oracle.temporary_runs.iter().find(|(_, runs)| **runs > 1);
            again.map(|(id, runs)| format!("{id:?}, which is temporary, was started {runs} times"))
        }
    }
}
