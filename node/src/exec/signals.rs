//! Signals by the names that people write.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// The first real-time signal that programs may use; the C library keeps the two before it.
const REAL_TIME_MIN: i32 = 34;

/// The signal by which a child is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StopSignal(pub Signal);

/// Those that a program can take as a wish to end, and the one that it cannot refuse.
const STOP_SIGNALS: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGABRT,
    Signal::SIGKILL,
];

impl StopSignal {
    /// Whether it is the usual one.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        Self(Signal::SIGTERM)
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.as_str()["SIG".len()..])
    }
}

impl FromStr for StopSignal {
    type Err = String;

    /// `TERM` or `SIGTERM`, in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = STOP_SIGNALS.into_iter().map(Self).find(|signal| signal.to_string() == name);
        found.ok_or_else(|| {
            let all = STOP_SIGNALS.map(|signal| Self(signal).to_string());
            format!("{text:?} is not one of {}", all.join(", "))
        })
    }
}

impl TryFrom<String> for StopSignal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<StopSignal> for String {
    fn from(signal: StopSignal) -> Self {
        signal.to_string()
    }
}

/// A signal's name by its number: `SIGSEGV`, `SIGRTMIN+6`.
pub(super) fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().into(),
        Err(_) if number == REAL_TIME_MIN => "SIGRTMIN".into(),
        Err(_) if number > REAL_TIME_MIN => format!("SIGRTMIN+{}", number - REAL_TIME_MIN),
        Err(_) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_read_with_and_without_their_prefix() {
        for text in ["USR1", "usr1", "SIGUSR1", "sigusr1"] {
            assert_eq!(text.parse(), Ok(StopSignal(Signal::SIGUSR1)), "{text}");
        }
        assert_eq!(StopSignal(Signal::SIGHUP).to_string(), "HUP");
        for text in ["", "SIG", "STOP", "SEGV", "15", "TERMINATE"] {
            assert!(text.parse::<StopSignal>().unwrap_err().contains("TERM, INT, QUIT"), "{text}");
        }
    }

    #[test]
    fn every_signal_has_a_name() {
        for (number, expected) in
            [(9, "SIGKILL"), (11, "SIGSEGV"), (34, "SIGRTMIN"), (40, "SIGRTMIN+6"), (33, "signal 33")]
        {
            assert_eq!(name(number), expected);
        }
    }
}
