//! Finding the latest checkpoint of a child that is to be started here and ran elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_registry::core::clock::Dot;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId, Now};

use super::{Checkpoint, Own, Word, send};
use crate::core::handoff::STATE_BYTES_MAX;
use crate::core::spec::{ChildId, ChildSpec};
use crate::core::supervisor::Supervisor;
use crate::core::words::Effect;

/// How long the start of a child waits for those that keep its checkpoint.
pub const FETCH_MAX: Duration = Duration::from_secs(1);
/// How long a child that failed here waits before it is seen whether those have answered that may know more of it.
pub const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);
/// How long what was found is kept for a start that has to wait for something else.
const FOUND_KEPT: Duration = Duration::from_secs(10);

/// What is being found.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<ChildId, Fetch>,
    /// When each is forgotten.
    ends: BTreeSet<(Instant, ChildId)>,
}

#[derive(Debug, Clone)]
struct Fetch {
    start: Dot,
    /// Who has not answered.
    asked: BTreeSet<NodeId>,
    best: Option<Checkpoint>,
    until: Instant,
    /// Whether the child was still to be started here when it was looked at last.
    is_wanted: bool,
}

impl Fetches {
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((end, id)) = self.ends.first().cloned()
            && end <= now
        {
            self.remove(&id);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    fn insert(&mut self, id: ChildId, fetch: Fetch) {
        self.remove(&id);
        self.ends.insert((fetch.until + FOUND_KEPT, id.clone()));
        self.under_way.insert(id, fetch);
    }

    fn remove(&mut self, id: &ChildId) {
        if let Some(fetch) = self.under_way.remove(id) {
            self.ends.remove(&(fetch.until + FOUND_KEPT, id.clone()));
        }
    }
}

/// What was found.
pub(in crate::core) enum Found {
    /// Somebody is asked yet.
    Waits,
    /// The latest, if there is any.
    Known(Option<Checkpoint>),
}

impl Supervisor {
    /// The latest checkpoint of a child that is to be started here; those that keep one are asked first.
    pub(in crate::core) fn find_checkpoint(
        &mut self,
        now: Now,
        id: &ChildId,
        start: &Dot,
        spec: &ChildSpec,
        effects: &mut Vec<Effect>,
    ) -> Found {
        let own = self.copy_of(id, start).cloned();
        let keepers = self.mark_of(id, start).keepers.filter(|_| !is_present(Defect::CrashForgets));
        let fits = |found: &Checkpoint| found.kind == spec.kind && !is_present(Defect::CrashForgets);
        if keepers.is_none() && own.is_none() {
            return Found::Known(None);
        }
        let view = self.registry.view();
        if let Some(fetch) = self.checkpoints.fetches.under_way.get_mut(id).filter(|fetch| fetch.start == *start) {
            fetch.is_wanted = true;
            fetch.asked.retain(|node| view.is_living(node));
            if fetch.asked.is_empty() || fetch.until <= now.at {
                let best = fetch.best.clone().into_iter().chain(own).max_by_key(|found| found.stamp);
                return Found::Known(best.filter(fits));
            }
            return Found::Waits;
        }
        let living = keepers.iter().flat_map(|keepers| &keepers.nodes).filter_map(|name| view.get(name));
        let living = living.filter(|member| member.status.is_living()).map(|member| member.id.clone());
        let asked: BTreeSet<NodeId> = living.filter(|node| node != self.id()).collect();
        if asked.is_empty() || (own.is_some() && is_present(Defect::StaleCheckpoint)) {
            return Found::Known(own.filter(fits));
        }
        for node in &asked {
            let have = own.as_ref().map(|own| own.stamp);
            effects.push(send(node, Word::Fetch { child: id.clone(), start: start.clone(), have }, Lane::Control));
        }
        let until = now.at + FETCH_MAX;
        self.checkpoints
            .fetches
            .insert(id.clone(), Fetch { start: start.clone(), asked, best: own, until, is_wanted: true });
        self.timers.insert((until, id.clone()));
        Found::Waits
    }

    /// Before a child is looked at: whether it is to be started here is found anew.
    pub(in crate::core) fn doubt_fetch(&mut self, id: &ChildId) {
        if let Some(fetch) = self.checkpoints.fetches.under_way.get_mut(id) {
            fetch.is_wanted = false;
        }
    }

    /// After that: what was found is old by the time that it may be wanted again.
    pub(in crate::core) fn end_vain_fetch(&mut self, id: &ChildId) {
        if self.checkpoints.fetches.under_way.get(id).is_some_and(|fetch| !fetch.is_wanted) {
            self.checkpoints.fetches.remove(id);
        }
    }

    /// Whether the start of a child here waits for a checkpoint of it.
    pub(in crate::core) fn is_fetching(&self, id: &ChildId) -> bool {
        self.checkpoints.fetches.under_way.get(id).is_some_and(|fetch| fetch.is_wanted)
    }

    /// Before a child of ours that failed is started again: somebody else may have run it meanwhile, and gone further. False:
    /// somebody is asked yet.
    pub(in crate::core) fn catch_up(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) -> bool {
        let Some(local) = self.local.get(id) else { return true };
        let own = local.checkpoint.as_ref().map(|own| &own.checkpoint);
        let (start, spec) = (local.dot.clone(), local.spec.clone());
        // What it handed off is later than any checkpoint of it.
        let failed = local.given.as_ref() == own.map(|own| &own.state);
        let said = self.mark_of(id, &start).keepers.map(|keepers| keepers.at);
        if !failed || local.ahead || said.is_none() || said == own.map(|own| own.listed) {
            return true;
        }
        let has = own.map(|own| own.stamp);
        match self.find_checkpoint(now, id, &start, &spec, effects) {
            Found::Waits => return false,
            Found::Known(found) => {
                if let Some(found) = found.filter(|found| Some(found.stamp) > has)
                    && let Some(local) = self.local.get_mut(id)
                {
                    local.given = Some(found.state.clone());
                    local.checkpoint = Some(Own::new(found));
                }
            }
        }
        self.end_fetch(id);
        true
    }

    /// A child was started: what was found is of no use any more.
    pub(in crate::core) fn end_fetch(&mut self, id: &ChildId) {
        self.checkpoints.fetches.remove(id);
    }

    pub(super) fn on_fetched(&mut self, from: &NodeId, child: ChildId, start: &Dot, found: Option<Checkpoint>) {
        let fetch = self.checkpoints.fetches.under_way.get_mut(&child).filter(|fetch| fetch.start == *start);
        let Some(fetch) = fetch.filter(|fetch| fetch.asked.contains(from)) else { return };
        fetch.asked.remove(from);
        let found = found.filter(|found| found.start == *start && found.state.len() <= STATE_BYTES_MAX);
        fetch.best = fetch.best.take().into_iter().chain(found).max_by_key(|found| found.stamp);
        self.dirty.insert(child);
    }
}
