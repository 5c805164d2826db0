//! What really happened, as an all-seeing observer knows it: processes, what they were promised and what they were told.
//!
//! Holds facts only, and notes those that break a promise by themselves. The rest is for `invariants` to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ordu_registry::core::{Entry, Fence, Name, Rank};
use ordu_supervisor::core::tables::Desired;
use ordu_supervisor::core::{Call, ChildId, ChildSpec, Handover, Restart};
use ordu_transport::core::{NodeId, Now, Pid, SKEW_MAX};

use crate::replies::Replies;
use crate::twin::Wrote;

/// That a process was told to exit.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at_us: u64,
    /// The process that it lost to.
    pub(crate) by: Pid,
    pub(crate) name: Arc<str>,
}

/// What is known of a process that is a child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: ChildId,
    ran: bool,
    stops: u32,
    /// Whether it may take the place of one that runs.
    pub(crate) start_first: bool,
    /// When its init has taken too long.
    late_us: u64,
    /// What its predecessor left for it.
    given: Option<Bytes>,
    /// What it leaves for its successor.
    left: Option<Bytes>,
    /// What it left at each time, checkpoints among it, in order.
    states: Vec<(u64, Bytes)>,
}

/// A process that lived.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) activated_us: u64,
    pub(crate) rank: Rank,
    pub(crate) told: Vec<Told>,
    /// How many conflict events told of its loss.
    pub(crate) conflicts: usize,
    pub(crate) child: Option<Child>,
    /// Its activation's, or a higher one since a conflict that it won.
    pub(crate) fence: Fence,
    pub(crate) ended_us: Option<u64>,
}

/// A call that waits for its reply.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) deadline_us: u64,
    pub(crate) call: Call,
}

/// The fences that lookups of one name showed on a node, each with the time; only those above all before.
#[derive(Debug)]
struct FencesShown {
    first: (u64, Fence, Pid),
    /// Of most names there are none; a list of one would be ten million lists among a thousand nodes.
    more: Vec<(u64, Fence, Pid)>,
}

/// That a node was killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killed {
    pub(crate) at_us: u64,
    /// Its host says that its port is closed.
    pub(crate) host_answers: bool,
}

/// All facts of a run.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) processes: BTreeMap<Pid, Process>,
    /// Those that were told to exit, or of whose loss an event told.
    pub(crate) losers: BTreeSet<Pid>,
    /// When each process was shown first that had not begun: it waits for the disk.
    pub(crate) shown_early: BTreeMap<Pid, u64>,
    /// By node and life.
    fences_shown: BTreeMap<(usize, u64), BTreeMap<Name, FencesShown>>,
    pub(crate) killed: BTreeMap<NodeId, Killed>,
    /// The living processes of each child.
    pub(crate) copies: BTreeMap<ChildId, Vec<Pid>>,
    pub(crate) calls: BTreeMap<u64, Asked>,
    pub(crate) replies: Replies,
    /// Promises that were broken by a single fact, each with the invariant that it breaks.
    pub(crate) broken: Vec<(&'static str, String)>,
    /// Children whose init failed.
    failed: BTreeSet<ChildId>,
    /// The first time that a child had two living processes.
    pub(crate) doubled: Option<String>,
    /// The permanent children whose callers were told that they run, and that nobody ended since.
    pub(crate) accepted: BTreeSet<ChildId>,
    /// Children of which somebody was told that they are terminated.
    pub(crate) ended: BTreeSet<ChildId>,
    /// The losers of conflicts, and which processes were given what they left.
    pub(crate) merged: BTreeMap<Pid, BTreeSet<Pid>>,
    /// When somebody was told that last.
    pub(crate) ended_us: BTreeMap<ChildId, u64>,
    /// The starts whose callers were told that they run and were the first, by request.
    pub(crate) accepted_starts: BTreeSet<u64>,
    /// How many processes each temporary child had.
    pub(crate) temporary_runs: BTreeMap<ChildId, u32>,
    /// How many processes each child had whose restarts are limited, and how many restarts it is allowed.
    pub(crate) limited_runs: BTreeMap<ChildId, (u32, u32)>,
    /// Since when a group of nodes has had no copy, or several, of a child that should run in it.
    pub(crate) missing_since: BTreeMap<(ChildId, Vec<usize>), u64>,
    pub(crate) double_since: BTreeMap<(ChildId, Vec<usize>), u64>,
}

impl Oracle {
    pub(crate) fn break_promise(&mut self, invariant: &'static str, what: String) {
        self.broken.push((invariant, what));
    }

