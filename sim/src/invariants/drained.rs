//! G7: what is done with goes: removals, early dots, slots of incarnations that are over, marks of starts that are gone.

use std::collections::BTreeMap;

use ordu_registry::core::table::Kind;
use ordu_supervisor::core::tables::MarkKey;
use ordu_transport::core::NodeId;

use super::{Broken, Invariant, Look, Moment, about_state, tables};
use crate::world::World;

/// Its name.
pub const NAME: &str = "drained";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G7",
    caveat: "removals may stay while a node is away that has not acknowledged them, and early dots of its own; slots of \
             incarnations that are over stay in shared tables, whose archive is not built yet, and with them what waits \
             for their dots that nobody who is left has: early dots, removals that cover such, marks of such starts",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    let mut lives = world.up();
    let broken =
        lives.find_map(|(node, life)| tables(&life.upper).find_map(|table| kept_too_much(world, node, &table)));
    if broken.is_some() || moment == Moment::Any {
        return broken;
    }
    about_state(world, NAME, || kept_too_long(world))
}

/// What no table may hold, whatever is still to come.
fn kept_too_much(world: &World, node: usize, table: &Look<'_>) -> Option<Broken> {
    let place = (table.name, node);
    let state = (table.origin.clone(), table.revision);
    let mut checked = world.remembered.checked.borrow_mut();
    if checked.get(&place) == Some(&state) {
        return None;
    }
    let Look { name, live, removals, .. } = *table;
    // The log holds events that nothing supersedes, and nothing else: what is live, and what removed it.
    let log = table.kept.log();
    if log != live + removals {
        let what = format!("{log} events are kept for {live} live values and {removals} removals");
        return Some(Broken::Safety(format!("n{node}, {name}: {what}")));
    }
    let over = |id: &&NodeId| table.retired.contains(id) && *id != table.origin;
    if table.kind == Kind::OwnerWritten
        && let Some(over) = table.context.origins().find(over)
    {
        return Some(Broken::Safety(format!("n{node}, {name}: {over:?} is over and has a slot")));
    }
    checked.insert(place, state);
    None
}

/// What is to be gone once all is quiet.
fn kept_too_long(world: &World) -> Option<Broken> {
    let everybody_is_back = world.nodes.iter().all(|node| node.life.is_some());
    let mut there: BTreeMap<_, Vec<&NodeId>> = BTreeMap::new();
    world.up().for_each(|(_, life)| there.entry(&life.id.name).or_default().push(&life.id));
    for (node, life) in world.up() {
        for table in tables(&life.upper) {
            let name = table.name;
            // Of a node that is away nobody may have what lies before them.
            let is_there = |id: &&&NodeId| there.contains_key(&id.name);
            let early = table.kept.early().iter().filter(|id| everybody_is_back || is_there(id)).count();
            if early > 0 {
                return Some(Broken::NotYet(format!("n{node}, {name}: {early} early dots are kept")));
            }
            let waiting = if everybody_is_back { table.kept.waiting() } else { 0 };
            if waiting > 0 {
                let what = format!("{waiting} removals are kept that all have acknowledged");
                return Some(Broken::NotYet(format!("n{node}, {name}: {what}")));
            }
            if table.kind == Kind::OwnerWritten {
                let mut origins = table.context.origins();
                let stale =
                    |id: &&NodeId| there.get(&id.name).is_some_and(|others| others.iter().any(|other| other != id));
                if let Some(stale) = origins.find(stale) {
                    return Some(Broken::NotYet(format!(
                        "n{node}, {name}: {stale:?} came back as another, and has a slot"
                    )));
                }
            }
        }
        let Some(children) = life.upper.children() else { continue };
        let desired = children.desired().table();
        let stands = |key: &&MarkKey| {
            // No early dots that somebody could complete are left, see above; what one of the others removed stays marked.
            let unseen = !desired.context().contains(&key.origin, key.counter);
            if desired.has_early(&key.child) || (desired.retired().contains(&key.origin) && unseen) {
                return true;
            }
            let mut starts = desired.live(&key.child).map(|(origin, counter, _)| (origin, counter));
            starts.any(|start| start == (&key.origin, key.counter))
        };
        if let Some(key) = children.marks().table().keys().find(|key| !stands(key)) {
            return Some(Broken::NotYet(format!("n{node} keeps a mark of a start that is gone, {key:?}")));
        }
    }
    None
}
