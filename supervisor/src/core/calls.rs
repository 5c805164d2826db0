//! What callers wish, and what they are told: every call has a deadline, and a deadline that passes says so.

use std::time::Duration;

use ordu_registry::core::clock::Dot;
use ordu_registry::core::delta::Payload;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Hlc, Instant, Lane, NodeId, NodeName, Now};

use super::row::{ChildRow, ChildStatus};
use super::show::held_row;
use super::spec::{ARGS_BYTES_MAX, ChildId, ChildSpec, INIT_TIMEOUT_MIN, REST_BYTES_MAX};
use super::supervisor::Supervisor;
use super::tables::{Actual, Desired, Mark, State};
use super::words::{Control, Effect, Message};

/// Most calls that wait at once on one node; a further one is refused.
pub const CALLS_MAX: usize = 100_000;

/// A caller's wish.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "most calls are starts")]
pub enum Call {
    /// A child should run.
    Start {
        /// What.
        spec: ChildSpec,
        /// A child of this id that is desired already is fine.
        ensure: bool,
    },
    /// A child should not run any more.
    Terminate(ChildId),
    /// A child should be stopped and started again.
    Restart(ChildId),
    /// A node should take no children and give its own away, or take some again.
    Drain {
        /// Which node.
        node: NodeName,
        /// Whether it drains.
        on: bool,
    },
    /// A node should take no children and keep its own, or take some again.
    Cordon {
        /// Which node.
        node: NodeName,
        /// Whether it is cordoned.
        on: bool,
    },
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To a start or restart.
    Child(Result<Box<ChildRow>, CallError>),
    /// To the others.
    Done(Result<(), CallError>),
}

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CallError {
    /// A child of this id is desired already. Nothing of this start is kept.
    #[error("a child of this id is desired already")]
    AlreadyStarted(Box<ChildRow>),
    /// No node may run it. Nothing is kept.
    #[error("{0}")]
    NoEligibleNode(String),
    /// As many children should run in the cluster as may. Nothing is kept.
    #[error("{0} children should run already, and this cluster takes no more")]
    ClusterFull(u32),
    /// Its init failed, and nothing of the start is kept; or it was restarted and failed too often, and is in quarantine.
    #[error("{0}")]
    Failed(String),
    /// It finished, or somebody terminated it, before this node saw it run. Nothing of the start is kept.
    #[error("it ended, or was terminated, before this node saw it run")]
    Ended,
    /// The spec cannot be accepted. Nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// No such child, or no such node. Nothing changed.
    #[error("not found")]
    NotFound,
    /// The node cannot be reached from here. Nothing changed.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The deadline passed; whether it was done is unknown. The wish stands, and asking again is safe.
    #[error("the deadline passed; the wish stands")]
    Timeout,
    /// Too many calls wait already. Nothing changed.
    #[error("{CALLS_MAX} calls wait already")]
    Busy,
}

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) call: Waited,
    pub(super) deadline: Instant,
}

/// What a waiting call waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Waited {
    /// The start of this dot runs.
    Started {
        id: ChildId,
        dot: Dot,
        /// Another start of the child that runs instead is fine.
        ensure: bool,
        /// It was written for this call; otherwise somebody may have been told of it before.
        fresh: bool,
    },
    /// Any start of the child runs.
    Ensured {
        id: ChildId,
    },
    Terminated {
        id: ChildId,
        /// The starts that this node had seen when it was asked. What others start meanwhile is not meant.
        starts: Vec<Dot>,
        /// Our last event of what should run, the removal or one after it.
        upto: Dot,
    },
    /// An activation runs that followed our wish of this time.
    Restarted {
        id: ChildId,
        wished: Hlc,
    },
    Drained {
        node: NodeId,
        on: bool,
    },
    Cordoned {
        node: NodeId,
        on: bool,
    },
}

impl Waited {
    fn child(&self) -> Option<&ChildId> {
        match self {
            Waited::Started { id, .. }
            | Waited::Ensured { id }
            | Waited::Terminated { id, .. }
            | Waited::Restarted { id, .. } => Some(id),
            Waited::Drained { .. } | Waited::Cordoned { .. } => None,
        }
    }

    fn refuse(&self, error: CallError) -> Reply {
        match self {
            Waited::Started { .. } | Waited::Ensured { .. } | Waited::Restarted { .. } => Reply::Child(Err(error)),
            Waited::Terminated { .. } | Waited::Drained { .. } | Waited::Cordoned { .. } => Reply::Done(Err(error)),
        }
    }
}

