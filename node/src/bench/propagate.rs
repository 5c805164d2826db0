//! `propagate`: one name at a time. A node registers one, another spins on its lookup and answers with one of its own, and
//! the first spins on that: a round trip by its own clock.

use std::thread;
use std::time::Instant;

use ordu_registry::Registry;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Spread, ratio, us};
use super::fleet::{Fleet, Ground, Patience};
use super::protocol::Task;
use super::worker::Worker;
use super::{Settings, names, raw};
use crate::failure::Failure;

/// Round trips before those that are measured.
const WARM_UP: u32 = 20;

/// Runs it once.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    names::load(&mut fleet, settings.names).await?;
    fleet.converge().await?;
    let samples = settings.samples;
    let patience = Patience::of_many("names to go from node to node and back", samples);
    let (asker, others) = fleet.split_first();
    let echoer = &mut others[0];
    let floor = raw::round_trip(asker, echoer, samples).await?;
    let (taken, echoed) = tokio::join!(asker.ask(Ask { samples }, patience), echoer.ask(Echo { samples }, patience));
    let (taken, ()) = (taken?, echoed?);
    fleet.end().await;
    Ok(vec![
        ("p50_us", us(taken.p50_ns)),
        ("p99_us", us(taken.p99_ns)),
        ("p999_us", us(taken.p999_ns)),
        ("ratio_to_raw_p50", ratio(taken.p50_ns, floor.p50_ns)),
        ("raw_p50_us", us(floor.p50_ns)),
        ("raw_p99_us", us(floor.p99_ns)),
    ])
}

// ---- on the nodes

fn question(number: u32) -> String {
    format!("q{number:09}")
}

fn answer(number: u32) -> String {
    format!("a{number:09}")
}

/// Register a name and wait for its answer, again and again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    samples: u32,
}

impl Task for Ask {
    /// How long the round trips took.
    type Answer = Spread;

    async fn run(self, worker: &Worker) -> Result<Spread, String> {
        let registry = worker.registry()?;
        let mut taken = Vec::new();
        for number in 0..WARM_UP + self.samples {
            let (process, asked, answered) = (registry.process(), names::name(&question(number))?, answer(number));
            let began = Instant::now();
            process.register(asked, "").map_err(|error| error.to_string())?;
            spin_until_shown(registry, &answered);
            if number >= WARM_UP {
                taken.push(began.elapsed().as_nanos() as u64);
            }
            // It holds its name on: releasing it would be one more thing to tell.
            worker.processes().push(process);
        }
        Ok(Spread::of(taken))
    }
}

/// Answer each name of [`Ask`] with one of our own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Echo {
    samples: u32,
}

impl Task for Echo {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        let registry = worker.registry()?;
        for number in 0..WARM_UP + self.samples {
            let (process, asked, answer) = (registry.process(), question(number), names::name(&answer(number))?);
            spin_until_shown(registry, &asked);
            process.register(answer, "").map_err(|error| error.to_string())?;
            // It holds its name on, or the asker might miss it.
            worker.processes().push(process);
        }
        Ok(())
    }
}

/// Spins until a name is shown, on a thread of its own, which yields its processor between two looks. A task that spun would
/// keep one of the runtime's threads from what it waits for.
fn spin_until_shown(registry: &Registry, name: &str) {
    while registry.lookup_with(name, |_| ()).is_none() {
        thread::yield_now();
    }
}
