//! What callers were told, held against what really happened.
//!
//! * Ok to a start that must be the first: a process ran that was activated for this very start, or for one that is gone.
//! * Ok to a terminate: every start that the node had seen when it was asked is gone there, and no process that it saw
//!   then runs for one of them on a node that it sees.
//! * Ok to a restart: a process ran that the node had not seen when it was asked.
//! * A terminate that times out: something of what it meant is left, or nobody else, or not the disk, knows that it is gone.
//! * An error that says "nothing is kept": the start is live nowhere once all is quiet.
//! * "It did not run": it did not, or somebody terminated it, or the node that ran it died.
//! * "It is desired already": it is, until somebody terminates it, or it ends for good.
//! * A timeout says nothing, and the same request may be asked again: all its asks are one start.

use std::collections::{BTreeMap, BTreeSet};

use ordu_registry::core::clock::Dot;
use ordu_supervisor::core::{Call, CallError, ChildId, ChildStatus, Reply, Restart};
use ordu_transport::core::{NodeId, Pid};

use crate::invariants::truth;
use crate::node::Life;
use crate::oracle::Asked;
use crate::world::World;

/// Whose event a start is, and which of its.
type Start = (NodeId, u64);

/// What is known of one request.
#[derive(Debug, Default)]
struct Request {
    /// When it was asked first.
    at_us: u64,
    /// The starts that it wrote; several only where it was asked again after the first was gone.
    wrote: BTreeSet<Start>,
    /// The starts of the child that the node saw, live or held, when it was asked last.
    starts: BTreeSet<Start>,
    /// The processes of the child that the node saw when it was asked last.
    pids: BTreeSet<Pid>,
}

/// A start of which its caller was told that nothing is kept.
#[derive(Debug)]
struct Refused {
    request: u64,
    node: usize,
    life: u64,
    id: ChildId,
    error: String,
    /// Whether he was told so because another start stands.
    for_another: bool,
}

/// What callers asked and were told.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    requests: BTreeMap<u64, Request>,
    refused: Vec<Refused>,
    /// The children of which some start does not last for ever.
    brief: BTreeSet<ChildId>,
    /// When somebody last wanted the child terminated.
    terminated_us: BTreeMap<ChildId, u64>,
    /// Children a start of which was taken back, because all nodes had become full.
    taken_back: BTreeSet<ChildId>,
    /// The processes that were activated for each start.
    activated: BTreeMap<Start, Vec<Pid>>,
    /// The requests whose callers were told that they were the first.
    firsts: BTreeMap<ChildId, BTreeSet<u64>>,
}

impl World {
    /// A node is about to be asked.
    pub(crate) fn asked(&mut self, node: usize, request: u64, call: &Call) {
        let id = match call {
            Call::Start { spec, .. } => &spec.id,
            Call::Terminate(id) | Call::Restart(id) => id,
            Call::Drain { .. } | Call::Cordon { .. } => return,
        };
        let now = self.now;
        let (mut starts, mut pids) = (BTreeSet::new(), BTreeSet::new());
        if let Some(life) = self.life(node) {
            starts.extend(starts_of(life, id));
            for claim in claims(life, id) {
                starts.extend([claim.start, claim.begun]);
                pids.extend(claim.pid);
            }
        }
        let replies = &mut self.oracle.replies;
        let known = replies.requests.entry(request).or_insert_with(|| Request { at_us: now, ..Request::default() });
        (known.starts, known.pids) = (starts, pids);
        if let Call::Start { spec, .. } = call
            && spec.restart != Restart::Permanent
        {
            replies.brief.insert(spec.id.clone());
        }
        if let Call::Terminate(id) = call {
            replies.terminated_us.insert(id.clone(), now);
            // Whether it is done he may never hear.
            self.oracle.accepted.remove(id);
        }
    }

    /// A node was asked: what it wrote for it.
    pub(crate) fn noted(&mut self, node: usize, request: u64, call: &Call) {
        let (Call::Start { spec, .. }, Some(life)) = (call, self.nodes[node].life.as_ref()) else { return };
        let Some(children) = life.upper.children() else { return };
        let ours = children.desired().table().live(&spec.id).filter(|(_, _, desired)| desired.request == request);
        let wrote: Vec<Start> = ours.map(|(origin, counter, _)| (origin.clone(), counter)).collect();
        self.oracle.replies.requests.entry(request).or_default().wrote.extend(wrote);
    }

