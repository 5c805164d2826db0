//! What a story makes sure of beside the promises: things that a fault may well bring about, and that nothing in this story
//! gives a reason for.

use ordu_supervisor::core::{Call, CallError, Reply, Restart};
use serde::{Deserialize, Serialize};

use crate::children::Character;
use crate::invariants::story;
use crate::world::World;

/// What must hold in a run, beside the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// No child ever has two living processes, and nobody is told to exit.
    Undisputed,
    /// Nobody is told to exit for a process that ended more than a second before.
    NoGhosts,
    /// Nobody holds a living node as suspect or down.
    Unsuspected,
    /// No child is shown as having failed: in back-off, or with restarts.
    Blameless,
    /// A permanent child whose caller was told that it runs, and that nobody ended since, runs in the end.
    AcceptedRuns,
    /// Of a start whose caller was told that it failed nothing is kept where he asked.
    RefusedGoes,
    /// A start of a child whose init cannot fail is not answered with "failed".
    GoodStarts,
    /// Of two nodes of one name the one that was there first stays.
    FirstStays,
    /// What a node holds is what its clock says, after every message and not at the sampled moments only.
    TwinAlways,
    /// The same of what should run and the marks beside it alone, the tables that everybody writes in.
    SharedTwinAlways,
    /// No temporary child has a second process.
    RunsOnce,
    /// No node keeps many marks of starts that are gone, whatever is written meanwhile.
    MarksGo,
}

impl World {
    /// Somebody is about to be told something.
    pub(crate) fn watch_reply(&mut self, node: usize, request: u64, reply: &Reply) {
        let Some(asked) = self.oracle.calls.get(&request) else { return };
        match (&asked.call, reply) {
            (Call::Start { spec, .. }, Reply::Child(Ok(_))) if spec.restart == Restart::Permanent => {
                self.oracle.accepted.insert(spec.id.clone());
            }
            (Call::Start { spec, .. }, Reply::Child(Err(reason @ (CallError::Failed(_) | CallError::Ended))))
                if self.plan.musts.contains(&Must::GoodStarts) && Character::of(spec) == Character::Steady =>
            {
                let what = format!("n{node} says that {:?}, which cannot fail, failed: {reason}", spec.id);
                self.oracle.break_promise(story::NAME, what);
            }
            (Call::Start { spec, .. }, Reply::Child(Err(CallError::Failed(_))))
                if self.plan.musts.contains(&Must::RefusedGoes) =>
            {
                let children = self.life(node).and_then(|life| life.upper.children());
                let kept = children.is_some_and(|children| {
                    let mut live = children.desired().table().live(&spec.id);
                    live.any(|(_, _, desired)| desired.request == request && desired.caller == *children.id())
                });
                if kept {
                    let what = format!("n{node} keeps {:?}, of which it said that it failed", spec.id);
                    self.oracle.break_promise(story::NAME, what);
                }
            }
            (Call::Terminate(id), _) => drop(self.oracle.accepted.remove(id)),
            (Call::Start { .. } | Call::Restart(_) | Call::Drain { .. }, _) => {}
        }
    }
}
