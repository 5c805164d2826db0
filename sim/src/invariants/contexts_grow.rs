//! G1: what a replica has seen it has seen for ever: its clock and cloud never shrink, but by the slots of incarnations
//! that are over, in owner-written tables; and nobody is over and then not.

use ordu_registry::core::table::Kind;

use super::{Broken, Invariant, Look, Moment, tables};
use crate::last::TableThen;
use crate::world::World;

/// Its name.
pub const NAME: &str = "contexts-grow";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G1",
    caveat: "compared from one look to the next, so what shrinks and grows again in between is not seen; forgetting of \
             absent origins is not built yet, and would have to be excused here",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    let last = world.last.borrow();
    world.up().find_map(|(node, life)| {
        let then = last.tables(node, life.number)?;
        tables(&life.upper).zip(then).find_map(|(now, then)| {
            let what = shrunk(&now, then)?;
            Some(Broken::Safety(format!("n{node}, {}: {what}", now.name)))
        })
    })
}

fn shrunk(now: &Look<'_>, then: &TableThen) -> Option<String> {
    if now.revision == then.revision {
        return None;
    }
    if let Some(risen) = then.retired.iter().find(|id| !now.retired.contains(id)) {
        return Some(format!("{risen:?} was over, and is not any more"));
    }
    let excused = |origin| now.kind == Kind::OwnerWritten && now.retired.contains(origin);
    let mut closed = then.context.clock().dots.iter();
    if let Some((origin, counter)) =
        closed.find(|&(origin, &counter)| now.context.clock().get(origin) < counter && !excused(origin))
    {
        let left = now.context.clock().get(origin);
        return Some(format!("it had seen all of {origin:?} up to {counter}, and now up to {left}"));
    }
    let mut early = then.context.cloud().filter(|(origin, _)| !excused(origin));
    early.find_map(|(origin, dots)| {
        let lost = dots.iter().find(|&&dot| !now.context.contains(origin, dot))?;
        Some(format!("it had seen {lost} of {origin:?}, and does not know it any more"))
    })
}
