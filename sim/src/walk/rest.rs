//! Rest: what a small world comes to if nothing more goes wrong, and what must be so then.
//!
//! From any state there is one plain way to rest: whatever may happen by itself happens, in a fixed order; then all
//! clocks beat, and so on, until a beat changes nothing. Ways of many states join, so each state is walked through once.
//! A cut may stay or heal: both are looked at, and with a cut that stays each side must be at rest for itself.

use std::collections::BTreeMap;

use ordu_registry::core::Name;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::Table;
use ordu_supervisor::core::Supervisor;
use ordu_transport::core::{NodeId, Pid};

use super::book::Book;
use super::local::{CHILD, Local, child, name_of};
use super::prints::Prints;
use super::state::{Action, State};

/// Most actions between two beats; more would be nodes that never fall silent.
const ACTIONS_MAX: usize = 2_000;
/// Most beats until rest, 78 s: past the longest time for which a move is not tried again.
const BEATS_MAX: usize = 60;
/// How many beats in a row everything must hold where the state goes on changing.
const HOLDS: usize = 5;

/// What does not come to rest as it should.
#[derive(Debug)]
pub(super) struct Unrest {
    pub(super) what: String,
    /// What happened by itself until then.
    pub(super) actions: Vec<Action>,
}

/// Which states are known to come to a good rest.
#[derive(Default)]
pub(super) struct Rest {
    good: Prints,
}

impl Rest {
    /// Whether a state comes to a good rest, and where it is cut also if the cut stays.
    pub(super) fn judge(&mut self, state: &State, book: &mut Book) -> Result<(), Unrest> {
        self.follow(state.calm(), book)?;
        if !state.is_cut() {
            return Ok(());
        }
        let (healed, _) = state.calm().after(Action::Heal, book);
        self.follow(healed, book).map_err(|mut unrest| {
            unrest.actions.insert(0, Action::Heal);
            unrest
        })
    }

    fn follow(&mut self, mut state: State, book: &mut Book) -> Result<(), Unrest> {
        let (mut actions, mut passed) = (Vec::new(), Vec::new());
        let (mut last, mut holds, mut beats, mut since_beat) = (None, 0, 0, 0);
        let mut possible = Vec::new();
        loop {
            let print = state.fingerprint();
            if self.good.contains(print) {
                break;
            }
            passed.push(print);
            possible.clear();
            state.natural(book, &mut possible);
            if let Some(&action) = possible.first() {
                since_beat += 1;
                act(&mut state, action, book, &mut actions)?;
                if since_beat > ACTIONS_MAX {
                    return Err(Unrest { what: "the nodes do not fall silent".to_owned(), actions });
                }
                continue;
            }
            let found = check(&state, book);
            holds = if found.is_ok() { holds + 1 } else { 0 };
            if last == Some(print) || beats >= BEATS_MAX {
                match found {
                    Ok(()) if last == Some(print) || holds > HOLDS => break,
                    Ok(()) => return Err(Unrest { what: "it holds only now and then".to_owned(), actions }),
                    Err(what) => return Err(Unrest { what, actions }),
                }
            }
            (last, since_beat, beats) = (Some(print), 0, beats + 1);
            for node in (0..book.world.nodes).filter(|node| state.is_up(*node)).collect::<Vec<_>>() {
                let node = u8::try_from(node).unwrap_or(u8::MAX);
                act(&mut state, Action::Beat { node }, book, &mut actions)?;
            }
        }
        for print in passed {
            self.good.insert(print);
        }
        Ok(())
    }
}

/// Lets a world come to rest, whether or not what must be so is so.
pub(super) fn settle(mut state: State, book: &mut Book) -> State {
    let mut possible = Vec::new();
    for beat in 0..4 {
        for node in (0..book.world.nodes).filter(|_| beat > 0) {
            state = state.after(Action::Beat { node: u8::try_from(node).unwrap_or(u8::MAX) }, book).0;
        }
        for _ in 0..ACTIONS_MAX {
            possible.clear();
            state.natural(book, &mut possible);
            let Some(&action) = possible.first() else { break };
            state = state.after(action, book).0;
        }
    }
    state
}

fn act(state: &mut State, action: Action, book: &mut Book, actions: &mut Vec<Action>) -> Result<(), Unrest> {
    let (next, fault) = state.after(action, book);
    actions.push(action);
    *state = next;
    fault.map_or(Ok(()), |what| Err(Unrest { what, actions: std::mem::take(actions) }))
}

// ---- what must be so at rest

fn check(state: &State, book: &Book) -> Result<(), String> {
    let up: Vec<usize> = (0..book.world.nodes).filter(|node| state.is_up(*node)).collect();
    let (apart, together): (Vec<usize>, Vec<usize>) = up.iter().partition(|node| state.is_apart(**node));
    check_group(state, book, &apart)?;
    check_group(state, book, &together)
}

fn check_group(state: &State, book: &Book, group: &[usize]) -> Result<(), String> {
    let locals: Vec<(usize, &Local)> = group.iter().map(|node| (*node, book.local(state.nodes[*node]))).collect();
    let Some((first, rest)) = locals.split_first() else { return Ok(()) };
    rest.iter().try_for_each(|other| alike(*first, *other))?;
    names(&locals)?;
    if book.world.children {
        children(&locals)?;
        wishes(state, book, &locals)?;
    }
    Ok(())
}

