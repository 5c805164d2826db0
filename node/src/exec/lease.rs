//! The time by which a keeper kills its children unless its node has said otherwise: by the clock of the time since boot, which
//! goes on while the machine sleeps and is the same in both processes.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Longest wait between two looks at that clock: a condition waits by one that stands still while the machine sleeps.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// That long from now on, in microseconds since boot.
pub(super) fn at(within: Duration) -> u64 {
    now_us().saturating_add(u64::try_from(within.as_micros()).unwrap_or(u64::MAX))
}

fn now_us() -> u64 {
    // Linux has it since 2.6.39, and this reads it with good arguments.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// What a keeper was told last.
#[derive(Debug, Default)]
pub(super) struct Lease {
    until_us: Mutex<Option<u64>>,
    changed: Condvar,
}

impl Lease {
    pub(super) fn set(&self, until_us: Option<u64>) {
        *self.until_us.lock().unwrap_or_else(PoisonError::into_inner) = until_us;
        self.changed.notify_all();
    }

    /// Returns when the time has come, and forgets it.
    pub(super) fn is_over(&self) {
        let mut until_us = self.until_us.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(at_us) = *until_us else {
                until_us = self.changed.wait(until_us).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = Duration::from_micros(at_us.saturating_sub(now_us()));
            if left.is_zero() {
                *until_us = None;
                return;
            }
            let waited = self.changed.wait_timeout(until_us, left.min(LOOK_MAX));
            until_us = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
