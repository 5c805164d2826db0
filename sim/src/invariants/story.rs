//! What a story makes sure of beside the promises; see `musts`.

use ordu_supervisor::core::tables::{Actual, MarkKey, State};
use std::collections::BTreeMap;

use ordu_supervisor::core::{Apart, ChildId, ChildSpec, Placement, Restart, Supervisor};
use ordu_transport::core::{Member, NodeId, Pid, Status};

use super::nothing_lost::{has_room, place, takes_none};
use super::{Broken, Invariant, Moment};
use crate::musts::Must;
use crate::node::zone_of;
use crate::world::World;

/// Its name.
pub const NAME: &str = "story";
/// Most marks of starts that are gone which a node keeps where a few starts come each second.
const VOID_MARKS_MAX: usize = 40;
/// How long ago a process must have ended for its claims to be old news, in microseconds.
const OLD_NEWS_US: u64 = 1_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "the scenario",
    caveat: "only in scenarios that say so, because nothing in them gives a reason for it",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some((_, what)) = world.oracle.broken.iter().find(|(invariant, _)| *invariant == NAME) {
        return Some(Broken::Safety(what.clone()));
    }
    if moment == Moment::Quiet && world.plan.musts.contains(&Must::AcceptedRuns) {
        let lost = |id: &&ChildId| world.oracle.copies.get(*id).is_none_or(Vec::is_empty);
        if let Some(id) = world.oracle.accepted.iter().find(lost) {
            return Some(Broken::NotYet(format!("{id:?} was accepted, and does not run")));
        }
    }
    if moment == Moment::Quiet && world.plan.musts.contains(&Must::EndedStays) {
        let runs = |id: &&ChildId| world.oracle.copies.get(*id).is_some_and(|copies| !copies.is_empty());
        if let Some(id) = world.oracle.ended.iter().find(runs) {
            return Some(Broken::NotYet(format!("{id:?} was terminated, and runs")));
        }
    }
    if moment == Moment::Quiet
        && world.plan.musts.contains(&Must::LosersMerge)
        && let Some((pid, id)) = world.oracle.unmerged()
    {
        return Some(Broken::NotYet(format!("nobody was given what {pid:?} of {id:?} left")));
    }
    if moment == Moment::Quiet && world.plan.musts.contains(&Must::KeptApart) {
        let crowded = together(world);
        if crowded.is_some() {
            return crowded.map(Broken::NotYet);
        }
    }
    if moment == Moment::Quiet && world.plan.musts.contains(&Must::Even) {
        let is_on =
            |pid: &&Pid, node: usize| world.oracle.processes.get(pid).is_some_and(|process| process.node == node);
        let of = |node: usize| world.oracle.copies.values().flatten().filter(|pid| is_on(pid, node)).count();
        let counts: Vec<usize> = world.up().map(|(node, _)| of(node)).collect();
        if counts.iter().max() > counts.iter().min().map(|fewest| fewest + 1).as_ref() {
            return Some(Broken::NotYet(format!("the nodes have {counts:?} children")));
        }
    }
    world.plan.musts.iter().find_map(|must| broken(world, *must)).map(Broken::Safety)
}

/// Two children in a place that must not be there together, though there is room for each.
fn together(world: &World) -> Option<String> {
    let takes = |&(node, children): &(usize, &Supervisor)| !takes_none(world, node, children);
    let nodes = || world.up().filter_map(|(node, life)| Some((node, life.upper.children()?))).filter(takes);
    let is_apart = |spec: &ChildSpec| match &spec.placement {
        Placement::Apart(apart) if apart.required && spec.restart != Restart::Temporary => Some(apart.clone()),
        _ => None,
    };
    let named: Vec<_> = nodes().map(|(node, _)| (world.nodes[node].name.as_str(), zone_of(node))).collect();
    let mut seen: BTreeMap<(Apart, &str), &ChildId> = BTreeMap::new();
    for ((_, children), (name, zone)) in nodes().zip(&named) {
        for (_, id) in children.child_pids() {
            let Some(apart) = children.spec(id).and_then(|spec| is_apart(spec)) else { continue };
            let here = place(&apart, name, zone);
            let places = named.iter().map(|(name, zone)| place(&apart, name, zone)).collect();
            let has_room = has_room(children, &apart, places);
            if let Some(other) = seen.insert((apart, here), id)
                && has_room
            {
                return Some(format!("{other:?} and {id:?} are to be apart, and are in {here}"));
            }
        }
    }
    None
}