fn alike((one, first): (usize, &Local), (other, second): (usize, &Local)) -> Result<(), String> {
    same("names", first.upper.names().names().table(), second.upper.names().names().table())
        .and_then(|()| {
            let (Some(first), Some(second)) = (first.upper.children(), second.upper.children()) else { return Ok(()) };
            same("desired", first.desired().table(), second.desired().table())?;
            same("actual", first.actual().table(), second.actual().table())?;
            same("marks", first.marks().table(), second.marks().table())?;
            same("facts", first.facts().table(), second.facts().table())
        })
        .map_err(|what| format!("n{one} and n{other} {what}"))
}

fn same<K: Key, V: Payload>(table: &str, first: &Table<K, V>, second: &Table<K, V>) -> Result<(), String> {
    match (first == second, first.digest() == second.digest()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("tell different digests of equal tables of {table}")),
        (false, true) => Err(format!("tell equal digests of different tables of {table}")),
        (false, false) => Err(format!("hold different tables of {table}")),
    }
}

/// One holder a name, and every lookup shows it.
fn names(locals: &[(usize, &Local)]) -> Result<(), String> {
    let mut holders: BTreeMap<Name, Vec<Pid>> = BTreeMap::new();
    for (_, local) in locals {
        let names = local.upper.names();
        for pid in names.processes() {
            for name in names.names_of(pid) {
                holders.entry(name.clone()).or_default().push(pid.clone());
            }
        }
    }
    if let Some((name, pids)) = holders.iter().find(|(_, pids)| pids.len() > 1) {
        return Err(format!("{name} is held by {pids:?}"));
    }
    for (node, local) in locals {
        let names = local.upper.names();
        for (name, pids) in &holders {
            let shown = names.lookup(name).map(|entry| entry.pid().clone());
            if shown.as_ref() != pids.first() {
                return Err(format!("n{node} shows {name} at {shown:?}, and {:?} holds it", pids.first()));
            }
        }
        if let Some(entry) = names.entries("").find(|entry| !holders.contains_key(entry.name())) {
            return Err(format!("n{node} shows {} at {:?}, and nobody holds it", entry.name(), entry.pid()));
        }
    }
    Ok(())
}

/// One copy of a child that should run, none of one that should not; and every caller was answered.
fn children(locals: &[(usize, &Local)]) -> Result<(), String> {
    let supervisors = |node: usize, local: &'_ Local| -> Option<(usize, bool, usize)> {
        let supervisor = local.upper.children()?;
        Some((node, supervisor.desired().table().live(&child()).next().is_some(), supervisor.calls_len()))
    };
    let desired = locals.iter().filter_map(|(node, local)| supervisors(*node, local));
    let desired: Vec<(usize, bool, usize)> = desired.collect();
    let copies: Vec<String> = locals
        .iter()
        .flat_map(|(node, local)| {
            let copies = local.processes.iter().filter(|(_, process)| process.child);
            copies.map(move |(serial, _)| format!("n{node}'s process {serial}"))
        })
        .collect();
    let wanted = desired.iter().any(|(_, desired, _)| *desired);
    match (wanted, copies.len()) {
        (true, 1) | (false, 0) => {}
        (true, 0) => return Err("the child should run and runs nowhere".to_owned()),
        (true, _) => return Err(format!("the child runs more than once: {copies:?}")),
        (false, _) => return Err(format!("the child should not run, and runs: {copies:?}")),
    }
    let nameless = locals.iter().find(|(_, local)| local.upper.names().lookup(&name_of(CHILD)).is_some() != wanted);
    if let Some((node, _)) = nameless {
        return Err(format!("n{node} does not show the child's name as it runs"));
    }
    match desired.iter().find(|(_, _, calls)| *calls > 0) {
        Some((node, _, calls)) => Err(format!("{calls} callers of n{node} still wait")),
        None => Ok(()),
    }
}

/// What callers wished is kept, and what they ended is not back.
fn wishes(state: &State, book: &Book, locals: &[(usize, &Local)]) -> Result<(), String> {
    let ghost = book.ghost_of(state.ghost());
    let cores: Vec<&Supervisor> = locals.iter().filter_map(|(_, local)| local.upper.children()).collect();
    let seen = |dot: &(NodeId, u64)| cores.iter().any(|core| core.desired().table().context().contains(&dot.0, dot.1));
    let live = |dot: &(NodeId, u64)| {
        cores.iter().any(|core| {
            core.desired().table().live(&child()).any(|(origin, counter, _)| (origin, counter) == (&dot.0, dot.1))
        })
    };
    for (op, dot) in &ghost.wishes {
        let removals = ghost.removed.get(dot);
        if live(dot) && removals.is_some_and(|by| by.iter().any(seen)) {
            return Err(format!("the start of operation {op} is back, although its termination is known"));
        }
        if !live(dot) && seen(dot) && removals.is_none() {
            return Err(format!("the start of operation {op} is gone by nobody's wish"));
        }
        if !seen(dot) && removals.is_none() && ghost.accepted.contains(op) && !state.is_cut() {
            return Err(format!("the start of operation {op}, which its caller was told runs, is lost"));
        }
    }
    Ok(())
}
