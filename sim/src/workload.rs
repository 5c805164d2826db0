//! What users do: operations drawn from the seed over a small hot set of names, so that they meet.

use bytes::Bytes;
use ordu_registry::core::{Name, RegisterError};
use ordu_transport::core::Pid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

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
}

/// The user of a run.
pub(crate) struct Workload {
    rng: ChaCha8Rng,
    left: usize,
}

impl Workload {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { rng: stream(plan.seed, Stream::Workload), left: plan.ops }
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
                let pid = self.with_names(node, &"activate", |names, now, _| names.activate(now));
                let Some(pid) = pid else { return };
                let Some(life) = self.life(node) else { return };
                let rank = life.names.standing(&pid).map(|(rank, _)| rank.clone()).unwrap_or_default();
                self.oracle.activated(self.now, &pid, node, life.number, rank);
                for _ in 0..self.workload.rng.random_range(1..=3) {
                    self.register(node, &pid);
                }
                if self.life(node).is_some_and(|life| life.names.names_of(&pid).next().is_none()) {
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
                }
            }
            OpKind::UpdateValue => {
                if let Some((pid, name)) = self.some_claim(node) {
                    let value = self.some_value();
                    self.with_names(node, &("update", &pid, &name, &value), |names, now, effects| {
                        names.update_value(now, &pid, &name, value.clone(), effects)
                    });
                }
            }
            OpKind::EndProcess => {
                if let Some(pid) = self.some_process(node) {
                    self.end_now(node, pid);
                }
            }
        }
        self.plan_timer(node);
    }

    fn end_now(&mut self, node: usize, pid: Pid) {
        if let Some(life) = self.life(node).map(|life| life.number) {
            self.on_process_ends(node, life, &pid);
        }
    }

    fn register(&mut self, node: usize, pid: &Pid) {
        let name = Name::new(&format!("name/{}", self.workload.rng.random_range(0..self.plan.names))).expect("a valid name");
        let value = self.some_value();
        let result = self.with_names(node, &("register", pid, &name, &value), |names, now, effects| {
            names.register(now, pid, name.clone(), value.clone(), effects)
        });
        let shown = self.life(node).and_then(|life| life.names.lookup(&name)).map(|entry| entry.pid.clone());
        self.trace.effects(&[&result]);
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
        let pids: Vec<Pid> = self.life(node)?.names.processes().cloned().collect();
        (!pids.is_empty()).then(|| pids[self.workload.rng.random_range(0..pids.len())].clone())
    }

    fn some_claim(&mut self, node: usize) -> Option<(Pid, Name)> {
        let pid = self.some_process(node)?;
        let names: Vec<Name> = self.life(node)?.names.names_of(&pid).cloned().collect();
        (!names.is_empty()).then(|| (pid, names[self.workload.rng.random_range(0..names.len())].clone()))
    }
}
