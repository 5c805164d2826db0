//! Marks beside starts: which node has begun the one run of a temporary child, that a restart was asked for, and that a
//! child is in quarantine.
//!
//! A temporary start that had its run stands until that run is known to be over, and meanwhile hides no other start: a
//! child that should run on is not given up for one that will not run again.

use std::sync::Arc;

use ordu_registry::core::clock::Dot;
use ordu_registry::core::delta::Key;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Hlc, NodeId, Now};

use super::child::{Local, Phase};
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::{Actual, Mark, MarkKey, Quarantine};

impl Supervisor {
    // ---- what they say

    /// The marks beside a start, as one.
    pub(super) fn mark_of(&self, id: &ChildId, dot: &Dot) -> Mark {
        self.marks.table().live(&MarkKey::new(id, dot)).fold(Mark::default(), |all, (_, _, mark)| Mark {
            started: mark.started.clone().max(all.started),
            wished: mark.wished.joined(&all.wished),
            answered: mark.answered || all.answered,
            quarantine: mark.quarantine.clone().max(all.quarantine),
            followed: mark.followed.joined(&all.followed),
            keepers: mark.keepers.clone().max(all.keepers),
        })
    }

    /// Whether a child is in quarantine: it failed too often.
    pub fn is_quarantined(&self, id: &ChildId) -> bool {
        self.to_follow(id).is_some_and(|(dot, _)| self.quarantine_of(id, &dot).is_some())
    }

    /// Whether a start is in quarantine, and why.
    pub(super) fn quarantine_of(&self, id: &ChildId, dot: &Dot) -> Option<Quarantine> {
        let Mark { quarantine, wished, followed, .. } = self.mark_of(id, dot);
        quarantine.filter(|word| word.reason.is_some() && followed.cover(&wished))
    }

