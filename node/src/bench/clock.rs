//! Clocks that all processes of one machine share, and what a process has used of it.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of the machine's monotonic clock: comparable between its processes.
///
/// # Errors
/// If the system has no such clock.
pub(super) fn now_ns() -> Result<u64, String> {
    read(ClockId::CLOCK_MONOTONIC)
}

/// How much processor time this process has used, all its threads together, in nanoseconds.
///
/// # Errors
/// If the system has no such clock.
pub(super) fn cpu_ns() -> Result<u64, String> {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// This process's resident memory, in bytes.
///
/// # Errors
/// If `/proc` does not tell.
pub(super) fn resident_bytes() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| "/proc/self/status tells no VmRSS".to_owned())
}

fn read(clock: ClockId) -> Result<u64, String> {
    let time: TimeSpec = clock_gettime(clock).map_err(|error| format!("a clock cannot be read: {error}"))?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or_default();
    Ok(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance_and_memory_is_there() {
        let (before, cpu) = (now_ns().unwrap(), cpu_ns().unwrap());
        assert!(now_ns().unwrap() >= before && cpu_ns().unwrap() >= cpu && cpu > 0);
        assert!(resident_bytes().unwrap() > 0);
    }
}
