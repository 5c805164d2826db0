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

use std::cell::RefCell;
use std::collections::BTreeMap;

use ordu_supervisor::core::ChildId;

use crate::node::Life;
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

/// What checks remember of what they have seen, so that they look at no state twice. Whoever wants everything looked at
/// forgets it; see [`look_anew`].
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The state in which each invariant held when all was quiet.
    held: RefCell<BTreeMap<&'static str, State>>,
    /// Of each node's table with the digest of another's, that other one, and the revisions in which both were equal.
    equal: RefCell<BTreeMap<(&'static str, usize), Pair>>,
    /// The nodes of a group and their state, and the children that are due in it.
    due: RefCell<BTreeMap<Vec<usize>, Due>>,
}

/// A state, and the children that are due in it.
type Due = (State, Vec<ChildId>);
/// A life of a node and the revision of its table, and the same of another life.
type Pair = ((usize, u64), u64, u64, u64);
/// Which lives there are, and the revisions of all that is shown and replicated in them.
type State = Vec<(usize, u64, [u64; 6])>;

fn state_of<'a>(lives: impl Iterator<Item = (usize, &'a Life)>) -> State {
    lives.map(|(node, life)| (node, life.number, life.upper.revisions())).collect()
}

/// What an invariant says of the shown and replicated state alone, unless it was content with this very state before.
fn about_state(world: &World, name: &'static str, look: impl FnOnce() -> Option<Broken>) -> Option<Broken> {
    let state = state_of(world.up());
    if world.remembered.held.borrow().get(name) == Some(&state) {
        return None;
    }
    let broken = look();
    if broken.is_none() {
        world.remembered.held.borrow_mut().insert(name, state);
    }
    broken
}

/// Checks everything from scratch, whatever was seen before.
pub(crate) fn look_anew(world: &World) -> Option<Violation> {
    world.twin.look_anew();
    world.remembered.held.borrow_mut().clear();
    world.remembered.equal.borrow_mut().clear();
    world.remembered.due.borrow_mut().clear();
    check(world, Moment::Quiet)
}

/// The first invariant that does not hold, the user's ones last.
pub(crate) fn check(world: &World, moment: Moment) -> Option<Violation> {
    let built_in = ALL.iter().find_map(|invariant| {
        let (what, liveness) = match (invariant.check)(world, moment)? {
            Broken::Safety(what) => (what, false),
            Broken::NotYet(what) => (what, true),
        };
        Some(Violation { invariant: invariant.name, at_us: world.now, what, liveness })
    });
    // A built-in one that only must not last yet must not hide what must never be.
    match built_in {
        Some(violation) if !violation.liveness => Some(violation),
        not_yet => match world.cast.as_ref().and_then(|cast| cast.check(world, moment)) {
            Some(violation) if !violation.liveness => Some(violation),
            waits => not_yet.or(waits),
        },
    }
}
