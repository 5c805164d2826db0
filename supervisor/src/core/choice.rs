//! Placement that depends on where other children are: the seat of a child chooses a node for it by what it sees.
//!
//! ```text
//!   seat     Moving{to, token, released: true}   an assignment: no process of it has ever been here
//!   to       Starting{token}                     the seat sees its token and takes its own claim back
//! ```
//!
//! An assignment is a claim like any other: while it is visible nobody else starts or assigns the child, and it is void
//! with the node that made it. If `to` goes down or is late, the seat chooses again without it.

use std::collections::BTreeMap;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{NodeId, Now};

use super::child::Phase;
use super::counts::{Counts, load, place};
use super::moves::MOVE_MAX;
use super::placement::{self, Candidate, Ineligible, Merit};
use super::spec::{Apart, ChildId, ChildSpec, Over, Placement, Restart};
use super::supervisor::Supervisor;
use super::tables::Mark;
use super::words::Effect;

/// How good a node is for a child by where others are: the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    preference: u64,
    lacking: u64,
    /// How many of the group that the child keeps away from are in the node's place.
    pub(super) near: u64,
    /// How many of them are on the node itself.
    pub(super) beside: u64,
    /// Its children for its weight, with this one.
    load: u64,
    distance: u64,
    /// How many children it has.
    pub(super) children: u64,
}

impl Standing {
    /// Whether it is worth going from one node to another.
    fn beats(&self, other: &Self) -> bool {
        let without_hash = |of: &Self| (of.preference, of.lacking, of.near, of.beside, of.load);
        without_hash(self) < without_hash(other)
    }
}

/// What a choice goes by, the same for all nodes.
pub(super) struct Weighing<'a> {
    id: &'a ChildId,
    apart: Option<&'a Apart>,
    counts: &'a Counts,
    /// How many of the group are in each place, the child itself left out.
    near: BTreeMap<Option<&'a str>, u64>,
}

impl<'a> Weighing<'a> {
    fn new(supervisor: &'a Supervisor, counts: &'a Counts, id: &'a ChildId, spec: &'a ChildSpec) -> Self {
        let apart = if let Placement::Apart(apart) = &spec.placement { Some(apart) } else { None };
        let mut near: BTreeMap<_, u64> = BTreeMap::new();
        if let Some(apart) = apart {
            for (node, children) in counts.of(&apart.group) {
                let others = children.len() - usize::from(children.contains(id));
                *near.entry(place(&apart.over, node, supervisor.facts_of(node))).or_default() += others as u64;
            }
        }
        Self { id, apart, counts, near }
    }

    /// How good a node is, which is worth this much in itself. By the number of its children without the child, and by its
    /// weight.
    pub(super) fn standing(&self, candidate: Candidate<'_>, merit: Merit) -> Standing {
        let Candidate { id: node, facts } = candidate;
        let near = self.apart.map(|apart| place(&apart.over, node, facts));
        let near = near.and_then(|place| self.near.get(&place)).copied().unwrap_or(0);
        let beside = self.apart.map_or(0, |apart| self.counts.beside(&apart.group, node, self.id));
        let children = self.counts.on(node, self.id);
        let load = load(children.saturating_add(1), facts);
        let Merit { preference, lacking, distance } = merit;
        Standing { preference, lacking, near, beside, load, distance, children }
    }

    /// Whether the child may go to a node of this standing.
    pub(super) fn allows(&self, standing: &Standing) -> bool {
        standing.near == 0 || self.apart.is_none_or(|apart| !apart.required)
    }
}