    fn lie(&mut self, what: String) {
        self.break_promise(crate::invariants::truth::NAME, what);
    }

    /// A node's process is gone.
    pub(crate) fn killed(&mut self, id: NodeId, at_us: u64, host_answers: bool) {
        self.killed.insert(id, Killed { at_us, host_answers });
    }

    // ---- processes

    pub(crate) fn activated(
        &mut self,
        at_us: u64,
        pid: &Pid,
        (node, life): (usize, u64),
        (rank, fence): (Rank, Fence),
    ) {
        let (told, conflicts, child, ended_us) = (Vec::new(), 0, None, None);
        let activated_us = self.shown_early.remove(pid).unwrap_or(at_us);
        let process = Process { node, life, activated_us, rank, told, conflicts, child, fence, ended_us };
        if self.processes.insert(pid.clone(), process).is_some() {
            self.lie(format!("the pid {pid:?} was given out twice"));
        }
    }

    pub(crate) fn registered(&mut self, pid: &Pid, name: &Name, shown: Option<Pid>) {
        if shown.as_ref() != Some(pid) {
            self.lie(format!("{pid:?} registered {name:?}, but a lookup there shows {shown:?}"));
        }
    }

    pub(crate) fn refused(&mut self, name: &Name, holder: &Pid, shown: Option<Pid>) {
        if shown.as_ref() != Some(holder) {
            self.lie(format!("{name:?} was refused for {holder:?}, but a lookup there shows {shown:?}"));
        }
    }

    pub(crate) fn told(&mut self, at_us: u64, pid: &Pid, by: Option<(Pid, Arc<str>)>) {
        let Some((by, name)) = by else { return };
        match self.processes.get_mut(pid) {
            Some(process) => {
                process.told.push(Told { at_us, by, name });
                self.losers.insert(pid.clone());
            }
            None => self.lie(format!("{pid:?}, which never was, was told to exit")),
        }
    }

    pub(crate) fn conflict(&mut self, loser: &Pid) {
        if let Some(process) = self.processes.get_mut(loser) {
            process.conflicts += 1;
            self.losers.insert(loser.clone());
        }
    }

    pub(crate) fn fence(&mut self, pid: &Pid, fence: Fence) {
        let Some(process) = self.processes.get_mut(pid) else { return };
        if std::mem::replace(&mut process.fence, fence) >= fence {
            self.break_promise(crate::invariants::fences_grow::NAME, format!("the fence of {pid:?} fell"));
        }
    }

    /// Lookups on a node show this under a name now. What lies too far ahead to be followed is not noted.
    pub(crate) fn shown(&mut self, at_us: u64, now: Now, at: (usize, u64), entry: &Entry) {
        let limit_ms = now.wall_ms.saturating_add(u64::try_from(SKEW_MAX.as_millis()).unwrap_or(u64::MAX));
        if entry.fence().at().wall_ms() > limit_ms {
            return;
        }
        let here = |process: &Process| (process.node, process.life) == at;
        if self.processes.get(entry.pid()).is_some_and(here) {
            self.follows(entry.pid(), entry.name());
        }
        if !self.processes.contains_key(entry.pid()) {
            self.shown_early.entry(entry.pid().clone()).or_insert(at_us);
        }
        let now = (at_us, entry.fence(), entry.pid().clone());
        let of_node = self.fences_shown.entry(at).or_default();
        match of_node.get_mut(entry.name()) {
            Some(shown) if shown.more.last().unwrap_or(&shown.first).1 < now.1 => shown.more.push(now),
            Some(_) => {}
            None => drop(of_node.insert(entry.name().clone(), FencesShown { first: now, more: Vec::new() })),
        }
    }

    /// A process that holds a name must have a fence above each that its node showed there before it was activated.
    fn follows(&mut self, pid: &Pid, name: &Name) {
        let Some(process) = self.processes.get(pid) else { return };
        let shown = self.fences_shown.get(&(process.node, process.life)).and_then(|names| names.get(name));
        let before = shown.and_then(|shown| {
            let mut all = shown.more.iter().rev().chain([&shown.first]);
            // Its own may be shown before it begins, where that waits for the disk.
            all.find(|(seen_us, _, by)| *seen_us < process.activated_us && by != pid)
        });
        if let Some((seen_us, fence, _)) = before.filter(|(_, fence, _)| *fence >= process.fence) {
            let what = format!(
                "{pid:?}, activated at {}, has the fence {} for {name:?}, where {fence} was shown at {seen_us}",
                process.activated_us, process.fence
            );
            self.break_promise(crate::invariants::fences_grow::NAME, what);
        }
    }

