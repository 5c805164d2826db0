//! Waiting for a condition, never for a time.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `look` answers `Ok`, and panics with its last error once the deadline has passed. Answers how long it took
/// beside what was seen.
#[track_caller]
pub fn within<T, E: Display>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<T, E>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(seen) => return (seen, start.elapsed()),
            Err(why) if start.elapsed() > deadline => {
                panic!("not within {deadline:?}: {what}; at last: {why}")
            }
            Err(_) => sleep(LOOK_INTERVAL),
        }
    }
}

/// [`within`] for a plain yes or no.
#[track_caller]
pub fn until(deadline: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    within(deadline, what, || if is_so() { Ok(()) } else { Err("not so") }).1
}

/// A duration as people compare it: whole milliseconds.
pub fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
