//! How often a child may be restarted before it is left alone. Pure.

use std::collections::VecDeque;

use ordu_transport::core::Instant;

use super::spec::Intensity;

/// When a child failed lately, oldest first: at most as often as its intensity allows restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Failures(VecDeque<Instant>);

impl Failures {
    /// Takes a failure up. Returns whether it is one too many: it has then no restart.
    pub(super) fn exceed(&mut self, now: Instant, allowed: &Intensity) -> bool {
        while self.0.front().is_some_and(|at| now.saturating_since(*at) >= allowed.within) {
            self.0.pop_front();
        }
        let exceeds = self.0.len() >= allowed.restarts as usize;
        if !exceeds {
            self.0.push_back(now);
        }
        exceeds
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// When each was.
    pub(super) fn iter(&self) -> impl Iterator<Item = Instant> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_failures_within_the_window_count() {
        let allowed = Intensity::new(2, Duration::from_secs(10));
        let mut failures = Failures::default();
        let mut exceed = |s: u64| failures.exceed(Instant::from_micros(s * 1_000_000), &allowed);
        assert_eq!([0, 4, 10, 13, 14, 20, 21].map(&mut exceed), [false, false, false, true, false, false, true]);
        assert!(Failures::default().exceed(Instant::default(), &Intensity::new(0, Duration::MAX)));
    }
}
