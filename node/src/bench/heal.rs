//! `heal`: one node is cut off, both sides run the same names, the link is restored; until one process is left of each name
//! and the nodes are equal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ordu_registry::Process;
use ordu_supervisor::Supervisor;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Settings;
use super::figures::Figures;
use super::fleet::{Fleet, Ground, Patience};
use super::names::{self, AwaitNames};
use super::protocol::Task;
use super::relay::Relays;
use super::worker::Worker;
use crate::failure::Failure;

/// How many names both sides run.
const NAMES: u32 = 10_000;
/// How long the two sides may take to hold each other for down.
const DOWN_MAX: Duration = Duration::from_secs(30);
/// How long the heal may take before what is wrong then is told as it is.
const HEAL_MAX: Duration = Duration::from_secs(60);
/// Between two looks at the nodes during the heal.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Runs it once. Duplicates and losses that are left are figures; nodes that do not become equal are a failure.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let count = settings.nodes;
    let relays = Relays::start(count).await.map_err(|error| Failure::refused(format!("a relay: {error}")))?;
    let mut fleet = Fleet::start(ground, count)?;
    fleet.join(Some(&relays)).await?;
    relays.cut_off(count - 1);
    part(&mut fleet).await?;
    run_on_both_sides(&mut fleet).await?;

    let (passed, began) = (relays.bytes(), Instant::now());
    relays.restore();
    let healed = loop {
        let is_late = began.elapsed() > HEAL_MAX;
        let seen = look(&mut fleet).await?;
        let is_equal = seen.iter().all(|view| view.digest == seen[0].digest && view.names == NAMES as usize);
        let held: usize = seen.iter().map(|view| view.held).sum();
        if is_equal && (held == NAMES as usize || is_late) {
            break began.elapsed();
        }
        if is_late {
            return Err(Failure::timed_out(format!(
                "{HEAL_MAX:?} after the link is back the nodes are not equal: {seen:?}"
            )));
        }
        sleep(LOOK_INTERVAL).await;
    };
    let bytes = relays.bytes() - passed;
    let patience = Patience::of_many("the processes that are left", NAMES);
    let holders = Fleet::ask_each(fleet.nodes(), || Held {}, patience).await?;
    fleet.end().await;
    let (duplicates, lost) = count_copies(&holders);
    Ok(vec![
        ("total_ms", healed.as_secs_f64() * 1e3),
        ("duplicates_left", f64::from(duplicates)),
        ("lost", f64::from(lost)),
        ("bytes", bytes as f64),
    ])
}

/// Waits until the last node and the others hold one another for down.
async fn part(fleet: &mut Fleet) -> Result<(), Failure> {
    let patience = Patience::new("the other side to be down", DOWN_MAX);
    let rest = fleet.nodes().len() - 1;
    let (others, alone) = fleet.nodes().split_at_mut(rest);
    let others = Fleet::ask_each(others, || AwaitDown { living: rest }, patience);
    let alone = Fleet::ask_each(alone, || AwaitDown { living: 1 }, patience);
    tokio::try_join!(others, alone).map(drop)
}

/// Registers the same names on the first node and on the last, and waits until everybody sees those of its side.
async fn run_on_both_sides(fleet: &mut Fleet) -> Result<(), Failure> {
    let patience = Patience::of_many("both sides to run the names", NAMES);
    let (first, others) = fleet.split_first();
    let last = others.len() - 1;
    let alone = Fleet::ask_each(&mut others[last..], || Copies { count: NAMES }, patience);
    tokio::try_join!(first.ask(Copies { count: NAMES }, patience), alone)?;
    Fleet::ask_each(fleet.nodes(), || AwaitNames { count: NAMES }, patience).await.map(drop)
}

async fn look(fleet: &mut Fleet) -> Result<Vec<View>, Failure> {
    Fleet::ask_each(fleet.nodes(), || Look {}, Patience::new("a look at the node", HEAL_MAX)).await
}

/// How many names have more than one process, and how many none, by what each node holds.
fn count_copies(holders: &[Vec<u32>]) -> (u32, u32) {
    let mut copies = vec![0_u32; NAMES as usize];
    for &number in holders.iter().flatten() {
        if let Some(copies) = copies.get_mut(number as usize) {
            *copies += 1;
        }
    }
    let count = |is_meant: fn(u32) -> bool| copies.iter().filter(|&&copies| is_meant(copies)).count() as u32;
    (count(|copies| copies > 1), count(|copies| copies == 0))
}

// ---- on the nodes

/// The processes of this node that hold names 0, 1, 2 and so on, and whether they live.
pub(super) struct Holders {
    living: Arc<Living>,
    _processes: Vec<Process>,
}

struct Living {
    each: Vec<AtomicBool>,
    count: AtomicUsize,
}

/// Run a process for each name, which ends when it is told to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Copies {
    count: u32,
}

impl Task for Copies {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        let registry = worker.registry()?;
        let each: Vec<_> = (0..self.count).map(|_| AtomicBool::new(true)).collect();
        let living = Arc::new(Living { count: AtomicUsize::new(each.len()), each });
        let mut processes = Vec::new();
        for number in 0..self.count {
            let living = living.clone();
            let process = registry.spawn(move |process: Process| async move {
                process.stopping().await;
                living.end(number);
            });
            process.register(names::name(&names::text(number))?, "").map_err(|error| error.to_string())?;
            processes.push(process);
        }
        let holders = Holders { living, _processes: processes };
        worker.holders.set(holders).map_err(|_| "the names run already".to_owned())
    }
}

impl Living {
    fn end(&self, number: u32) {
        if let Some(living) = self.each.get(number as usize) {
            living.store(false, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Wait until so many members live, in this node's view.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitDown {
    living: usize,
}

impl Task for AwaitDown {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        let is_so = |supervisor: &Supervisor| supervisor.registry().view().living().count() == self.living;
        worker.supervisor()?.wait_until(is_so).await;
        Ok(())
    }
}

/// Look at the node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Look {}

/// What [`Look`] sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View {
    /// How many names lookups show.
    names: usize,
    /// The digest over its tables.
    digest: u64,
    /// How many of its processes live.
    held: usize,
}

impl Task for Look {
    type Answer = View;

    async fn run(self, worker: &Worker) -> Result<View, String> {
        let status = worker.supervisor()?.status();
        let held = worker.holders.get().map_or(0, |holders| holders.living.count.load(Ordering::Acquire));
        Ok(View { names: status.names, digest: status.clock_hash, held })
    }
}

/// Tell which names have a living process here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {}

impl Task for Held {
    type Answer = Vec<u32>;

    async fn run(self, worker: &Worker) -> Result<Vec<u32>, String> {
        let Some(holders) = worker.holders.get() else { return Ok(Vec::new()) };
        let each = (0..).zip(&holders.living.each);
        Ok(each.filter(|(_, lives)| lives.load(Ordering::Relaxed)).map(|(number, _)| number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_name() {
        let all: Vec<u32> = (0..NAMES).collect();
        assert_eq!(count_copies(&[all.clone(), Vec::new()]), (0, 0));
        assert_eq!(count_copies(&[all, vec![5, 6]]), (2, 0));
        assert_eq!(count_copies(&[(0..NAMES - 3).collect(), vec![5]]), (1, 3));
    }
}
