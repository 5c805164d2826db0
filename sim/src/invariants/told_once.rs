//! G2: a process is told to exit once, and only for one that ranks better, and lives or has ended just now; the survivor
//! of a name never was told.

use ordu_transport::core::Pid;

use super::one_owner::holders;
use super::{Broken, Invariant, Moment, noted};
use crate::oracle::Process;
use crate::world::World;

/// Its name.
pub const NAME: &str = "told-once";
/// For how long after its end a process may still win, where its node can be heard.
pub const WORD_OF_END_US_MAX: u64 = 20_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G2",
    caveat: "a process may lose to one that has ended since, if the word of that end was still under way: up to 20 s \
             between nodes that reach each other without a storm, without bound between others; or to one that waits for \
             its node's disk before it begins, and may be given up meanwhile",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some(broken) = noted(world, NAME) {
        return Some(broken);
    }
    let losers = world.oracle.losers.iter().filter_map(|pid| Some((pid, world.oracle.processes.get(pid)?)));
    if let Some(what) = losers.into_iter().find_map(|(pid, process)| wrongly_told(world, pid, process)) {
        return Some(Broken::Safety(what));
    }
    if moment == Moment::Any {
        return None;
    }
    let told = |pid: &&Pid| world.oracle.losers.contains(*pid);
    let holders = holders(world);
    let survivor = holders.iter().find_map(|(name, pids)| Some((name, pids.iter().find(told)?)));
    survivor.map(|(name, pid)| Broken::NotYet(format!("{pid:?} holds {name:?} and was told to exit")))
}

fn wrongly_told(world: &World, pid: &Pid, process: &Process) -> Option<String> {
    if process.told.len() > 1 || process.conflicts != process.told.len() {
        let (told, conflicts) = (process.told.len(), process.conflicts);
        return Some(format!("{pid:?} was told to exit {told} times, with {conflicts} events"));
    }
    process.told.iter().find_map(|told| {
        let Some(winner) = world.oracle.processes.get(&told.by) else {
            // It had the name and waited for its node's disk, but was given up before it began.
            if world.plan.durable && world.oracle.shown_early.contains_key(&told.by) {
                return None;
            }
            return Some(format!("{pid:?} lost {:?} to {:?}, which never was", told.name, told.by));
        };
        if (&winner.rank, &told.by) >= (&process.rank, pid) {
            let (at, name, by) = (told.at_us, &told.name, &told.by);
            return Some(format!("{pid:?} was told at {at} to give {name:?} to {by:?}, which ranks lower"));
        }
        let ended = winner.ended_us?;
        // Both have been near each other for as long as now, so also when it was told, if that was just now.
        let near = world.last.borrow().near_since(process.node, winner.node)?;
        let latest = ended.max(near) + WORD_OF_END_US_MAX;
        (told.at_us > latest)
            .then(|| format!("{pid:?} was told at {} to give way to {:?}, ended at {ended}", told.at_us, told.by))
    })
}
