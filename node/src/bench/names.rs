//! Names for the other pieces of work: ten bytes each, and each held by a process of its own.

use ordu_registry::core::Name;
use serde::{Deserialize, Serialize};

use super::clock::now_ns;
use super::fleet::{Fleet, Patience};
use super::protocol::Task;
use super::worker::Worker;
use crate::failure::Failure;

/// The text of name `number`: ten bytes, for numbers below [`NAMES_MAX`](super::NAMES_MAX).
pub(super) fn text(number: u32) -> String {
    format!("n{number:09}")
}

/// A name of this text.
///
/// # Errors
/// If there is none.
pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("{text:?}: {error}"))
}

/// When names were written and seen, in nanoseconds of the machine's clock.
pub(super) struct Loaded {
    /// Before the first was registered.
    pub(super) began_ns: u64,
    /// After the last was accepted.
    pub(super) accepted_ns: u64,
    /// When the last node saw all of them.
    pub(super) seen_ns: u64,
}

/// Registers names 0 to `count` on the first node as fast as it goes, and waits until every node sees all.
///
/// # Errors
/// If a node fails or is too slow.
pub(super) async fn load(fleet: &mut Fleet, count: u32) -> Result<Loaded, Failure> {
    let patience = Patience::of_many("every name to be seen", count);
    let (first, others) = fleet.split_first();
    first.ask(Prepare { count }, patience).await?;
    let seen = Fleet::ask_each(others, || AwaitNames { count }, patience);
    let (registered, seen) = tokio::join!(first.ask(Register { count }, patience), seen);
    let registered = registered?;
    let seen_ns = seen?.into_iter().fold(registered.ended_ns, u64::max);
    Ok(Loaded { began_ns: registered.began_ns, accepted_ns: registered.ended_ns, seen_ns })
}

/// Activate a process for each name, so that registering is all that is left to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prepare {
    pub(super) count: u32,
}

impl Task for Prepare {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        let registry = worker.registry()?;
        worker.processes().extend((0..self.count).map(|_| registry.process()));
        Ok(())
    }
}

/// Register the names, one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Register {
    pub(super) count: u32,
}

/// When [`Register`] was at work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Registered {
    began_ns: u64,
    ended_ns: u64,
}

impl Task for Register {
    type Answer = Registered;

    async fn run(self, worker: &Worker) -> Result<Registered, String> {
        let names = (0..self.count).map(|number| name(&text(number))).collect::<Result<Vec<_>, _>>()?;
        let processes = worker.processes();
        let began_ns = now_ns()?;
        for (process, name) in processes.iter().zip(names) {
            process.register(name, "").map_err(|error| error.to_string())?;
        }
        Ok(Registered { began_ns, ended_ns: now_ns()? })
    }
}

/// Wait until this node's lookups show so many names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitNames {
    pub(super) count: u32,
}

impl Task for AwaitNames {
    /// When that was, in nanoseconds of the machine's clock.
    type Answer = u64;

    async fn run(self, worker: &Worker) -> Result<u64, String> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        worker.registry()?.wait_until(|registry| registry.count() >= count).await;
        now_ns()
    }
}
