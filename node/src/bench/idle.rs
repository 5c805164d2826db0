//! `idle`: what a node that knows all the names uses while nothing happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::clock::{cpu_ns, now_ns, resident_bytes};
use super::figures::Figures;
use super::fleet::{Fleet, Ground, Patience};
use super::protocol::Task;
use super::worker::Worker;
use super::{Settings, names};
use crate::failure::Failure;

/// How long a node may take to tell what it has used.
pub(super) const MEASURE_MAX: Duration = Duration::from_secs(10);
/// Between the nodes' being equal and the beginning of nothing.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs it once. Told are the worst node's figures, each by itself.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    names::load(&mut fleet, settings.names).await?;
    fleet.converge().await?;
    sleep(SETTLE).await;
    let patience = Patience::new("what a node has used", MEASURE_MAX);
    let before = Fleet::ask_each(fleet.nodes(), || Measure {}, patience).await?;
    sleep(settings.idle).await;
    let after = Fleet::ask_each(fleet.nodes(), || Measure {}, patience).await?;
    fleet.end().await;
    let worst = |used: fn(&Used) -> u64| {
        let rates = before.iter().zip(&after).map(|(before, after)| {
            let seconds = after.at_ns.saturating_sub(before.at_ns) as f64 / 1e9;
            used(after).saturating_sub(used(before)) as f64 / seconds
        });
        rates.fold(0.0, f64::max)
    };
    Ok(vec![("cpu_ms_per_s", worst(|used| used.cpu_ns) / 1e6), ("bytes_per_s", worst(|used| used.bytes_sent))])
}

// ---- on the nodes

/// Tell what the process has used so far.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measure {}

/// What a node has used so far.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Used {
    /// When, in nanoseconds of the machine's clock.
    at_ns: u64,
    /// Processor time, of all its threads.
    cpu_ns: u64,
    /// UDP payload sent over sessions.
    bytes_sent: u64,
    /// Resident memory now.
    pub(super) resident_bytes: u64,
}

impl Task for Measure {
    type Answer = Used;

    async fn run(self, worker: &Worker) -> Result<Used, String> {
        let bytes_sent = worker.supervisor()?.cluster().metrics().bytes_sent;
        Ok(Used { at_ns: now_ns()?, cpu_ns: cpu_ns()?, bytes_sent, resident_bytes: resident_bytes()? })
    }
}
