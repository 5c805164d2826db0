//! G2: nobody is told to exit for a process that his own node knows to have lost: a chain of conflicts must not empty a name.

use ordu_registry::core::Name;
use ordu_supervisor::core::ChildId;
use ordu_transport::core::Pid;

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "losers-beat-nobody";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G2",
    caveat: "a loss that the node has not heard of yet is excused",
    check,
};

fn check(world: &World, _: Moment) -> Option<Broken> {
    let broken = world.oracle.broken.iter().find(|(invariant, _)| *invariant == NAME);
    broken.map(|(_, what)| Broken::Safety(what.clone()))
}

impl World {
    /// A process of this node was told to exit.
    pub(crate) fn watch_loser(&mut self, node: usize, loser: &Pid, winner: &Pid, name: &str) {
        let Some(life) = self.life(node) else { return };
        let claims = life.upper.names().names().table();
        let known = Name::new(name)
            .is_ok_and(|name| claims.live(&name).any(|(_, _, claim)| claim.pid == *winner && claim.losing.is_some()));
        let shown = life.upper.children().is_some_and(|children| {
            let actual = children.actual().table();
            ChildId::new(name).is_ok_and(|id| {
                actual.live(&id).any(|(_, _, claim)| claim.pid.as_ref() == Some(winner) && claim.losing)
            })
        });
        if known || shown {
            let what = format!("{loser:?} was told to give {name} to {winner:?}, of which n{node} knows that it lost");
            self.oracle.break_promise(NAME, what);
        }
    }
}
