//! G1: replicas that have exchanged everything are equal, and equal digests mean equal states.

use super::{Broken, Invariant, Moment};
use crate::world::World;

/// Its name.
pub const NAME: &str = "converge";

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "DESIGN.md G1",
    caveat: "equal digests are compared with equal states only at the sampled moments",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    let up: Vec<_> = world.up().collect();
    if let Some((node, life)) = up.iter().find(|(_, life)| life.names.names().alarms() > 0) {
        let alarms = life.names.names().alarms();
        return Some(Broken::Safety(format!("n{node} saw equal clocks with unequal sums {alarms} times")));
    }
    for (at, (one, this)) in up.iter().enumerate() {
        let table = this.names.names().table();
        for (two, that) in &up[at + 1..] {
            let other = that.names.names().table();
            let alike = table.digest() == other.digest();
            if alike && table != other {
                return Some(Broken::Safety(format!("n{one} and n{two} have equal digests and unequal names")));
            }
            if moment == Moment::Quiet && !alike {
                let (a, b) = (table.context(), other.context());
                return Some(Broken::NotYet(format!("the names of n{one} and n{two} differ: {a:?} and {b:?}")));
            }
        }
    }
    if moment == Moment::Any {
        return None;
    }
    up.iter().find_map(|(node, life)| {
        let now = world.now_of(*node);
        let missing = up.iter().find(|(_, other)| !life.names.view().is_living(&other.id));
        if let Some((other, _)) = missing {
            return Some(Broken::NotYet(format!("n{node} does not see n{other} as up")));
        }
        let extra = life.names.view().living().find(|member| up.iter().all(|(_, other)| other.id != member.id));
        if let Some(extra) = extra {
            return Some(Broken::NotYet(format!("n{node} sees {:?} as up, which is not", extra.id)));
        }
        (!life.names.is_converged(now)).then(|| Broken::NotYet(format!("n{node} does not call itself converged")))
    })
}