    /// Whether a child had as many processes as quarantine takes.
    pub(crate) fn has_earned_quarantine(&self, id: &ChildId) -> bool {
        self.limited_runs.get(id).is_some_and(|(runs, allowed)| runs > allowed)
    }

    pub(crate) fn is_alive(&self, pid: &Pid) -> bool {
        self.processes.get(pid).is_some_and(|process| process.ended_us.is_none())
    }

    /// The living children of a node.
    pub(crate) fn children_of(&self, node: usize, life: u64) -> Vec<Pid> {
        let here = |process: &Process| {
            process.ended_us.is_none() && process.child.is_some() && (process.node, process.life) == (node, life)
        };
        self.processes.iter().filter(|(_, process)| here(process)).map(|(pid, _)| pid.clone()).collect()
    }

    pub(crate) fn ended(&mut self, at_us: u64, pid: &Pid) {
        let Some(process) = self.processes.get_mut(pid) else { return };
        process.ended_us.get_or_insert(at_us);
        if let Some(child) = &process.child
            && let Some(copies) = self.copies.get_mut(&child.id)
        {
            copies.retain(|copy| copy != pid);
        }
    }

    pub(crate) fn life_over(&mut self, at_us: u64, node: usize, life: u64) {
        let theirs = |process: &Process| process.ended_us.is_none() && (process.node, process.life) == (node, life);
        let over: Vec<Pid> =
            self.processes.iter().filter(|(_, process)| theirs(process)).map(|(pid, _)| pid.clone()).collect();
        over.iter().for_each(|pid| self.ended(at_us, pid));
        self.calls.retain(|_, call| (call.node, call.life) != (node, life));
    }

    /// How many calls of a life were not answered.
    pub(crate) fn calls_of(&self, node: usize, life: u64) -> usize {
        self.calls.values().filter(|call| (call.node, call.life) == (node, life)).count()
    }

    // ---- children

    pub(crate) fn child_starts(&mut self, at_us: u64, pid: &Pid, spec: &ChildSpec) {
        let id = spec.id.clone();
        let copies = self.copies.entry(id.clone()).or_default();
        copies.push(pid.clone());
        if copies.len() > 1 && self.doubled.is_none() {
            self.doubled = Some(format!("{id:?} was started as {pid:?} beside {:?}", copies[0]));
        }
        if spec.restart == Restart::Temporary {
            *self.temporary_runs.entry(id.clone()).or_default() += 1;
        }
        if let Some(allowed) = spec.intensity {
            self.limited_runs.entry(id.clone()).or_insert((0, allowed.restarts)).0 += 1;
        }
        if let Some(process) = self.processes.get_mut(pid) {
            let init_us = u64::try_from(spec.init_timeout.as_micros()).unwrap_or(u64::MAX);
            let late_us = process.activated_us.min(at_us).saturating_add(init_us);
            process.child = Some(Child {
                start_first: spec.handover == Handover::StartFirst,
                id,
                ran: false,
                stops: 0,
                late_us,
                given: None,
                left: None,
                states: Vec::new(),
            });
        }
        if let Ok(name) = Name::new(spec.id.as_str()) {
            self.follows(pid, &name);
        }
    }

    /// What should run was changed, by a caller's wish or on some core's own account. Only a start may put, and a
    /// permanent child goes by nothing but a wish, unless its init fails; or, where nodes may be full, while its caller
    /// waits, who is told so.
    pub(crate) fn desired_changed(&mut self, cause: Option<&Call>, wrote: &Wrote<ChildId, Desired>, bounded: bool) {
        let id = &wrote.key;
        let started = matches!(cause, Some(Call::Start { spec, .. }) if spec.id == *id);
        let terminated = matches!(cause, Some(Call::Terminate(of)) if of == id);
        if wrote.put {
            if !started {
                let what = format!("{id:?} was started by nobody's wish");
                self.break_promise(crate::invariants::nothing_back::NAME, what);
            }
            return;
        }
        let last = wrote.gone.iter().max_by_key(|(origin, counter, desired)| (desired.at, origin, *counter));
        let endless =
            last.is_some_and(|(_, _, desired)| desired.spec.restart == Restart::Permanent && !self.failed.contains(id));
        let mut accepted = wrote.gone.iter().map(|(.., desired)| desired).filter(|desired| {
            desired.spec.restart == Restart::Permanent && self.accepted_starts.contains(&desired.request)
        });
        if let Some(desired) = accepted.next().filter(|_| !terminated && !self.failed.contains(id)) {
            let what = format!("{id:?}, accepted as {}, was removed by nobody's wish", desired.request);
            self.break_promise(crate::invariants::nothing_lost::NAME, what);
        }
        // A caller's own start may be taken back beside another one.
        let refused = bounded && wrote.gone.iter().all(|(.., desired)| self.calls.contains_key(&desired.request));
        if !terminated && endless && !wrote.left && !refused {
            let what = format!("{id:?}, which is permanent, was removed by nobody's wish");
            self.break_promise(crate::invariants::nothing_lost::NAME, what);
        }
    }

