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
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    until_us: Option<u64>,
    /// It was seen that this has passed.
    is_seen: bool,
}

impl Lease {
    pub(super) fn set(&self, until_us: Option<u64>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told { until_us, is_seen: false };
        self.changed.notify_all();
    }

    /// Whether the time has come: nothing may be started either, until the node is heard of again.
    pub(super) fn is_over(&self) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.until_us.is_some_and(|at_us| at_us <= now_us())
    }

    /// Returns when the time has come, once each time.
    pub(super) fn wait(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(at_us) = told.until_us.filter(|_| !told.is_seen) else {
                told = self.changed.wait(told).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = Duration::from_micros(at_us.saturating_sub(now_us()));
            if left.is_zero() {
                told.is_seen = true;
                return;
            }
            let waited = self.changed.wait_timeout(told, left.min(LOOK_MAX));
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
