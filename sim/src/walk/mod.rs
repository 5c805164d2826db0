//! Exhaustive small worlds: two or three nodes, one child or a few names, and every order in which messages, cuts,
//! crashes and wishes can fall, up to a number of actions. The cores are the ones that run in production.
//!
//! A walk goes breadth first over distinct states, so what it finds it shows in the fewest actions. In each state hold the
//! promises that one step can break: nobody is told twice, or to give way to a lesser one; no two copies on one node; no
//! wish that nobody had; no equal contexts with unequal contents. And each state is followed to its `rest`: one
//! holder a name and one copy of the child, equal tables, callers answered, what was wished kept, what was ended gone.
//!
//! # What is left out
//!
//! * Views follow sessions. A node is held as down when its session ended for a cut or a crash; there is no gossip, no
//!   suspicion, and nobody is held as up over others. Both ends take a session as begun in one action (what lies between
//!   is the order of steps of nodes that cannot hear each other yet); each end notices its end for itself.
//! * One node at a time is cut off, from everybody and both ways. Lanes keep their order and lose nothing while a session
//!   lasts; a session that ends loses what was still on its way to that end.
//! * Time passes in beats of 1.3 s, on one node at a time, a few times before rest. Wall clocks stand still, so stamps
//!   count events; they may be apart. States that differ only in jitter are one: times are compared in half seconds.
//! * A child's init does not fail, and it ends when it is asked to.
//!
//! # Why not a model checker from the shelf
//!
//! `stateright` fits by licence and idea. But it hashes and clones whole states, and a state here is a handful of cores
//! of many kilobytes, of which an action changes one: this walk keeps every distinct node once and takes every step of it
//! once (see `book`), so that a state is two hundred bytes and most transitions are look-ups. It would also judge states
//! as they stand, where our promises are about the rest that follows; and bring an HTTP server and thirty crates.

mod book;
mod local;
mod prints;
mod rest;
mod state;
mod words;
pub mod worlds;

use book::Book;
use prints::Prints;
use rest::Rest;
use state::{Action, State};
pub use words::Trace;
pub use worlds::{WORLDS, World, find};

/// Most states of one walk; past it the walk ends with what it has.
pub const STATES_MAX: usize = 30_000_000;

/// What a walk has seen.
#[derive(Debug)]
pub struct Walked {
    /// Distinct states.
    pub states: usize,
    /// Actions taken, those that led to a known state included.
    pub transitions: usize,
    /// How deep it went, in actions.
    pub depth: usize,
    /// Whether nothing was left to do: deeper there are no further states.
    pub complete: bool,
    /// Whether it ended because there were as many states as it might have, in the middle of its depth.
    pub stopped: bool,
    /// Distinct states of single nodes, and distinct steps of them.
    pub nodes: (usize, usize),
    /// The first state, of those with the fewest actions, that breaks a promise.
    pub violation: Option<Trace>,
}

/// How far a walk is: its depth, the states so far, and how many of them it goes on from.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// In actions.
    pub depth: usize,
    /// Distinct states so far.
    pub states: usize,
    /// Those that were met last.
    pub frontier: usize,
}

/// Walks a world to a depth.
pub fn walk(world: &'static World, depth: usize, progress: impl FnMut(Progress)) -> Walked {
    walk_within(world, depth, STATES_MAX, progress)
}

/// Walks a world to a depth, or until it has met this many states, up to [`STATES_MAX`].
pub fn walk_within(
    world: &'static World,
    depth: usize,
    states_max: usize,
    mut progress: impl FnMut(Progress),
) -> Walked {
    let states_max = states_max.min(STATES_MAX);
    let mut search = Search::new(world);
    let first = search.first();
    search.seen.insert(first.fingerprint());
    search.steps.push((0, Action::Heal));
    let mut frontier = vec![(0, first)];
    let (mut deep, mut violation, mut stopped) = (0, None, false);
    while deep < depth && !frontier.is_empty() && !stopped && violation.is_none() {
        let mut next = Vec::new();
        for (from, state) in &frontier {
            violation = search.expand(*from, state, &mut next);
            stopped = violation.is_none() && search.steps.len() >= states_max;
            if violation.is_some() || stopped {
                break;
            }
        }
        frontier = next;
        deep += 1;
        progress(Progress { depth: deep, states: search.steps.len(), frontier: frontier.len() });
    }
    let complete = frontier.is_empty() && !stopped && violation.is_none();
    let (states, transitions) = (search.steps.len(), search.transitions);
    Walked { states, transitions, depth: deep, complete, stopped, nodes: search.book.len(), violation }
}

struct Search {
    book: Book,
    rest: Rest,
    seen: Prints,
    /// Per state, the one it was met from and by what.
    steps: Vec<(u32, Action)>,
    transitions: usize,
    possible: Vec<Action>,
}

impl Search {
    fn new(world: &'static World) -> Self {
        let (book, rest) = (Book::new(world), Rest::default());
        Self { book, rest, seen: Prints::default(), steps: Vec::new(), transitions: 0, possible: Vec::new() }
    }

    /// The state in which the walk begins.
    fn first(&mut self) -> State {
        let book = &mut self.book;
        let alone = State::first(book);
        let mut state = alone;
        let settle = |state, book: &mut Book| if book.world.met { rest::settle(state, book) } else { state };
        state = settle(state, book);
        for number in 0..book.world.before.len() {
            state = state.after(Action::Op(u8::try_from(number).unwrap_or(u8::MAX)), book).0;
            state = settle(state, book);
        }
        state.renewed(&alone)
    }

    /// Takes every action that is possible in a state.
    fn expand(&mut self, from: u32, state: &State, next: &mut Vec<(u32, State)>) -> Option<Trace> {
        let mut possible = std::mem::take(&mut self.possible);
        possible.clear();
        state.actions(&self.book, &mut possible);
        for &action in &possible {
            self.transitions += 1;
            let (after, fault) = state.after(action, &mut self.book);
            if let Some(what) = fault {
                return Some(self.trace(from, Some(action), what, Vec::new()));
            }
            if !self.seen.insert(after.fingerprint()) {
                continue;
            }
            if let Err(unrest) = self.rest.judge(&after, &mut self.book) {
                return Some(self.trace(from, Some(action), unrest.what, unrest.actions));
            }
            let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
            self.steps.push((from, action));
            next.push((number, after));
        }
        self.possible = possible;
        None
    }

    fn trace(&mut self, mut from: u32, last: Option<Action>, what: String, then: Vec<Action>) -> Trace {
        let mut actions: Vec<Action> = last.into_iter().collect();
        while from != 0 {
            let (parent, action) = self.steps[from as usize];
            actions.push(action);
            from = parent;
        }
        actions.reverse();
        let first = self.first();
        words::tell(first, &actions, &then, what, &mut self.book)
    }
}