    pub(crate) fn child_runs(&mut self, _at_us: u64, pid: &Pid) {
        if let Some(child) = self.processes.get_mut(pid).and_then(|process| process.child.as_mut()) {
            child.ran = true;
        }
    }

    /// The child that a process is of.
    pub(crate) fn child_of(&self, pid: &Pid) -> Option<&ChildId> {
        self.processes.get(pid)?.child.as_ref().map(|child| &child.id)
    }

    pub(crate) fn is_child(&self, pid: &Pid) -> bool {
        self.processes.get(pid).is_some_and(|process| process.child.is_some())
    }

    /// The present fence of a child.
    pub(crate) fn fence_of(&self, pid: &Pid) -> Option<Fence> {
        self.processes.get(pid).map(|process| process.fence)
    }

    /// A child ended badly: if its init was not over and nobody had told it to stop, that was a failed init.
    pub(crate) fn ended_badly(&mut self, pid: &Pid) {
        let child = self.processes.get(pid).and_then(|process| process.child.as_ref());
        if let Some(child) = child.filter(|child| !child.ran && child.stops == 0) {
            self.failed.insert(child.id.clone());
        }
    }

    pub(crate) fn stopped(&mut self, at_us: u64, pid: &Pid) {
        match self.processes.get_mut(pid).and_then(|process| process.child.as_mut()) {
            Some(child) => {
                child.stops += 1;
                if !child.ran && at_us >= child.late_us {
                    self.failed.insert(child.id.clone());
                }
                if child.stops > 1 {
                    self.break_promise(crate::invariants::one_owner::NAME, format!("{pid:?} was stopped twice"));
                }
            }
            None => self.lie(format!("{pid:?}, which is no child, was stopped")),
        }
    }

    /// A process leaves something for the next.
    pub(crate) fn child_leaves(&mut self, at_us: u64, pid: &Pid, state: &Bytes) {
        if let Some(child) = self.processes.get_mut(pid).and_then(|process| process.child.as_mut()) {
            child.left = Some(state.clone());
            child.states.push((at_us, state.clone()));
        }
    }

    /// A process makes a checkpoint. One that was asked to stop hands off what it leaves.
    pub(crate) fn child_checkpoints(&mut self, at_us: u64, pid: &Pid, state: &Bytes) {
        let child = self.processes.get_mut(pid).and_then(|process| process.child.as_mut());
        if let Some(child) = child.filter(|child| child.stops == 0) {
            child.states.push((at_us, state.clone()));
        }
    }

    /// A process gets what another of its child left: that must have been asked to stop and be over, and each comes once.
    pub(crate) fn child_merges(&mut self, pid: &Pid, loser: &Pid, state: &Bytes) {
        let Some(id) = self.processes.get(pid).and_then(|process| process.child.as_ref()).map(|child| &child.id) else {
            return;
        };
        let over = self.processes.get(loser).filter(|process| process.ended_us.is_some());
        let left = over.and_then(|process| process.child.as_ref()).filter(|child| child.id == *id && child.stops > 0);
        let is_of =
            |child: &Child| child.states.iter().any(|(_, of)| of == state) || child.given.as_ref() == Some(state);
        if pid == loser || !left.is_some_and(is_of) {
            let what = format!(
                "{pid:?} of {id:?} was given {state:?} of {loser:?}, which was not asked to stop or has not left that"
            );
            self.lie(what);
        }
        if !self.merged.entry(loser.clone()).or_default().insert(pid.clone()) {
            self.lie(format!("{pid:?} was given twice what {loser:?} left"));
        }
    }

    /// When the processes of a child left each state, and whether that goes to another process in a way of its own: they were
    /// asked to stop, or lost to it.
    pub(crate) fn states_of(&self, id: &ChildId) -> impl Iterator<Item = (u64, &Bytes, bool)> {
        let children = self.processes.values().filter_map(|process| Some((process, process.child.as_ref()?)));
        children.filter(move |(_, child)| child.id == *id).flat_map(|(process, child)| {
            let is_left = |state: &Bytes| !process.told.is_empty() || child.left.as_ref() == Some(state);
            child.states.iter().map(move |(at_us, state)| (*at_us, state, is_left(state)))
        })
    }

