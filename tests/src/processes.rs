//! The operating system's process table, as `/proc` shows it.

use std::fs;

use nix::sys::signal::kill;
use nix::unistd::Pid;

/// One process as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its os pid.
    pub pid: i32,
    /// Its arguments, the program first.
    pub arguments: Vec<String>,
}

/// The os pids of all processes, the ended ones that nobody reaped yet included.
pub(crate) fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc is there");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's arguments; none if it ended, reaped or not.
pub(crate) fn arguments(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|arguments| !arguments.is_empty())
}

/// A variable of a process's environment, as it was executed with.
pub(crate) fn variable(pid: i32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ.split(|&byte| byte == 0).find_map(|entry| {
        entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(|value| String::from_utf8_lossy(value).into_owned())
    })
}

/// The living processes whose variable `name` has a value that `is_meant`.
pub fn with_variable(name: &str, is_meant: impl Fn(&str) -> bool) -> Vec<i32> {
    pids().into_iter().filter(|&pid| variable(pid, name).is_some_and(|value| is_meant(&value))).collect()
}

impl Process {
    /// The process of this os pid, if it lives.
    pub fn read(pid: i32) -> Option<Process> {
        let arguments = arguments(pid)?;
        let arguments = arguments.strip_suffix(b"\0").unwrap_or(&arguments);
        let arguments = arguments.split(|&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        Some(Process { pid, arguments: arguments.collect() })
    }
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok() && arguments(pid).is_some()
}

/// A process's resident memory.
pub fn resident_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// How many file descriptors a process has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
