//! G3: an accepted child is not at zero running copies for longer than detection plus `TAKEOVER_MAX` while an eligible
//! node is up.

use std::collections::{BTreeMap, BTreeSet};

use ordu_registry::core::clock::Dot;
use ordu_supervisor::core::tables::{Actual, Desired, Facts, FactsKey, State};
use ordu_supervisor::core::{Apart, ChildId, Over, Placement, Restart, Supervisor};

use super::{Broken, Invariant, Moment, noted, state_of};
use crate::node::{ZONE, zone_of};
use crate::world::World;

/// Its name.
pub const NAME: &str = "nothing-lost";
/// How long a takeover may take once the loss was noticed.
pub const TAKEOVER_US_MAX: u64 = 3_000_000;
/// How long it may take until a loss is noticed, by views and by sessions that have to be built anew. A node whose own
/// clockwork was late lately takes a few times as long, [as it says](ordu_transport::core::membership::Membership::stretch).
pub const DETECTION_US_MAX: u64 = 4_000_000;

pub(super) const INVARIANT: Invariant = Invariant {
    name: NAME,
    source: "ARCHITECTURE.md G3",
    caveat: "before the heal only groups that nothing disturbed meanwhile count; what backs off, or runs once at most, \
             is excused; a child counts as running from its start on; a node that was slow lately detects more slowly",
    check,
};

fn check(world: &World, moment: Moment) -> Option<Broken> {
    if let Some(broken) = noted(world, NAME) {
        return Some(broken);
    }
    if let Some(((id, group), since)) = overlong(world, &world.oracle.missing_since) {
        return Some(Broken::Safety(format!("{id:?} has not run since {since} in the undisturbed group {group:?}")));
    }
    if moment == Moment::Any {
        return None;
    }
    let ((id, group), since) = world.oracle.missing_since.first_key_value()?;
    Some(Broken::NotYet(format!("{id:?} has not run since {since} in {group:?}")))
}

/// What has been wrong with a child in an undisturbed group for longer than it may be.
pub(super) fn overlong<'a>(
    world: &World,
    wrong: &'a BTreeMap<(ChildId, Vec<usize>), u64>,
) -> Option<(&'a (ChildId, Vec<usize>), &'a u64)> {
    let undisturbed = world.now.saturating_sub(world.disturbed_us);
    let is_lasting = |group: &[usize], since: u64| {
        // Where children need a quorum, others wait until what may run is gone for certain.
        let takeover = TAKEOVER_US_MAX + world.plan.void_us();
        let shortest = takeover + DETECTION_US_MAX;
        let lasts = world.now.saturating_sub(since).min(undisturbed);
        let stretch = || group.iter().map(|&node| u64::from(world.stretch(node))).max().unwrap_or(1);
        lasts > shortest && lasts > takeover + DETECTION_US_MAX * stretch()
    };
    wrong.iter().find(|((_, group), since)| is_lasting(group, **since)).filter(|_| !world.faults.are_over())
}

/// The groups of nodes that are up, go on, and reach one another both ways, over others if need be.
pub(crate) fn groups(world: &World) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = world.up().map(|(node, _)| node).filter(|&node| !world.nodes[node].paused).collect();
    let mut groups = Vec::new();
    while let Some(first) = left.pop() {
        let mut group = vec![first];
        let mut at = 0;
        while let Some(&node) = group.get(at) {
            let near = |other: &usize| world.net.is_open(node, *other) && world.net.is_open(*other, node);
            group.extend(left.extract_if(.., |other| near(other)));
            at += 1;
        }
        group.sort_unstable();
        groups.push(group);
    }
    groups.sort_unstable();
    groups
}

/// The start of a child that counts on a replica.
pub(crate) fn winner<'a>(supervisor: &'a Supervisor, id: &ChildId) -> Option<(Dot, &'a Desired)> {
    let live = supervisor.desired().table().live(id);
    let (origin, counter, desired) = live.max_by_key(|(origin, counter, desired)| (desired.at, *origin, *counter))?;
    Some((Dot::new(origin.clone(), counter), desired))
}

/// [`find_due`], unless nothing changed since.
fn due(world: &World, group: &[usize]) -> Vec<ChildId> {
    let state = state_of(group.iter().filter_map(|&node| Some((node, world.life(node)?))));
    let mut known = world.remembered.due.borrow_mut();
    match known.get(group) {
        Some((of, due)) if *of == state => due.clone(),
        _ => {
            let due = find_due(world, group);
            known.insert(group.to_vec(), (state, due.clone()));
            due
        }
    }
}

/// The latest of a child's starts that are not for one run only.
fn lasting<'a>(supervisor: &'a Supervisor, id: &ChildId) -> Option<(Dot, &'a Desired)> {
    let live = supervisor.desired().table().live(id).filter(|(_, _, it)| it.spec.restart != Restart::Temporary);
    let (origin, counter, desired) = live.max_by_key(|(origin, counter, desired)| (desired.at, *origin, *counter))?;
    Some((Dot::new(origin.clone(), counter), desired))
}

/// Whether a node holds as many children as it may.
fn is_full(world: &World, supervisor: &Supervisor) -> bool {
    let (most, actual) = (world.plan.max_children as usize, supervisor.actual().table());
    let takes_place = |id: &&ChildId| actual.live_of(id, supervisor.id()).is_some_and(Actual::takes_place);
    most > 0 && actual.keys_of(supervisor.id()).filter(takes_place).count() >= most
}

