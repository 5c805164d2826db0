//! Desired against actual, for one child at a time: start it, stop it, replace it, give way, or leave it alone.
//!
//! Nobody starts a child while a visible claim to it exists; where none does, its seat starts it. Views differ while
//! news travels, so two nodes may both believe to be the seat: then the better-ranked process stays.

use std::sync::Arc;

use ordu_registry::core::clock::Dot;
use ordu_registry::core::names::HEAR_MAX;
use ordu_registry::core::{Activation, Name, NameConflict};
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Hlc, NodeId, Now, Pid};

use super::checkpoint::{CATCH_UP_PAUSE, Found, Own};
use super::child::{Exit, Local, Phase, Then};
use super::intensity::Failures;
use super::placement::{self, Candidate, Ineligible};
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::{Actual, Desired, Facts, State};
use super::wishes::Wishes;
use super::words::Effect;

impl Supervisor {
    // ---- what the tables say

    /// The start that counts: of concurrent ones the latest, then the one with the greatest dot.
    pub(super) fn winner(&self, id: &ChildId) -> Option<(Dot, &Desired)> {
        let live = self.desired.table().live(id);
        let (origin, counter, desired) =
            live.max_by_key(|(origin, counter, desired)| (desired.at, *origin, *counter))?;
        Some((Dot::new(origin.clone(), counter), desired))
    }

    /// What a child should be, by the start that counts.
    pub fn spec(&self, id: &ChildId) -> Option<&Arc<ChildSpec>> {
        self.winner(id).map(|(_, desired)| &desired.spec)
    }

