//! What a story makes sure of beside the promises: things that a fault may well bring about, and that nothing in this story
//! gives a reason for.

use bytes::Bytes;
use ordu_supervisor::core::{Call, CallError, Reply, Restart};
use ordu_transport::core::{Member, Pid, Status};
use serde::{Deserialize, Serialize};

use crate::children::Character;
use crate::invariants::story;
use crate::oracle::{Killed, Process};
use crate::world::World;

/// What must hold in a run, beside the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// No child ever has two living processes, and nobody is told to exit.
    Undisputed,
    /// No child ever has two living processes.
    NeverTwo,
    /// Nobody is told to exit for a process that ended more than a second before.
    NoGhosts,
    /// Nobody holds a living node as suspect or down.
    Unsuspected,
    /// Nobody holds a living node as down.
    Unburied,
    /// A killed node is soon down for everybody: within 300 ms where its host answers, and within 4 s where it does not.
    FoundSoon,
    /// No child is shown as having failed: in back-off, or with restarts.
    Blameless,
    /// A permanent child whose caller was told that it runs, and that nobody ended since, runs in the end.
    AcceptedRuns,
    /// A child of which somebody was told that it is terminated, and that nobody asked for since, does not run in the end.
    EndedStays,
    /// No child is moved.
    NothingMoves,
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
    /// A child whose restarts are limited has no more processes than those and the first.
    CrashLoopEnds,
    /// What a process leaves that is asked to stop, the next one of its child has.
    StateGoesOn,
    /// What a process said last that it needs to go on, the next one of its child has after a crash; what it said within the
    /// last half second may be on its way yet.
    CheckpointsGoOn,
    /// What a process leaves that lost its child to a copy, some other process of the child is given.
    LosersMerge,
    /// A permanent child whose caller was told that it runs is asked to stop only where another process of it is through its
    /// init.
    NeverAbsent,
    /// A child that is started after somebody was told that it is terminated has nothing from before.
    BeginsAnew,
    /// No two children are on one node that must not be, where there is room for each.
    KeptApart,
    /// No two nodes differ by more than one child.
    Even,
    /// No node keeps many marks of starts that are gone, whatever is written meanwhile.
    MarksGo,
}

/// How soon a killed node is down for everybody where its host says that its port is closed, in microseconds.
const FOUND_US_MAX: u64 = 300_000;
/// And where its host is silent; it takes less than half of it on average.
const FOUND_SILENT_US_MAX: u64 = 4_000_000;

/// How long a checkpoint may be under way, in microseconds.
const UNDER_WAY_US: u64 = 500_000;

impl Killed {
    /// When everybody is to know.
    pub(crate) fn known_us(self) -> u64 {
        self.at_us + if self.host_answers { FOUND_US_MAX } else { FOUND_SILENT_US_MAX }
    }
}

impl World {
    /// A node's view changes.
    pub(crate) fn watch_member(&mut self, node: usize, member: &Member) {
        if member.status != Status::Down {
            return;
        }
        if self.plan.musts.contains(&Must::Unburied) && self.up().any(|(_, life)| life.id == member.id) {
            let what = format!("n{node} holds {:?}, which lives, as down", member.id);
            self.oracle.break_promise(story::NAME, what);
        }
        let killed = self.oracle.killed.get(&member.id).filter(|killed| self.now > killed.known_us());
        if let Some(Killed { at_us, host_answers }) = killed.copied()
            && self.plan.musts.contains(&Must::FoundSoon)
        {
            let after = self.now - at_us;
            let what = format!(
                "n{node} learns after {after} us that {:?} was killed, whose host answers: {host_answers}",
                member.id
            );
            self.oracle.break_promise(story::NAME, what);
        }
    }

    /// A child's process begins, with what the one before it left.
    pub(crate) fn watch_state(&mut self, pid: &Pid, state: Option<Bytes>) {
        let left = self.oracle.left_for(pid);
        if left != state && self.plan.musts.contains(&Must::StateGoesOn) {
            self.oracle
                .break_promise(story::NAME, format!("{pid:?} begins with {state:?}, and {left:?} was left for it"));
        }
        self.watch_checkpoint(pid, state.as_ref());
        if let Some(state) = state {
            self.oracle.child_gets(pid, state);
        }
    }

    /// A core wants a child stopped.
    pub(crate) fn watch_stop(&mut self, pid: &Pid) {
        if !self.plan.musts.contains(&Must::NeverAbsent) || !self.oracle.has_run(pid) {
            return;
        }
        let Some(id) = self.oracle.child_of(pid).filter(|id| self.oracle.accepted.contains(*id)) else { return };
        let runs = |(other, process): (&Pid, &Process)| other != pid && process.ended_us.is_none();
        if !self.oracle.runs_of(id).any(runs) {
            let what = format!("{pid:?} of {id:?} is asked to stop, and no other process of it runs");
            self.oracle.break_promise(story::NAME, what);
        }
    }

    fn watch_checkpoint(&mut self, pid: &Pid, state: Option<&Bytes>) {
        let Some((id, ended_us)) = self.oracle.ended_before(pid) else { return };
        let given_us =
            self.oracle.states_of(&id).filter(|(_, of, _)| Some(*of) == state).map(|(at_us, ..)| at_us).max();
        let anew_us = self.oracle.ended_us.get(&id).copied().unwrap_or(0);
        // What is handed off goes one way only, and is lost if that breaks.
        let due = |(at_us, _, left): &(u64, &Bytes, bool)| {
            !left && *at_us >= anew_us && ended_us.is_some_and(|ended| *at_us + UNDER_WAY_US < ended)
        };
        let due_us = self.oracle.states_of(&id).filter(due).map(|(at_us, ..)| at_us).max();
        if due_us > given_us && self.plan.musts.contains(&Must::CheckpointsGoOn) {
            let what =
                format!("{pid:?} begins with {state:?} from {given_us:?}, and not with what was left at {due_us:?}");
            self.oracle.break_promise(story::NAME, what);
        }
        if given_us.is_some_and(|given| given < anew_us) && self.plan.musts.contains(&Must::BeginsAnew) {
            let what = format!("{pid:?} begins with {state:?} from before {id:?} was terminated at {anew_us}");
            self.oracle.break_promise(story::NAME, what);
        }
    }

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
            (Call::Terminate(id), Reply::Done(Ok(()))) => {
                self.oracle.ended.insert(id.clone());
                self.oracle.ended_us.insert(id.clone(), self.now);
            }
            (Call::Start { .. } | Call::Terminate(_) | Call::Restart(_), _) => {}
            (Call::Drain { .. } | Call::Cordon { .. }, _) => {}
        }
    }
}
