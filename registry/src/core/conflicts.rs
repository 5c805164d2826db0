//! Conflicts: several processes claim one name. The best-ranked keeps it, the others are told to exit, once, and the fence
//! of the one that stays rises above theirs.

use std::collections::BTreeSet;

use bytes::Bytes;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Now, Pid};
use smallvec::SmallVec;

use super::claim::{Claim, Entry, Fence, Name};
use super::delta::Key;
use super::names::{Effect, NameConflict, Registry};
use super::table::Shared;

/// The visible claims to a name: most have one.
type Visible = SmallVec<[Shared<Name, Claim>; 2]>;

impl Registry {
    /// Looks at a name: what lookups show of it, and whether a process of ours loses it or must rise above another.
    pub(super) fn settle_name(&mut self, now: Now, name: &Name, effects: &mut Vec<Effect>) {
        if name.is_membership() {
            return self.settle_membership(now, name, effects);
        }
        // Those of members that are down are heard too: whoever takes over comes after them.
        let place = name.place();
        if self.settle_alone(now, place, name, effects) {
            return;
        }
        let (mut visible, mut stamps) = (Visible::new(), Visible::new());
        for event in self.names.table().events_at(place, name).filter(|event| !event.is_remove()) {
            stamps.push(event.clone());
            if self.is_shown(&event.dot.actor) {
                visible.push(event.clone());
            }
        }
        for claim in stamps.iter().filter_map(|event| event.value.as_ref()) {
            self.skews_refused += u64::from(!self.clock.observe(now, claim.fence.at()));
        }
        let claims = || visible.iter().filter_map(|event| Some((event, event.value.as_ref()?)));
        let best = claims().min_by_key(|(_, claim)| (claim.losing.is_some(), claim.order()));
        self.show(place, name, best.and_then(|(event, _)| Entry::of(event)), effects);
        let own = claims().find(|(event, _)| event.dot.actor == self.id);
        let (Some((best, _)), Some((_, own))) = (best, own) else { return };
        if best.dot.actor == self.id {
            // Alone there is nobody to be above.
            if stamps.len() > 1 {
                self.raise_fence(now, name, effects);
            }
            return;
        }
        let lost = |claim: &Claim| {
            claim.losing.is_some() || self.losers.get(name).is_some_and(|losers| losers.contains(&claim.pid))
        };
        let believed = claims().filter(|(event, claim)| {
            (!lost(claim) || is_present(Defect::LosingClaimCounts))
                && (!self.unheard.contains(&event.dot.actor) || is_present(Defect::OldNewsDecides))
        });
        let better = believed.map(|(_, claim)| claim).filter(|claim| claim.order() < own.order());
        if let Some(best) = better.min_by_key(|claim| claim.order()) {
            let (winner, winner_value) = (best.pid.clone(), Bytes::clone(&best.value));
            let (loser, winner_since) = (own.pid.clone(), best.since);
            let conflict = NameConflict { name: name.clone(), winner, winner_value, winner_since };
            self.lose(&loser, conflict, effects);
        } else {
            // What is shown is not believed, and may be gone before it is: others may lose to ours meanwhile.
            self.raise_fence(now, name, effects);
        }
    }

    /// [`Self::settle_name`] of a name that nobody else ever claimed. Returns false, and does nothing, of any other.
    fn settle_alone(&mut self, now: Now, place: u64, name: &Name, effects: &mut Vec<Effect>) -> bool {
        let mut events = self.names.table().events_at(place, name);
        let (Some(event), None) = (events.next().cloned(), events.next()) else { return false };
        drop(events);
        let shows = self.is_shown(&event.dot.actor);
        if let Some(claim) = event.value.as_ref().filter(|_| event.dot.actor != self.id) {
            self.skews_refused += u64::from(!self.clock.observe(now, claim.fence.at()));
        }
        self.show(place, name, Entry::of(&event).filter(|_| shows), effects);
        true
    }