impl Supervisor {
    /// Weighs nodes for a child by where others are.
    pub(super) fn weigh_by<T>(&self, spec: &ChildSpec, weigh: impl FnOnce(&Weighing<'_>) -> T) -> T {
        weigh(&Weighing::new(self, &self.counts(), &spec.id, spec))
    }

    /// The best node for a child by where others are, of those that are up and have not refused it lately.
    pub(super) fn choose(&self, now: Now, spec: &ChildSpec) -> Option<NodeId> {
        self.choose_by(&self.counts(), spec, |node| !self.is_refused_by(now, &spec.id, node)).map(|(_, node)| node)
    }

    fn choose_by(
        &self,
        counts: &Counts,
        spec: &ChildSpec,
        may: impl Fn(&NodeId) -> bool,
    ) -> Option<(Standing, NodeId)> {
        let weighing = Weighing::new(self, counts, &spec.id, spec);
        let reachable = |node: &NodeId| node == self.id() || self.is_up(node);
        let candidates = self.candidates().filter(|candidate| reachable(candidate.id) && may(candidate.id));
        let standings = candidates.filter_map(|candidate| {
            let merit = placement::merit(spec, &self.preference, candidate).ok()?;
            Some((weighing.standing(candidate, merit), candidate.id))
        });
        let allowed = standings.filter(|(standing, _)| weighing.allows(standing));
        allowed.min().map(|(standing, node)| (standing, node.clone()))
    }

    /// Where a child that a node holds is to be: its seat; or, where that depends on the others, there, unless it may not.
    pub(super) fn home(&self, now: Now, holder: &NodeId, spec: &ChildSpec) -> Option<NodeId> {
        if !spec.placement.chooses() {
            return self.seat(spec).cloned();
        }
        let there = || Some(holder.clone());
        // One that has refused it lately is better than none: it is offered the child again later.
        let refusing = || self.choose_by(&self.counts(), spec, |_| true).map(|(_, node)| node);
        let elsewhere = || self.choose(now, spec).or_else(refusing);
        match placement::eligible(spec, Candidate { id: holder, facts: self.facts_of(holder) }) {
            Ok(_) if self.is_crowded(holder, spec) && !is_present(Defect::CrowdStays) => elsewhere().or_else(there),
            Ok(_) | Err(Ineligible::Cordoned) => there(),
            Err(_) => elsewhere(),
        }
    }

    /// Whether a child is to leave the node that has it, because another is where it must not be. Of those that can go elsewhere
    /// all but the least go; and it too if one of them stays that cannot.
    fn is_crowded(&self, holder: &NodeId, spec: &ChildSpec) -> bool {
        let Some(apart) = spec.placement.required_apart() else { return false };
        let counts = self.counts();
        let here = place(&apart.over, holder, self.facts_of(holder));
        let is_near = |node: &NodeId| place(&apart.over, node, self.facts_of(node)) == here;
        let near: Vec<_> =
            counts.of(&apart.group).filter(|(node, _)| is_near(node)).map(|(_, children)| children).collect();
        let others = || near.iter().flat_map(|children| children.iter()).filter(|other| **other != spec.id);
        let can_go = |spec: &ChildSpec| self.choose_by(&counts, spec, |_| true).is_some();
        if others().next().is_none() || !can_go(spec) {
            return false;
        }
        if near.iter().any(|children| children.first().is_some_and(|first| *first < spec.id)) {
            return true;
        }
        // What one can do, another of the same wants can do too.
        let mut able: Vec<&ChildSpec> = Vec::new();
        others().any(|other| {
            let Some(other) = counts.yields(other, apart) else { return true };
            if able.iter().any(|one| (&one.kind, &one.affinity) == (&other.kind, &other.affinity)) {
                return false;
            }
            able.push(other);
            !can_go(other)
        })
    }

    /// Where a child that runs on a node should rather be, so that children are spread more evenly.
    pub(super) fn evener(
        &self,
        counts: &Counts,
        holder: &NodeId,
        spec: &ChildSpec,
        may: impl Fn(&NodeId) -> bool,
    ) -> Option<NodeId> {
        let (best, to) = self.choose_by(counts, spec, may)?;
        let own = Candidate { id: holder, facts: self.facts_of(holder) };
        let Ok(merit) = placement::merit(spec, &self.preference, own) else { return Some(to) };
        let own = Weighing::new(self, counts, &spec.id, spec).standing(own, merit);
        best.beats(&own).then_some(to).filter(|to| to != holder)
    }

    /// Why a child that could run somewhere waits all the same, if it does because of the others.
    pub(super) fn why_apart(&self, spec: &ChildSpec) -> Option<String> {
        let apart = spec.placement.required_apart()?;
        self.seat(spec)?;
        if self.choose_by(&self.counts(), spec, |_| true).is_some() {
            return None;
        }
        let (key, value) = &apart.group;
        let place = match &apart.over {
            Over::Node => "node".to_owned(),
            Over::Label(label) => format!("value of the nodes' label {label}"),
        };
        Some(format!("no eligible node: on every {place} that could run it there is one with {key}={value} already"))
    }

    /// The seat's decision: where a child that nobody holds is started. `None`: nowhere for now.
    pub(super) fn decide(&self, now: Now, spec: &ChildSpec) -> Option<NodeId> {
        if spec.placement.chooses() { self.choose(now, spec) } else { Some(self.id().clone()) }
    }

    /// Lets the node that was chosen have a child of which no process has been here. What runs once at most has then begun
    /// its run there: nobody else may.
    pub(super) fn assign(&mut self, now: Now, id: &ChildId, to: NodeId, effects: &mut Vec<Effect>) {
        let held = self.local.get(id).map(|local| (local.dot.clone(), local.spec.clone()));
        if let Some((dot, spec)) = held
            && spec.restart == Restart::Temporary
        {
            let started = Some(to.clone());
            self.mark(id, &dot, |mark| Mark { started, ..mark });
        }
        self.release(now, id, to, effects);
    }

    /// Whether a child that we hold has had no process here: we have assigned it to another node.
    pub(super) fn is_assignment(&self, id: &ChildId) -> bool {
        let claim = self.actual.table().live_of(id, self.id());
        claim.is_some_and(|claim| claim.fence.is_none())
    }

    /// The node that a child was to go to has gone, or is late.
    pub(super) fn release_again(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get(id) else { return };
        let Phase::Released { to, .. } = &local.phase else { return };
        let (to, spec) = (to.clone(), local.spec.clone());
        let assigned = self.is_assignment(id);
        let is_there = self.registry.view().is_living(&to);
        let stuck = is_present(Defect::AssignmentStands);
        if assigned && (stuck || spec.restart == Restart::Temporary && is_there) {
            // It may have begun its one run.
            if let Some(local) = self.local.get_mut(id)
                && let Phase::Released { until, .. } = &mut local.phase
            {
                *until = now.at + MOVE_MAX;
            }
            return;
        }
        self.note_refusal(now, id, to);
        let over = self.shutting_down || (assigned && spec.restart == Restart::Temporary);
        if over {
            return self.drop_local(id);
        } else if !spec.placement.chooses() {
            return self.start_again(now, id, effects);
        }
        let elsewhere = self.choose(now, &spec).filter(|to| to != self.id());
        match elsewhere.filter(|_| !self.is_name_held(id) && !self.runs_elsewhere(id)) {
            Some(to) => self.release(now, id, to, effects),
            // Nothing has run here, and there may be no room for it.
            None if assigned && self.decide(now, &spec).is_none() => self.drop_local(id),
            None => self.start_again(now, id, effects),
        }
    }
}
