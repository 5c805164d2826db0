//! G1: replicas that have exchanged everything are equal, and equal digests mean equal states.

use std::collections::BTreeSet;

use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::Table;
use ordu_transport::core::NodeId;

use super::{Broken, Invariant, Moment};
use crate::node::Life;
use crate::upper::Upper;
use crate::world::World;

/// Its name.
pub const NAME: &str = "converge";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G1",
    caveat: "equal digests are compared with equal states only at the sampled moments",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    let up: Vec<_> = world.up().collect();
    if let Some((node, _)) = up.iter().find(|(_, life)| alarms(&life.upper) > 0) {
        return Some(Broken::Safety(format!("n{node} saw equal clocks with unequal sums")));
    }
    if let Some(what) = false_friends(world, &up) {
        return Some(Broken::Safety(what));
    }
    if moment == Moment::Any {
        return None;
    }
    let (one, first) = up.first()?;
    if let Some((two, _)) = up.iter().find(|(_, other)| !first.upper.is_alike(&other.upper)) {
        return Some(Broken::NotYet(format!("the tables of n{one} and n{two} differ")));
    }
    let ids: BTreeSet<&NodeId> = up.iter().map(|(_, life)| &life.id).collect();
    up.iter().find_map(|(node, life)| {
        let view = life.upper.names().view();
        if let Some((other, _)) = up.iter().find(|(_, other)| !view.is_living(&other.id)) {
            return Some(Broken::NotYet(format!("n{node} does not see n{other} as up")));
        }
        if let Some(extra) = view.living().find(|member| !ids.contains(&member.id)) {
            return Some(Broken::NotYet(format!("n{node} sees {:?} as up, which is not", extra.id)));
        }
        let converged = life.upper.is_converged(world.now_of(*node));
        (!converged).then(|| Broken::NotYet(format!("n{node} does not call itself converged")))
    })
}

fn alarms(upper: &Upper) -> u64 {
    let names = upper.names().names().alarms();
    upper.children().map_or(names, |children| {
        names
            + children.desired().alarms()
            + children.actual().alarms()
            + children.marks().alarms()
            + children.facts().alarms()
    })
}

/// Two nodes that have equal digests and unequal states of a table. Equality being transitive, each is compared with the
/// first that has its digest.
fn false_friends(world: &World, up: &[(usize, &Life)]) -> Option<String> {
    let children = || up.iter().filter_map(|(node, life)| Some((*node, life.number, life.upper.children()?)));
    unequal(world, "names", up.iter().map(|(node, life)| (*node, life.number, life.upper.names().names().table())))
        .or_else(|| unequal(world, "desired", children().map(|(node, life, of)| (node, life, of.desired().table()))))
        .or_else(|| unequal(world, "actual", children().map(|(node, life, of)| (node, life, of.actual().table()))))
        .or_else(|| unequal(world, "marks", children().map(|(node, life, of)| (node, life, of.marks().table()))))
        .or_else(|| unequal(world, "facts", children().map(|(node, life, of)| (node, life, of.facts().table()))))
}

fn unequal<'a, K: Key, V: Payload>(
    world: &World,
    name: &'static str,
    tables: impl Iterator<Item = (usize, u64, &'a Table<K, V>)>,
) -> Option<String> {
    let mut equal = world.remembered.equal.borrow_mut();
    let mut firsts = Vec::new();
    for (node, life, table) in tables {
        let digest = table.digest();
        let Some((_, first, other)) = firsts.iter().find(|(of, _, _): &&(u64, _, &Table<K, V>)| *of == digest) else {
            firsts.push((digest, (node, life), table));
            continue;
        };
        let pair = (*first, other.revision(), life, table.revision());
        if equal.get(&(name, node)) == Some(&pair) {
            continue;
        }
        if table != *other {
            return Some(format!("n{} and n{node} have equal digests and unequal {name}", first.0));
        }
        equal.insert((name, node), pair);
    }
    None
}
