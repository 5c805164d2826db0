//! What decides all that a supervisor will do, as one number: exhaustive walks meet equal states by it.
//!
//! Times are told by how long they are still waited for, so that the same situation a minute later is the same. What a
//! generator will draw is told by how far it was drawn from; jitter of repairs is left out, as in the registry.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use ordu_registry::core::sync::wait;
use ordu_transport::core::Instant;

use super::calls::Waiting;
use super::child::{HEALTHY_AFTER, Local, Phase};
use super::moves::STEADY_AFTER;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Takes into `hasher` all that decides what this supervisor will do, as it is at `now`. Two that give the same do the
    /// same from here on, up to jitter.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.registry.fingerprint(now, hasher);
        self.desired.fingerprint(now, hasher);
        self.actual.fingerprint(now, hasher);
        self.marks.fingerprint(now, hasher);
        self.facts.fingerprint(now, hasher);
        for (id, local) in self.local.iter() {
            id.hash(hasher);
            local.fingerprint(now, hasher);
        }
        (&self.children_by_pid, &self.dirty, &self.connected, &self.move_queue).hash(hasher);
        (&self.shown, &self.shown_draining, &self.unacked, &self.void_marks, &self.waiting_for, self.shutting_down)
            .hash(hasher);
        self.void_since.hash(hasher);
        self.timers.iter().for_each(|(at, id)| (wait(now, *at), id).hash(hasher));
        self.deferred.iter().for_each(|(id, until)| (id, wait(now, *until)).hash(hasher));
        self.up_since.iter().for_each(|(id, since)| (id, wait(now, *since + STEADY_AFTER)).hash(hasher));
        self.unheard.fingerprint(now, hasher);
        for (request, Waiting { call, deadline }) in &self.waiting {
            (request, call, wait(now, *deadline)).hash(hasher);
        }
        self.handed.iter().for_each(|(key, handed)| (key, &handed.state, wait(now, handed.until)).hash(hasher));
        (&self.waits, self.returns, &self.never_begun).hash(hasher);
        self.disk.iter().for_each(|disk| disk.fingerprint(now, hasher));
        self.room.said_until.map(|until| wait(now, until)).hash(hasher);
        self.next_move_at.map(|at| wait(now, at)).hash(hasher);
        self.to_even.iter().for_each(|id| id.hash(hasher));
        self.crowded.iter().for_each(|group| group.hash(hasher));
        self.rng.get_word_pos().hash(hasher);
    }
}

impl Local {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self { dot, begun, spec, phase, pid, token, assigned, taken_over, ran, restarts, failures, recent, .. } =
            self;
        assigned.then(|| assigned.hash(hasher));
        let within = spec.intensity.map_or(Duration::ZERO, |intensity| intensity.within);
        recent.iter().for_each(|at| wait(now, at + within).hash(hasher));
        (dot, begun, spec, pid, token, taken_over, ran, restarts, failures).hash(hasher);
        let Self { followed, since_ms, os_pid, log, reason, refused, kind, given, left, timer, .. } = self;
        (followed, since_ms, os_pid, log, reason, kind, given, left).hash(hasher);
        refused.as_ref().map(|(by, until, times)| (by, wait(now, *until), times)).hash(hasher);
        timer.map(|at| wait(now, at)).hash(hasher);
        std::mem::discriminant(phase).hash(hasher);
        match phase {
            Phase::Quarantined => {}
            // How long it runs matters only for what is forgotten of its failures.
            Phase::Running { .. } if *failures == 0 => {}
            Phase::Running { since } => wait(now, *since + HEALTHY_AFTER).hash(hasher),
            Phase::Stopping(then) => then.hash(hasher),
            Phase::Released { to, token, until } => (to, token, wait(now, *until)).hash(hasher),
            Phase::Starting { until } | Phase::Backoff { until } | Phase::Failed { until } | Phase::Done { until } => {
                wait(now, *until).hash(hasher);
            }
        }
    }
}
