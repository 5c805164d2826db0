//! G1 and G2 for groups: once a connected group of nodes agrees on its members, each of them shows the same processes in each
//! process group: those that live and have joined, and no others.

use std::collections::BTreeSet;

use ordu_transport::core::Pid;

use super::{Broken, Invariant, Moment, about_state};
use crate::world::World;

/// Its name.
pub const NAME: &str = "same-members";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "registry/src/core/groups.rs; ARCHITECTURE.md G1, G2",
    caveat: "looked at once everything is quiet",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any {
        return None;
    }
    about_state(world, NAME, || shown_alike(world))
}

fn shown_alike(world: &World) -> Option<Broken> {
    let mut joined: BTreeSet<(&str, &Pid)> = BTreeSet::new();
    for (_, life) in world.up() {
        let names = life.upper.names();
        joined.extend(names.processes().flat_map(|pid| names.groups_of(pid).map(move |group| (group, pid))));
    }
    world.up().find_map(|(node, life)| {
        let members: Vec<_> = life.upper.names().all_members().collect();
        let shown: BTreeSet<(&str, &Pid)> = members.iter().map(|member| (member.group(), member.pid())).collect();
        let unlike = joined.symmetric_difference(&shown).next();
        let twice = members.len() != shown.len();
        (unlike.is_some() || twice).then(|| {
            let known = unlike.is_some_and(|member| shown.contains(member));
            Broken::NotYet(format!("n{node} shows {unlike:?}: {known}, of {} members {}", shown.len(), members.len()))
        })
    })
}
