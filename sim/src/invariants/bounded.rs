//! G7: queues, frames, deltas and removals stay within their bounds, and what is done with goes.

use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::{LOG_REMOVALS_MAX, Table};
use ordu_supervisor::core::tables::MarkKey;
use ordu_transport::core::FRAME_BYTES_MAX;

use super::{Broken, Invariant, Moment, about_state};
use crate::world::World;

/// Its name.
pub const NAME: &str = "bounded";
/// Most effects that one input may have, at the sizes that are simulated here.
pub const EFFECTS_MAX: usize = 2_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G7",
    caveat: "the bound on effects is this simulator's, for its sizes; a run is far too small to reach the other bounds",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    let frame = world.net.frame_bytes_most;
    if frame > FRAME_BYTES_MAX {
        return Some(Broken::Safety(format!("a frame of {frame} bytes was sent")));
    }
    about_state(world, if moment == Moment::Any { "bounded at any time" } else { NAME }, || tables(world, moment))
}

fn tables(world: &World, moment: Moment) -> Option<Broken> {
    let everybody_is_back = world.nodes.iter().all(|node| node.life.is_some());
    for (node, life) in world.up() {
        if let Some(broken) = table(life.upper.names().names().table(), moment, everybody_is_back) {
            return Some(about(node, "names", broken));
        }
        let Some(children) = life.upper.children() else { continue };
        let tables = [
            ("desired", table(children.desired().table(), moment, everybody_is_back)),
            ("actual", table(children.actual().table(), moment, everybody_is_back)),
            ("marks", table(children.marks().table(), moment, everybody_is_back)),
            ("facts", table(children.facts().table(), moment, everybody_is_back)),
        ];
        if let Some((name, broken)) = tables.into_iter().find_map(|(name, broken)| Some((name, broken?))) {
            return Some(about(node, name, broken));
        }
        if moment == Moment::Any {
            continue;
        }
        let desired = children.desired().table();
        let stands = |key: &&MarkKey| {
            let mut starts = desired.live(&key.child).map(|(origin, counter, _)| (origin, counter));
            starts.any(|start| start == (&key.origin, key.counter))
        };
        let void = children.marks().table().keys().find(|key| !stands(key));
        if let Some(key) = void {
            return Some(Broken::NotYet(format!("n{node} keeps a mark of a start that is gone, {key:?}")));
        }
    }
    None
}

fn about(node: usize, name: &str, broken: Broken) -> Broken {
    match broken {
        Broken::Safety(what) => Broken::Safety(format!("n{node}, {name}: {what}")),
        Broken::NotYet(what) => Broken::NotYet(format!("n{node}, {name}: {what}")),
    }
}

fn table<K: Key, V: Payload>(table: &Table<K, V>, moment: Moment, everybody_is_back: bool) -> Option<Broken> {
    let (removals, early) = (table.removals_len(), table.context().cloud_len());
    if removals > LOG_REMOVALS_MAX {
        return Some(Broken::Safety(format!("{removals} removals are kept")));
    }
    if moment == Moment::Any {
        return None;
    }
    if early > 0 {
        return Some(Broken::NotYet(format!("{early} early dots are kept")));
    }
    (everybody_is_back && removals > 0)
        .then(|| Broken::NotYet(format!("{removals} removals are kept that all have acknowledged")))
}