impl Supervisor {
    /// Takes a caller's wish. Exactly one [`Effect::Reply`] with this number follows, within `wait` or a moment.
    pub fn call(&mut self, now: Now, request: u64, call: Call, wait: Duration, effects: &mut Vec<Effect>) {
        self.call_many(now, [(request, call)], wait, effects);
    }

    /// Takes several wishes at once, each with a number of its own: what comes of them goes out together.
    pub fn call_many(
        &mut self,
        now: Now,
        calls: impl IntoIterator<Item = (u64, Call)>,
        wait: Duration,
        effects: &mut Vec<Effect>,
    ) {
        calls.into_iter().for_each(|(request, call)| self.begin(now, request, call, wait, effects));
        self.settle(now, effects);
        self.check_drains(effects);
        self.save(now, effects);
    }

    fn begin(&mut self, now: Now, request: u64, call: Call, wait: Duration, effects: &mut Vec<Effect>) {
        let begun = if self.calls_len() >= CALLS_MAX {
            Err(match call {
                Call::Start { .. } | Call::Restart(_) => Reply::Child(Err(CallError::Busy)),
                Call::Terminate(_) | Call::Drain { .. } | Call::Cordon { .. } => Reply::Done(Err(CallError::Busy)),
            })
        } else {
            match call {
                Call::Start { spec, ensure } => {
                    self.begin_start(now, request, spec, ensure, wait).map_err(|error| Reply::Child(Err(error)))
                }
                Call::Terminate(id) => self.begin_terminate(id).map_err(|error| Reply::Done(Err(error))),
                Call::Restart(id) => self.begin_restart(now, id).map_err(|error| Reply::Child(Err(error))),
                Call::Drain { node, on } => {
                    self.begin_drain(&node, on, effects).map_err(|error| Reply::Done(Err(error)))
                }
                Call::Cordon { node, on } => {
                    self.begin_cordon(&node, on, effects).map_err(|error| Reply::Done(Err(error)))
                }
            }
        };
        match begun {
            Err(reply) => self.refuse_caller(request, now.at + wait, reply, effects),
            Ok(call) => {
                let deadline = now.at + wait;
                self.dirty.extend(call.child().cloned());
                self.deadlines.insert((deadline, request));
                self.wait_for(request, Waiting { call, deadline });
            }
        }
    }

    pub(super) fn wait_for(&mut self, request: u64, waiting: Waiting) {
        match waiting.call.child() {
            Some(id) => drop(self.waiting_for.entry(id.clone()).or_default().insert(request)),
            None => drop(self.waiting_for_nodes.insert(request)),
        }
        self.waiting.insert(request, waiting);
    }

    fn begin_start(
        &mut self,
        now: Now,
        request: u64,
        spec: ChildSpec,
        ensure: bool,
        wait: Duration,
    ) -> Result<Waited, CallError> {
        let id = spec.id.clone();
        if spec.args.len() > ARGS_BYTES_MAX {
            return Err(CallError::Invalid(format!("the arguments are longer than {ARGS_BYTES_MAX} bytes")));
        }
        let at = self.registry.tick(now);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let asked = Desired { spec: spec.into(), at, caller: self.id().clone(), wait_ms, request };
        if asked.spec.init_timeout < INIT_TIMEOUT_MIN {
            return Err(CallError::Invalid("an init takes 1ms at least".to_owned()));
        }
        if let Some(intensity) = asked.spec.intensity {
            intensity.check(asked.spec.restart).map_err(CallError::Invalid)?;
        }
        if asked.size_bytes() > ARGS_BYTES_MAX + REST_BYTES_MAX {
            return Err(CallError::Invalid(format!("kind and labels are longer than {REST_BYTES_MAX} bytes")));
        }
        let again = self.desired.table().live(&id).find(|(_, _, desired)| desired.request == request);
        if let Some(dot) = again.map(|(origin, counter, _)| Dot::new(origin.clone(), counter)) {
            return Ok(Waited::Started { id, dot, ensure, fresh: false });
        }
        if self.winner(&id).is_some() {
            return match self.row(&id) {
                Some(row) if !ensure => Err(CallError::AlreadyStarted(Box::new(row))),
                _ => Ok(Waited::Ensured { id }),
            };
        }
        if let Some(max) = self.cluster_max.filter(|max| self.are_desired(*max as usize)) {
            return Err(CallError::ClusterFull(max));
        }
        if self.seat(&asked.spec).is_none() {
            return Err(CallError::NoEligibleNode(self.why_nowhere(&asked.spec)));
        }
        let dot = self.desired.put(id.clone(), asked);
        Ok(Waited::Started { id, dot, ensure, fresh: true })
    }