    /// The nodes that have begun the one run of a temporary start: several where they could not know of each other.
    fn runners<'a>(&'a self, id: &ChildId, dot: &Dot) -> impl Iterator<Item = &'a NodeId> + 'a + use<'a> {
        let live = self.marks.table().live(&MarkKey::new(id, dot));
        live.filter_map(|(_, _, mark)| mark.started.as_ref())
    }

    /// Whether another process than ours had the one run of a temporary start. An earlier incarnation of ours counts,
    /// unless the run went on under the present one.
    pub(super) fn ran_elsewhere(&self, id: &ChildId, dot: &Dot) -> bool {
        let here = self.runners(id, dot).any(|by| by == self.id());
        self.runners(id, dot).any(|by| by.name != self.id().name || !here)
    }

    /// The start that this node goes by: the one that counts, but before one that had its run any other. What we hold
    /// ourselves has its run still.
    pub(super) fn to_follow(&self, id: &ChildId) -> Option<(Dot, Arc<ChildSpec>)> {
        let held = self.local.get(id).map(|local| &local.spec);
        let live = self.desired.table().live(id);
        let (had_its_run, (dot, desired)) = live
            .map(|(origin, counter, desired)| {
                let dot = Dot::new(origin.clone(), counter);
                let once = desired.spec.restart == Restart::Temporary && held.is_none_or(|held| *held != desired.spec);
                (once && self.runners(id, &dot).next().is_some(), (dot, desired))
            })
            .max_by_key(|(had_its_run, (dot, desired))| (!had_its_run, desired.at, dot.actor.clone(), dot.counter))?;
        (!had_its_run || held.is_none()).then(|| (dot, desired.spec.clone()))
    }

    /// Whether we have heard what the members hold, and the writer of this start, or what became of it, is among them.
    pub(super) fn may_know_of_runs(&self, dot: &Dot) -> bool {
        let writer = &dot.actor;
        let known = writer.name == self.id().name || self.registry.view().is_living(writer);
        self.is_settled() && (known || self.actual.table().retired().contains(writer))
    }

    // ---- writing

    /// Changes the mark beside a start.
    pub(super) fn mark(&mut self, id: &ChildId, dot: &Dot, change: impl FnOnce(Mark) -> Mark) {
        let mark = self.mark_of(id, dot);
        self.marks.put(MarkKey::new(id, dot), change(mark));
    }

    /// Says beside all starts of what we hold that it is in quarantine, or that it is not, for it runs. The word comes after
    /// every other one beside that start, whoever's clock those were stamped by.
    pub(super) fn mark_quarantine(&mut self, now: Now, id: &ChildId, reason: Option<&Arc<str>>) {
        let held = self.local.get(id).map(|local| (local.spec.clone(), local.followed.clone()));
        let Some((spec, followed)) = held else { return };
        if is_present(Defect::QuarantineForgotten) {
            return;
        }
        let tick = self.registry.tick(now);
        let live = self.desired.table().live(id).filter(|(_, _, desired)| desired.spec == spec);
        for dot in live.map(|(origin, counter, _)| Dot::new(origin.clone(), counter)).collect::<Vec<_>>() {
            self.mark(id, &dot, |mark| {
                let after = mark.quarantine.as_ref().map(|word| Hlc::from_u64(word.at.as_u64().saturating_add(1)));
                Mark {
                    quarantine: Some(Quarantine { at: tick.max(after.unwrap_or_default()), reason: reason.cloned() }),
                    followed: mark.followed.joined(&followed),
                    ..mark
                }
            });
        }
    }

    /// Compares a child that we hold with what is said beside its start about quarantine: it may have failed too often on the
    /// other side of a cut and run here, or the other way round, or another start of the same has won since.
    pub(super) fn note_quarantine(&mut self, now: Now, id: &ChildId, dot: &Dot) {
        let Some(Local { phase, reason, .. }) = self.local.get(id) else { return };
        match (phase, self.mark_of(id, dot).quarantine) {
            (Phase::Starting { .. } | Phase::Running { .. }, Some(_)) if self.quarantine_of(id, dot).is_some() => {
                self.mark_quarantine(now, id, None);
            }
            (Phase::Quarantined, None) => {
                let reason = reason.clone();
                self.mark_quarantine(now, id, reason.as_ref());
            }
            // It ran elsewhere since.
            (Phase::Quarantined, Some(word)) if word.reason.is_none() => self.drop_local(id),
            _ => {}
        }
    }

    /// Notes that a temporary child has its one run here.
    pub(super) fn mark_started(&mut self, id: &ChildId, dot: &Dot, spec: &ChildSpec) {
        let noted = self.mark_of(id, dot).started.as_ref() == Some(self.id());
        if spec.restart == Restart::Temporary && !noted && !is_present(Defect::RunsTwice) {
            let started = Some(self.id().clone());
            self.mark(id, dot, |mark| Mark { started, ..mark });
        }
    }

    /// Notes beside each of several starts whether its caller, who asked us, waits no more.
    pub(super) fn note_answered(&mut self, id: &ChildId) {
        let live = self.desired.table().live(id);
        let starts: Vec<(Dot, &NodeId)> =
            live.map(|(origin, counter, desired)| (Dot::new(origin.clone(), counter), &desired.caller)).collect();
        if starts.len() < 2 {
            return;
        }
        let ours = starts.into_iter().filter(|(_, caller)| caller.name == self.id().name).map(|(dot, _)| dot);
        let news = ours.filter(|dot| !self.may_be_taken_back(id, dot) && !self.mark_of(id, dot).answered);
        for dot in news.collect::<Vec<_>>() {
            self.mark(id, &dot, |mark| Mark { answered: true, ..mark });
        }
    }

    // ---- runs that are over

    /// Whether a temporary child had its one run. Its seat takes the start back once every node that ran it is over.
    pub(super) fn is_spent(&mut self, id: &ChildId, dot: &Dot, spec: &ChildSpec) -> bool {
        let mut runners = self.runners(id, dot).filter(|_| spec.restart == Restart::Temporary).peekable();
        let spent = runners.peek().is_some();
        let over = spent && runners.all(|by| self.actual.table().retired().contains(by));
        drop(runners);
        if over {
            self.undesire(id, spec);
        }
        spent
    }

    /// Takes back a temporary start whose run was ours alone and ended without a word, as after a lost conflict: nobody
    /// will run it again. Only for a child that we do not hold. Returns whether there was one.
    pub(super) fn end_own_run(&mut self, id: &ChildId) -> bool {
        let ours = |dot: &Dot| {
            let mut runners = self.runners(id, dot).peekable();
            runners.peek().is_some() && runners.all(|by| by == self.id())
        };
        let over = |dot: &Dot, spec: &ChildSpec| {
            spec.restart == Restart::Temporary && ours(dot) && !self.shutting_down && !self.may_run_on(id, spec)
        };
        let live = self.desired.table().live(id);
        let mut starts = live.map(|(origin, counter, desired)| (Dot::new(origin.clone(), counter), &desired.spec));
        let over = starts.find(|(dot, spec)| over(dot, spec)).map(|(_, spec)| spec.clone());
        drop(starts);
        if let Some(spec) = &over {
            self.undesire(id, spec);
        }
        over.is_some()
    }

    /// Whether some node may hold a copy by a start of this spec, as far as we see.
    fn may_run_on(&self, id: &ChildId, spec: &ChildSpec) -> bool {
        let is_other = |claim: &Actual| self.start_at(id, &claim.dot).is_some_and(|start| *start.spec != *spec);
        let mut held = self.claims(id).filter(|(_, claim)| claim.is_held()).peekable();
        // Whose name it is may be known before what it runs.
        let unknown = held.peek().is_none() && self.is_name_held(id);
        unknown || held.any(|(_, claim)| !is_other(claim))
    }

    // ---- marks beside starts that are gone

    fn mark_keys(&self, id: &ChildId) -> Vec<MarkKey> {
        self.marks.table().keys_at(id.place()).filter(|key| key.child == *id).cloned().collect()
    }

    /// Notes whether a child has marks beside starts that are not live: gone, or not yet here.
    pub(super) fn note_void_marks(&mut self, id: &ChildId) {
        if self.mark_keys(id).iter().all(|key| self.is_live(id, &key.dot())) {
            self.void_marks.remove(id);
        } else {
            self.void_marks.insert(id.clone());
        }
    }

    fn is_void(&self, key: &MarkKey) -> bool {
        self.desired.table().context().contains(&key.origin, key.counter) && !self.is_live(&key.child, &key.dot())
    }

    /// Removes marks beside starts that are gone. The least living node does it, some at a time, once all that live have
    /// reported to know what it knew of what is desired when it saw that those are void: a mark that goes before its start
    /// would let a temporary child run again.
    pub(super) fn remove_void_marks(&mut self) {
        let others = || self.registry.view().living().map(|member| &member.id).filter(|id| *id != self.id());
        if others().any(|id| id < self.id()) {
            self.void_since = None;
            return;
        }
        if let Some((clock, _)) = &self.void_since
            && others().any(|id| !self.desired.has_acked(id, clock))
        {
            return;
        }
        for key in self.void_since.take().into_iter().flat_map(|(_, keys)| keys) {
            if self.is_void(&key) {
                self.marks.remove(&key);
            }
        }
        // The clock tells nothing of early dots: what removed a start may be one.
        let told = self.void_marks.iter().filter(|id| !self.desired.table().has_early(id));
        let keys = told.flat_map(|id| self.mark_keys(id));
        let keys: Vec<MarkKey> = keys.filter(|key| self.is_void(key)).collect();
        if !keys.is_empty() {
            self.void_since = Some((self.desired.table().context().clock().clone(), keys));
        }
    }
}
