//! G1: replicas that have exchanged everything are equal, and equal digests mean equal states.

use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::Table;

use super::{Broken, Invariant, Moment};
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
    for (at, (one, this)) in up.iter().enumerate() {
        if alarms(&this.upper) > 0 {
            return Some(Broken::Safety(format!("n{one} saw equal clocks with unequal sums")));
        }
        for (two, that) in &up[at + 1..] {
            if let Some(table) = false_friends(&this.upper, &that.upper) {
                return Some(Broken::Safety(format!("n{one} and n{two} have equal digests and unequal {table}")));
            }
            if moment == Moment::Quiet && this.upper.digests() != that.upper.digests() {
                return Some(Broken::NotYet(format!("the tables of n{one} and n{two} differ")));
            }
        }
    }
    if moment == Moment::Any {
        return None;
    }
    up.iter().find_map(|(node, life)| {
        let view = life.upper.names().view();
        if let Some((other, _)) = up.iter().find(|(_, other)| !view.is_living(&other.id)) {
            return Some(Broken::NotYet(format!("n{node} does not see n{other} as up")));
        }
        let extra = view.living().find(|member| up.iter().all(|(_, other)| other.id != member.id));
        if let Some(extra) = extra {
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

/// A table of which two nodes have equal digests and unequal states.
fn false_friends(one: &Upper, two: &Upper) -> Option<&'static str> {
    fn is_false<K: Key, V: Payload>(one: &Table<K, V>, two: &Table<K, V>) -> bool {
        one.digest() == two.digest() && one != two
    }
    if is_false(one.names().names().table(), two.names().names().table()) {
        return Some("names");
    }
    let (one, two) = (one.children()?, two.children()?);
    let tables = [
        ("desired", is_false(one.desired().table(), two.desired().table())),
        ("actual", is_false(one.actual().table(), two.actual().table())),
        ("marks", is_false(one.marks().table(), two.marks().table())),
        ("facts", is_false(one.facts().table(), two.facts().table())),
    ];
    tables.into_iter().find(|(_, is_false)| *is_false).map(|(name, _)| name)
}