    /// Whether so many children should run, as far as we know.
    fn are_desired(&self, many: usize) -> bool {
        let table = self.desired.table();
        // Starts of one child in one are seldom, and counting is not for free.
        table.live_len() >= many && table.unsorted_keys().take(many).count() >= many
    }

    fn begin_terminate(&mut self, id: ChildId) -> Result<Waited, CallError> {
        let mut starts = self.starts_of(&id);
        let held = self.claims(&id).next().is_some() || self.local.contains_key(&id);
        starts.extend(self.claims(&id).flat_map(|(_, claim)| [claim.dot.clone(), claim.begun().clone()]));
        starts.extend(self.local.get(&id).into_iter().flat_map(|local| [local.dot.clone(), local.begun.clone()]));
        // A claim can be here before the start that it is about.
        let removed = self.desired.remove_with(&id, &starts);
        if !removed && !held {
            return Err(CallError::NotFound);
        }
        let upto = self.desired.table().context().clock().dot(self.id().clone());
        Ok(Waited::Terminated { id, starts, upto })
    }

    /// Removes the starts of a child that has ended for good: all that say the same. A start of something else stands; its
    /// caller wished for what has not ended.
    pub(super) fn undesire(&mut self, id: &ChildId, spec: &ChildSpec) {
        let live = self.desired.table().live(id).filter(|(_, _, desired)| *desired.spec == *spec);
        for dot in live.map(|(origin, counter, _)| Dot::new(origin.clone(), counter)).collect::<Vec<_>>() {
            self.withdraw_start(id, &dot);
        }
    }

    fn begin_restart(&mut self, now: Now, id: ChildId) -> Result<Waited, CallError> {
        if self.winner(&id).is_none() {
            return Err(CallError::NotFound);
        }
        let wished = self.registry.tick(now);
        if is_present(Defect::RestartRevives)
            && let Some((_, desired)) = self.winner(&id)
        {
            self.desired.put(id.clone(), desired.clone());
        }
        // Beside every start: what is held may go by another than the one that counts.
        for dot in self.starts_of(&id) {
            let by = self.id().clone();
            self.mark(&id, &dot, |mark| Mark { wished: mark.wished.with(&by, wished), ..mark });
        }
        Ok(Waited::Restarted { id, wished })
    }

    fn begin_drain(&mut self, node: &NodeName, on: bool, effects: &mut Vec<Effect>) -> Result<Waited, CallError> {
        let id = self.member_called(node)?;
        if id == *self.id() && self.shutting_down && !on {
            return Err(CallError::Unreachable);
        } else if id == *self.id() {
            self.set_draining(on);
        } else {
            self.ask_node(&id, Control::Drain { on }, effects)?;
        }
        Ok(Waited::Drained { node: id, on })
    }

    fn begin_cordon(&mut self, node: &NodeName, on: bool, effects: &mut Vec<Effect>) -> Result<Waited, CallError> {
        let id = self.member_called(node)?;
        if id == *self.id() {
            self.set_cordoned(on);
        } else {
            self.ask_node(&id, Control::Cordon { on }, effects)?;
        }
        Ok(Waited::Cordoned { node: id, on })
    }

    fn member_called(&self, node: &NodeName) -> Result<NodeId, CallError> {
        self.registry.view().get(node).map(|member| member.id.clone()).ok_or(CallError::NotFound)
    }

    /// Sends a request to another node, if it can be reached.
    fn ask_node(&self, id: &NodeId, control: Control, effects: &mut Vec<Effect>) -> Result<(), CallError> {
        if !self.registry.view().is_living(id) || !self.connected.contains(id) {
            return Err(CallError::Unreachable);
        }
        let message = Box::new(Message::Control(control));
        effects.push(Effect::Send { to: vec![id.clone()], lane: Lane::Control, message });
        Ok(())
    }

    /// Tells the callers that wait for a child, if what they wait for is there.
    pub(super) fn check_waiting(&mut self, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(requests) = self.waiting_for.get(id).cloned() else { return };
        for request in requests {
            let Some(waiting) = self.waiting.get(&request) else { continue };
            if let Some(reply) = self.answer(&waiting.call.clone()) {
                self.reply(request, reply, effects);
            }
        }
    }

