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
pub mod losers_beat_nobody;
pub mod nothing_back;
pub mod nothing_lost;
pub mod one_owner;
pub mod records;
pub mod same_members;
pub mod story;
pub mod survivors_fence;
pub mod told_once;
pub mod truth;
pub mod twins;

use std::cell::RefCell;
use std::collections::BTreeMap;

use ordu_registry::core::clock::Context;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::retire::Retired;
use ordu_registry::core::table::{Kind, Shared, Table};
use ordu_supervisor::core::ChildId;
use ordu_transport::core::NodeId;

use crate::node::Life;
use crate::upper::Upper;
use crate::world::World;

/// What one table of a node shows to those who do not care what it holds.
pub(crate) struct Look<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) revision: u64,
    pub(crate) origin: &'a NodeId,
    pub(crate) context: &'a Context,
    pub(crate) retired: &'a Retired,
    pub(crate) live: usize,
    pub(crate) removals: usize,
    pub(crate) kept: &'a dyn Kept,
}

/// What of a table takes a walk through it.
pub(crate) trait Kept {
    /// How many of the removals wait for nothing that died with an incarnation that is over.
    fn waiting(&self) -> usize;
    /// Whose each early dot is that waits for nothing such.
    fn early(&self) -> Vec<&NodeId>;
    /// How many events the log holds.
    fn log(&self) -> usize;
}

impl<K: Key, V: Payload> Kept for Table<K, V> {
    fn waiting(&self) -> usize {
        let complete = |event: &&Shared<K, V>| {
            let covers = event.covers.iter();
            !covers.chain([(&event.dot.actor, event.dot.counter)]).any(|(of, counter)| is_lost(self, of, counter))
        };
        self.removals().filter(complete).count()
    }

    fn early(&self) -> Vec<&NodeId> {
        let early = self.context().cloud().flat_map(|(of, dots)| dots.iter().map(move |&dot| (of, dot)));
        early.filter(|(of, counter)| !is_lost(self, of, *counter)).map(|(of, _)| of).collect()
    }

    fn log(&self) -> usize {
        self.log_len()
    }
}

/// In a shared table an incarnation that is over keeps its slot, with gaps that nobody can fill any more.
fn is_lost<K: Key, V: Payload>(table: &Table<K, V>, of: &NodeId, counter: u64) -> bool {
    table.kind() == Kind::Shared && table.retired().contains(of) && table.context().clock().get(of) < counter
}

/// The tables of a node.
pub(crate) fn tables(upper: &Upper) -> impl Iterator<Item = Look<'_>> {
    fn look<'a, K: Key, V: Payload>(name: &'static str, table: &'a Table<K, V>) -> Option<Look<'a>> {
        let (kind, revision, origin, context) = (table.kind(), table.revision(), table.origin(), table.context());
        let (retired, live, removals) = (table.retired(), table.live_len(), table.removals_len());
        Some(Look { name, kind, revision, origin, context, retired, live, removals, kept: table })
    }
    let children = upper.children();
    let tables = [
        look("names", upper.names().names().table()),
        children.and_then(|children| look("desired", children.desired().table())),
        children.and_then(|children| look("actual", children.actual().table())),
        children.and_then(|children| look("marks", children.marks().table())),
        children.and_then(|children| look("facts", children.facts().table())),
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
pub const ALL: [Invariant; 18] = [
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
    same_members::INVARIANT,
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
    /// Of each table of a node, whose it was and the revision in which it held no more than it may.
    checked: RefCell<BTreeMap<TableOf, (NodeId, u64)>>,
    /// Who showed every name as it is held.
    shown: RefCell<one_owner::Shown>,
    /// The nodes of a group and their state, and the children that are due in it.
    due: RefCell<BTreeMap<Vec<usize>, Due>>,
}

/// The name of a table and the node that has it.
type TableOf = (&'static str, usize);
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
    world.remembered.checked.borrow_mut().clear();
    world.remembered.due.borrow_mut().clear();
    world.remembered.shown.take();
    check(world, Moment::Quiet)
}

/// A fact by which the oracle saw this invariant broken.
fn noted(world: &World, name: &'static str) -> Option<Broken> {
    world.oracle.broken.iter().find(|(invariant, _)| *invariant == name).map(|(_, what)| Broken::Safety(what.clone()))
}

/// The first invariant that does not hold, the user's ones last. Remembers what the next look is compared with.
pub(crate) fn check(world: &World, moment: Moment) -> Option<Violation> {
    let broken = first_broken(world, moment);
    world.remember();
    broken
}

fn first_broken(world: &World, moment: Moment) -> Option<Violation> {
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
