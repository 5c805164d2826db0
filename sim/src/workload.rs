//! What users do: operations drawn from the seed over a small hot set of names, so that they meet.

use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::{Name, RegisterError};
use ordu_supervisor::core::{Call, CallError, ChildId, ChildSpec, Placement, Reply, Restart};
use ordu_transport::core::Pid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::children::Character;
use crate::invariants::truth;
use crate::node::KIND;
use crate::oracle::Asked;
use crate::plan::{Plan, Stream, draw_weighted, stream};
use crate::world::{Happening, World};

/// The kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// A new process registers one to three names.
    Register,
    /// A living process registers one more name.
    RegisterMore,
    /// A process gives up a name.
    Unregister,
    /// A process changes the value of a name.
    UpdateValue,
    /// A process ends.
    EndProcess,
    /// A child shall run, and shall not run yet.
    Start,
    /// A child shall run.
    Ensure,
    /// A child shall not run any more.
    Terminate,
    /// A child shall be started again.
    Restart,
    /// A node shall give its children away, or take some again.
    Drain,
}

impl OpKind {
    /// Whether it needs the supervisor core.
    pub fn is_about_children(self) -> bool {
        use OpKind as O;
        match self {
            O::Start | O::Ensure | O::Terminate | O::Restart | O::Drain => true,
            O::Register | O::RegisterMore | O::Unregister | O::UpdateValue | O::EndProcess => false,
        }
    }
}

/// The user of a run.
pub(crate) struct Workload {
    rng: ChaCha8Rng,
    left: usize,
    requests: u64,
}

impl Workload {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { rng: stream(plan.seed, Stream::Workload), left: plan.ops, requests: 0 }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }
}

impl World {
    pub(crate) fn on_operation(&mut self) {
        if self.workload.is_over() {
            return;
        }
        self.workload.left -= 1;
        let gap = self.workload.rng.random_range(0..=self.plan.op_gap_us * 2);
        self.schedule(self.now + gap, Happening::Operation);
        let node = self.workload.rng.random_range(0..self.nodes.len());
        let Some(kind) = draw_weighted(&mut self.workload.rng, &self.plan.op_weights) else { return };
        if self.life(node).is_none() || self.nodes[node].paused {
            return;
        }
        match kind {
            OpKind::Register => {
                let pid = self.with_names(node, "activate", |names, now, _| names.activate(now));
                let Some(pid) = pid else { return };
                let Some(life) = self.life(node) else { return };
                let rank = life.upper.names().standing(&pid).map(|(rank, _)| rank.clone()).unwrap_or_default();
                let number = life.number;
                self.oracle.activated(&pid, node, number, rank);
                self.record.process_begins(self.now, node, &pid);
                for _ in 0..self.workload.rng.random_range(1..=3) {
                    self.register(node, &pid);
                }
                if self.life(node).is_some_and(|life| life.upper.names().names_of(&pid).next().is_none()) {
                    self.end_now(node, pid);
                }
            }
            OpKind::RegisterMore => {
                if let Some(pid) = self.some_process(node) {
                    self.register(node, &pid);
                }
            }
            OpKind::Unregister => {
                if let Some((pid, name)) = self.some_claim(node) {
                    self.with_names(node, &("unregister", &pid, &name), |names, now, effects| {
                        names.unregister(now, &pid, &name, effects)
                    });
                    self.record.unregistered(self.now, node, &pid, &name);
                }
            }
            OpKind::UpdateValue => {
                if let Some((pid, name)) = self.some_claim(node) {
                    let value = self.some_value();
                    self.with_names(node, &("update", &pid, &name, &value), |names, now, effects| {
                        names.update_value(now, &pid, &name, value.clone(), effects)
                    });
                    self.record.named(self.now, node, "update", &pid, &name, "ok");
                }
            }
            OpKind::EndProcess => {
                if let Some(pid) = self.some_process(node) {
                    self.end_now(node, pid);
                }
            }
            OpKind::Start => {
                let spec = self.some_spec();
                self.wish(node, Call::Start { spec, ensure: false });
            }
            OpKind::Ensure => {
                let spec = self.some_spec();
                self.wish(node, Call::Start { spec, ensure: true });
            }
            OpKind::Terminate => {
                let id = self.some_id();
                self.wish(node, Call::Terminate(id));
            }
            OpKind::Restart => {
                let id = self.some_id();
                self.wish(node, Call::Restart(id));
            }
            OpKind::Drain => {
                let of = self.workload.rng.random_range(0..self.nodes.len());
                let on = self.workload.rng.random_bool(0.5);
                let of = self.nodes[of].name.clone();
                self.wish(node, Call::Drain { node: of, on });
            }
        }
        self.plan_timer(node);
    }

