//! A conflict leaves the survivor with a fence above those of all that lost the name to it, so that a database that saw a
//! loser does not refuse the survivor.

use ordu_transport::core::Pid;

use super::{Broken, Invariant, Moment};
use crate::oracle::Told;
use crate::world::World;

/// Its name.
pub const NAME: &str = "survivors-fence";
/// Longest chain of conflicts over one name that is followed.
const CHAIN_MAX: usize = 64;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "registry/src/core/names.rs: the winner's fence goes above those of the processes that lose",
    caveat: "looked at once everything is quiet; a fence too far ahead of the survivor's clock cannot be passed; a loser \
             whose claim, or whose last fence, was gone before it reached the survivor's node, or was there between two \
             looks only, is not held against it, nor is who lost to such a loser",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if moment == Moment::Any {
        return None;
    }
    let processes = &world.oracle.processes;
    let losers = world.oracle.losers.iter().filter_map(|pid| Some((pid, processes.get(pid)?)));
    losers.flat_map(|(pid, loser)| loser.told.iter().map(move |told| (pid, told))).find_map(|(pid, told)| {
        let survivor = survivor(world, told)?;
        let process = processes.get(survivor)?;
        let life = world.life(process.node)?;
        let refused = life.upper.names().skews_refused() > 0;
        let heard = world.last.borrow().heard(process.node, life.number, pid)?;
        (process.fence <= heard && !refused).then(|| {
            let what = format!("{survivor:?} keeps {:?} with the fence {}", told.name, process.fence);
            Broken::NotYet(format!("{what}, and {pid:?} lost it with {heard}"))
        })
    })
}

/// The living process to which a name went in the end, from loser to winner, if there is one that holds it still and each
/// winner's node heard of who lost to it.
fn survivor<'a>(world: &'a World, told: &'a Told) -> Option<&'a Pid> {
    let mut last = told;
    for _ in 0..CHAIN_MAX {
        let winner = world.oracle.processes.get(&last.by)?;
        match winner.told.iter().find(|next| next.name == last.name) {
            Some(next) => {
                let above = world.oracle.processes.get(&next.by)?;
                world.last.borrow().heard(above.node, above.life, &last.by)?;
                last = next;
            }
            None => {
                let names = world.life(winner.node)?.upper.names();
                let holds = names.names_of(&last.by).any(|name| name.as_str() == &*last.name);
                return holds.then_some(&last.by);
            }
        }
    }
    None
}
