//! How many children each node has, and which of each group: kept up to date as claims change, so that a choice costs
//! nothing for each child.
//!
//! A child counts where a living node holds it, but for one that is done or in quarantine; one that is on its way to
//! another node counts there. It is of the groups that the labels of its start give. Nothing is counted before a child
//! asks for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ordu_transport::core::NodeId;

use super::spec::{Apart, ChildId, ChildSpec, Over, Restart};
use super::supervisor::Supervisor;
use super::tables::{Facts, State};

/// A label that children share.
pub(super) type Group = (String, String);

/// Where children are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// How many each node has.
    on: BTreeMap<NodeId, u64>,
    /// Which of each group each node has.
    of: BTreeMap<Group, BTreeMap<NodeId, BTreeSet<ChildId>>>,
    /// Which keep away from a group in any case.
    askers: BTreeMap<Group, BTreeSet<ChildId>>,
    children: BTreeMap<ChildId, Counted>,
}

/// What is counted of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    at: BTreeSet<NodeId>,
    spec: Option<Arc<ChildSpec>>,
}

impl Counted {
    fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let labels = self.spec.iter().flat_map(|spec| &spec.labels);
        labels.map(|(key, value)| (key.clone(), value.clone()))
    }

    fn asks(&self) -> Option<&Apart> {
        self.spec.as_ref().and_then(|spec| spec.placement.required_apart())
    }
}

impl Counts {
    /// Takes up where a child is now. Returns whether anything is other than before.
    fn put(&mut self, id: &ChildId, counted: Counted) -> bool {
        if self.children.get(id) == Some(&counted) {
            return false;
        }
        let before = self.children.remove(id);
        if let Some(before) = &before {
            self.take_out(id, before);
        }
        if counted.at.is_empty() && counted.asks().is_none() {
            return before.is_some();
        }
        for node in &counted.at {
            *self.on.entry(node.clone()).or_default() += 1;
        }
        if !counted.at.is_empty() {
            for group in counted.groups() {
                let of = self.of.entry(group).or_default();
                for node in &counted.at {
                    of.entry(node.clone()).or_default().insert(id.clone());
                }
            }
        }
        if let Some(apart) = counted.asks() {
            self.askers.entry(apart.group.clone()).or_default().insert(id.clone());
        }
        self.children.insert(id.clone(), counted);
        true
    }

    fn take_out(&mut self, id: &ChildId, before: &Counted) {
        for node in &before.at {
            let count = self.on.remove(node).unwrap_or(0);
            if count > 1 {
                self.on.insert(node.clone(), count - 1);
            }
        }
        for group in before.groups() {
            let Some(of) = self.of.get_mut(&group) else { continue };
            for node in &before.at {
                if let Some(children) = of.get_mut(node) {
                    children.remove(id);
                }
            }
            of.retain(|_, children| !children.is_empty());
            if of.is_empty() {
                self.of.remove(&group);
            }
        }
        if let Some(apart) = before.asks()
            && let Some(askers) = self.askers.get_mut(&apart.group)
        {
            askers.remove(id);
            if askers.is_empty() {
                self.askers.remove(&apart.group);
            }
        }
    }

    /// How many a node has, a child left out.
    pub(super) fn on(&self, node: &NodeId, but: &ChildId) -> u64 {
        let all = self.on.get(node).copied().unwrap_or(0);
        all.saturating_sub(u64::from(self.children.get(but).is_some_and(|counted| counted.at.contains(node))))
    }

    /// How many of a group a node has, a child left out.
    pub(super) fn beside(&self, group: &Group, node: &NodeId, but: &ChildId) -> u64 {
        let children = self.of.get(group).and_then(|of| of.get(node));
        children.map_or(0, |children| (children.len() - usize::from(children.contains(but))) as u64)
    }

    /// How many children a node has for its weight, so that more is greater.
    pub(super) fn load(&self, node: &NodeId, facts: Option<&Facts>) -> u64 {
        load(self.on.get(node).copied().unwrap_or(0), facts)
    }

