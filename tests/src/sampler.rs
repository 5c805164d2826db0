//! Looks at the operating system's process table all the time and keeps, for every child, when which copies of it lived.
//!
//! A child is counted as its leaf: a `sleep` for a number of seconds that no other child of any scenario has. A copy lived
//! *at least* from the end of the read that first showed it to the beginning of the read that last did: two copies that
//! overlap here did overlap, whatever lies between the reads. How long nobody ran is *at most* what is said here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::processes::{arguments, pids, variable};

/// Between the beginnings of two looks.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// How long after its first sight a process that is no leaf may still become one, by executing the `sleep`.
const YOUNG_MAX: Duration = Duration::from_secs(5);

/// One copy of a child: from when to when it was seen.
#[derive(Debug, Clone)]
pub struct Life {
    /// The leaf's os pid.
    pub pid: i32,
    /// The node that ran it.
    pub node: String,
    /// Its process in the cluster, `NODE#BOOT.SERIAL`.
    pub process: String,
    /// It lived at this time: the end of the read that first showed it.
    pub first: Instant,
    /// It lived at this time: the beginning of the read that last showed it.
    pub last: Instant,
    /// It was gone at this time; none while it lives.
    pub gone: Option<Instant>,
}

impl Life {
    fn covers(&self, time: Instant) -> bool {
        self.first <= time && time <= self.last
    }
}

/// Looks until it is dropped.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Every mark is of the form `1TTTTTTTNNNN`: tag, number.
    tag: u64,
    is_over: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    ids: Vec<String>,
    lives: BTreeMap<String, Vec<Life>>,
    /// Where in `lives` the living leaves are.
    living: HashMap<i32, (String, usize)>,
    others: HashMap<i32, Instant>,
    looks: u64,
    longest_gap: Duration,
    last_look: Option<Instant>,
}

