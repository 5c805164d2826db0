//! The machine that was measured.

use std::fs;

use serde::Serialize;

/// What figures depend on most, as one line of JSON.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// How many processors this process may use.
    pub(super) cores: usize,
    /// Their model.
    pub(super) cpu: String,
    /// The kernel and its release.
    pub(super) os: String,
}

impl Machine {
    /// This one. What the system does not tell is `unknown`.
    pub(super) fn here() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let known = |value: &str| Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        let unknown = || "unknown".to_owned();
        let cpuinfo = text("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.trim().strip_prefix(':'));
        let (kernel, release) = (text("/proc/sys/kernel/ostype"), text("/proc/sys/kernel/osrelease"));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: model.and_then(known).unwrap_or_else(unknown),
            os: known(&format!("{} {}", kernel.trim(), release.trim())).unwrap_or_else(unknown),
        }
    }
}
