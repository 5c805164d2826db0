//! What a child leaves behind when its program has ended: processes that went out of its group.
//!
//! They are found by the child's cgroup, where it has one, which nobody can leave unseen; by `ORDU_FENCE` in the environment
//! that they were executed with, which all of a child inherit; and as what descended from the program when it was asked to
//! stop. Without a cgroup one escapes that has left the group, was executed with another environment (`env -i`), and whose
//! parents had ended before the child was asked to stop: it is still below the keeper, and so ends with the node.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::cgroup;
use super::processes::{self, Process};

/// A process that is just being executed shows no environment, so that only two looks without a find mean that nobody is
/// left.
const CLEAN_LOOKS: u32 = 2;
/// How long strays are looked for whom the kernel does not let go.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// What is known of the processes of one child.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) mark: Option<String>,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) seen: Vec<Process>,
}

/// Children that have ended and whose strays are looked for.
#[derive(Debug, Default)]
pub(super) struct Strays {
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    traces: Traces,
    since: Instant,
    clean: u32,
}

impl Strays {
    pub(super) fn add(&mut self, traces: impl IntoIterator<Item = Traces>) {
        let since = Instant::now();
        self.wanted.extend(traces.into_iter().map(|traces| Wanted { traces, since, clean: 0 }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Kills those that are found.
    pub(super) fn look(&mut self) {
        let open = self.wanted.iter().filter(|wanted| wanted.clean < CLEAN_LOOKS);
        let marks: BTreeSet<String> = open.filter_map(|wanted| wanted.traces.mark.clone()).collect();
        let met = processes::kill_marked(&marks);
        self.wanted.retain_mut(|wanted| {
            let Traces { mark, cgroup, seen } = &mut wanted.traces;
            let is_met = mark.as_ref().is_some_and(|mark| met.contains(mark));
            let is_seen = kill_with_descendants(seen);
            let is_cleared = cgroup.as_deref().is_none_or(cgroup::clear);
            wanted.clean = if is_met || is_seen { 0 } else { wanted.clean + 1 };
            (wanted.clean < CLEAN_LOOKS || !is_cleared) && wanted.since.elapsed() < LOOK_MAX
        });
    }
}

/// Kills those that are still there and what descends from them by now; whether there were any.
fn kill_with_descendants(seen: &mut Vec<Process>) -> bool {
    if seen.is_empty() {
        return false;
    }
    let all = processes::all();
    seen.retain(|process| all.iter().any(|now| now.pid == process.pid && now.began == process.began && !now.ended));
    let more: Vec<Process> = seen.iter().flat_map(|process| processes::descendants_among(&all, process.pid)).collect();
    for process in more {
        if !seen.contains(&process) {
            seen.push(process);
        }
    }
    for process in &*seen {
        processes::kill_seen(*process);
    }
    !seen.is_empty()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_seen_is_killed_with_what_it_started_since() {
        let mut child = Command::new("sh").args(["-c", "sleep 1000; true"]).process_group(0).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let root = processes::all().into_iter().find(|process| process.pid == pid).unwrap();
        let begun = Instant::now();
        let below = loop {
            if let Some(below) = processes::descendants(pid).first().copied() {
                break below;
            }
            assert!(begun.elapsed() < Duration::from_secs(20));
        };
        let mut strays = Strays::default();
        strays.add([Traces { mark: None, cgroup: None, seen: vec![root] }]);
        while !strays.is_empty() {
            strays.look();
        }
        child.wait().unwrap();
        assert!(begun.elapsed() < LOOK_MAX && !processes::all().iter().any(|now| now.pid == below.pid && !now.ended));
    }
}
