//! `failover`: children, each with a name; one node's process is killed; until all run again and are visible everywhere.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ordu_supervisor::Supervisor;
use ordu_supervisor::core::{ChildId, ChildStatus};
use ordu_transport::core::{NodeName, Status};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Settings;
use super::clock::now_ns;
use super::figures::{Figures, ms_between};
use super::fleet::{Fleet, Ground, Patience};
use super::protocol::Task;
use super::start::{Start, child_id, start};
use super::worker::Worker;
use crate::failure::Failure;

/// The smaller number of children.
const FEW: u32 = 1_000;
/// What children's ids begin with.
const PREFIX: &str = "c";
/// Between the survivors' being told to watch and the kill: they do watch by then, and nothing else goes on.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs it once, with each number of children.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let few = kill_one(ground, settings.nodes, FEW).await?;
    let all = match settings.children {
        FEW => few,
        children => kill_one(ground, settings.nodes, children).await?,
    };
    Ok(vec![("detect_ms", all.detect_ms), ("total_ms_1k", few.total_ms), ("total_ms", all.total_ms)])
}

/// From the kill on.
#[derive(Debug, Clone, Copy)]
struct Failover {
    /// Until the last survivor held the node for down.
    detect_ms: f64,
    /// Until the last survivor saw all children run.
    total_ms: f64,
}

async fn kill_one(ground: &Ground, nodes: usize, children: u32) -> Result<Failover, Failure> {
    let mut fleet = Fleet::form(ground, nodes).await?;
    start(&mut fleet, Start::anywhere(PREFIX, children, 0)).await?;
    let patience = Patience::of_many("every child to run", children);
    Fleet::ask_each(fleet.nodes(), || AwaitRunning { children }, patience).await?;
    fleet.converge().await?;
    let victim = fleet.take_last();
    let name = victim.name.clone();
    let patience = Patience::of_many("the killed node's children to run elsewhere", children);
    let watch = || AwaitTakeover { victim: name.clone(), children };
    let kill = async {
        sleep(SETTLE).await;
        let killed_ns = now_ns().map_err(Failure::refused)?;
        victim.kill().await?;
        Ok(killed_ns)
    };
    let (seen, killed_ns) = tokio::try_join!(Fleet::ask_each(fleet.nodes(), watch, patience), kill)?;
    fleet.end().await;
    let last = |when: fn(&Takeover) -> u64| ms_between(killed_ns, seen.iter().map(when).max().unwrap_or_default());
    Ok(Failover { detect_ms: last(|seen| seen.down_ns), total_ms: last(|seen| seen.running_ns) })
}

// ---- on the nodes

/// Wait until this node sees all children run, and their names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitRunning {
    children: u32,
}

impl Task for AwaitRunning {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        all_run(worker.supervisor()?, self.children, None).await
    }
}

/// Wait until a node is down for this one, and until it sees all children run elsewhere, and their names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitTakeover {
    victim: String,
    children: u32,
}

/// When that was, in nanoseconds of the machine's clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Takeover {
    down_ns: u64,
    running_ns: u64,
}

impl Task for AwaitTakeover {
    type Answer = Takeover;

    async fn run(self, worker: &Worker) -> Result<Takeover, String> {
        let supervisor = worker.supervisor()?;
        let victim = NodeName::new(&self.victim).map_err(|error| error.to_string())?;
        let is_down = |supervisor: &Supervisor| {
            supervisor.cluster().view().get(&victim).is_none_or(|member| member.status == Status::Down)
        };
        supervisor.wait_until(is_down).await;
        let down_ns = now_ns()?;
        all_run(supervisor, self.children, Some(&victim)).await?;
        Ok(Takeover { down_ns, running_ns: now_ns()? })
    }
}

/// Resolves once every child was seen to run, elsewhere than on `victim`, and so was its name.
async fn all_run(supervisor: &Supervisor, children: u32, victim: Option<&NodeName>) -> Result<(), String> {
    let ids = (0..children).map(|number| child_id(PREFIX, number)).collect::<Result<Vec<ChildId>, _>>()?;
    let runs = |id: &ChildId| {
        let holder = supervisor.registry().lookup_with(id.as_str(), |entry| entry.node().name.clone());
        let Some(holder) = holder.filter(|holder| Some(holder) != victim) else { return false };
        let row = supervisor.child(id);
        row.is_some_and(|row| row.status == ChildStatus::Running && row.node == Some(holder))
    };
    // Nothing ends a child that runs now, so each needs to be seen once.
    let seen = AtomicU32::new(0);
    let look = |_: &Supervisor| {
        let first = seen.load(Ordering::Relaxed) as usize;
        let running = ids.iter().skip(first).take_while(|id| runs(id)).count();
        seen.store((first + running) as u32, Ordering::Relaxed);
        first + running == ids.len()
    };
    supervisor.wait_until(look).await;
    Ok(())
}