    pub(super) fn answer(&mut self, call: &Waited) -> Option<Reply> {
        match call {
            Waited::Started { id, dot, ensure, fresh } => self.answer_start(id, dot, *ensure, *fresh),
            Waited::Ensured { id } => {
                let runs = self.claims(id).any(|(_, claim)| claim.state == State::Running && !claim.losing);
                match self.winner(id).map(|(dot, _)| dot) {
                    Some(dot) if runs && !self.outlives_us(id, &dot) => None,
                    Some(_) if runs => self.row(id).map(|row| Reply::Child(Ok(Box::new(row)))),
                    Some(_) if self.is_given_up(id) => self.quarantined_row(id),
                    Some(_) => None,
                    None => Some(Reply::Child(Err(CallError::Ended))),
                }
            }
            Waited::Terminated { id, starts, upto } => {
                // A process may go back to the start that it was activated for, and one whose start is gone goes on for
                // any that its holder still holds for live, until that has heard of the termination.
                let theirs = |claim: &Actual| {
                    starts.contains(&claim.dot) || starts.contains(claim.begun()) || !self.is_live(id, &claim.dot)
                };
                let gone = !self.claims(id).any(|(_, claim)| claim.is_held() && theirs(claim));
                (gone && self.outlives_us(id, upto)).then_some(Reply::Done(Ok(())))
            }
            Waited::Restarted { id, wished } => {
                let again = |claim: &Actual| claim.followed.has(self.id(), *wished) && !claim.losing;
                let runs = self.claims(id).any(|(_, claim)| claim.state == State::Running && again(claim));
                let word = self.winner(id).and_then(|(dot, _)| self.quarantine_of(id, &dot));
                if let Some(word) = word.filter(|_| !runs) {
                    let why = word.reason.as_deref().unwrap_or_default().to_owned();
                    return Some(Reply::Child(Err(CallError::Failed(why))));
                }
                if self.winner(id).is_none() {
                    return Some(Reply::Child(Err(CallError::NotFound)));
                }
                runs.then(|| self.row(id)).flatten().map(|row| Reply::Child(Ok(Box::new(row))))
            }
            Waited::Drained { node, on } => {
                let draining = self.facts_of(node).is_some_and(|facts| facts.draining);
                (draining == *on).then_some(Reply::Done(Ok(())))
            }
            Waited::Cordoned { node, on } => {
                let cordoned = self.facts_of(node).is_some_and(|facts| facts.cordoned);
                (cordoned == *on).then_some(Reply::Done(Ok(())))
            }
        }
    }

    fn answer_start(&mut self, id: &ChildId, dot: &Dot, ensure: bool, fresh: bool) -> Option<Reply> {
        let ours = self.claims(id).filter(|(_, claim)| claim.dot == *dot || claim.begun() == dot);
        let ours = ours.min_by_key(|(_, claim)| claim.begun() != dot);
        let waits =
            |state: &State| matches!(state, State::Starting | State::Stopping | State::Moving { .. } | State::Backoff);
        if ours.is_some_and(|(_, claim)| waits(&claim.state)) {
            return None;
        }
        if let Some((node, claim)) = ours.map(|(node, claim)| (node.clone(), claim.clone())) {
            match claim.state {
                // It ended, and its init was never over.
                State::Done if !claim.ran => {
                    self.withdraw_start(id, dot);
                    return Some(Reply::Child(Err(failed(&claim))));
                }
                State::Quarantined if !claim.ran => {
                    self.withdraw_start(id, dot);
                    return Some(Reply::Child(Err(failed(&claim))));
                }
                State::Running | State::Done | State::Quarantined
                    if node == *self.id() && !self.outlives_us(id, dot) =>
                {
                    return None;
                }
                State::Running | State::Done | State::Quarantined => {
                    // An equal start that came first is the one that runs; if it is gone, the holder will say for which
                    // one the process goes on.
                    let begun = claim.begun();
                    if begun != dot && !ensure && claim.is_held() && !self.gives_way_to(id, dot, begun) {
                        return None;
                    }
                    // What it did is over, and another start of it may be on its way already.
                    let row = self.row(id).filter(|row| row.node.is_some());
                    let row = Box::new(row.unwrap_or_else(|| held_row(id, &node, &claim, None)));
                    return Some(if begun == dot || ensure {
                        Reply::Child(Ok(row))
                    } else {
                        self.refuse_second(id, dot, row)
                    });
                }
                State::Failed if claim.dot == *dot => {
                    if is_present(Defect::FailedStartTakesAll) {
                        self.desired.remove(id);
                    } else if !is_present(Defect::FailedStartStays) {
                        self.withdraw_start(id, dot);
                    }
                    return Some(Reply::Child(Err(failed(&claim))));
                }
                State::Failed | State::Starting | State::Stopping | State::Moving { .. } | State::Backoff => {
                    return None;
                }
            }
        }
        match self.winner(id) {
            // It ran, and failed too often since.
            Some((winner, _)) if winner == *dot && self.is_given_up(id) => self.quarantined_row(id),
            Some((winner, _)) if winner == *dot && fresh => self.refuse_if_full(id, dot),
            Some((winner, _)) if winner == *dot => None,
            None => Some(Reply::Child(Err(CallError::Ended))),
            Some((winner, _)) if !ensure && self.is_live(id, dot) && !self.gives_way_to(id, dot, &winner) => None,
            Some(_) => {
                // A concurrent start won; once it runs, this caller was the later one to be told.
                let runs = self.claims(id).any(|(_, claim)| claim.state == State::Running && !claim.losing);
                let row = Box::new(runs.then(|| self.row(id)).flatten()?);
                Some(if ensure { Reply::Child(Ok(row)) } else { self.refuse_second(id, dot, row) })
            }
        }
    }