    /// Which of a group each node has.
    pub(super) fn of(&self, group: &Group) -> impl Iterator<Item = (&NodeId, &BTreeSet<ChildId>)> {
        self.of.get(group).into_iter().flatten()
    }

    /// What a child should be that goes elsewhere itself when another is too near, if it is one.
    pub(super) fn yields(&self, id: &ChildId, apart: &Apart) -> Option<&ChildSpec> {
        let counted = self.children.get(id).filter(|counted| counted.asks() == Some(apart));
        counted.and_then(|counted| counted.spec.as_deref()).filter(|spec| spec.restart != Restart::Temporary)
    }

    /// As it is once a child is on this node.
    pub(super) fn moved(&mut self, id: &ChildId, to: &NodeId) {
        let spec = self.children.get(id).and_then(|counted| counted.spec.clone());
        self.put(id, Counted { at: BTreeSet::from([to.clone()]), spec });
    }
}

/// What so many children are to a node of these facts.
pub(super) fn load(children: u64, facts: Option<&Facts>) -> u64 {
    let weight = u64::from(facts.map_or(1, |facts| facts.weight).max(1));
    children.saturating_mul(1 << 32) / weight
}

/// The place that a node is in, of those that children are kept apart over.
pub(super) fn place<'a>(over: &'a Over, node: &'a NodeId, facts: Option<&'a Facts>) -> Option<&'a str> {
    match over {
        Over::Node => Some(node.name.as_str()),
        Over::Label(label) => facts.and_then(|facts| facts.labels.get(label)).map(String::as_str),
    }
}

impl Supervisor {
    fn counted(&self, id: &ChildId) -> Counted {
        let at = |(node, state): (&NodeId, &State)| match state {
            State::Done | State::Quarantined => None,
            State::Moving { to, .. } => Some(to.clone()),
            State::Starting | State::Running | State::Stopping | State::Backoff | State::Failed => Some(node.clone()),
        };
        let at = self.claims(id).filter_map(|(node, claim)| at((node, &claim.state))).collect();
        Counted { at, spec: self.spec(id).cloned() }
    }

    fn count_all(&self) -> Counts {
        let mut counts = Counts::default();
        for id in self.desired.table().keys().chain(self.actual.table().keys()) {
            counts.put(id, self.counted(id));
        }
        counts
    }

    /// Begins to count, if nothing is counted yet.
    pub(super) fn count(&mut self) {
        if self.counts.is_none() {
            self.counts = Some(self.count_all());
        }
    }

    /// What is counted, or would be.
    pub(super) fn counts(&self) -> Cow<'_, Counts> {
        self.counts.as_ref().map_or_else(|| Cow::Owned(self.count_all()), Cow::Borrowed)
    }

    /// A child may be elsewhere than it was counted. Those that keep away from its group are looked at with the next input.
    pub(super) fn recount(&mut self, id: &ChildId) {
        if self.counts.is_none() {
            return;
        }
        let counted = self.counted(id);
        let groups: Vec<Group> = counted.groups().collect();
        let Some(counts) = &mut self.counts else { return };
        let before = counts.children.get(id).map(|before| before.groups().collect()).unwrap_or_default();
        if counts.put(id, counted) {
            let groups = [groups, before].concat();
            self.crowded.extend(groups.into_iter().filter(|group| counts.askers.contains_key(group)));
        }
    }

    /// Looks again at those that keep away from groups of which one has come or gone.
    pub(super) fn look_at_crowded(&mut self) {
        let crowded = std::mem::take(&mut self.crowded);
        // Where nothing is counted any more, everything is looked at anew.
        let Some(counts) = &self.counts else { return };
        for group in crowded {
            self.dirty.extend(counts.askers.get(&group).into_iter().flatten().cloned());
        }
    }

    /// Whether what is counted is what counting anew gives: for tests.
    pub fn counts_right(&self) -> bool {
        self.counts.as_ref().is_none_or(|counts| *counts == self.count_all())
    }
}