    /// Lookups of a name show this now. `place` is the name's.
    pub(super) fn show(&mut self, place: u64, name: &Name, entry: Option<Entry>, effects: &mut Vec<Effect>) {
        let before = self.names.show(place, name, entry.as_ref().map(|entry| &**entry.event()));
        let before = before.as_ref().and_then(Entry::of);
        if before == entry {
            return;
        }
        self.shown_revision += 1;
        self.shown_len = self.shown_len + usize::from(entry.is_some()) - usize::from(before.is_some());
        let stays = |before: &&Entry| entry.as_ref().is_some_and(|entry| entry.pid() == before.pid());
        let gone = before.as_ref().filter(|before| !stays(before)).map(|before| self.why_gone(before));
        let was = before.map(|before| before.pid().clone());
        effects.push(Effect::Visible { name: name.clone(), entry, was, gone });
    }

    /// Our process keeps the name: its fence goes above those of the processes that do not. Those of members that are
    /// down too: one may lose to ours and be gone before we see its node again.
    fn raise_fence(&mut self, now: Now, name: &Name, effects: &mut Vec<Effect>) {
        let Some(own) = self.names.table().live_of(name, &self.id) else { return };
        let pid = own.pid.clone();
        // One that is hidden and ranks better does not lose to ours: once it is seen again, it is the other way round.
        let beaten = |claim: &&Claim| claim.losing.is_some() || claim.order() >= own.order();
        let claims = self.names.table().live(name).map(|(_, _, claim)| claim);
        let highest = claims.filter(beaten).map(|claim| claim.fence).max();
        let Some(process) = self.processes.get(&pid) else { return };
        if process.lost_to.is_some() || highest <= Some(process.fence) || is_present(Defect::FenceStays) {
            return;
        }
        let fence = Fence::new(self.clock.tick(now), &self.id);
        if Some(fence) <= highest {
            // The other's stamp was refused as too far ahead; raising ours on every look would not help.
            tracing::warn!(%name, "a fence of another node lies too far ahead of our clock to be passed");
            return;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.fence = fence;
        }
        effects.push(Effect::Fence { pid: pid.clone(), fence });
        self.rewrite_claims(&pid);
    }

    /// Tells a local process, once, that it lost, and marks its claims. Does nothing for one that was told or has ended.
    pub fn lose(&mut self, pid: &Pid, conflict: NameConflict, effects: &mut Vec<Effect>) {
        let Some(process) = self.processes.get_mut(pid).filter(|process| process.lost_to.is_none()) else { return };
        if is_present(Defect::LoserLives) {
            return;
        }
        process.lost_to = Some(conflict.winner.clone());
        self.rewrite_claims(pid);
        let conflict = Box::new(conflict);
        if self.successors.get(pid) != Some(&conflict.winner.node) {
            self.conflicts_total += 1;
            effects.push(Effect::Conflict { loser: pid.clone(), conflict: conflict.clone() });
        }
        effects.push(Effect::Exit { pid: pid.clone(), conflict });
    }

    /// Whether any process is said to have lost by [`Self::set_losers`].
    pub fn has_losers(&self) -> bool {
        !self.losers.is_empty()
    }

    /// Says which processes with claims to a name are known to have lost, in place of what was said of it before: nobody
    /// gives way to one. For layers above that hear of losses by ways of their own.
    pub fn set_losers(&mut self, name: &Name, losers: BTreeSet<Pid>) {
        if losers.is_empty() {
            self.losers.remove(name);
        } else {
            self.losers.insert(name.clone(), losers);
        }
    }

    /// [`Self::lose`], and what follows from it. For layers above that find a conflict of their own.
    pub fn lose_and_settle(&mut self, now: Now, pid: &Pid, conflict: NameConflict, effects: &mut Vec<Effect>) {
        self.lose(pid, conflict, effects);
        self.settle(now, BTreeSet::new(), effects);
        self.finish(Vec::new(), effects);
    }

    fn rewrite_claims(&mut self, pid: &Pid) {
        let Some(process) = self.processes.get(pid) else { return };
        for name in process.names.iter() {
            let Some(old) = self.names.table().live_of(name, &self.id).cloned() else { continue };
            let claim = Claim { fence: process.fence, losing: process.lost_to.clone().map(Box::new), ..old.clone() };
            if claim != old {
                self.names.put(name.clone(), claim);
            }
        }
    }
}