fn broken(world: &World, must: Must) -> Option<String> {
    let oracle = &world.oracle;
    let told = || oracle.processes.iter().flat_map(|(pid, process)| process.told.iter().map(move |told| (pid, told)));
    match must {
        Must::Undisputed => oracle.doubled.clone().or_else(|| {
            let (pid, told) = told().next()?;
            Some(format!("{pid:?} was told to give {:?} to {:?}, and nothing gave a reason", told.name, told.by))
        }),
        Must::NeverTwo => oracle.doubled.clone(),
        Must::NoGhosts => told().find_map(|(pid, told)| {
            let ended = oracle.processes.get(&told.by)?.ended_us?;
            let ghost = told.at_us > ended + OLD_NEWS_US;
            ghost.then(|| format!("{pid:?} was told to give {:?} to {:?}, which ended at {ended}", told.name, told.by))
        }),
        Must::Unsuspected => world.up().find_map(|(node, life)| {
            let mut members = life.upper.names().view().members();
            let doubted =
                |member: &&Member| member.status != Status::Up && world.up().any(|(_, it)| it.id == member.id);
            members.find(doubted).map(|member| format!("n{node} holds {:?} as {:?}", member.id, member.status))
        }),
        Must::Blameless => world.up().find_map(|(node, life)| {
            let actual = life.upper.children()?.actual().table();
            actual.keys().find_map(|id| {
                let blamed = |claim: &&Actual| claim.restarts > 0 || claim.state == State::Backoff;
                let claim = actual.live(id).map(|(_, _, claim)| claim).find(blamed)?;
                Some(format!("n{node} shows {id:?} with {} restarts, as {:?}", claim.restarts, claim.state))
            })
        }),
        Must::FoundSoon => world.up().find_map(|(node, life)| {
            let late = |id: &NodeId| oracle.killed.get(id).is_some_and(|killed| world.now > killed.known_us());
            let mut members = life.upper.names().view().members();
            let missed = members.find(|member| member.status.is_living() && late(&member.id))?;
            Some(format!("n{node} holds {:?}, which was killed, as {:?}", missed.id, missed.status))
        }),
        // Looked at elsewhere.
        Must::Unburied => None,
        Must::TwinAlways | Must::SharedTwinAlways | Must::RefusedGoes | Must::GoodStarts => None,
        Must::AcceptedRuns | Must::EndedStays | Must::StateGoesOn => None,
        Must::LosersMerge | Must::NeverAbsent => None,
        Must::CheckpointsGoOn | Must::BeginsAnew => None,
        Must::KeptApart | Must::Even => None,
        Must::NothingMoves => world.up().find_map(|(node, life)| {
            let actual = life.upper.children()?.actual().table();
            let moves = |claim: &Actual| matches!(claim.state, State::Moving { .. });
            let id = actual.keys().find(|id| actual.live(id).any(|(_, _, claim)| moves(claim)))?;
            Some(format!("n{node} shows {id:?} on its way to another node"))
        }),
        Must::FirstStays => {
            let first = world.gave_way.iter().find(|node| **node < world.plan.nodes);
            first.map(|node| format!("n{node} gave way to a node that took its name later"))
        }
        Must::MarksGo => world.up().find_map(|(node, life)| {
            let children = life.upper.children()?;
            let (marks, desired) = (children.marks().table(), children.desired().table());
            let stands = |key: &&MarkKey| {
                let mut starts = desired.live(&key.child);
                starts.any(|(origin, counter, _)| (origin, counter) == (&key.origin, key.counter))
            };
            let void = marks.keys().filter(|key| !stands(key)).count();
            (void > VOID_MARKS_MAX).then(|| format!("n{node} keeps {void} marks of starts that are gone"))
        }),
        Must::CrashLoopEnds => {
            let again = oracle.limited_runs.iter().find(|(_, (runs, allowed))| runs > &(allowed + 1));
            again.map(|(id, (runs, allowed))| format!("{id:?}, allowed {allowed} restarts, was started {runs} times"))
        }
        Must::RunsOnce => {
            let again = oracle.temporary_runs.iter().find(|(_, runs)| **runs > 1);
            again.map(|(id, runs)| format!("{id:?}, which is temporary, was started {runs} times"))
        }
    }
}
