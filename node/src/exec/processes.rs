//! The operating system's processes as `/proc` shows them: who descends from whom, and whose child a stray is.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// It ended and waits to be reaped.
    pub(crate) ended: bool,
}

/// Every process. One that comes or goes while this reads may be missing.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// A line of `/proc/PID/stat`: the name in parentheses may itself hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<Process> {
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, ended: matches!(state, "Z" | "X") })
}

/// The living descendants of `root`, without `root`.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for process in children.get(&parent).map_or(&[][..], Vec::as_slice) {
            if seen.insert(process.pid) {
                next.push(process.pid);
                if !process.ended {
                    found.push(process.pid);
                }
            }
        }
    }
    found
}

/// The value of `ORDU_FENCE` in a process's environment as it was executed with: no two activations of any cluster on
/// this host share it, and what an activation starts inherits it.
fn mark(pid: i32) -> Option<String> {
    variable(&fs::read(format!("/proc/{pid}/environ")).ok()?, "ORDU_FENCE")
}

fn variable(environ: &[u8], name: &str) -> Option<String> {
    environ.split(|&byte| byte == 0).find_map(|entry| {
        let value = std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

/// Kills every process, wherever it is, that carries one of these marks.
pub(crate) fn kill_marked(marks: &BTreeSet<String>) {
    if marks.is_empty() {
        return;
    }
    for process in all() {
        if !process.ended && mark(process.pid).is_some_and(|mark| marks.contains(&mark)) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

/// Kills every process that an earlier node with this data directory left behind: one whose fence file was in `fences`.
/// That happens only where the node and its keeper were killed at once.
pub(crate) fn kill_leftovers(fences: &std::path::Path) -> usize {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let world = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own_world = world(own);
    let is_leftover = |pid: i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let file = variable(&environ, "ORDU_FENCE_FILE")?;
        // In a container the same path is another directory.
        (std::path::Path::new(&file).parent()? == fences && world(pid) == own_world).then_some(())
    };
    let leftovers = all().into_iter().filter(|process| !process.ended && process.pid != own);
    let leftovers: Vec<_> = leftovers.filter(|process| is_leftover(process.pid).is_some()).collect();
    for process in &leftovers {
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    leftovers.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_ugly_name_is_read() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 102";
        assert_eq!(parse_stat(line), Some(Process { pid: 42, parent: 7, ended: false }));
        let line = "43 (sh) Z 42 42";
        assert_eq!(parse_stat(line), Some(Process { pid: 43, parent: 42, ended: true }));
        assert_eq!(parse_stat("43 (sh"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_variable_is_found_whole() {
        let environ = b"MY_ORDU_PID=x\0ORDU_PID2=y\0ORDU_PID=n1#1.4\0\xff=z\0";
        assert_eq!(variable(environ, "ORDU_PID").as_deref(), Some("n1#1.4"));
        assert_eq!(variable(b"", "ORDU_PID"), None);
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert!(descendants(parent).contains(&own));
        assert!(!descendants(own).contains(&own));
    }
}
