//! What a child's process tells of itself: it is through its init, or it has ended, and what follows by its restart policy.

use std::sync::Arc;
use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Now, Pid};
use rand::RngExt;

use super::child::{Exit, FAILED_KEPT_MAX, HEALTHY_AFTER, Phase, Then, backoff};
use super::row::EventKind;
use super::spec::{ChildId, Intensity};
use super::supervisor::Supervisor;
use super::words::{Effect, Escalation, StartedInfo};

impl Supervisor {
    pub(super) fn on_started(&mut self, now: Now, pid: &Pid, info: StartedInfo, effects: &mut Vec<Effect>) {
        let Some(id) = self.children_by_pid.get(pid).cloned() else { return };
        let Some(local) = self.local.get_mut(&id) else { return };
        (local.os_pid, local.log) = (info.os_pid, info.log);
        if local.phase != Phase::Stopping(Then::Late) {
            (local.ran, local.given) = (true, None);
        }
        if matches!(local.phase, Phase::Starting { .. }) {
            local.phase = Phase::Running { since: now.at };
            local.since_ms = now.wall_ms;
            self.take_name(now, &id, effects);
        }
        self.dirty.insert(id);
    }

    /// The next fence of this node is above the one by which a child was refused, unless that lies too far ahead.
    fn follow_fence(&mut self, now: Now, pid: &Pid, exit: Exit) -> Exit {
        let Exit::Fenced(seen) = exit else { return exit };
        if self.registry.observe(now, seen.at()) {
            self.note_clock();
            return exit;
        }
        tracing::warn!(%pid, %seen, "a child was refused under a fence too far ahead of our clock to be followed");
        Exit::not_followed(seen)
    }

    pub(super) fn on_exited(&mut self, now: Now, pid: &Pid, exit: Exit, effects: &mut Vec<Effect>) {
        let exit = self.follow_fence(now, pid, exit);
        let Some(id) = self.children_by_pid.remove(pid) else {
            // Not a child, or one of an earlier activation.
            return self.with_registry_raw(now, effects, |registry, out| registry.ended(now, pid, out));
        };
        self.with_registry_raw(now, effects, |registry, out| registry.ended(now, pid, out));
        self.dirty.insert(id.clone());
        let Some(local) = self.local.get_mut(&id) else { return };
        (local.pid, local.os_pid) = (None, None);
        local.hand_on();
        local.successor = None;
        let text = exit.text();
        match local.phase.clone() {
            Phase::Starting { .. } | Phase::Stopping(Then::Late) if local.ahead => self.fail_ahead(now, &id, &text),
            Phase::Stopping(Then::Gone) => {
                if let Some(winner) = self.local.get_mut(&id).and_then(|local| local.lost_to.take())
                    && self.spec(&id).is_some()
                {
                    self.leave_to_winner(now, &id, pid, winner);
                }
                self.tell(now, EventKind::ChildExited { child: id.clone(), reason: text.to_string() }, effects);
                self.drop_local(&id);
            }
            Phase::Stopping(Then::Restart) => self.start_again(now, &id, effects),
            Phase::Stopping(Then::Policy) => self.after_conflict(now, &id, effects),
            Phase::Stopping(Then::Move { to, token }) => {
                let until = self.kept_back_until(now, &id);
                if let Some(local) = self.local.get_mut(&id) {
                    (local.phase, local.since_ms) = (Phase::Released { to, token, until }, now.wall_ms);
                }
                self.send_state(&id, effects);
            }
            Phase::Starting { .. } => self.on_init_failed(now, &id, &exit, text, effects),
            Phase::Stopping(Then::Late) => {
                let late = local.reason.clone().unwrap_or_default();
                self.on_init_failed(now, &id, &Exit::Abnormal(late.to_string()), late, effects);
            }
            Phase::Running { since } => {
                if now.at.saturating_since(since) >= HEALTHY_AFTER {
                    local.failures = 0;
                }
                // Who was not asked to stop has nothing to hand on: it may be what he failed by.
                self.give_checkpoint(&id);
                self.tell(now, EventKind::ChildExited { child: id.clone(), reason: text.to_string() }, effects);
                self.follow_policy(now, &id, &exit, effects);
            }
            Phase::Backoff { .. }
            | Phase::Quarantined
            | Phase::Released { .. }
            | Phase::Failed { .. }
            | Phase::Done { .. } => {}
        }
    }

