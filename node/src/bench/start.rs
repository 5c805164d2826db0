//! `start`: in-process children started from one node, wherever they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use ordu_supervisor::Supervisor;
use ordu_supervisor::core::{ChildId, ChildSpec, Placement};
use ordu_transport::core::NodeName;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Spread, per_second, ratio};
use super::fleet::{Fleet, Ground, Patience};
use super::protocol::Task;
use super::worker::{KIND, Worker};
use super::{Settings, raw};
use crate::failure::Failure;

/// How many callers `per_s_32` has.
const CALLERS: u32 = 32;
/// How long one start may take.
const START_MAX: Duration = Duration::from_secs(60);

/// Runs it once: each way of starting on nodes of its own.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let (samples, children) = (settings.samples, settings.children);
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let (first, others) = fleet.split_first();
    let floor = raw::round_trip(first, &mut others[0], samples).await?;
    let one = start(&mut fleet, Start::anywhere("c", samples, 1)).await?;
    let pinned = Start { pinned: Some(super::fleet::node_name(1)), ..Start::anywhere("r", samples, 1) };
    let remote = start(&mut fleet, pinned).await?;
    fleet.end().await;
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let many = start(&mut fleet, Start::anywhere("c", children, CALLERS)).await?;
    fleet.end().await;
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let bulk = start(&mut fleet, Start::anywhere("c", children, 0)).await?;
    fleet.end().await;
    Ok(vec![
        ("per_s", per_second(samples, one.ns)),
        ("per_s_32", per_second(children, many.ns)),
        ("per_s_bulk", per_second(children, bulk.ns)),
        ("ratio_to_raw", ratio(remote.each.p50_ns, floor.p50_ns)),
    ])
}

/// Starts children from the first node, and waits until it was told that each runs.
///
/// # Errors
/// If one cannot be started.
pub(super) async fn start(fleet: &mut Fleet, task: Start) -> Result<Started, Failure> {
    let patience = Patience::of_many("children to start", task.count);
    fleet.split_first().0.ask(task, patience).await
}

/// The id of child `number` of those that were started under `prefix`.
///
/// # Errors
/// If there is none of this name.
pub(super) fn child_id(prefix: &str, number: u32) -> Result<ChildId, String> {
    ChildId::new(&format!("{prefix}{number:09}")).map_err(|error| error.to_string())
}

// ---- on the nodes

/// Start children `0` to `count`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    prefix: String,
    count: u32,
    /// How many calls are under way at a time; 0: one call starts them all.
    callers: u32,
    /// Where they must run.
    pinned: Option<String>,
}

impl Start {
    pub(super) fn anywhere(prefix: &str, count: u32, callers: u32) -> Self {
        Self { prefix: prefix.to_owned(), count, callers, pinned: None }
    }

    fn spec(&self, number: u32) -> Result<ChildSpec, String> {
        let spec = ChildSpec::new(child_id(&self.prefix, number)?, KIND, "");
        Ok(match &self.pinned {
            Some(node) => {
                let node = NodeName::new(node).map_err(|error| error.to_string())?;
                ChildSpec { placement: Placement::Pinned(node), ..spec }
            }
            None => spec,
        })
    }
}

/// How long starting took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Started {
    /// All of them, in nanoseconds.
    ns: u64,
    /// Each call.
    each: Spread,
}

impl Task for Start {
    type Answer = Started;

    async fn run(self, worker: &Worker) -> Result<Started, String> {
        let supervisor = worker.supervisor()?;
        let specs = (0..self.count).map(|number| self.spec(number)).collect::<Result<Arc<[_]>, _>>()?;
        let next = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        if self.callers == 0 {
            for (spec, started) in specs.iter().zip(supervisor.start_children(specs.to_vec(), START_MAX).await) {
                started.map_err(|error| format!("{}: {error}", spec.id))?;
            }
            let ns = began.elapsed().as_nanos() as u64;
            return Ok(Started { ns, each: Spread::of(vec![ns]) });
        }
        let callers = (0..self.callers.min(self.count))
            .map(|_| tokio::spawn(call(supervisor.clone(), specs.clone(), next.clone())));
        let taken = try_join_all(callers).await.map_err(|error| error.to_string())?;
        let ns = began.elapsed().as_nanos() as u64;
        let taken = taken.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Started { ns, each: Spread::of(taken.concat()) })
    }
}

/// One caller: starts the next child that nobody has started yet, until there is none.
async fn call(supervisor: Supervisor, specs: Arc<[ChildSpec]>, next: Arc<AtomicU32>) -> Result<Vec<u64>, String> {
    let mut taken = Vec::new();
    while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
        let began = Instant::now();
        let started = supervisor.start_child(spec.clone(), START_MAX).await;
        started.map_err(|error| format!("{}: {error}", spec.id))?;
        taken.push(began.elapsed().as_nanos() as u64);
    }
    Ok(taken)
}
