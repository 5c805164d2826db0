//! foca's timers, in order, and the health of our own clockwork.
//!
//! A timer that fires late says that *we* were not there (paused, starved), not that the members were silent: their
//! answers may still wait in a queue. So the first late timer moves on all that were set before we were away, in their order,
//! by how late we are and a grace; and while we keep being late every new period is longer. (Local health: Dadgar,
//! Phillips, Currey: "Lifeguard", 2018, section IV; the scale is ours.)

use std::collections::BTreeMap;
use std::time::Duration;

use foca::Timer;

use super::swim::Identity;
use crate::core::defects::{Defect, is_present};
use crate::core::time::Instant;

/// A timer that fires later than this says that we are not healthy.
pub const LATE_MIN: Duration = Duration::from_millis(60);
/// Longest grace that is given to the members when we were late.
pub const GRACE_MAX: Duration = Duration::from_millis(500);
/// How often in a row the timers may be moved on; then they fire, late or not. Without a bound a machine that is always
/// late would never find anybody down.
pub const POSTPONED_MAX: u32 = 3;
/// Worst health: new periods are at most `1 + HEALTH_MAX` times as long as configured.
pub const HEALTH_MAX: u32 = 3;
/// How many timers in a row must fire in time for health to improve by one.
pub const HEALED_AFTER: u32 = 20;

/// Pending timers by when they are due, then by when they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Instant, u64), Pending>,
    serial: u64,
    /// When we were called last.
    called_at: Instant,
    /// The last call before a gap in which a timer was due that has not fired yet.
    away_since: Option<Instant>,
    /// 0 is healthy.
    health: u32,
    postponed: u32,
    in_time: u32,
}

#[derive(Debug)]
struct Pending {
    set_at: Instant,
    timer: Timer<Identity>,
}