    fn some_id(&mut self) -> ChildId {
        let number = self.workload.rng.random_range(0..self.plan.children_ids.max(1));
        ChildId::new(&format!("child-{number}")).expect("a valid id")
    }

    fn some_spec(&mut self) -> ChildSpec {
        let id = self.some_id();
        let nodes = self.nodes.len();
        let rng = &mut self.workload.rng;
        let character = draw_weighted(rng, &Character::ALL).unwrap_or(Character::Steady);
        let mut spec = ChildSpec::new(id, KIND, character.args());
        let restarts = [(Restart::Permanent, 6), (Restart::Transient, 3), (Restart::Temporary, 1)];
        spec.restart = draw_weighted(rng, &restarts).unwrap_or_default();
        if rng.random_bool(0.1) {
            spec.placement = Placement::Pinned(self.nodes[rng.random_range(0..nodes)].name.clone());
        }
        spec.stop_timeout = Duration::from_millis([300, 1_000, 10_000][rng.random_range(0..3)]);
        spec
    }

    fn wish(&mut self, node: usize, call: Call) {
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        self.workload.requests += 1;
        let request = self.workload.requests;
        let wait = Duration::from_millis(self.workload.rng.random_range(200..8_000));
        let deadline_us = self.now + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.oracle.calls.insert(request, Asked { node, life, deadline_us, call: call.clone() });
        self.record.asked(self.now, node, request, &call);
        self.call(node, request, call, wait);
    }

    /// What a caller is told.
    pub(crate) fn on_reply(&mut self, node: usize, request: u64, reply: Reply) {
        self.record.replied(self.now, request, &reply);
        let Some(Asked { call, .. }) = self.oracle.calls.remove(&request) else {
            return self.oracle.break_promise(truth::NAME, format!("n{node} answers {request} twice: {reply:?}"));
        };
        let desired = |id: &ChildId| {
            let children = self.life(node).and_then(|life| life.upper.children());
            children.is_some_and(|children| children.desired().table().live(id).next().is_some())
        };
        let lie = match (&call, &reply) {
            (Call::Terminate(id), Reply::Done(Ok(()))) if desired(id) => true,
            (Call::Start { spec, .. }, Reply::Child(Ok(_))) => !self.oracle.ever_ran(&spec.id),
            (Call::Start { ensure: true, .. }, Reply::Child(Err(CallError::AlreadyStarted(_)))) => true,
            (Call::Start { .. } | Call::Restart(_), Reply::Done(_)) => true,
            (Call::Terminate(_) | Call::Drain { .. }, Reply::Child(_)) => true,
            (Call::Start { .. } | Call::Restart(_), Reply::Child(_)) => false,
            (Call::Terminate(_) | Call::Drain { .. }, Reply::Done(_)) => false,
        };
        if lie {
            self.oracle.break_promise(truth::NAME, format!("n{node} answers {call:?} with {reply:?}"));
        }
    }

    fn end_now(&mut self, node: usize, pid: Pid) {
        if let Some(life) = self.life(node).map(|life| life.number) {
            self.on_process_ends(node, life, &pid);
        }
    }

    fn register(&mut self, node: usize, pid: &Pid) {
        let name =
            Name::new(&format!("name/{}", self.workload.rng.random_range(0..self.plan.names))).expect("a valid name");
        let value = self.some_value();
        let result = self.with_names(node, &("register", pid, &name, &value), |names, now, effects| {
            names.register(now, pid, name.clone(), value.clone(), effects)
        });
        let shown = self.life(node).and_then(|life| life.upper.names().lookup(&name)).map(|entry| entry.pid.clone());
        self.trace.effects(&[&result]);
        self.record.registered(self.now, node, pid, &name, &result);
        match result {
            Some(Ok(())) => self.oracle.registered(pid, &name, shown),
            Some(Err(RegisterError::AlreadyRegistered { pid: holder })) => self.oracle.refused(&name, &holder, shown),
            Some(Err(_)) | None => {}
        }
    }

    fn some_value(&mut self) -> Bytes {
        let length = self.workload.rng.random_range(0..24);
        (0..length).map(|_| self.workload.rng.random_range(b'a'..=b'z')).collect()
    }

    fn some_process(&mut self, node: usize) -> Option<Pid> {
        let mine = |pid: &&Pid| !self.oracle.is_child(pid);
        let pids: Vec<Pid> = self.life(node)?.upper.names().processes().filter(mine).cloned().collect();
        (!pids.is_empty()).then(|| pids[self.workload.rng.random_range(0..pids.len())].clone())
    }

    fn some_claim(&mut self, node: usize) -> Option<(Pid, Name)> {
        let pid = self.some_process(node)?;
        let names: Vec<Name> = self.life(node)?.upper.names().names_of(&pid).cloned().collect();
        (!names.is_empty()).then(|| (pid, names[self.workload.rng.random_range(0..names.len())].clone()))
    }
}