    /// What nodes that are not down say of a child, ourselves included.
    pub(super) fn claims<'a>(&'a self, id: &ChildId) -> impl Iterator<Item = (&'a NodeId, &'a Actual)> + 'a + use<'a> {
        let live = self.actual.table().live(id).map(|(node, _, claim)| (node, claim));
        live.filter(|(node, _)| *node == self.id() || self.registry.view().is_living(node))
    }

    /// Whether somebody says that this start has ended for good; its removal is under way then.
    pub(super) fn is_over(&self, id: &ChildId, dot: &Dot) -> bool {
        self.claims(id).any(|(_, claim)| !claim.is_held() && claim.dot == *dot)
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        let living = self.registry.view().living().map(|member| &member.id).filter(|id| *id != self.id());
        let all = living.chain([self.id()]).map(|id| Candidate { id, facts: self.facts_of(id) });
        // Who goes by other rules has no part in this.
        let ours = self.own_facts.terms;
        let alike = move |facts: &Facts| facts.terms == ours;
        all.filter(move |candidate| candidate.facts.is_none_or(alike))
    }

    /// The node that a child belongs on, as far as we see.
    pub(super) fn seat(&self, spec: &ChildSpec) -> Option<&NodeId> {
        placement::seat(spec, &self.preference, self.candidates())
    }

    /// Why no node may run a child.
    pub(super) fn why_nowhere(&self, spec: &ChildSpec) -> String {
        placement::why_nowhere(spec, self.candidates())
    }

    // ---- one child

    pub(super) fn reconcile(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        self.note_void_marks(id);
        self.note_answered(id);
        self.forget_asking(id);
        self.heed_quorum(now, id, effects);
        if self.spec(id).is_some_and(|spec| spec.placement.chooses()) {
            self.count();
        }
        let mut is_held = self.local.contains_key(id);
        if is_held {
            self.give_way(now, id, effects);
            if self.local.contains_key(id) {
                self.tend(now, id, effects);
            }
            is_held = self.local.contains_key(id);
        }
        if !is_held {
            self.doubt_fetch(id);
            self.consider(now, id, effects);
            is_held = self.local.contains_key(id);
        }
        self.release_unless_held(id);
        self.end_vain_fetch(id);
        if is_held {
            self.keep_checkpoint(now, id, effects);
        }
        self.review_copy(id);
        self.pass_to_winner(now, id, effects);
        if is_held {
            self.publish(now, id);
        }
    }

    /// Compares a child that we hold with what other nodes say of it.
    fn give_way(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get(id).filter(|_| !is_present(Defect::NamelessChild)) else { return };
        let mine = local.pid.clone();
        let standing = mine.as_ref().and_then(|pid| self.registry.standing(pid)).map(|(rank, _)| rank.clone());
        let mut winner: Option<(Pid, Hlc)> = None;
        let mut drop_ours = false;
        // Either table may be the first to say that a process lost.
        let name = Name::new(id.as_str()).ok();
        let lost = |pid: &Option<Pid>| {
            let mut claims = name.iter().flat_map(|name| self.registry.visible(name));
            claims.any(|(_, claim)| Some(&claim.pid) == pid.as_ref() && claim.losing.is_some())
        };
        let counts = |node: &NodeId, claim: &Actual| {
            (!(claim.losing || lost(&claim.pid)) || is_present(Defect::LosingClaimCounts))
                && (!self.unheard.contains(node) || is_present(Defect::OldNewsDecides))
        };
        for (node, claim) in self.claims(id).filter(|(node, claim)| *node != self.id() && claim.is_held()) {
            let handed_over = matches!(&local.phase, Phase::Released { to, token, .. }
                if node == to && claim.token == Some(*token));
            let comes_to_us = matches!(&claim.state, State::Moving { to, .. } if to == self.id());
            let quarantined = (local.phase == Phase::Quarantined, claim.state == State::Quarantined);
            if handed_over {
                drop_ours = true;
            } else if quarantined == (true, false) && counts(node, claim) {
                // It failed too often here and not there.
                drop_ours = true;
            } else if comes_to_us || local.is_done() || !counts(node, claim) {
                continue;
            } else if let Some(theirs) = &claim.pid {
                match (&mine, &standing) {
                    (Some(pid), Some(rank)) if (rank, pid) < (&claim.rank, theirs) => {}
                    (Some(_), Some(_)) => winner = Some((theirs.clone(), Hlc::from_wall_ms(claim.since_ms))),
                    _ => drop_ours = true,
                }
            } else if mine.is_none() && node < self.id() && quarantined != (false, true) {
                // Neither runs: the claim of the lesser node stands, so that exactly one of both goes on.
                drop_ours = true;
            }
        }
        if drop_ours {
            self.drop_local(id);
        } else if let (Some((winner, winner_since)), Some(pid), Some(name)) = (winner, mine, name) {
            let winner_value = bytes::Bytes::new();
            let conflict = NameConflict { name, winner, winner_value, winner_since };
            self.with_registry_raw(now, effects, |registry, out| registry.lose_and_settle(now, &pid, conflict, out));
        }
    }

    /// Compares a child that we hold with what should run.
    fn tend(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        self.deferred.remove(id);
        let followed = self.to_follow(id);
        let Some(local) = self.local.get_mut(id) else { return };
        let expired = local.expires().is_some_and(|until| until <= now.at);
        let Some((dot, spec)) = followed else {
            match local.phase {
                Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => {
                    self.stop(id, Then::Gone, effects)
                }
                Phase::Done { .. } if !expired => {}
                Phase::Backoff { .. }
                | Phase::Quarantined
                | Phase::Released { .. }
                | Phase::Failed { .. }
                | Phase::Done { .. } => {
                    self.drop_local(id);
                }
            }
            return;
        };
        if local.is_done() {
            return self.drop_local(id);
        }
        // What is on its way out ends as what it was; a later start is looked at then.
        if local.dot != dot && local.phase != Phase::Stopping(Then::Gone) {
            let same = *local.spec == *spec;
            // What it left is of a start that was terminated.
            let (former, ended) = (local.dot.clone(), local.pid.is_none());
            if ended && !self.is_live(id, &former) {
                self.forget_what_was_left(id);
            }
            // What is to run once may have had its run, of which we know only once we have heard where it was asked for.
            if !same && spec.restart == Restart::Temporary && !self.may_know_of_runs(&dot) {
                self.deferred.insert(id.clone(), now.at + HEAR_MAX);
                return self.tend_by_former(now, id, expired, effects);
            }
            let Some(local) = self.local.get_mut(id) else { return };
            (local.dot, local.spec) = (dot.clone(), spec.clone());
            if !same {
                local.recent.clear();
                return self.again(now, id, effects);
            }
            self.mark_started(id, &dot, &spec);
        }
        // Once the start that a process was activated for is gone, it runs for the one that it has now, and for no later.
        let begun = self.local.get(id).map(|local| local.begun.clone());
        if begun.is_some_and(|begun| !self.is_live(id, &begun))
            && let Some(local) = self.local.get_mut(id)
        {
            local.begun = local.dot.clone();
        }
        let wished = self.mark_of(id, &dot).wished;
        let Some(local) = self.local.get_mut(id) else { return };
        if !local.followed.cover(&wished) {
            local.followed = local.followed.joined(&wished);
            return self.again(now, id, effects);
        }
        self.note_quarantine(now, id, &dot);
        self.tend_phase(now, id, &spec, expired, effects);
    }

    /// Meanwhile a child goes on by the start that it has. Where that is gone and nothing runs, nothing is left of it.
    fn tend_by_former(&mut self, now: Now, id: &ChildId, expired: bool, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get(id) else { return };
        let (dot, spec) = (local.dot.clone(), local.spec.clone());
        if self.is_live(id, &dot) {
            self.tend_phase(now, id, &spec, expired, effects);
        } else if local.pid.is_some() {
            if expired {
                self.stop(id, Then::Gone, effects);
            }
        } else if expired || local.phase == Phase::Quarantined {
            self.drop_local(id);
        }
    }

    fn tend_phase(&mut self, now: Now, id: &ChildId, spec: &ChildSpec, expired: bool, effects: &mut Vec<Effect>) {
        if self.tend_ahead(id, expired, effects) {
            return;
        }
        let Some(local) = self.local.get(id) else { return };
        let asks = match &local.phase {
            Phase::Starting { .. } => self.shutting_down,
            Phase::Running { .. } => spec.restart != Restart::Temporary || self.shutting_down,
            Phase::Backoff { .. } => expired,
            Phase::Stopping(_)
            | Phase::Quarantined
            | Phase::Released { .. }
            | Phase::Failed { .. }
            | Phase::Done { .. } => false,
        };
        let seat = if asks { self.home(now, self.id(), spec) } else { None };
        let ours = seat.as_ref() == Some(self.id());
        match &local.phase {
            Phase::Starting { .. } | Phase::Running { .. } if self.shutting_down && seat.is_none() => {
                self.stop(id, Then::Gone, effects);
            }
            Phase::Starting { .. } if expired => {
                let late = format!("its init took longer than {:?}", spec.init_timeout);
                if let Some(local) = self.local.get_mut(id) {
                    local.reason = Some(late.into());
                }
                self.stop(id, Then::Late, effects);
            }
            Phase::Starting { .. } | Phase::Stopping(_) => {}
            Phase::Running { .. } if local.successor.is_some() => self.tend_successor(now, id, expired),
            // What runs once at most cannot be stopped here and started there.
            Phase::Running { .. } if spec.restart == Restart::Temporary => {}
            Phase::Running { .. } if !ours && seat.as_ref().is_some_and(|seat| self.gives_away(spec, seat)) => {
                self.queue_move(now, id);
            }
            Phase::Running { .. } => {}
            Phase::Backoff { .. } if self.shutting_down => self.drop_local(id),
            Phase::Backoff { .. } if expired => {
                let goes = |seat: &NodeId| !ours && self.gives_away(spec, seat);
                match seat.filter(|seat| goes(seat) && self.is_up(seat) && !self.is_refused_by(now, id, seat)) {
                    Some(to) => self.release(now, id, to, effects),
                    None => self.start_again(now, id, effects),
                }
            }
            Phase::Backoff { .. } => {}
            // The mark says it as well, whoever is there to read it.
            Phase::Quarantined if self.shutting_down || self.is_draining() => self.drop_local(id),
            Phase::Quarantined => {}
            Phase::Released { to, .. } if expired || !self.registry.view().is_living(to) => {
                self.release_again(now, id, effects);
            }
            Phase::Released { .. } => {}
            Phase::Failed { .. } => {
                let waits = self.has_waiting_caller(id);
                let failure = Exit::Abnormal(local.reason.as_deref().unwrap_or("its init failed").to_owned());
                if expired || !waits {
                    self.follow_policy(now, id, &failure, effects);
                }
            }
            Phase::Done { .. } => {}
        }
    }

    /// Stops a child, if it runs, and starts it again here with the spec that it has now.
    fn again(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        match self.local.get(id).map(|local| &local.phase) {
            Some(Phase::Starting { .. } | Phase::Running { .. }) => self.stop(id, Then::Restart, effects),
            Some(Phase::Backoff { .. } | Phase::Failed { .. }) => self.start_again(now, id, effects),
            Some(Phase::Quarantined) if self.shutting_down => self.drop_local(id),
            Some(Phase::Quarantined) => {
                if let Some(local) = self.local.get_mut(id) {
                    local.failures = 0;
                    local.recent.clear();
                }
                self.start_again(now, id, effects);
            }
            // It is not for the failure of its init that it will be started.
            Some(Phase::Stopping(Then::Late)) => self.stop(id, Then::Restart, effects),
            Some(Phase::Stopping(_) | Phase::Released { .. } | Phase::Done { .. }) | None => {}
        }
    }

    /// Decides whether a child that we do not hold is ours to start.
    fn consider(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let waits = self.deferred.remove(id);
        let Some((dot, spec)) = self.to_follow(id) else { return };
        if self.is_over(id, &dot) || self.end_own_run(id) {
            return;
        }
        let (mut token, mut blocked, mut restarts, mut taken_over, mut ran) = (None, false, 0, false, false);
        let (mut handed, mut followed, mut assigned, mut ahead) = (None, Wishes::default(), false, false);
        for (holder, claim) in self.claims(id).filter(|(_, claim)| claim.is_held()) {
            match &claim.state {
                State::Moving { to, token: of, released, carries, ahead: of_ahead }
                    if to == self.id()
                        && token.is_none()
                        && (*released || *of_ahead || is_present(Defect::EarlyHandoff)) =>
                {
                    ahead = *of_ahead;
                    let (key, carries) = ((id.clone(), holder.clone(), *of), *carries && claim.kind == spec.kind);
                    blocked |= !self.has_state(&key, carries);
                    (token, restarts, ran) = (Some(*of), claim.restarts, claim.ran);
                    assigned = claim.fence.is_none();
                    (handed, followed) = (Some(key).filter(|_| carries), claim.followed.clone());
                }
                _ => blocked = true,
            }
        }
        let early = is_present(Defect::EarlyHandoff) && token.is_some();
        if blocked || (self.is_name_held(id) && !early && !ahead) || self.shutting_down {
            return;
        }
        let mut to = Some(self.id().clone());
        if token.is_none() {
            if self.is_waiting() || self.returns {
                return;
            }
            if self.seat(&spec) != Some(self.id()) || self.quarantine_of(id, &dot).is_some() {
                return;
            }
            let until = waits.unwrap_or(now.at + HEAR_MAX);
            let blind = is_present(Defect::BlindStart);
            if until > now.at && !blind && (!self.is_settled() || self.is_held_by_stranger(id)) {
                self.deferred.insert(id.clone(), until);
                self.timers.insert((until, id.clone()));
                return;
            }
            // Only now: that the node which ran it is over may be known before that it goes on as another.
            if self.is_spent(id, &dot, &spec) {
                return;
            }
            to = self.decide(now, &spec);
        } else if assigned && spec.restart == Restart::Temporary && self.ran_elsewhere(id, &dot) {
            return;
        }
        if token.is_none() || assigned {
            // An assignment is none of them: nothing has begun by it.
            let counts = |claim: &Actual| claim.dot == dot && (claim.fence.is_some() || !claim.is_moving());
            let before = self.actual.table().live(id).filter(|(_, _, claim)| counts(claim));
            (restarts, taken_over, ran) = before
                .fold((restarts, ran || restarts > 0, ran), |(most, _, ran), (_, _, claim)| {
                    (claim.restarts.max(most), true, ran || claim.ran)
                });
        }
        let Some(to) = to else { return };
        if to == *self.id() {
            // What we say of ourselves may not have kept up, and who moves it to us may not know.
            if !self.has_place() {
                return;
            }
            if !self.has_power() || !self.is_granted(now, id) {
                // It has waited to hear of the others, and need not do so again.
                self.deferred.extend(waits.map(|until| (id.clone(), until)));
                return;
            }
        }
        let mut checkpoint = None;
        let mut given = None;
        if let Some(handed) = handed.and_then(|key| self.handed.remove(&key)) {
            // A child that makes checkpoints goes on from what it left.
            let keeps = self.mark_of(id, &dot).keepers.is_some();
            checkpoint = keeps.then(|| Own::inherited(&dot, handed.state.clone()));
            given = Some(handed.state);
        } else if to == *self.id() && (token.is_none() || assigned || ahead) && spec.restart != Restart::Temporary {
            match self.find_checkpoint(now, id, &dot, &spec, effects) {
                Found::Known(found) => {
                    given = found.as_ref().map(|found| found.state.clone());
                    checkpoint = found.map(Own::new);
                }
                Found::Waits => {
                    self.deferred.extend(waits.map(|until| (id.clone(), until)));
                    return;
                }
            }
        }
        self.end_fetch(id);
        let local = Local {
            begun: dot.clone(),
            dot,
            spec,
            phase: Phase::Starting { until: now.at },
            pid: None,
            token,
            assigned,
            taken_over,
            ran,
            restarts,
            failures: 0,
            recent: Failures::default(),
            followed,
            since_ms: now.wall_ms,
            os_pid: None,
            log: None,
            reason: None,
            refused: None,
            kind: "".into(),
            given,
            left: None,
            checkpoint,
            ahead,
            successor: None,
            lost_to: None,
            timer: None,
            takes_place: false,
        };
        self.local.insert(id.clone(), local);
        if to == *self.id() {
            self.activate(now, id, effects);
        } else {
            self.assign(now, id, to, effects);
        }
    }

    /// Whether a node holds the child that we were told of by what it wrote, and not yet as a member.
    fn is_held_by_stranger(&self, id: &ChildId) -> bool {
        let view = self.registry.view();
        let stranger = |node: &NodeId| view.get(&node.name).is_none_or(|member| node.supersedes(&member.id));
        self.actual.table().live(id).any(|(node, _, claim)| claim.is_held() && node != self.id() && stranger(node))
    }

    // ---- steps of its life

    /// Gives a held child a new process and starts it.
    fn activate(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Ok(name) = Name::new(id.as_str()) else { return };
        if !self.has_power() || !self.is_granted(now, id) {
            return self.wait_for_grant(now, id);
        }
        if let Some((dot, spec)) = self.local.get(id).map(|local| (local.dot.clone(), local.spec.clone())) {
            self.mark_started(id, &dot, &spec);
            // Whatever was wished for before now.
            let wished = self.mark_of(id, &dot).wished;
            if let Some(local) = self.local.get_mut(id) {
                local.followed = local.followed.joined(&wished);
            }
        }
        let place = self.predecessor(id).map(|claim| claim.rank.clone());
        if let Some(local) = self.local.get_mut(id) {
            local.ahead = place.is_some();
        }
        let value = bytes::Bytes::new();
        let pid = self.with_registry_raw(now, effects, |registry, out| {
            let pid = registry.activate_with(
                now,
                Activation { first: Some(&name), takes_place_of: place.as_ref(), ..Activation::default() },
            );
            if place.is_some() || is_present(Defect::NamelessChild) {
                return pid;
            }
            if let Err(error) = registry.register(now, &pid, name, value, out) {
                // Its claim in the table of children still finds every duplicate.
                tracing::warn!(child = %id, %error, "a child runs without its name");
            }
            pid
        });
        let fence = self.registry.standing(&pid).map(|(_, fence)| fence);
        let (Some(local), Some(fence)) = (self.local.get_mut(id), fence) else { return };
        let until = now.at + local.spec.init_timeout;
        (local.phase, local.pid, local.os_pid) = (Phase::Starting { until }, Some(pid.clone()), None);
        (local.since_ms, local.begun) = (now.wall_ms, local.dot.clone());
        self.children_by_pid.insert(pid.clone(), id.clone());
        let (spec, state) = (local.spec.clone(), local.given.clone());
        local.kind = spec.kind.clone();
        self.begin_checkpoint(id, fence);
        self.count_place(id);
        self.lease_before_start(now, id, effects);
        self.start_process(pid, spec, fence, state, effects);
    }

    /// Starts a held child anew, or leaves it to its seat where it may not run here: its spec forbids it, another process
    /// has its name, perhaps a copy on its way out, another node runs it, it runs once at most and somebody else has begun
    /// that run, or it had no place here, as in quarantine, and there is none.
    pub(super) fn start_again(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get_mut(id) else { return };
        local.token = None;
        let (dot, spec) = (local.dot.clone(), local.spec.clone());
        let has_place = local.takes_place || self.has_place();
        let had_its_run = spec.restart == Restart::Temporary && self.ran_elsewhere(id, &dot);
        if self.may_run(&spec) && has_place && !self.is_name_held(id) && !had_its_run && !self.runs_elsewhere(id) {
            if !self.catch_up(now, id, effects) {
                if let Some(local) = self.local.get_mut(id) {
                    local.phase = Phase::Backoff { until: now.at + CATCH_UP_PAUSE };
                }
                return;
            }
            self.activate(now, id, effects);
        } else {
            self.drop_local(id);
        }
    }

    /// Whether another node says that it runs a child: of names that may not be known yet.
    pub(super) fn runs_elsewhere(&self, id: &ChildId) -> bool {
        let counts = |node: &NodeId, claim: &Actual| {
            node != self.id() && claim.has_process() && !claim.losing && !self.unheard.contains(node)
        };
        self.claims(id).any(|(node, claim)| counts(node, claim)) && !is_present(Defect::NamelessChild)
    }

    /// Whether this node can run a child that it has, drained, cordoned, full or not.
    fn may_run(&self, spec: &ChildSpec) -> bool {
        let own = Candidate { id: self.id(), facts: self.facts_of(self.id()) };
        let takes_none =
            |why: &Ineligible| matches!(why, Ineligible::Draining | Ineligible::Cordoned | Ineligible::Full);
        placement::eligible(spec, own).err().is_none_or(|why| takes_none(&why))
    }

    /// Whether lookups show some process under a child's name.
    pub(super) fn is_name_held(&self, id: &ChildId) -> bool {
        Name::new(id.as_str()).is_ok_and(|name| self.registry.visible(&name).next().is_some())
    }

    /// Asks a child to stop, once; what follows its end may still change.
    pub(super) fn stop(&mut self, id: &ChildId, then: Then, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get_mut(id) else { return };
        let Some(pid) = local.pid.clone() else { return };
        let forgotten = is_present(Defect::SlowInitDeadlock) && matches!(local.phase, Phase::Starting { .. });
        let asked = matches!(local.phase, Phase::Stopping(_));
        let timeout = local.spec.stop_timeout;
        local.phase = Phase::Stopping(then);
        local.successor = None;
        let timeout = self.stop_timeout(timeout);
        if self.give_up_start(&pid) {
            self.never_begun.push(pid);
        } else if !asked && !forgotten {
            effects.push(Effect::Stop { pid, timeout });
        }
    }

    /// Stops everything; what should run stays desired.
    pub(super) fn stop_all(&mut self, _: Now, effects: &mut Vec<Effect>) {
        let ids: Vec<ChildId> = self.local.keys().cloned().collect();
        for id in ids {
            match self.local.get(&id).map(|local| &local.phase) {
                Some(Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_)) => {
                    self.stop(&id, Then::Gone, effects)
                }
                Some(Phase::Backoff { .. } | Phase::Quarantined | Phase::Released { .. } | Phase::Failed { .. }) => {
                    self.drop_local(&id);
                }
                Some(Phase::Done { .. }) | None => {}
            }
            self.dirty.insert(id);
        }
    }

    /// A child of ours lost a conflict: the winner is a copy of it, so it is done here.
    pub(super) fn on_lost(&mut self, id: &ChildId, conflict: &NameConflict, effects: &mut Vec<Effect>) {
        let succeeded = self.is_succeeded(id, conflict);
        if let Some(local) = self.local.get_mut(id) {
            local.reason = Some(format!("lost the name {} to {}", conflict.name, conflict.winner).into());
            if succeeded {
                local.reason = Some(format!("moved to {}", conflict.winner.node.name).into());
            }
            local.lost_to = Some(conflict.winner.clone()).filter(|_| conflict.name.as_str() == id.as_str());
        }
        if conflict.name.as_str() == id.as_str() && !is_present(Defect::ConflictIsRestart) {
            self.stop(id, Then::Gone, effects);
        } else if self.local.get(id).is_some_and(|local| !matches!(local.phase, Phase::Stopping(_))) {
            // A name beside the child's own may be lost to something else.
            self.stop(id, Then::Policy, effects);
        }
        self.dirty.insert(id.clone());
    }

    /// Forgets a child that has no process here, and takes our claim back.
    pub(super) fn drop_local(&mut self, id: &ChildId) {
        let Some(mut local) = self.local.remove(id) else { return };
        self.room.count(&mut local.takes_place, false);
        if let Some(timer) = local.timer {
            self.timers.remove(&(timer, id.clone()));
        }
        if let Some(own) = local.checkpoint.take() {
            self.leave_copy(id, own.checkpoint);
        }
        self.actual.remove(id);
        self.dirty.insert(id.clone());
    }

    /// Writes what the others are told of a held child, if it changed, and sets the timer of its phase.
    pub(super) fn publish(&mut self, now: Now, id: &ChildId) {
        self.count_place(id);
        let Some(local) = self.local.get_mut(id) else { return };
        let timer = local.expires().map(|until| until.max(now.at));
        if local.timer != timer {
            local.timer.into_iter().for_each(|old| {
                self.timers.remove(&(old, id.clone()));
            });
            self.timers.extend(timer.map(|at| (at, id.clone())));
            local.timer = timer;
        }
        let local = &self.local[id];
        let standing = local.pid.as_ref().and_then(|pid| self.registry.standing(pid));
        let before = self.actual.table().live_of(id, self.registry.id());
        let actual = Actual {
            kind: local.spec.kind.clone(),
            dot: local.dot.clone(),
            begun: Some(local.begun.clone()).filter(|begun| *begun != local.dot),
            pid: local.pid.clone(),
            rank: standing.map(|(rank, _)| rank.clone()).unwrap_or_default(),
            fence: standing.map(|(_, fence)| fence).or(before.and_then(|before| before.fence)),
            state: local.state(),
            token: local.token,
            losing: local.ahead && !is_present(Defect::SuccessorTooSoon)
                || local.pid.as_ref().is_some_and(|pid| self.registry.lost_to(pid).is_some()),
            ran: local.ran,
            restarts: local.restarts,
            followed: local.followed.clone(),
            since_ms: local.since_ms,
            os_pid: local.os_pid,
            log: local.log.clone(),
            reason: local.reason.clone(),
        };
        if before != Some(&actual) {
            self.actual.put(id.clone(), actual);
        }
    }
}

impl Local {
    /// Whether it ended for good.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }
}
