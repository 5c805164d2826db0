//! When: time as an argument, and the hybrid logical clock.

use std::fmt;
use std::time::Duration;

use super::defects::{Defect, is_present};
use serde::{Deserialize, Serialize};

/// A point on one node's monotonic clock, in microseconds since an origin of the driver's choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The point `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// What time it is for a core: the monotonic clock for timers, the wall clock for stamps that others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// The monotonic clock.
    pub at: Instant,
    /// Milliseconds since the Unix epoch by this node's wall clock, which may be wrong and may jump.
    pub wall_ms: u64,
}

/// How far ahead of our own wall clock a stamp from another node may lie before we refuse to follow it.
pub const SKEW_MAX: Duration = Duration::from_secs(600);

/// A stamp of the hybrid logical clock: 48 bits of milliseconds since the Unix epoch, 16 bits of logical counter.
///
/// Source: Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hlc(u64);

impl Hlc {
    /// The stamp of a wall-clock time with a zero counter.
    pub const fn from_wall_ms(wall_ms: u64) -> Self {
        Self(wall_ms << 16)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The stamp of all 64 bits.
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits, ordered as the stamps are.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.wall_ms(), self.0 & 0xffff)
    }
}

/// One node's hybrid logical clock: stamps rise strictly and follow every stamp that was observed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// A clock whose stamps come after `last`, wherever that lies.
    pub const fn after(last: Hlc) -> Self {
        Self { last }
    }

    /// The latest stamp that it gave or observed.
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// A stamp above every earlier one and every observed one, at the wall clock's time if that is ahead.
    pub fn tick(&mut self, now: Now) -> Hlc {
        let after = if is_present(Defect::ClockFalls) { 0 } else { self.last.0.saturating_add(1) };
        self.last = Hlc(after.max(Hlc::from_wall_ms(now.wall_ms).0));
        self.last
    }

    /// Follows a stamp of another node. Returns false, and changes nothing, if it lies more than [`SKEW_MAX`] ahead of
    /// our wall clock.
    #[must_use]
    pub fn observe(&mut self, now: Now, seen: Hlc) -> bool {
        let limit_ms = now.wall_ms.saturating_add(u64::try_from(SKEW_MAX.as_millis()).unwrap_or(u64::MAX));
        if seen.wall_ms() > limit_ms {
            return false;
        }
        if !is_present(Defect::SkewDecides) {
            self.last = self.last.max(seen);
        }
        true
    }
}
