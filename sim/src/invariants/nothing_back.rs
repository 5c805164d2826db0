//! G4: a released name, or a terminated child, is not revived by an old replica, wherever some replica of the group has
//! seen the removal; and what should run is put there by nobody but a caller.

use std::collections::{BTreeMap, BTreeSet};

use super::nothing_lost::winner;
use super::{Broken, Invariant, Moment, about_state, noted};
use crate::world::World;

/// Its name.
pub const NAME: &str = "nothing-back";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G4",
    caveat: "the owner of a claim is always among those who saw its release, so only claims of nodes that are up count",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some(broken) = noted(world, NAME) {
        return Some(broken);
    }
    if moment == Moment::Any {
        return None;
    }
    about_state(world, NAME, || given_up(world))
}

fn given_up(world: &World) -> Option<Broken> {
    let up: Vec<_> = world.up().collect();
    let owners: BTreeMap<_, _> = up.iter().map(|(_, life)| (&life.id, *life)).collect();
    let names: BTreeSet<_> = owners.keys().map(|id| &id.name).collect();
    for (node, life) in &up {
        let table = life.upper.names().names().table();
        for name in table.keys() {
            for (origin, _, claim) in table.live(name) {
                let stale = match owners.get(origin) {
                    Some(owner) => !owner.upper.names().holdings(&claim.pid).any(|held| held == name),
                    // A claim of a node that went for good stays, hidden; of a node that came back it does not.
                    None => names.contains(&origin.name),
                };
                if stale {
                    return Some(Broken::NotYet(format!(
                        "n{node} keeps {:?} at {name:?}, which it gave up",
                        claim.pid
                    )));
                }
            }
        }
        let Some(children) = life.upper.children() else { continue };
        for (pid, id) in children.child_pids() {
            if winner(children, id).is_none() {
                return Some(Broken::NotYet(format!("n{node} runs {id:?} as {pid:?}, which should not run")));
            }
        }
    }
    None
}