    /// When the process ended that was the last one of a child before this.
    pub(crate) fn ended_before(&self, pid: &Pid) -> Option<(ChildId, Option<u64>)> {
        let id = &self.processes.get(pid)?.child.as_ref()?.id;
        let earlier = self.processes.iter().filter(|(other, _)| *other != pid);
        let of_child = |process: &Process| process.child.as_ref().is_some_and(|child| child.id == *id);
        let ended = earlier.filter(|(_, process)| of_child(process)).filter_map(|(_, process)| process.ended_us);
        Some((id.clone(), ended.max()))
    }

    /// A process gets what another left: that must be one of its child, and over. A checkpoint is found where nobody can say
    /// any more whether the process that made it is over.
    pub(crate) fn child_gets(&mut self, pid: &Pid, state: Bytes) {
        let Some(child) = self.processes.get_mut(pid).and_then(|process| process.child.as_mut()) else { return };
        child.given = Some(state.clone());
        let id = child.id.clone();
        if self.processes.values().filter_map(|process| process.child.as_ref()).any(|child| {
            child.id == id && child.left.as_ref() != Some(&state) && child.states.iter().any(|(_, of)| *of == state)
        }) {
            return;
        }
        let left = |process: &Process| {
            process.child.as_ref().is_some_and(|child| child.id == id && child.left.as_ref() == Some(&state))
        };
        match self.processes.values().find(|process| left(process)).map(|process| process.ended_us.is_some()) {
            Some(true) => {}
            Some(false) => self.lie(format!("{pid:?} was given what a living process of {id:?} leaves: {state:?}")),
            None => self.lie(format!("{pid:?} was given what no process of {id:?} has left: {state:?}")),
        }
    }

    /// What a process got of its predecessor.
    pub(crate) fn given_to(&self, pid: &Pid) -> Option<&Bytes> {
        self.processes.get(pid)?.child.as_ref()?.given.as_ref()
    }

    /// What the process left that was the last one of its child before this, if it was asked to stop; what it was given
    /// itself, if it never ran.
    pub(crate) fn left_for(&self, pid: &Pid) -> Option<Bytes> {
        let id = &self.processes.get(pid)?.child.as_ref()?.id;
        let earlier = self.processes.iter().filter(|(other, _)| *other != pid);
        let earlier = earlier.filter_map(|(_, process)| {
            let child = process.child.as_ref().filter(|child| child.id == *id)?;
            Some((process.ended_us?, process.activated_us, child))
        });
        let (_, _, last) = earlier.max_by_key(|(ended_us, activated_us, _)| (*ended_us, *activated_us))?;
        if last.ran { last.left.clone().filter(|_| last.stops > 0) } else { last.left.clone().or(last.given.clone()) }
    }

    /// A process that lost its child to a copy and left something that no process was given.
    pub(crate) fn unmerged(&self) -> Option<(&Pid, &ChildId)> {
        self.processes.iter().find_map(|(pid, process)| {
            let child = process.child.as_ref()?;
            let lost = process.told.iter().any(|told| *told.name == *child.id.as_str());
            let left = lost && process.ended_us.is_some() && child.left.is_some();
            (left && !self.merged.contains_key(pid)).then_some((pid, &child.id))
        })
    }

    /// Whether an init of the child ever failed.
    pub(crate) fn has_failed(&self, id: &ChildId) -> bool {
        self.failed.contains(id)
    }

    /// Whether a child's process got through its init.
    pub(crate) fn has_run(&self, pid: &Pid) -> bool {
        self.processes.get(pid).and_then(|process| process.child.as_ref()).is_some_and(|child| child.ran)
    }

    /// The processes of a child that got through their init.
    pub(crate) fn runs_of(&self, id: &ChildId) -> impl Iterator<Item = (&Pid, &Process)> {
        let ran = move |process: &Process| process.child.as_ref().is_some_and(|child| child.ran && child.id == *id);
        self.processes.iter().filter(move |(_, process)| ran(process))
    }

    /// Whether this process was told to stop, and has its time to do so.
    pub(crate) fn is_stopping(&self, pid: &Pid) -> bool {
        self.processes.get(pid).and_then(|process| process.child.as_ref()).is_some_and(|child| child.stops > 0)
    }

    pub(crate) fn ever_ran(&self, id: &ChildId) -> bool {
        let mut children = self.processes.values().filter_map(|process| process.child.as_ref());
        children.any(|child| child.ran && child.id == *id)
    }
}