/// Whether a node takes no children, by what it says of itself, and by its places: what it says of those may be late.
pub(super) fn takes_none(world: &World, node: usize, supervisor: &Supervisor) -> bool {
    let key = FactsKey(world.nodes[node].name.clone());
    let facts = supervisor.facts().table().live_of(&key, supervisor.id());
    let takes_no_more = |facts: &Facts| facts.draining || facts.waiting || facts.cordoned || facts.powerless;
    facts.is_none_or(takes_no_more) || is_full(world, supervisor)
}

/// The children that must have a copy in a group: all of it agrees on their starts, and one of it may run them. A start
/// for one run that counts may run in place of one that lasts, but not hide it.
fn find_due(world: &World, group: &[usize]) -> Vec<ChildId> {
    let members: Vec<(usize, &Supervisor)> =
        group.iter().filter_map(|&node| Some((node, world.life(node)?.upper.children()?))).collect();
    let Some((_, first)) = members.first() else { return Vec::new() };
    let eligible: BTreeMap<&str, String> = members
        .iter()
        .filter(|(node, supervisor)| !takes_none(world, *node, supervisor))
        .map(|(node, _)| (world.nodes[*node].name.as_str(), zone_of(*node)))
        .collect();
    let is_due = |id: &&ChildId| {
        let (Some((dot, first_start)), Some((lasts, desired))) = (winner(first, id), lasting(first, id)) else {
            return false;
        };
        let somewhere = [first_start, desired].iter().all(|start| {
            let here = |zone: &String| start.spec.affinity.require.get(ZONE).is_none_or(|asked| asked == zone);
            match &start.spec.placement {
                Placement::Apart(apart) if apart.required => {
                    let nodes = eligible.iter().filter(|(_, zone)| here(zone));
                    has_room(first, apart, nodes.map(|(name, zone)| place(apart, name, zone)).collect())
                }
                Placement::Uniform | Placement::LeastLoaded | Placement::Apart(_) => eligible.values().any(here),
                Placement::Pinned(name) => eligible.get(name.as_str()).is_some_and(here),
            }
        });
        let agreed = members.iter().all(|(_, other)| {
            let same = |theirs: Option<(Dot, &Desired)>, ours: &Dot| theirs.is_some_and(|(theirs, _)| theirs == *ours);
            same(winner(other, id), &dot) && same(lasting(other, id), &lasts)
        });
        let waits = members.iter().any(|(_, other)| {
            let claim = other.actual().table().live_of(id, other.id());
            claim.is_some_and(|claim| matches!(claim.state, State::Backoff | State::Failed))
        });
        somewhere && agreed && !waits
    };
    first.desired().table().keys().filter(is_due).cloned().collect()
}

/// What children are kept apart over: a node, or its zone.
pub(super) fn place<'a>(apart: &Apart, name: &'a str, zone: &'a str) -> &'a str {
    if apart.over == Over::Node { name } else { zone }
}

/// Whether each that keeps away from a group can be in a place of its own.
pub(super) fn has_room(supervisor: &Supervisor, apart: &Apart, places: BTreeSet<&str>) -> bool {
    let (key, value) = &apart.group;
    let starts = supervisor.desired().table();
    let is_member = |id: &&ChildId| starts.live(id).any(|(_, _, it)| it.spec.labels.get(key) == Some(value));
    starts.keys().filter(is_member).count() <= places.len()
}

/// Whether a child of a group is in quarantine, and had as many processes as it takes.
fn is_given_up(world: &World, group: &[usize], id: &ChildId) -> bool {
    let says = |node: &usize| world.life(*node)?.upper.children().map(|children| children.is_quarantined(id));
    world.oracle.has_earned_quarantine(id) && group.iter().any(|node| says(node) == Some(true))
}

/// Whether everybody in a group sees everybody else in it as living.
fn agree(world: &World, group: &[usize]) -> bool {
    let members: Vec<_> = group.iter().filter_map(|&node| world.life(node)).collect();
    members.iter().all(|one| members.iter().all(|other| one.upper.names().view().is_living(&other.id)))
}

impl World {
    /// Notes which children lack a copy in which group, and which have several.
    pub(crate) fn watch_children(&mut self) {
        let mut missing = BTreeMap::new();
        let mut double = BTreeMap::new();
        if !self.plan.children || (self.faults.is_stormy() && !self.faults.are_over()) {
            (self.oracle.missing_since, self.oracle.double_since) = (missing, double);
            return;
        }
        for group in groups(self) {
            for id in due(self, &group) {
                let here = |pid: &&ordu_transport::core::Pid| {
                    self.oracle.processes.get(pid).is_some_and(|process| group.contains(&process.node))
                };
                let all = || self.oracle.copies.get(&id).into_iter().flatten().filter(here);
                let (copies, unasked) = (all().count(), all().filter(|pid| !self.oracle.is_stopping(pid)).count());
                if copies == 1 {
                    continue;
                }
                let key = (id, group.clone());
                if copies == 0 && is_given_up(self, &group, &key.0) {
                    continue;
                } else if copies == 0 {
                    let since = self.oracle.missing_since.get(&key).copied().unwrap_or(self.now);
                    missing.insert(key, since);
                } else if unasked > 1 && agree(self, &group) {
                    let since = self.oracle.double_since.get(&key).copied().unwrap_or(self.now);
                    double.insert(key, since);
                }
            }
        }
        (self.oracle.missing_since, self.oracle.double_since) = (missing, double);
    }
}