    /// A node runs a process for a start.
    pub(crate) fn runs_for(&mut self, node: usize, pid: &Pid, id: &ChildId) {
        let Some(life) = self.nodes[node].life.as_ref() else { return };
        let Some(claim) = life.upper.children().and_then(|it| it.actual().table().live_of(id, it.id())) else { return };
        let start = (claim.dot.actor.clone(), claim.dot.counter);
        self.oracle.replies.activated.entry(start).or_default().push(pid.clone());
    }

    /// What a caller is told.
    pub(crate) fn on_reply(&mut self, node: usize, request: u64, reply: Reply) {
        self.record.replied(self.now, request, &reply);
        let Some(Asked { call, life, .. }) = self.oracle.calls.remove(&request) else {
            return self.oracle.break_promise(truth::NAME, format!("n{node} answers {request} twice: {reply:?}"));
        };
        if matches!(reply, Reply::Child(Err(CallError::Timeout))) {
            self.told_unknown(node, life, request, &call);
        }
        let lie = match (&call, &reply) {
            // It is desired already, and was given up before it ever ran.
            (Call::Start { spec, ensure: true }, Reply::Child(Ok(row))) if row.status == ChildStatus::Quarantined => {
                (!self.oracle.has_earned_quarantine(&spec.id)).then_some("it did not fail as often as that")
            }
            (Call::Start { spec, .. }, Reply::Child(Ok(_))) if !self.oracle.ever_ran(&spec.id) => Some("it never ran"),
            (Call::Start { .. }, Reply::Child(Ok(row)))
                if matches!(row.status, ChildStatus::Pending | ChildStatus::Suspended) =>
            {
                Some("its row says that nobody has it")
            }
            (Call::Start { spec, ensure: false }, Reply::Child(Ok(_))) => self.is_not_first(node, request, &spec.id),
            (Call::Start { ensure: true, .. }, Reply::Child(Err(CallError::AlreadyStarted(_)))) => {
                Some("it was ensured")
            }
            (Call::Start { spec, .. }, Reply::Child(Err(CallError::Failed(_))))
                if !self.oracle.has_failed(&spec.id) =>
            {
                self.ran_after_all(request, &spec.id)
            }
            (Call::Start { spec, .. }, Reply::Child(Err(CallError::Ended))) => {
                self.is_not_over(node, request, &spec.id)
            }
            (Call::Terminate(id), Reply::Done(Ok(()))) => self.is_not_gone(node, request, id),
            (Call::Terminate(id), Reply::Done(Err(CallError::Timeout))) => self.waited_in_vain(node, request, id),
            (Call::Restart(id), Reply::Child(Ok(_))) => self.is_not_new(request, id),
            (Call::Start { .. } | Call::Restart(_), Reply::Done(_)) => Some("this answers something else"),
            (Call::Terminate(_) | Call::Drain { .. } | Call::Cordon { .. }, Reply::Child(_)) => {
                Some("this answers something else")
            }
            (Call::Start { .. } | Call::Restart(_), Reply::Child(_)) => None,
            (Call::Terminate(_) | Call::Drain { .. } | Call::Cordon { .. }, Reply::Done(_)) => None,
        };
        if let Some(why) = lie {
            let what = format!("n{node} answers {request}, {call:?}, with {reply:?}, but {why}");
            self.oracle.break_promise(truth::NAME, what);
        }
        if let (Call::Start { ensure: false, .. }, Reply::Child(Ok(_))) = (&call, &reply) {
            self.oracle.accepted_starts.insert(request);
        }
        if let (Call::Start { spec, .. }, Reply::Child(Err(CallError::NoEligibleNode(_)))) = (&call, &reply)
            && self.oracle.replies.requests.get(&request).is_some_and(|known| !known.wrote.is_empty())
        {
            self.oracle.replies.taken_back.insert(spec.id.clone());
        }
        let kept = |error: &CallError| matches!(error, CallError::Timeout | CallError::Busy | CallError::Unreachable);
        if let (Call::Start { spec, .. }, Reply::Child(Err(error))) = (call, reply)
            && !kept(&error)
        {
            let for_another = matches!(error, CallError::AlreadyStarted(_));
            let error = error.to_string();
            self.oracle.replies.refused.push(Refused { request, node, life, id: spec.id, error, for_another });
        }
    }