    fn on_init_failed(&mut self, now: Now, id: &ChildId, exit: &Exit, how: Arc<str>, effects: &mut Vec<Effect>) {
        self.tell(now, EventKind::ChildExited { child: id.clone(), reason: how.to_string() }, effects);
        let waits = self.start_held(id).map(|desired| desired.wait_ms).filter(|_| self.has_waiting_caller(id));
        let Some(local) = self.local.get_mut(id) else { return };
        // Only the very first activation answers a caller; a restart follows the policy.
        let moved = local.token.is_some() && !local.assigned;
        let first = local.restarts == 0 && local.failures == 0 && !moved && !local.taken_over;
        // A store may know later fences than ours from the start; the next one is above them, and the caller waits for it.
        let again = matches!(exit, Exit::Fenced(_)) && local.restarts_after(exit);
        match waits.filter(|_| first && !again) {
            Some(wait_ms) => {
                let until = now.at + Duration::from_millis(wait_ms).min(FAILED_KEPT_MAX);
                (local.phase, local.since_ms, local.reason) = (Phase::Failed { until }, now.wall_ms, Some(how));
            }
            None => self.follow_policy(now, id, exit, effects),
        }
    }

    /// Starts a child that lost a name again after a pause, if it is ever; a conflict is no failure of its own.
    fn after_conflict(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get_mut(id) else { return };
        let lost = Exit::Abnormal(local.reason.as_deref().unwrap_or("lost a name").to_owned());
        if !local.restarts_after(&lost) || is_present(Defect::ConflictIsRestart) {
            return self.follow_policy(now, id, &lost, effects);
        }
        let until = now.at + backoff(1, self.rng.random::<f64>());
        (local.phase, local.since_ms) = (Phase::Backoff { until }, now.wall_ms);
    }

    pub(super) fn follow_policy(&mut self, now: Now, id: &ChildId, exit: &Exit, effects: &mut Vec<Effect>) {
        let how = exit.text();
        let Some(local) = self.local.get_mut(id) else { return };
        if local.restarts_after(exit) {
            return self.pause(now, id, how, effects);
        }
        let until = now.at + self.keep_done;
        (local.phase, local.since_ms, local.reason) = (Phase::Done { until }, now.wall_ms, Some(how));
        let (dot, spec) = (local.dot.clone(), local.spec.clone());
        if self.is_live(id, &dot) {
            self.undesire(id, &spec);
        }
    }

    /// Waits before the child is started again, if it has not failed too often.
    fn pause(&mut self, now: Now, id: &ChildId, how: Arc<str>, effects: &mut Vec<Effect>) {
        let jitter = self.rng.random::<f64>();
        let Some(local) = self.local.get_mut(id) else { return };
        if let Some(allowed) = local.spec.intensity
            && local.recent.exceed(now.at, &allowed)
        {
            return self.quarantine(now, id, &allowed, &how, effects);
        }
        local.failures = local.failures.saturating_add(1);
        local.restarts = local.restarts.saturating_add(1);
        let until = now.at + backoff(local.failures, jitter);
        (local.phase, local.since_ms, local.reason) = (Phase::Backoff { until }, now.wall_ms, Some(how));
        self.dirty.insert(id.clone());
    }

    /// Leaves a child alone until somebody restarts or terminates it.
    fn quarantine(&mut self, now: Now, id: &ChildId, allowed: &Intensity, how: &str, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get_mut(id) else { return };
        let Intensity { restarts, within, escalates } = allowed;
        let reason: Arc<str> = format!("{how}; it may be restarted {restarts} times within {within:?}, and was").into();
        (local.phase, local.since_ms, local.reason) = (Phase::Quarantined, now.wall_ms, Some(reason.clone()));
        // What it was handed may be what it fails by.
        self.give_checkpoint(id);
        self.mark_quarantine(now, id, Some(&reason));
        if *escalates {
            effects.push(Effect::Escalate(Escalation { child: id.clone(), reason }));
        }
        self.dirty.insert(id.clone());
    }
}
