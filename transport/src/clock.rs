//! The clock that all drivers of a node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::core::{self, Now};

/// A host that slept for less than this is not seen to: two clocks are not read at one moment.
const SLEPT_MIN_US: u64 = 10_000;

/// One clock for all drivers of a node. It goes on while the host sleeps, so that what counts for a while does not count for
/// longer: to the cores a host that slept is a process that was paused.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    began: Instant,
    slept: Arc<Slept>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), slept: Arc::new(Slept::new(since_boot())) }
    }

    pub(crate) fn now(&self) -> Now {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let at = core::Instant::from_micros(micros.saturating_add(self.slept.read(since_boot())));
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at, wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// When the driver's timers see this point of the cores' clock, if the host sleeps no more until then. Timers stand still
    /// while it does: one that ran meanwhile fires as late as it had left.
    pub(crate) fn at(&self, instant: core::Instant) -> Instant {
        let slept = self.slept.read(since_boot());
        self.began + Duration::from_micros(instant.as_micros().saturating_sub(slept))
    }
}

/// For how long the host has slept: the difference of the clock that goes on meanwhile and of the one that does not.
#[derive(Debug)]
struct Slept {
    /// What they differed by in the beginning.
    before_us: u64,
    slept_us: AtomicU64,
}

impl Slept {
    fn new(before_us: u64) -> Self {
        Self { before_us, slept_us: AtomicU64::new(0) }
    }

    /// Never less than before, whichever thread looks.
    fn read(&self, differ_us: u64) -> u64 {
        let slept = differ_us.saturating_sub(self.before_us);
        let known = self.slept_us.load(Ordering::Relaxed);
        if slept < known.saturating_add(SLEPT_MIN_US) {
            return known;
        }
        self.slept_us.fetch_max(slept, Ordering::Relaxed).max(slept)
    }
}

/// For how long the host has slept since it was started, or a little less: whoever stands still between two looks finds less.
#[cfg(target_os = "linux")]
fn since_boot() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let micros = |clock| {
        let time = clock_gettime(clock);
        let (secs, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
        secs.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
    };
    let with_sleep = micros(ClockId::Boottime);
    with_sleep.saturating_sub(micros(ClockId::Monotonic))
}

/// Here nobody tells.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has_slept_is_added_and_never_taken_back() {
        let hour = 3_600_000_000;
        let slept = Slept::new(hour);
        assert_eq!(slept.read(hour), 0, "what it slept before does not count");
        assert_eq!(slept.read(hour + SLEPT_MIN_US - 1), 0, "so little it cannot tell");
        assert_eq!(slept.read(hour + 5_000_000), 5_000_000);
        assert_eq!(slept.read(hour + 4_000_000), 5_000_000, "somebody stood still between his looks");
        assert_eq!(slept.read(3 * hour), 2 * hour);
        assert_eq!(slept.read(0), 2 * hour);
    }

    #[test]
    fn the_cores_and_the_timers_agree_after_a_sleep() {
        let clock = Clock::start();
        let before = clock.now().at;
        clock.slept.slept_us.store(60_000_000, Ordering::Relaxed);
        let now = clock.now().at;
        assert!(now.saturating_since(before) >= Duration::from_secs(60));
        let due = clock.at(now + Duration::from_secs(1)).saturating_duration_since(Instant::now());
        assert!(due <= Duration::from_secs(1) && due > Duration::from_millis(500), "{due:?}");
        assert!(clock.at(before) <= Instant::now(), "what was due meanwhile is due now");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_of_the_host_is_read() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((since_boot() as f64) < (uptime + 1.0) * 1e6);
    }
}
