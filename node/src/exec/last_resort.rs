//! When the keeper does not answer: the node kills a program by itself, and looks whether it is gone. It is not its parent, so
//! it sees that in `/proc` alone.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;

use super::handle::Keeper;
use super::processes::{self, Process};
use super::protocol::Ended;

/// How long the keeper has to tell of the end of a program that it was told to kill; then the node looks by itself, as often.
pub(super) const ANSWER_MAX: Duration = Duration::from_millis(500);

/// What is known of a program that runs.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) leader: Leader,
    /// The value of `ORDU_FENCE` that its processes carry.
    pub(super) mark: Option<String>,
}

/// The first process of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pid: i32,
    /// When it began; `None` if it had ended before that was seen.
    began: Option<u64>,
}

impl Leader {
    /// The process that has this number now.
    pub(super) fn see(os_pid: u32) -> Self {
        let pid = i32::try_from(os_pid).unwrap_or(0);
        Self { pid, began: processes::read(pid).map(|process| process.began) }
    }

    /// Whether it is among these, ended or not: while it is not reaped, no other group has its number.
    fn is_among(&self, all: &[Process]) -> bool {
        all.iter().any(|process| process.pid == self.pid && Some(process.began) == self.began)
    }
}

impl Program {
    /// Kills what is left of it. Returns whether nothing was. Its group is killed by the keeper before its leader is reaped:
    /// from then on only marked processes are looked for. Blocks.
    fn end(&self) -> bool {
        let all = processes::all();
        let mut is_gone = true;
        if self.leader.is_among(&all) {
            for process in all.into_iter().filter(|process| process.group == self.leader.pid && !process.ended) {
                is_gone = false;
                processes::kill_seen(process);
            }
        }
        let marks: BTreeSet<String> = self.mark.iter().cloned().collect();
        processes::kill_marked(&marks).is_empty() && is_gone
    }
}

/// The end of a program that the keeper was told to kill: as the keeper tells it, or as it is seen here if the keeper does not
/// in time. If it is not even known whether the program has begun, this waits until the keeper is heard again, or dies.
pub(super) async fn see_off(keeper: &Keeper, key: u64, ended: &mut oneshot::Receiver<Ended>) -> Ended {
    loop {
        if let Ok(ended) = tokio::time::timeout(ANSWER_MAX, &mut *ended).await {
            return ended.unwrap_or(Ended::Lost);
        }
        let Some(program) = keeper.program(key) else { continue };
        if tokio::task::spawn_blocking(move || program.end()).await.unwrap_or(false) {
            tracing::error!(
                key,
                "the keeper of this node's processes does not answer; the node has killed one by itself"
            );
            keeper.forget(key);
            return Ended::by(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
