//! The promises, one a file: a name, the promise of ARCHITECTURE.md that it comes from, what it does not show, and one check.
//!
//! Checks read the real cores' state and the oracle's facts, and change nothing.

pub mod bounded;
pub mod contexts_grow;
pub mod converge;
pub mod dots_once;
pub mod drained;
pub mod fences_grow;
pub mod longest_running;
pub mod nothing_back;
pub mod nothing_lost;
pub mod one_owner;
pub mod records;
pub mod survivors_fence;
pub mod told_once;
pub mod truth;
pub mod twins;

use ordu_registry::core::clock::Context;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::retire::Retired;
use ordu_registry::core::table::{Kind, Table};
use ordu_transport::core::NodeId;

use crate::upper::Upper;
use crate::world::World;

/// What one table of a node shows to those who do not care what it holds.
pub(crate) struct Look<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) origin: &'a NodeId,
    pub(crate) context: &'a Context,
    pub(crate) retired: &'a Retired,
    pub(crate) live: usize,
    pub(crate) removals: usize,
    pub(crate) log: usize,
}

/// The tables of a node.
pub(crate) fn tables(upper: &Upper) -> impl Iterator<Item = Look<'_>> {
    fn look<'a, K: Key, V: Payload>(name: &'static str, kind: Kind, table: &'a Table<K, V>) -> Option<Look<'a>> {
        let (origin, context, retired) = (table.origin(), table.context(), table.retired());
        let (live, removals, log) = (table.live_len(), table.removals_len(), table.log_len());
        Some(Look { name, kind, origin, context, retired, live, removals, log })
    }
    let children = upper.children();
    let tables = [
        look("names", Kind::OwnerWritten, upper.names().names().table()),
        children.and_then(|children| look("desired", Kind::Shared, children.desired().table())),
        children.and_then(|children| look("actual", Kind::OwnerWritten, children.actual().table())),
        children.and_then(|children| look("marks", Kind::Shared, children.marks().table())),
        children.and_then(|children| look("facts", Kind::OwnerWritten, children.facts().table())),
    ];
    tables.into_iter().flatten()
}

/// When a check is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// At any time, faults and all.
    Any,
    /// All faults are undone and no operation happens any more.
    Quiet,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// This must never be.
    Safety(String),
    /// This must not last.
    NotYet(String),
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// When, in simulated microseconds.
    pub at_us: u64,
    /// What was seen.
    pub what: String,
    /// Whether something that must become true did not, rather than something that must never be was.
    pub liveness: bool,
}

/// One invariant.
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// The promise that it comes from.
    pub source: &'static str,
    /// What it does not show.
    pub caveat: &'static str,
    check: fn(&World, Moment) -> Option<Broken>,
}

/// Every invariant, in the order in which they are checked.
pub const ALL: [Invariant; 15] = [
    bounded::INVARIANT,
    truth::INVARIANT,
    dots_once::INVARIANT,
    contexts_grow::INVARIANT,
    twins::INVARIANT,
    told_once::INVARIANT,
    longest_running::INVARIANT,
    fences_grow::INVARIANT,
    one_owner::INVARIANT,
    records::INVARIANT,
    survivors_fence::INVARIANT,
    drained::INVARIANT,
    nothing_back::INVARIANT,
    nothing_lost::INVARIANT,
    converge::INVARIANT,
];

/// A fact by which the oracle saw this invariant broken.
fn noted(world: &World, name: &'static str) -> Option<Broken> {
    world.oracle.broken.iter().find(|(invariant, _)| *invariant == name).map(|(_, what)| Broken::Safety(what.clone()))
}

/// The first invariant that does not hold. Remembers what the next look is compared with.
pub(crate) fn check(world: &mut World, moment: Moment) -> Option<Violation> {
    let broken = ALL.iter().find_map(|invariant| {
        let (what, liveness) = match (invariant.check)(world, moment)? {
            Broken::Safety(what) => (what, false),
            Broken::NotYet(what) => (what, true),
        };
        Some(Violation { invariant: invariant.name, at_us: world.now, what, liveness })
    });
    world.remember();
    broken
}