impl Sampler {
    /// Begins to look for children whose marks have this tag.
    pub(crate) fn start(tag: u64) -> Sampler {
        let shared = Arc::new(Shared { tag, is_over: AtomicBool::new(false), seen: Mutex::default() });
        let looked = shared.clone();
        let thread = std::thread::spawn(move || {
            while !looked.is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                looked.look(start);
                sleep(SAMPLE_INTERVAL.saturating_sub(start.elapsed()));
            }
        });
        Sampler { shared, thread: Some(thread) }
    }

    /// How many seconds a child's leaf sleeps: the mark by which it is found.
    pub fn mark(&self, id: &str) -> String {
        let mut seen = self.shared.lock();
        let number = seen.ids.iter().position(|known| known == id).unwrap_or_else(|| {
            seen.ids.push(id.to_owned());
            seen.ids.len() - 1
        });
        format!("1{:07}{number:04}", self.shared.tag)
    }

    /// Every copy of a child that was ever seen, in the order of their first sight.
    pub fn lives(&self, id: &str) -> Vec<Life> {
        self.shared.lock().lives.get(id).cloned().unwrap_or_default()
    }

    /// The copies of a child that live now, as of the last look.
    pub fn living(&self, id: &str) -> Vec<Life> {
        self.lives(id).into_iter().filter(|life| life.gone.is_none()).collect()
    }

    /// `Ok` if exactly one copy of each lives now; else who has another number of them.
    pub fn one_of_each(&self, ids: &[String]) -> Result<(), String> {
        self.copies_of_each(ids, 1)
    }

    /// `Ok` if exactly `count` copies of each live now; else who has another number of them.
    pub fn copies_of_each(&self, ids: &[String], count: usize) -> Result<(), String> {
        let seen = self.shared.lock();
        let wrong = ids.iter().filter_map(|id| {
            let lives = seen.lives.get(id).map_or(&[][..], Vec::as_slice);
            let nodes: Vec<&str> = lives.iter().filter(|life| life.gone.is_none()).map(|life| &*life.node).collect();
            (nodes.len() != count).then(|| format!("{id} on {nodes:?}"))
        });
        let wrong: Vec<String> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{} are wrong: {}", wrong.len(), wrong.join(", "))) }
    }

    /// How many of these children each node runs now.
    pub fn spread(&self, ids: &[String]) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for life in ids.iter().flat_map(|id| self.living(id)) {
            *spread.entry(life.node).or_default() += 1;
        }
        spread
    }

    /// When each of these children had become one copy for good, as far as was seen; panics if one is not one now.
    #[track_caller]
    pub fn settled(&self, ids: &[String]) -> Instant {
        let settled = ids.iter().map(|id| {
            let lives = self.lives(id);
            let (stays, others): (Vec<_>, Vec<_>) = lives.into_iter().partition(|life| life.gone.is_none());
            assert_eq!(stays.len(), 1, "{id}: {stays:?}");
            let gone = others.iter().filter_map(|life| life.gone).max();
            gone.unwrap_or(stays[0].first).max(stays[0].first)
        });
        settled.max().expect("there are children")
    }

    /// Which of these children had two copies at one moment since `from`, told with those copies.
    pub fn doubles(&self, ids: &[String], from: Instant) -> Vec<String> {
        let mut doubles = Vec::new();
        for id in ids {
            let lives: Vec<Life> =
                self.lives(id).into_iter().filter(|life| life.gone.is_none_or(|at| at > from)).collect();
            for (index, one) in lives.iter().enumerate() {
                for other in &lives[index + 1..] {
                    let both = one.first.max(other.first).max(from);
                    if one.covers(both) && other.covers(both) {
                        let end = |life: &Life| if life.gone.is_none() { Instant::now() } else { life.last };
                        let long = end(one).min(end(other)).saturating_duration_since(both);
                        doubles.push(format!("{id}: {} and {} for {long:?}", one.process, other.process));
                    }
                }
            }
        }
        doubles
    }

    /// The longest time in `from..until` in which nobody ran a child that had been seen before, with that child.
    pub fn longest_absence(&self, ids: &[String], from: Instant, until: Instant) -> (Duration, String) {
        let absences =
            ids.iter().flat_map(|id| self.absences(id, from, until).into_iter().map(|long| (long, id.clone())));
        absences.max().unwrap_or_default()
    }

    fn absences(&self, id: &str, from: Instant, until: Instant) -> Vec<Duration> {
        let mut absences = Vec::new();
        let mut covered = from;
        for life in self.lives(id) {
            let (first, last) = (life.first.max(from), if life.gone.is_none() { until } else { life.last });
            if last <= covered {
                continue;
            }
            if first > covered {
                absences.push(first.min(until).saturating_duration_since(covered));
            }
            covered = last;
        }
        absences.push(until.saturating_duration_since(covered));
        absences
    }

    /// How often a child came up on another node than the copy before it, since `from`.
    pub fn owner_changes(&self, id: &str, from: Instant) -> usize {
        let lives = self.lives(id);
        lives.windows(2).filter(|pair| pair[1].first > from && pair[0].node != pair[1].node).count()
    }

    /// How often was looked, and the longest time between two looks.
    pub fn quality(&self) -> String {
        let seen = self.shared.lock();
        format!("{} looks at the process table, {:?} apart at most", seen.looks, seen.longest_gap)
    }

    /// Forgets how far apart the looks were, so that [`quality`](Self::quality) tells of what follows.
    pub fn reset_quality(&self) {
        let mut seen = self.shared.lock();
        (seen.looks, seen.longest_gap) = (0, Duration::ZERO);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant) {
        let present: HashSet<i32> = pids().into_iter().collect();
        let mut seen = self.lock();
        if let Some(last) = seen.last_look.replace(now) {
            seen.longest_gap = seen.longest_gap.max(now - last);
        }
        seen.looks += 1;
        seen.others.retain(|pid, _| present.contains(pid));
        let known: Vec<i32> = seen.living.keys().copied().collect();
        for pid in known {
            self.look_at_leaf(&mut seen, pid);
        }
        for &pid in &present {
            let since = *seen.others.entry(pid).or_insert(now);
            if !seen.living.contains_key(&pid) && now - since < YOUNG_MAX {
                self.look_at_other(&mut seen, pid);
            }
        }
    }

    fn look_at_leaf(&self, seen: &mut Seen, pid: i32) {
        let before = Instant::now();
        let is_there = arguments(pid).is_some_and(|arguments| self.number(&arguments).is_some());
        let Some((id, index)) = seen.living.get(&pid).cloned() else { return };
        let Some(life) = seen.lives.get_mut(&id).and_then(|lives| lives.get_mut(index)) else { return };
        if is_there {
            life.last = before;
        } else {
            life.gone = Some(Instant::now());
            seen.living.remove(&pid);
        }
    }

    fn look_at_other(&self, seen: &mut Seen, pid: i32) {
        let before = Instant::now();
        let Some(number) = arguments(pid).and_then(|arguments| self.number(&arguments)) else { return };
        let first = Instant::now();
        let Some(id) = seen.ids.get(number).cloned() else { return };
        // One that ends right now has no environment left; whose it was is not known then, but it lived.
        let (node, process) = (variable(pid, "ORDU_NODE"), variable(pid, "ORDU_PID"));
        let (node, process) = (node.unwrap_or_default(), process.unwrap_or_default());
        let lives = seen.lives.entry(id.clone()).or_default();
        lives.push(Life { pid, node, process, first, last: before.max(first), gone: None });
        let index = lives.len() - 1;
        // A copy that still lives after this one was seen has lived beside it.
        let beside = seen.living.iter().filter(|(_, (other, _))| *other == id).map(|(&pid, _)| pid).collect::<Vec<_>>();
        seen.living.insert(pid, (id, index));
        for pid in beside {
            self.look_at_leaf(seen, pid);
        }
    }

    /// The number in the mark of a leaf with these arguments.
    fn number(&self, arguments: &[u8]) -> Option<usize> {
        let seconds = std::str::from_utf8(arguments.strip_prefix(b"sleep\0")?.strip_suffix(b"\0")?).ok()?;
        let mark = seconds.strip_prefix(&format!("1{:07}", self.tag))?;
        if mark.len() == 4 { mark.parse().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::scenario::Scenario;
    use crate::wait::{until, within};

    const SOON: Duration = Duration::from_secs(5);

    fn leaf(scenario: &Scenario, sampler: &Sampler, id: &str, node: &str) -> Child {
        let mut command = Command::new("sleep");
        command.arg(sampler.mark(id)).env("ORDU_NODE", node).env("ORDU_PID", format!("{node}#1.1"));
        command.env("SCENARIO_ROOT", scenario.path()).spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn copies_that_overlap_are_told_from_copies_that_follow_one_another() {
        let scenario = Scenario::new("sampler");
        let sampler = Sampler::start(scenario.tag());
        let (one, two) = ("one".to_owned(), "two".to_owned());
        let both = [one.clone(), two.clone()];
        let start = Instant::now();
        let a = leaf(&scenario, &sampler, &one, "n1");
        let b = leaf(&scenario, &sampler, &two, "n1");
        within(SOON, "both are seen", || sampler.one_of_each(&both));
        // The first gets a second copy beside it, the second one after it.
        let c = leaf(&scenario, &sampler, &one, "n2");
        within(SOON, "the copy is seen", || sampler.copies_of_each(&both[..1], 2));
        end(a);
        end(b);
        until(SOON, "it is seen to be gone", || sampler.living(&two).is_empty());
        let away = Instant::now();
        let d = leaf(&scenario, &sampler, &two, "n2");
        within(SOON, "one copy of each", || sampler.one_of_each(&both));
        assert_eq!(sampler.doubles(&both, start).len(), 1, "{:?}", sampler.doubles(&both, start));
        assert!(sampler.doubles(&both, start)[0].starts_with("one: n1#1.1 and n2#1.1 for "));
        assert_eq!(sampler.doubles(&both, away), Vec::<String>::new());
        assert_eq!((sampler.owner_changes(&one, start), sampler.owner_changes(&two, start)), (1, 1));
        assert_eq!(sampler.absences(&one, sampler.lives(&one)[0].first, away), [Duration::ZERO]);
        let (long, id) = sampler.longest_absence(&both, sampler.lives(&two)[0].first, Instant::now());
        let gone = sampler.lives(&two)[0].gone.unwrap();
        assert!(id == two && long >= sampler.lives(&two)[1].first - gone && long < SOON, "{id} {long:?}");
        assert_eq!(sampler.spread(&both), BTreeMap::from([("n2".to_owned(), 2)]));
        assert!(sampler.settled(&both) >= away);
        end(c);
        end(d);
    }

    #[test]
    fn a_scenario_ends_what_was_started_in_it() {
        let scenario = Scenario::new("guard");
        let sampler = Sampler::start(scenario.tag());
        let mut child = leaf(&scenario, &sampler, "left", "n1");
        let path = scenario.path().to_owned();
        until(SOON, "it is one of the scenario's", || scenario.processes().len() == 1);
        drop(scenario);
        assert!(!child.wait().unwrap().success());
        assert!(!path.exists());
    }
}
