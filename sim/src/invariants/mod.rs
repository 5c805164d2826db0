//! The promises, one a file: a name, the promise of ARCHITECTURE.md that it comes from, what it does not show, and one check.
//!
//! Checks read the real cores' state and the oracle's facts, and change nothing.

pub mod bounded;
pub mod converge;
pub mod losers_beat_nobody;
pub mod nothing_back;
pub mod nothing_lost;
pub mod one_owner;
pub mod story;
pub mod truth;
pub mod twins;

use crate::world::World;

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
pub const ALL: [Invariant; 9] = [
    bounded::INVARIANT,
    truth::INVARIANT,
    twins::INVARIANT,
    one_owner::INVARIANT,
    nothing_back::INVARIANT,
    nothing_lost::INVARIANT,
    converge::INVARIANT,
    losers_beat_nobody::INVARIANT,
    story::INVARIANT,
];

/// The first invariant that does not hold.
pub(crate) fn check(world: &World, moment: Moment) -> Option<Violation> {
    ALL.iter().find_map(|invariant| {
        let (what, liveness) = match (invariant.check)(world, moment)? {
            Broken::Safety(what) => (what, false),
            Broken::NotYet(what) => (what, true),
        };
        Some(Violation { invariant: invariant.name, at_us: world.now, what, liveness })
    })
}
