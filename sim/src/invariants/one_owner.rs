//! G2: once a connected group agrees on its members, every name has one live process in it, and every lookup shows it.

use std::collections::BTreeMap;

use ordu_registry::core::Name;
use ordu_transport::core::Pid;

use super::nothing_lost::overlong;
use super::{Broken, Invariant, Moment, about_state, noted};
use crate::world::World;

/// Its name.
pub const NAME: &str = "one-owner";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G2",
    caveat: "before the heal only children count, in groups that nothing disturbed meanwhile; who was told is for \
             `told-once`",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some(broken) = noted(world, NAME) {
        return Some(broken);
    }
    if let Some(((id, group), since)) = overlong(world, &world.oracle.double_since) {
        let copies = &world.oracle.copies[id];
        let what = format!("{id:?} has run more than once since {since} in the undisturbed {group:?}: {copies:?}");
        return Some(Broken::Safety(what));
    }
    if moment == Moment::Any {
        return None;
    }
    if let Some((id, copies)) = world.oracle.copies.iter().find(|(_, copies)| copies.len() > 1) {
        return Some(Broken::NotYet(format!("{id:?} runs as {copies:?}")));
    }
    about_state(world, NAME, || held_by_one(world))
}

fn held_by_one(world: &World) -> Option<Broken> {
    let holders = holders(world);
    if let Some((name, pids)) = holders.iter().find(|(_, pids)| pids.len() > 1) {
        return Some(Broken::NotYet(format!("{name:?} is held by {pids:?}")));
    }
    let mut shown = world.remembered.shown.borrow_mut();
    if shown.holders != holders {
        *shown = Shown { holders, nodes: BTreeMap::new() };
    }
    let Shown { holders, nodes } = &mut *shown;
    for (node, life) in world.up() {
        let names = life.upper.names();
        let state = (life.number, names.shown_revision());
        if nodes.get(&node) == Some(&state) {
            continue;
        }
        for (name, pids) in holders.iter() {
            let shown = names.lookup(name).map(|entry| entry.pid().clone());
            if shown.as_ref() != pids.first() {
                return Some(Broken::NotYet(format!("n{node} shows {name:?} at {shown:?}, not {:?}", pids.first())));
            }
        }
        if names.entries("").count() != holders.len()
            && let Some(entry) = names.entries("").find(|entry| !holders.contains_key(entry.name()))
        {
            return Some(Broken::NotYet(format!("n{node} shows {:?}, which nobody holds", entry.name())));
        }
        nodes.insert(node, state);
    }
    None
}

/// Which nodes showed every name as it is held, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    holders: BTreeMap<Name, Vec<Pid>>,
    /// The lives and what they showed.
    nodes: BTreeMap<usize, (u64, u64)>,
}

/// The living processes of every name.
pub(crate) fn holders(world: &World) -> BTreeMap<Name, Vec<Pid>> {
    let mut holders: BTreeMap<Name, Vec<Pid>> = BTreeMap::new();
    for (_, life) in world.up() {
        for pid in life.upper.names().processes() {
            for name in life.upper.names().names_of(pid) {
                holders.entry(name.clone()).or_default().push(pid.clone());
            }
        }
    }
    holders
}
