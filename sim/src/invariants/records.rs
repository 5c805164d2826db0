//! G2 and G3: no record points at a process that has ended, and no process that runs lacks its record: each claim of a
//! node is a living process of its own, under each name that it holds; each child's process is in the table of children.

use ordu_registry::core::Name;
use ordu_supervisor::core::Supervisor;
use ordu_supervisor::core::tables::State;
use ordu_transport::core::Pid;

use super::{Broken, Invariant, Moment};
use crate::node::Life;
use crate::oracle::{Oracle, Process};
use crate::world::World;

/// Its name.
pub const NAME: &str = "records";
/// How often it is looked at while faults last.
const EVERY_US: u64 = 1_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G2, G3",
    caveat: "a node's records are compared with its own processes; that the others have the same is for `converge`; of a \
             node that stands still the ends that it has not heard of count as not happened",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any && !world.now.is_multiple_of(EVERY_US) {
        return None;
    }
    let awake = world.up().filter(|(node, _)| !world.nodes[*node].paused);
    awake.into_iter().find_map(|(node, life)| {
        let what = of_names(&world.oracle, node, life)
            .or_else(|| life.upper.children().and_then(|children| of_children(&world.oracle, node, life, children)))?;
        Some(Broken::Safety(format!("n{node}: {what}")))
    })
}

fn of_names(oracle: &Oracle, node: usize, life: &Life) -> Option<String> {
    let registry = life.upper.names();
    let table = registry.names().table();
    if let Some(pid) = registry.processes().find(|pid| !lives_in(oracle, pid, node, life)) {
        return Some(format!("the registry keeps {pid:?}, which has ended"));
    }
    let holds = |name: &Name, pid: &Pid| registry.holdings(pid).any(|held| held == name);
    for name in table.keys_of(table.origin()) {
        let Some(claim) = table.live_of(name, table.origin()) else { continue };
        if !lives_in(oracle, &claim.pid, node, life) || !holds(name, &claim.pid) {
            return Some(format!("{name:?} is claimed for {:?}, which does not hold it", claim.pid));
        }
    }
    let mut held = registry.processes().flat_map(|pid| registry.holdings(pid).map(move |name| (pid, name)));
    let bare = held.find(|(pid, name)| table.live_of(name, table.origin()).is_none_or(|claim| claim.pid != **pid));
    if let Some((pid, name)) = bare {
        return Some(format!("{pid:?} holds {name:?}, and nothing is claimed for it"));
    }
    let here = |process: &Process| process.ended_us.is_none() && (process.node, process.life) == (node, life.number);
    let mut alive = oracle.processes.iter().filter(|(_, process)| here(process)).map(|(pid, _)| pid);
    alive.find(|pid| registry.standing(pid).is_none()).map(|pid| format!("{pid:?} lives, and the registry has lost it"))
}

fn of_children(oracle: &Oracle, node: usize, life: &Life, children: &Supervisor) -> Option<String> {
    let table = children.actual().table();
    for id in table.keys_of(table.origin()) {
        let Some(claim) = table.live_of(id, table.origin()) else { continue };
        let runs = match &claim.state {
            State::Starting | State::Running | State::Stopping => true,
            State::Moving { released, .. } => !released,
            State::Backoff | State::Quarantined | State::Failed | State::Done => false,
        };
        let lives = claim.pid.as_ref().is_some_and(|pid| lives_in(oracle, pid, node, life));
        if runs != lives || runs != claim.pid.is_some() {
            return Some(format!("{id:?} is told to be {:?} as {:?}", claim.state, claim.pid));
        }
    }
    let mut held = oracle.copies.iter().flat_map(|(id, pids)| pids.iter().map(move |pid| (id, pid)));
    let bare = held.find(|(id, pid)| {
        let here = lives_in(oracle, pid, node, life);
        here && table.live_of(id, table.origin()).is_none_or(|claim| claim.pid.as_ref() != Some(pid))
    });
    bare.map(|(id, pid)| format!("{id:?} runs as {pid:?}, and its record does not say so"))
}

fn lives_in(oracle: &Oracle, pid: &Pid, node: usize, life: &Life) -> bool {
    let here = |process: &Process| process.ended_us.is_none() && (process.node, process.life) == (node, life.number);
    // One that waits for the disk is as good as begun.
    let waits = || life.upper.children().is_some_and(|children| children.awaits_disk(pid));
    oracle.processes.get(pid).is_some_and(here) || waits()
}
