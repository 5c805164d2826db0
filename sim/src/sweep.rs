//! Many seeds, on several threads. What comes out does not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ordu_transport::core::hash::StableHasher;

use crate::draw::Options;
use crate::script::Script;
use crate::world::{self, Outcome};

const PURPOSE_SWEEP: u64 = 0x7369_6d32;

/// What came of one seed of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The run.
    pub outcome: Outcome,
    /// The digest of a second run of the same seed, if there was one.
    pub again: Option<u64>,
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
    let next = AtomicU64::new(0);
    let ran = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let script = Script::draw(seed, options);
                    let (outcome, _) = world::run(&script, None);
                    let again = twice.then(|| world::run(&script, None).0.digest);
                    let one = Ran { outcome, again };
                    done(&one);
                    ran.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, one));
                }
            });
        }
    });
    let mut ran = ran.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    ran.sort_by_key(|(number, _)| *number);
    ran.into_iter().map(|(_, one)| one).collect()
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