    /// Takes back a start that nobody has followed, and tells its caller so, where every node that could run it has become
    /// full since he asked: of many starts at once more may be accepted than there are places.
    fn refuse_if_full(&mut self, id: &ChildId, dot: &Dot) -> Option<Reply> {
        let spec = self.spec(id)?.clone();
        let followed = self.actual.table().live(id).next().is_some() || self.is_name_held(id);
        let began = self.mark_of(id, dot).started.is_some();
        if followed || began || !self.is_full_for(&spec) || self.seat(&spec).is_some() {
            return None;
        }
        self.withdraw_start(id, dot);
        Some(Reply::Child(Err(CallError::NoEligibleNode(self.why_nowhere(&spec)))))
    }

    /// Whether a child is in quarantine as far as we see, by what stands beside its start or what its holder says of one
    /// that is equal to it. A holder may not know yet that what it holds was terminated and started anew.
    fn is_given_up(&self, id: &ChildId) -> bool {
        let counts = self.spec(id);
        let said = |claim: &Actual| self.start_at(id, &claim.dot).map(|start| &start.spec) == counts;
        self.is_quarantined(id) || self.claims(id).any(|(_, claim)| claim.state == State::Quarantined && said(claim))
    }

    /// The answer that a child is in quarantine, if that is what is shown of it: a copy may be on its way out elsewhere.
    fn quarantined_row(&self, id: &ChildId) -> Option<Reply> {
        let row = self.row(id).filter(|row| row.status == ChildStatus::Quarantined)?;
        Some(Reply::Child(Ok(Box::new(row))))
    }

    /// Tells a caller that another start was the first, and takes its own back: it would outlive a termination that has
    /// seen only the other.
    fn refuse_second(&mut self, id: &ChildId, dot: &Dot, row: Box<ChildRow>) -> Reply {
        self.withdraw_start(id, dot);
        Reply::Child(Err(CallError::AlreadyStarted(row)))
    }

    /// The starts of a child that are live here.
    fn starts_of(&self, id: &ChildId) -> Vec<Dot> {
        self.desired.table().live(id).map(|(origin, counter, _)| Dot::new(origin.clone(), counter)).collect()
    }

    fn withdraw_start(&mut self, id: &ChildId, dot: &Dot) {
        self.desired.withdraw(id, dot);
    }

    /// The start by which this node holds a child, if it is live.
    pub(super) fn start_held(&self, id: &ChildId) -> Option<&Desired> {
        self.start_at(id, &self.local.get(id)?.dot)
    }

    /// The start of this dot, if it is live.
    pub(super) fn start_at(&self, id: &ChildId, dot: &Dot) -> Option<&Desired> {
        let mut live = self.desired.table().live(id);
        live.find(|(origin, counter, _)| **origin == dot.actor && *counter == dot.counter).map(|(.., desired)| desired)
    }

    /// Whether a caller may wait for a child that we hold: one of ours does, whichever of our incarnations he asked, or
    /// the node that he asked is living.
    pub(super) fn has_waiting_caller(&self, id: &ChildId) -> bool {
        let (Some(local), Some(desired)) = (self.local.get(id), self.start_held(id)) else { return false };
        match desired.caller.name == self.id().name {
            true => self.is_waited_for(id, &local.dot),
            false => self.registry.view().is_living(&desired.caller),
        }
    }

