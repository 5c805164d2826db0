//! G7: what is done with goes: removals, early dots, slots of incarnations that are over, marks of starts that are gone.

use ordu_registry::core::table::Kind;
use ordu_supervisor::core::tables::MarkKey;
use ordu_transport::core::NodeId;

use super::{Broken, Invariant, Moment, tables};
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
    let everybody_is_back = world.nodes.iter().all(|node| node.life.is_some());
    for (node, life) in world.up() {
        for table in tables(&life.upper) {
            let name = table.name;
            // The log holds events that nothing supersedes, and nothing else: what is live, and what removed it.
            if table.log != table.live + table.removals {
                let (log, live, removals) = (table.log, table.live, table.removals);
                let what = format!("{log} events are kept for {live} live values and {removals} removals");
                return Some(Broken::Safety(format!("n{node}, {name}: {what}")));
            }
            let over = |id: &&NodeId| table.retired.contains(id) && *id != table.origin;
            if table.kind == Kind::OwnerWritten
                && let Some(over) = table.context.origins().find(over)
            {
                return Some(Broken::Safety(format!("n{node}, {name}: {over:?} is over and has a slot")));
            }
            if moment == Moment::Any {
                continue;
            }
            // Of a node that is away nobody may have what lies before them.
            let is_there = |id: &&&NodeId| world.up().any(|(_, life)| life.id.name == id.name);
            let early = table.early.iter().filter(|id| everybody_is_back || is_there(id)).count();
            if early > 0 {
                return Some(Broken::NotYet(format!("n{node}, {name}: {early} early dots are kept")));
            }
            if everybody_is_back && table.waiting > 0 {
                let what = format!("{} removals are kept that all have acknowledged", table.waiting);
                return Some(Broken::NotYet(format!("n{node}, {name}: {what}")));
            }
            if table.kind == Kind::OwnerWritten {
                let mut origins = table.context.origins();
                let stale = |id: &&NodeId| world.up().any(|(_, other)| other.id.name == id.name && other.id != **id);
                if let Some(stale) = origins.find(stale) {
                    return Some(Broken::NotYet(format!(
                        "n{node}, {name}: {stale:?} came back as another, and has a slot"
                    )));
                }
            }
        }
        if moment == Moment::Any {
            continue;
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
