//! Users who register a name with a majority, as the registry's handle does it, and what must be so when they are told Ok.

use bytes::Bytes;
use ordu_registry::core::Name;
use ordu_registry::core::visible::{Awaited, Vain};
use ordu_transport::core::{Pid, Status};

use crate::invariants::truth;
use crate::world::{Happening, World};

/// How much later a deadline is looked at again that came while its node was paused.
const PAUSED_US: u64 = 400_000;

/// Those who wait for a majority.
#[derive(Debug, Default)]
pub(crate) struct Quorums {
    number: u64,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    node: usize,
    life: u64,
    pid: Pid,
    name: Name,
    awaited: Awaited,
}

impl World {
    /// A new process registers a name and waits for a majority.
    pub(crate) fn register_quorum(&mut self, node: usize, name: Name, value: &str, wait_ms: u64) {
        let Some(pid) = self.activate(node) else { return };
        self.with_names(node, &"hurry", |names, _, _| names.hurry());
        self.register(node, &pid, &name, value);
        let Some(life) = self.life(node) else { return };
        if !life.upper.names().holdings(&pid).any(|held| *held == name) {
            return self.end_if_nameless(node, pid);
        }
        let (life, quorums) = (life.number, &mut self.workload.quorums);
        quorums.number += 1;
        let (number, awaited) = (quorums.number, Awaited::quorum(pid.clone(), name.clone()));
        quorums.waiting.push(Waiting { number, node, life, pid, name, awaited });
        let at = self.now.saturating_add(wait_ms.saturating_mul(1_000));
        self.schedule(at, Happening::QuorumDue { node, life, number });
        self.look_at_quorums(node);
    }

    /// A node's core was called: somebody may have got what he waits for.
    pub(crate) fn look_at_quorums(&mut self, node: usize) {
        for mut waiting in self.take_waiting(|waiting| waiting.node == node) {
            let Some(life) = self.life(node).filter(|life| life.number == waiting.life) else { continue };
            match waiting.awaited.check(life.upper.names()) {
                Ok(true) => self.got_majority(waiting),
                Ok(false) => self.workload.quorums.waiting.push(waiting),
                Err(Vain::Lost { .. }) => self.withdraw(waiting, "lost"),
                Err(Vain::Gone) => self.record.named(self.now, node, "quorum", &waiting.pid, &waiting.name, "gone"),
            }
        }
    }

    /// Somebody's time is over.
    pub(crate) fn quorum_due(&mut self, node: usize, life: u64, number: u64) {
        if !self.is_life(node, life) {
            return;
        }
        if self.nodes[node].paused {
            // Whoever waits there is as paused as the rest, and finds out a little later.
            let at = self.now + PAUSED_US;
            return self.schedule(at, Happening::QuorumDue { node, life, number });
        }
        for waiting in self.take_waiting(|waiting| waiting.number == number) {
            self.withdraw(waiting, "no majority in time");
        }
        self.plan_timer(node);
    }

    fn take_waiting(&mut self, of: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.workload.quorums.waiting.extract_if(.., |waiting| of(waiting)).collect()
    }

    /// The claim is given up, and nothing of it is left here.
    fn withdraw(&mut self, waiting: Waiting, why: &str) {
        let Waiting { node, pid, name, .. } = waiting;
        self.record.named(self.now, node, "quorum", &pid, &name, why);
        self.with_names(node, &("unregister", &pid, &name), |names, now, effects| {
            names.unregister(now, &pid, &name, effects)
        });
        self.record.unregistered(self.now, node, &pid, &name);
        let Some(life) = self.life(node) else { return };
        let names = life.upper.names();
        if names.names_of(&pid).any(|held| *held == name)
            || names.lookup(&name).is_some_and(|entry| *entry.pid() == pid)
        {
            let what = format!("n{node}: {name:?} was withdrawn from {pid:?}, and something of it stays");
            self.oracle.break_promise(truth::NAME, what);
        }
        if why != "lost" {
            self.end_if_nameless(node, pid);
        }
    }