    fn calls_for(&self, id: &ChildId) -> impl Iterator<Item = &Waited> {
        let requests = self.waiting_for.get(id).into_iter().flatten();
        requests.filter_map(|request| self.waiting.get(request)).map(|waiting| &waiting.call)
    }

    /// Whether a caller here waits for this start.
    fn is_waited_for(&self, id: &ChildId, start: &Dot) -> bool {
        self.calls_for(id).any(|call| matches!(call, Waited::Started { dot, .. } if dot == start))
    }

    /// Whether a caller here waits for this start and would take it back if he were refused.
    pub(super) fn may_be_taken_back(&self, id: &ChildId, start: &Dot) -> bool {
        self.calls_for(id).any(|call| matches!(call, Waited::Started { dot, ensure: false, .. } if dot == start))
    }

    /// Whether a start may be taken back in favour of another that is live. Two callers that see each the other's process
    /// must not both do so: the lesser start gives way at once, the greater one only to one whose caller has been answered
    /// and will not do the same. A start of that kind itself gives way to a greater one of that kind only.
    fn gives_way_to(&self, id: &ChildId, dot: &Dot, other: &Dot) -> bool {
        let place = |dot: &Dot| {
            let mut live = self.desired.table().live(id);
            live.find(|(origin, counter, _)| **origin == dot.actor && *counter == dot.counter)
                .map(|(origin, counter, desired)| (desired.at, origin, counter, &desired.caller))
        };
        let Some(theirs) = place(other) else { return false };
        let greater = place(dot).is_none_or(|ours| ours < theirs);
        let over = self.desired.table().retired().contains(theirs.3);
        let answered = over || self.mark_of(id, other).answered;
        if self.mark_of(id, dot).answered { greater && answered } else { greater || answered }
    }

    pub(super) fn is_live(&self, id: &ChildId, dot: &Dot) -> bool {
        self.desired.table().live(id).any(|(origin, counter, _)| *origin == dot.actor && counter == dot.counter)
    }

    /// Whether what this node wrote of a child is known to somebody else, where there is somebody: an answer that says
    /// "done" must not be undone by this node's death alone. If not, the child is looked at again with the next
    /// acknowledgement.
    fn outlives_us(&mut self, id: &ChildId, dot: &Dot) -> bool {
        // What an earlier incarnation of ours wrote may be known to nobody else either.
        let outlives =
            is_present(Defect::HastyAnswer) || dot.actor.name != self.id().name || self.desired.is_kept_elsewhere(dot);
        if !outlives {
            self.unacked.insert((id.clone(), dot.actor.clone(), dot.counter));
        }
        outlives
    }

    /// Tells the callers that wait for a node to drain, or to be cordoned, if it says that it does.
    pub(super) fn check_drains(&mut self, effects: &mut Vec<Effect>) {
        if self.waiting_for_nodes.is_empty() {
            return;
        }
        let drains = self.waiting_for_nodes.iter().filter_map(|request| Some((*request, self.waiting.get(request)?)));
        let drains: Vec<(u64, Waited)> = drains.map(|(request, waiting)| (request, waiting.call.clone())).collect();
        for (request, call) in drains {
            if let Some(reply) = self.answer(&call) {
                self.reply(request, reply, effects);
            }
        }
    }

    /// Tells the callers whose deadline has passed.
    pub(super) fn expire_calls(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(&(deadline, request)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now.at) {
            match self.waiting.get(&request).map(|waiting| waiting.call.refuse(CallError::Timeout)) {
                Some(reply) => self.reply(request, reply, effects),
                None => {
                    self.deadlines.remove(&(deadline, request));
                    let late = self.take_held(request);
                    effects.extend(late.map(|reply| Effect::Reply { request, reply }));
                }
            }
        }
    }

    fn reply(&mut self, request: u64, reply: Reply, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.waiting.remove(&request) else { return };
        self.waiting_for_nodes.remove(&request);
        let deadline = waiting.deadline;
        if let Some(id) = waiting.call.child()
            && let Some(requests) = self.waiting_for.get_mut(id)
        {
            requests.remove(&request);
            if requests.is_empty() {
                self.waiting_for.remove(id);
            }
        }
        if !self.tell_caller(request, waiting, reply, effects) {
            self.deadlines.remove(&(deadline, request));
        }
    }
}

/// How a child failed, for its caller.
fn failed(claim: &Actual) -> CallError {
    CallError::Failed(claim.reason.as_deref().unwrap_or("its init failed").to_owned())
}