    /// Why a start that must be the first was none.
    fn is_not_first(&mut self, node: usize, request: u64, id: &ChildId) -> Option<&'static str> {
        let told = self.oracle.replies.firsts.entry(id.clone()).or_default();
        told.insert(request);
        let others: Vec<u64> = told.iter().copied().filter(|other| *other != request).collect();
        let wrote = &self.oracle.replies.requests.get(&request)?.wrote;
        if wrote.iter().any(|start| self.ran(start).next().is_some()) {
            return None;
        }
        let ours = self.ran_first(id, request);
        if ours.is_empty() {
            // What ran for a start that is gone goes on for the one that is left.
            let others = self.life(node).map(|life| starts_of(life, id).filter(|start| !wrote.contains(start)).count());
            return (others > Some(0)).then_some("what runs was started by another, which stands");
        }
        // This node may not have heard yet that somebody ended one of them, and that the process went on for the other.
        let here: BTreeSet<Start> = self.life(node).into_iter().flat_map(|life| starts_of(life, id)).collect();
        let stands = |request: u64| {
            let wrote = self.oracle.replies.requests.get(&request).map(|known| &known.wrote);
            let mut live = wrote.into_iter().flatten().filter(|start| here.contains(start));
            live.any(|start| !self.twin.desired.is_undone(id, start))
        };
        if !stands(request) {
            return None;
        }
        let others = others.into_iter().filter(|other| stands(*other));
        let theirs: BTreeSet<Pid> = others.flat_map(|other| self.ran_first(id, other)).collect();
        ours.is_subset(&theirs).then_some("another caller was told so of this process, and its start stands")
    }

    /// The processes that ran for what a request wrote, as their nodes said: activated for it, or for a start that was
    /// gone before its caller was told, and then perhaps for another one after it.
    fn ran_first(&self, id: &ChildId, request: u64) -> BTreeSet<Pid> {
        let known = self.oracle.replies.requests.get(&request);
        let is_its = |dot: &Dot| known.is_some_and(|known| known.wrote.contains(&(dot.actor.clone(), dot.counter)));
        let claims = self.twin.actual.values_of(id).filter(|claim| claim.ran && is_its(claim.begun()));
        claims.filter_map(|claim| claim.pid.clone()).collect()
    }

    /// The processes that ran for a start.
    fn ran(&self, start: &Start) -> impl Iterator<Item = &Pid> {
        let pids = self.oracle.replies.activated.get(start).into_iter().flatten();
        pids.filter(|pid| self.oracle.has_run(pid))
    }

    /// Why it is not so that a start is over.
    fn is_not_over(&self, node: usize, request: u64, id: &ChildId) -> Option<&'static str> {
        let wrote = &self.oracle.replies.requests.get(&request)?.wrote;
        let stands = starts_of(self.life(node)?, id).any(|start| wrote.contains(&start));
        stands.then_some("its start stands")
    }

    /// Why it is not so that a child did not run.
    fn ran_after_all(&self, request: u64, id: &ChildId) -> Option<&'static str> {
        let replies = &self.oracle.replies;
        let known = replies.requests.get(&request)?;
        let terminated = replies.terminated_us.get(id).is_some_and(|at| *at >= known.at_us);
        let lives = |pid: &&Pid| {
            let process = self.oracle.processes.get(pid);
            process.is_some_and(|process| {
                let life = self.life(process.node).filter(|life| life.number == process.life && life.id == pid.node);
                life.is_some()
            })
        };
        let ran = known.wrote.iter().any(|start| self.ran(start).any(|pid| lives(&pid)));
        (ran && !terminated).then_some("it ran, and nobody terminated it")
    }

    /// Why a terminated child is not gone.
    fn is_not_gone(&self, node: usize, request: u64, id: &ChildId) -> Option<&'static str> {
        let known = self.oracle.replies.requests.get(&request)?;
        let asked = self.life(node)?;
        if starts_of(asked, id).any(|start| known.starts.contains(&start)) {
            return Some("a start that it had seen is still there");
        }
        let runs = known.pids.iter().filter(|pid| self.oracle.is_alive(pid)).any(|pid| {
            let holder = self.oracle.processes.get(pid).and_then(|process| self.life(process.node));
            holder.is_some_and(|holder| {
                // One that is known to be over is gone with its processes, until they are claimed under a later identity.
                let actual = asked.upper.children().map(|children| children.actual().table());
                let over = actual.is_some_and(|actual| actual.retired().contains(&holder.id));
                let told = actual.and_then(|actual| actual.live_of(id, &holder.id));
                let again = told.is_some_and(|claim| claim.pid.as_ref() == Some(pid));
                let heard = !over && (holder.id == pid.node || again);
                let seen = holder.id == asked.id || heard && asked.upper.names().view().is_living(&holder.id);
                let held = holder.upper.children().and_then(|it| it.actual().table().live_of(id, it.id()));
                let start = held.map(|claim| (claim.dot.actor.clone(), claim.dot.counter));
                seen && start.is_some_and(|start| known.starts.contains(&start))
            })
        });
        runs.then_some("a process that it had seen runs for a start that it had seen")
    }

    /// Why a terminate should have been answered: all that it meant is gone, as the node sees, and the others know.
    fn waited_in_vain(&self, node: usize, request: u64, id: &ChildId) -> Option<&'static str> {
        let known = self.oracle.replies.requests.get(&request)?;
        let asked = self.life(node)?;
        let live: BTreeSet<Start> = starts_of(asked, id).collect();
        let meant = |start: &Start| known.starts.contains(start);
        // One whose start is gone may go on for any that its holder knows.
        let held = |claim: &Claim| meant(&claim.start) || meant(&claim.begun) || !live.contains(&claim.start);
        let gone = !live.iter().any(meant) && !claims(asked, id).any(|claim| held(&claim));
        let acknowledged = asked.upper.children().is_some_and(|it| it.is_acknowledged() && it.is_saved());
        (gone && acknowledged).then_some("nothing is left of what it meant")
    }

    /// Why a restarted child was not.
    fn is_not_new(&self, request: u64, id: &ChildId) -> Option<&'static str> {
        let known = self.oracle.replies.requests.get(&request)?;
        let again = self.oracle.runs_of(id).any(|(pid, process)| {
            !known.pids.contains(pid) && process.ended_us.is_none_or(|ended| ended >= known.at_us)
        });
        (!again).then_some("nothing ran that was not seen before")
    }

    /// A child that nobody wishes for any more though a caller was refused because another start of it stood, and nobody
    /// ended it.
    pub(crate) fn gone_though_refused(&self) -> Option<String> {
        let replies = &self.oracle.replies;
        let lasts = |id: &ChildId| {
            let ended = replies.terminated_us.contains_key(id) || replies.taken_back.contains(id);
            !replies.brief.contains(id) && !ended && !self.oracle.has_failed(id)
        };
        let for_another = replies.refused.iter().filter(|refused| refused.for_another && lasts(&refused.id));
        for_another.filter(|refused| self.is_life(refused.node, refused.life)).find_map(|refused| {
            let Refused { request, node, id, .. } = refused;
            let gone = self.up().all(|(_, life)| starts_of(life, id).next().is_none());
            gone.then(|| {
                format!("n{node} refused {request} because {id:?} should run already, and nobody wishes for it")
            })
        })
    }

    /// A start that is live though its caller was told that nothing is kept. Only while the node that said so lives: it
    /// may have died before anybody else heard of it.
    pub(crate) fn kept_though_refused(&self) -> Option<String> {
        let replies = &self.oracle.replies;
        replies.refused.iter().filter(|refused| self.is_life(refused.node, refused.life)).find_map(|refused| {
            let Refused { request, node, id, error, .. } = refused;
            let wrote = &replies.requests.get(request)?.wrote;
            let (at, _) = self.up().find(|(_, life)| starts_of(life, id).any(|start| wrote.contains(&start)))?;
            Some(format!("n{at} keeps the start of {id:?} that n{node} refused as {request}: {error}"))
        })
    }
}

/// The starts of a child that a node holds as live.
fn starts_of<'a>(life: &'a Life, id: &ChildId) -> impl Iterator<Item = Start> + 'a + use<'a> {
    let children = life.upper.children();
    let live = children.map(|children| children.desired().table().live(id)).into_iter().flatten();
    live.map(|(origin, counter, _)| (origin.clone(), counter))
}

/// What a living member says of a child.
struct Claim {
    /// The start that its process runs for.
    start: Start,
    /// The one that it was activated for.
    begun: Start,
    pid: Option<Pid>,
}

/// What the living members say of a child, as a node sees it.
fn claims<'a>(life: &'a Life, id: &ChildId) -> impl Iterator<Item = Claim> + 'a + use<'a> {
    let children = life.upper.children();
    let live = children.map(|children| children.actual().table().live(id)).into_iter().flatten();
    let view = life.upper.names().view();
    let held = live.filter(|(node, _, claim)| claim.is_held() && (**node == life.id || view.is_living(node)));
    held.map(|(_, _, claim)| Claim {
        start: (claim.dot.actor.clone(), claim.dot.counter),
        begun: (claim.begun().actor.clone(), claim.begun().counter),
        pid: claim.pid.clone(),
    })
}
