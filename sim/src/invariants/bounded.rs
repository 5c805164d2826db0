//! G7: queues, frames, removals, children and what waits stay within their bounds.

use ordu_registry::core::table::LOG_REMOVALS_MAX;
use ordu_supervisor::core::calls::CALLS_MAX;
use ordu_transport::core::{FRAME_BYTES_MAX, Pid};

use super::{Broken, Invariant, Moment, noted, tables};
use crate::world::World;

/// Its name.
pub const NAME: &str = "bounded";
/// Most effects that one input may have, at the sizes that are simulated here.
pub const EFFECTS_MAX: usize = 2_000;
/// And how many more for each claim that the node holds.
pub const EFFECTS_A_NAME_MAX: usize = 4;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G7",
    caveat: "the bound on effects is this simulator's, for its sizes; a run is far too small to reach the other bounds",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    let frame = world.net.frame_bytes_most;
    if frame > FRAME_BYTES_MAX {
        return Some(Broken::Safety(format!("a frame of {frame} bytes was sent")));
    }
    for (node, life) in world.up() {
        if let Some(table) = tables(&life.upper).find(|table| table.removals > LOG_REMOVALS_MAX) {
            return Some(Broken::Safety(format!("n{node}, {}: {} removals are kept", table.name, table.removals)));
        }
        let Some(children) = life.upper.children() else { continue };
        let (calls, asked) = (children.calls_len(), world.oracle.calls_of(node, life.number));
        if calls > CALLS_MAX || calls != asked {
            return Some(Broken::Safety(format!("n{node} keeps {calls} calls, and {asked} callers wait")));
        }
    }
    noted(world, NAME)
}

impl World {
    /// A node begins a child's process: it has no more of them than it may.
    pub(crate) fn watch_places(&mut self, node: usize, pid: &Pid) {
        let most = self.plan.max_children as usize;
        let Some(number) = self.life(node).map(|life| life.number).filter(|_| most > 0) else { return };
        let own = self.oracle.processes.values().filter(|process| (process.node, process.life) == (node, number));
        let held = own.filter(|process| process.child.is_some() && process.ended_us.is_none()).count();
        if held > most {
            let what = format!("n{node} begins {pid:?} and has {held} children, of {most} that it may have");
            self.oracle.break_promise(NAME, what);
        }
    }
}