impl Timers {
    /// Something is handled now, timers or not.
    pub(super) fn called(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.called_at, now);
        let is_late = self.first().is_some_and(|at| now.saturating_since(at) > LATE_MIN);
        let gap = Some(before).filter(|before| now.saturating_since(*before) > LATE_MIN);
        self.away_since = self.away_since.or(gap).filter(|_| is_late);
    }

    pub(super) fn insert(&mut self, now: Instant, after: Duration, timer: Timer<Identity>) {
        self.serial += 1;
        let pending = Pending { set_at: now, timer };
        self.due.insert((now + after * (1 + self.health), self.serial), pending);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next timer to fire now; none if none is due, or if all were moved on because we are late.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer<Identity>> {
        let at = self.first().filter(|at| *at <= now)?;
        let late = now.saturating_since(at);
        if late > LATE_MIN && self.postponed < POSTPONED_MAX && !is_present(Defect::PauseBlamesOthers) {
            let since = self.away_since.take().unwrap_or(at);
            self.postpone(now, since, late + late.min(GRACE_MAX));
            return None;
        }
        if late <= LATE_MIN {
            self.on_in_time();
        }
        self.due.pop_first().map(|(_, pending)| pending.timer)
    }

    /// How many times longer than configured periods are now.
    pub(super) fn stretch(&self) -> u32 {
        1 + self.health
    }

    /// What was set since, by something that had waited for us, runs from our return, unless it is late itself.
    fn postpone(&mut self, now: Instant, since: Instant, by: Duration) {
        let moved = |((at, n), pending): ((Instant, u64), Pending)| {
            let by = if pending.set_at > since && at > now { Duration::ZERO } else { by };
            ((at + by, n), pending)
        };
        self.due = std::mem::take(&mut self.due).into_iter().map(moved).collect();
        self.postponed += 1;
        self.in_time = 0;
        self.health = (self.health + 1).min(HEALTH_MAX);
    }

    fn on_in_time(&mut self) {
        self.postponed = 0;
        self.in_time += 1;
        if self.in_time >= HEALED_AFTER {
            self.in_time = 0;
            self.health = self.health.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn timers(ms: &[u64]) -> Timers {
        let mut timers = Timers::default();
        for (token, ms) in ms.iter().enumerate() {
            let token = u8::try_from(token).expect("few timers");
            timers.insert(at(0), Duration::from_millis(*ms), Timer::PeriodicGossip(token));
        }
        timers
    }

    #[test]
    fn fire_in_order_and_not_early() {
        let mut timers = timers(&[20, 10, 20]);
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(10)), Some(Timer::PeriodicGossip(1)));
        assert_eq!(timers.first(), Some(at(20)));
        assert_eq!(timers.take_due(at(20)), Some(Timer::PeriodicGossip(0)));
        assert_eq!(timers.take_due(at(20)), Some(Timer::PeriodicGossip(2)));
        assert_eq!(timers.first(), None);
    }

    #[test]
    fn after_a_pause_all_move_on_and_wait_a_grace() {
        let mut timers = timers(&[100, 300]);
        assert_eq!(timers.take_due(at(30_000)), None);
        assert_eq!(timers.first(), Some(at(30_500)));
        assert_eq!(timers.stretch(), 2);
        assert_eq!(timers.take_due(at(30_500)), Some(Timer::PeriodicGossip(0)));
        assert_eq!(timers.first(), Some(at(30_700)));
    }

    /// Inputs go first: a timer may be due and not have fired, and another one be set, when a pause begins.
    #[test]
    fn what_is_set_right_before_a_pause_waits_like_the_rest() {
        for (until, verdict_at) in [(30_000, 31_750), (1_340, 3_090)] {
            let mut timers = timers(&[100]);
            timers.called(at(101));
            timers.insert(at(101), Duration::from_millis(1_249), Timer::PeriodicGossip(7));
            timers.called(at(until));
            assert_eq!(timers.take_due(at(until)), None);
            let late = until - 100;
            let by = late + late.min(500);
            assert_eq!(timers.take_due(at(100 + by)), Some(Timer::PeriodicGossip(0)));
            assert_eq!(timers.first(), Some(at(1_350 + by)));
            assert_eq!(verdict_at, 1_350 + by);
            assert_eq!((timers.stretch(), timers.postponed), (2, 0), "one pause counts once");
        }
    }

    #[test]
    fn who_is_busy_moves_all_that_is_late_once() {
        let mut timers = timers(&[100]);
        timers.called(at(60));
        for ms in (100..=200).step_by(10) {
            timers.called(at(ms));
            if ms == 110 {
                timers.insert(at(ms), Duration::from_millis(20), Timer::PeriodicGossip(7));
            }
        }
        assert_eq!(timers.take_due(at(200)), None);
        assert_eq!((timers.first(), timers.postponed), (Some(at(300)), 1));
        assert_eq!(timers.take_due(at(200)), None);
        assert_eq!(timers.postponed, 1);
    }

    #[test]
    fn what_is_set_after_a_pause_does_not_wait_for_it() {
        let mut timers = timers(&[100, 300]);
        timers.called(at(0));
        timers.called(at(30_000));
        timers.insert(at(30_000), Duration::from_millis(400), Timer::PeriodicGossip(2));
        assert_eq!(timers.take_due(at(30_000)), None);
        assert_eq!(timers.first(), Some(at(30_400)));
        assert_eq!(timers.take_due(at(30_400)), Some(Timer::PeriodicGossip(2)));
        assert_eq!(timers.take_due(at(30_500)), Some(Timer::PeriodicGossip(0)));
        assert_eq!(timers.first(), Some(at(30_700)));
    }

    #[test]
    fn who_is_always_late_fires_in_the_end() {
        let mut timers = timers(&[100]);
        let mut now = 0;
        for _ in 0..POSTPONED_MAX {
            now = timers.first().expect("one is pending").as_micros() / 1000 + 70;
            assert_eq!(timers.take_due(at(now)), None);
        }
        assert_eq!(timers.take_due(at(now + 1000)), Some(Timer::PeriodicGossip(0)));
        assert_eq!(timers.stretch(), 1 + HEALTH_MAX);
    }

    #[test]
    fn health_returns() {
        let mut timers = timers(&[100]);
        assert_eq!(timers.take_due(at(1000)), None);
        for n in 0..u64::from(HEALED_AFTER) {
            assert_eq!(timers.stretch(), 2);
            let now = timers.first().expect("one is pending");
            assert!(timers.take_due(now).is_some());
            timers.insert(now, Duration::from_millis(n), Timer::PeriodicGossip(0));
        }
        assert_eq!(timers.stretch(), 1);
    }
}
