//! Counters of the runtime half, and lines of log that a peer cannot multiply.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a node's transport has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Sessions that exist now.
    pub sessions: u64,
    /// Sessions that were made.
    pub sessions_made: u64,
    /// Sessions that were refused, by either side, with a reason.
    pub sessions_refused: u64,
    /// Handshakes that failed: strangers, time-outs, garbage.
    pub handshakes_failed: u64,
    /// Sessions that were closed because the peer broke the protocol.
    pub protocol_errors: u64,
    /// Sessions that were reset because a lane was full.
    pub lanes_overflowed: u64,
    /// Frames handed to sessions.
    pub frames_sent: u64,
    /// Frames taken from sessions.
    pub frames_received: u64,
    /// Frames dropped for want of a session, or of a way.
    pub frames_dropped: u64,
    /// Frames of others that were passed on.
    pub frames_passed: u64,
    /// Requests of other members that were answered.
    pub requests_served: u64,
    /// Requests of other members that were refused.
    pub requests_refused: u64,
    /// UDP payload bytes sent over sessions.
    pub bytes_sent: u64,
    /// UDP payload bytes received over sessions.
    pub bytes_received: u64,
    /// How many times longer than configured verdicts on members take now, because our own clockwork is late.
    pub stretch: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters behind [`Metrics`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: Counter),* }
    };
}

counters!(
    sessions_made,
    sessions_refused,
    handshakes_failed,
    protocol_errors,
    lanes_overflowed,
    frames_sent,
    frames_received,
    frames_dropped,
    frames_passed,
    requests_served,
    requests_refused,
    /// Of sessions that are over.
    bytes_sent,
    bytes_received,
    stretch,
);

impl Counters {
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            sessions: 0,
            sessions_made: self.sessions_made.get(),
            sessions_refused: self.sessions_refused.get(),
            handshakes_failed: self.handshakes_failed.get(),
            protocol_errors: self.protocol_errors.get(),
            lanes_overflowed: self.lanes_overflowed.get(),
            frames_sent: self.frames_sent.get(),
            frames_received: self.frames_received.get(),
            frames_dropped: self.frames_dropped.get(),
            frames_passed: self.frames_passed.get(),
            requests_served: self.requests_served.get(),
            requests_refused: self.requests_refused.get(),
            bytes_sent: self.bytes_sent.get(),
            bytes_received: self.bytes_received.get(),
            stretch: self.stretch.get(),
        }
    }
}

/// One number that only we write.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets one log line through every [`LOG_EVERY`].
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<(Option<Instant>, u64)>);

/// Shortest time between two lines about the same kind of peer's fault.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl LogLimit {
    /// Whether to log now; then how many lines were left out before.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < LOG_EVERY) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}