    /// Ok: those who are said to have acknowledged the claim have it, they are a majority, and nothing better was seen.
    fn got_majority(&mut self, waiting: Waiting) {
        let Waiting { node, pid, name, awaited, .. } = waiting;
        self.record.named(self.now, node, "quorum", &pid, &name, "ok");
        let Some(life) = self.life(node) else { return };
        let registry = life.upper.names();
        let Some(dot) = awaited.dot() else {
            return self
                .oracle
                .break_promise(truth::NAME, format!("n{node}: a majority has {name:?}, which is no claim"));
        };
        let missing = awaited.missing(registry);
        let others = registry.view().members().filter(|member| member.id.name != life.id.name);
        let others: Vec<_> =
            others.filter(|member| member.status != Status::Left).map(|member| member.id.clone()).collect();
        let having: Vec<_> = others.iter().filter(|id| !missing.contains(id)).collect();
        let lacks = |id: &&&ordu_transport::core::NodeId| {
            let life = self.up().map(|(_, life)| life).find(|life| life.id == ***id);
            life.is_some_and(|life| {
                let table = life.upper.names().names().table();
                // Whoever heard since of a namesake above the claim's node, or that it left, has dropped what it had.
                !table.retired().contains(&dot.actor) && !table.context().contains(&dot.actor, dot.counter)
            })
        };
        let shown = registry.lookup(&name).map(|entry| entry.pid().clone());
        let what = if let Some(id) = having.iter().find(lacks) {
            format!("{id:?} is said to have acknowledged {dot:?}, and has not seen it")
        } else if 2 * (having.len() + 1) <= others.len() + 1 {
            format!("{} of {} others are no majority", having.len(), others.len())
        } else if shown.as_ref() != Some(&pid) {
            format!("{shown:?} is shown instead of {pid:?}")
        } else {
            return;
        };
        self.oracle.break_promise(truth::NAME, format!("n{node}: {name:?} with a majority: {what}"));
    }

    // ---- groups

    /// A process, a new one where there is none, joins a group.
    pub(crate) fn join(&mut self, node: usize, which: usize, group: &Name, value: &str) {
        let Some(pid) = self.some_process(node, which).or_else(|| self.activate(node)) else { return };
        let value = Bytes::copy_from_slice(value.as_bytes());
        let result = self.with_names(node, &("join", &pid, group, &value), |names, now, effects| {
            names.join(now, &pid, group, value.clone(), effects)
        });
        let Some(result) = result else { return };
        let reply = result.as_ref().err().map_or_else(|| "ok".to_owned(), ToString::to_string);
        self.record.named(self.now, node, "join", &pid, group, &reply);
        self.note_rank(node, &pid);
        self.check_membership(node, &pid, group, true);
    }

    /// A process leaves one of its groups.
    pub(crate) fn leave_group(&mut self, node: usize, which: usize, group: usize) {
        let Some(pid) = self.some_process(node, which) else { return };
        let Some(life) = self.life(node) else { return };
        let groups: Vec<&str> = life.upper.names().groups_of(&pid).collect();
        let Some(group) = groups.get(group % groups.len().max(1)).and_then(|group| Name::new(group).ok()) else {
            return;
        };
        self.with_names(node, &("leave", &pid, &group), |names, now, effects| names.leave(now, &pid, &group, effects));
        self.record.named(self.now, node, "leave", &pid, &group, "ok");
        self.check_membership(node, &pid, &group, false);
    }

    /// After a join this node's reads of the group show the process, once; after a leave they do not.
    fn check_membership(&mut self, node: usize, pid: &Pid, group: &Name, joined: bool) {
        let Some(life) = self.life(node) else { return };
        let shown = life.upper.names().members(group.as_str()).filter(|member| member.pid() == pid).count();
        if shown != usize::from(joined) {
            let what = format!("n{node}: {group:?} shows {pid:?} {shown} times");
            self.oracle.break_promise(truth::NAME, what);
        }
    }
}
