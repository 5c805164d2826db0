//! Many seeds, on several threads. What comes out does not depend on how many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ordu_transport::core::hash::StableHasher;

use crate::draw::Options;
use crate::script::Script;
use crate::world::{self, Outcome, RunOutputs};

const PURPOSE_SWEEP: u64 = 0x7369_6d32;

/// What came of one seed of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The run.
    pub outcome: Outcome,
    /// The digest of a second run of the same seed, if there was one.
    pub again: Option<u64>,
    /// How many nodes its script has: a story may have more than were asked for.
    pub nodes: usize,
    /// How many operations its script has: a story has its own.
    pub ops: usize,
}

impl Ran {
    /// What came of this script.
    pub fn of(script: &Script, outcome: Outcome, again: Option<u64>) -> Self {
        Self { outcome, again, nodes: script.plan.nodes, ops: script.ops() }
    }

    /// Whether something is to be told of it: a promise was broken, or two runs differ.
    pub fn is_broken(&self) -> bool {
        self.outcome.violation.is_some() || self.again.is_some_and(|again| again != self.outcome.digest)
    }
}

/// How a sweep is ended before its last seed, and watched.
#[derive(Debug, Default)]
pub struct Watch {
    /// Once this is set no further seed is begun.
    pub stop: AtomicBool,
    /// No further seed is begun once so many are broken. The result then ends with the last of them.
    pub broken_max: Option<usize>,
    /// The simulated time of the run that is being played, in microseconds. Says something with one seed at a time
    /// only.
    pub now_us: Arc<AtomicU64>,
}

/// Runs `seeds` seeds from `first` on with `jobs` threads; each twice, if asked. `done` is called after each, on any
/// thread. The result is in the order of the seeds.
pub fn sweep(
    first: u64,
    seeds: u64,
    options: &Options,
    jobs: usize,
    twice: bool,
    done: impl Fn(&Ran) + Sync,
) -> Vec<Ran> {
    watched(first, seeds, options, jobs, twice, &Watch::default(), done)
}

/// Runs seeds as [`sweep`] does, and may end before the last one, as `watch` says. What is returned has no gaps.
pub fn watched(
    first: u64,
    seeds: u64,
    options: &Options,
    jobs: usize,
    twice: bool,
    watch: &Watch,
    done: impl Fn(&Ran) + Sync,
) -> Vec<Ran> {
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let broken_max = watch.broken_max.map_or(u64::MAX, |most| most as u64);
    let ran = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    if watch.stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed) >= broken_max {
                        return;
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let script = Script::draw(seed, options);
                    let (outcome, ..) = world::run_watched(&script, RunOutputs::default(), &watch.now_us);
                    let again = twice.then(|| world::run(&script, None).0.digest);
                    let one = Ran::of(&script, outcome, again);
                    done(&one);
                    broken.fetch_add(u64::from(one.is_broken()), Ordering::Relaxed);
                    ran.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, one));
                }
            });
        }
    });
    let mut ran = ran.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    ran.sort_by_key(|(number, _)| *number);
    let mut ran: Vec<Ran> = ran.into_iter().map(|(_, one)| one).collect();
    // Seeds are begun in order, so that all before the last one wanted are there; what came after it hangs on the
    // threads.
    let mut broken = ran.iter().enumerate().filter(|(_, one)| one.is_broken());
    if let Some((last, _)) = watch.broken_max.and_then(|most| broken.nth(most.saturating_sub(1))) {
        ran.truncate(last + 1);
    }
    ran
}

/// The digest of several seeds: of one, its own; of more, the hash of theirs in order.
pub fn digest_of(ran: &[Ran]) -> u64 {
    match ran {
        [one] => one.outcome.digest,
        many => {
            many.iter().fold(StableHasher::new(PURPOSE_SWEEP), |hasher, one| hasher.number(one.outcome.digest)).finish()
        }
    }
}
