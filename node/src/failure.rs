//! How a command fails: an exit code and one line.

use std::fmt;
use std::process::ExitCode;

/// The cluster said no.
pub const REFUSED: u8 = 1;
/// Bad usage or configuration.
pub const USAGE: u8 = 2;
/// The node cannot be reached.
pub const UNREACHABLE: u8 = 3;
/// The deadline passed; the outcome is unknown.
pub const TIMED_OUT: u8 = 4;

/// Why a command ends with another code than 0. Shown as one line on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// What failed, on what, what to do.
    pub message: String,
}

impl Failure {
    /// The cluster said no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: REFUSED, message: message.into() }
    }

    /// Bad usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    /// The node cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, message: message.into() }
    }

    /// The deadline passed.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self { code: TIMED_OUT, message: message.into() }
    }

    /// Puts what was being done in front.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// As the process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))
    }
}

/// The text without line breaks and other control characters.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(['\n', '\r', '\t']).map(str::trim).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::refused("no\n  way\u{1b}[31m out\r\n").context("start web");
        assert_eq!(failure.to_string(), "start web: no way\u{fffd}[31m out");
    }
}
