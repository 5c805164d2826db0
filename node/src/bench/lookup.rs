//! `lookup`: random names that are there, looked up on a node that runs none of them; and the same keys in a plain
//! `HashMap`.

use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ordu_registry::Registry;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Spread, ratio};
use super::fleet::{Fleet, Ground, Patience};
use super::protocol::Task;
use super::worker::Worker;
use super::{Settings, names};
use crate::failure::Failure;

/// How many lookups are measured at a time.
const BATCH: usize = 256;
/// How many batches each thread measures.
const BATCHES: usize = 2_000;
/// Batches before those that are measured.
const WARM_UP: usize = 200;
/// How many names the writer registers before it releases them again.
const WRITTEN: u32 = 4_096;
/// The seed of the random keys.
const SEED: u64 = 0x0bed;

/// Runs it once.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let names = settings.names;
    names::load(&mut fleet, names).await?;
    fleet.converge().await?;
    let node = fleet.last();
    let patience = Patience::of_many("lookups", names);
    let plain = node.ask(Plain { names }, patience).await?;
    let one = node.ask(Lookup { names, threads: 1, beside_writer: false }, patience).await?;
    let two = node.ask(Lookup { names, threads: 2, beside_writer: false }, patience).await?;
    let beside = node.ask(Lookup { names, threads: 1, beside_writer: true }, patience).await?;
    fleet.end().await;
    Ok(vec![
        ("ns_per_lookup", one.p50_ns as f64),
        ("ns_per_lookup_2t", two.p50_ns as f64),
        ("ns_beside_writer", beside.p50_ns as f64),
        ("ratio_to_hashmap", ratio(one.p50_ns, plain.p50_ns)),
        ("hashmap_ns", plain.p50_ns as f64),
        ("p99_ns_of_256", one.p99_ns as f64),
        ("p99_ns_of_256_2t", two.p99_ns as f64),
        ("p99_ns_of_256_beside_writer", beside.p99_ns as f64),
        ("hashmap_p99_ns_of_256", plain.p99_ns as f64),
    ])
}

// ---- on the nodes

/// Look random keys up in a plain `HashMap` of the names, with the default hasher, that nobody else uses.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plain {
    pub(super) names: u32,
}

impl Task for Plain {
    /// How long one lookup took, by batches.
    type Answer = Spread;

    async fn run(self, _: &Worker) -> Result<Spread, String> {
        let map: HashMap<String, u64> =
            (0..self.names).map(|number| (names::text(number), u64::from(number))).collect();
        batches(self.names, SEED, |key| map.get(key).copied()).map(Spread::of)
    }
}

/// Look random names up in the node's registry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lookup {
    names: u32,
    threads: u64,
    beside_writer: bool,
}

impl Task for Lookup {
    /// How long one lookup took, by batches of all threads.
    type Answer = Spread;

    async fn run(self, worker: &Worker) -> Result<Spread, String> {
        let (registry, is_over) = (worker.registry()?, AtomicBool::new(false));
        thread::scope(|scope| {
            let writer = self.beside_writer.then(|| scope.spawn(|| write_until(registry, &is_over)));
            let look = |seed| batches(self.names, seed, |key| registry.lookup(key));
            let readers: Vec<_> = (0..self.threads).map(|thread| scope.spawn(move || look(SEED + thread))).collect();
            let taken: Result<Vec<_>, _> = readers.into_iter().map(joined).collect();
            is_over.store(true, Ordering::Relaxed);
            writer.map_or(Ok(()), joined)?;
            Ok(Spread::of(taken?.concat()))
        })
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))
}

/// Registers and releases names, as fast as it goes.
fn write_until(registry: &Registry, is_over: &AtomicBool) -> Result<(), String> {
    let written = (0..WRITTEN).map(|number| names::name(&format!("w{number:09}"))).collect::<Result<Vec<_>, _>>()?;
    let process = registry.process();
    while !is_over.load(Ordering::Relaxed) {
        for name in &written {
            process.register(name.clone(), "").map_err(|error| error.to_string())?;
        }
        for name in &written {
            process.unregister(name);
        }
    }
    Ok(())
}

/// Looks random keys up, and measures by batches: the nanoseconds that one lookup took, on the average of each batch.
/// What is between batches, choosing and writing the keys, is not measured.
///
/// # Errors
/// If a key is not found.
fn batches<T>(keys: u32, seed: u64, look: impl Fn(&str) -> Option<T>) -> Result<Vec<u64>, String> {
    let mut state = seed;
    let mut batch = vec![String::new(); BATCH];
    let mut taken = Vec::with_capacity(BATCHES);
    for number in 0..WARM_UP + BATCHES {
        for key in &mut batch {
            key.clear();
            // As `names::text` does it; writing to a string does not fail.
            let _ = write!(key, "n{:09}", random(&mut state) % u64::from(keys));
        }
        let began = Instant::now();
        let found = batch.iter().filter(|key| black_box(look(key)).is_some()).count();
        let ns = began.elapsed().as_nanos() as u64;
        if found != BATCH {
            return Err(format!("{} of {BATCH} names that are there were not found", BATCH - found));
        }
        if number >= WARM_UP {
            taken.push(ns.div_ceil(BATCH as u64));
        }
    }
    Ok(taken)
}

/// The next number of the sequence SplitMix64 (Steele, Lea and Flood, 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_names() {
        let known: std::collections::HashSet<String> = (0..10).map(names::text).collect();
        assert_eq!(batches(10, SEED, |key| known.get(key)).map(|taken| taken.len()), Ok(BATCHES));
        assert!(batches(11, SEED, |key| known.get(key)).is_err());
    }
}
