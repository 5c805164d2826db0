//! The operating system's processes as `/proc` shows them: who descends from whom, and whose child a stray is.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// How often leftovers are looked for while there are any: what is being killed may start others.
const PASSES_MAX: usize = 100;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// When it began, in ticks since the host's boot: tells it from a later one with its number.
    pub(crate) began: u64,
    /// It ended and waits to be reaped.
    pub(crate) ended: bool,
}

/// Every process. One that comes or goes while this reads may be missing.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(read).collect()
}

/// A line of `/proc/PID/stat`: the name in parentheses may itself hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<Process> {
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let began = fields.nth(16)?.parse().ok()?;
    Some(Process { pid, parent, group, began, ended: matches!(state, "Z" | "X") })
}

/// The living descendants of `root`, without `root`.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    descendants_among(&all(), root)
}

/// The living descendants of `root`, found without a look at any other process where the kernel tells children.
pub(crate) fn below(root: i32) -> Vec<Process> {
    if !Path::new("/proc/thread-self/children").exists() {
        return descendants(root);
    }
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        next.extend(children(parent).into_iter().filter(|child| seen.insert(*child)));
    }
    seen.remove(&root);
    seen.into_iter().filter_map(read).filter(|process| !process.ended).collect()
}

fn children(parent: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
}

/// The process that has this number now.
pub(crate) fn read(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// [`descendants`] of what was read before.
pub(crate) fn descendants_among(all: &[Process], root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for process in children.get(&parent).map_or(&[][..], Vec::as_slice) {
            if seen.insert(process.pid) {
                next.push(process.pid);
                if !process.ended {
                    found.push(*process);
                }
            }
        }
    }
    found
}

/// Kills a process if `is_meant` says so, which looks at it by its number: never another that has got the number since.
/// Whether it was meant, and was there to be killed.
pub(crate) fn kill_if(pid: i32, is_meant: impl FnOnce() -> bool) -> bool {
    let Some(number) = rustix::process::Pid::from_raw(pid) else { return false };
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) => is_meant() && pidfd_send_signal(process, rustix::process::Signal::KILL).is_ok(),
        // A kernel that knows no such thing.
        Err(rustix::io::Errno::NOSYS) => is_meant() && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok(),
        Err(_) => false,
    }
}

/// Kills a process that was seen before.
pub(crate) fn kill_seen(process: Process) -> bool {
    kill_if(process.pid, || read(process.pid).is_some_and(|now| now.began == process.began && !now.ended))
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

/// Kills every process, wherever it is, that carries one of these marks. Answers the marks that it met: whose process may
/// have started another meanwhile.
pub(crate) fn kill_marked(marks: &BTreeSet<String>) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    if marks.is_empty() {
        return met;
    }
    for process in all().into_iter().filter(|process| !process.ended) {
        let mut found = None;
        kill_if(process.pid, || {
            found = mark(process.pid).filter(|mark| marks.contains(mark));
            found.is_some()
        });
        met.extend(found);
    }
    met
}

/// Kills every process that an earlier node with this data directory left behind: one whose fence file was in one of the
/// directories `fences`. That happens only where the node and its keeper were killed at once.
pub(crate) fn kill_leftovers(fences: &[&Path]) -> usize {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let world = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own_world = world(own);
    let is_leftover = |pid: i32| {
        let file = fs::read(format!("/proc/{pid}/environ")).ok().and_then(|bytes| variable(&bytes, "ORDU_FENCE_FILE"));
        let directory = file.as_deref().and_then(|file| Path::new(file).parent());
        // In a container the same path is another directory.
        directory.is_some_and(|directory| fences.contains(&directory)) && world(pid) == own_world
    };
    let mut killed = 0;
    for _ in 0..PASSES_MAX {
        let others = all().into_iter().filter(|process| !process.ended && process.pid != own);
        let now = others.filter(|process| kill_if(process.pid, || is_leftover(process.pid))).count();
        killed += now;
        if now == 0 {
            break;
        }
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_ugly_name_is_read() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 102 0 0 0 1 2 0 0 20 0 1 0 777 5000";
        assert_eq!(parse_stat(line), Some(Process { pid: 42, parent: 7, group: 42, began: 777, ended: false }));
        let line = "43 (sh) Z 42 42 42 0 -1 4194304 102 0 0 0 1 2 0 0 20 0 1 0 778 0";
        assert_eq!(parse_stat(line), Some(Process { pid: 43, parent: 42, group: 42, began: 778, ended: true }));
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
        for look in [descendants, below] {
            let is_below = |root: i32| look(root).iter().any(|process| process.pid == own);
            assert!(is_below(parent) && !is_below(own));
        }
    }

    #[test]
    fn only_the_process_that_was_seen_is_killed() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let seen = all().into_iter().find(|process| process.pid == pid).unwrap();
        assert!(!kill_seen(Process { began: seen.began + 1, ..seen }));
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(kill_seen(seen));
        child.wait().unwrap();
        assert!(!kill_seen(seen), "it is gone");
    }
}
