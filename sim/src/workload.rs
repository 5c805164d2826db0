//! What users do: the operations of the script, one at a time, on the real cores.

use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::{GroupEntry, Name, RegisterError};
use ordu_supervisor::core::{Call, ChildId, ChildSpec, Handover, Placement};
use ordu_transport::core::Pid;

use crate::invariants::truth;
use crate::node::{KIND, ZONE, zone_of};
use crate::oracle::Asked;
use crate::quorums::Quorums;
use crate::script::{Allowed, Op, Spec};
use crate::world::World;

/// Most starts that ended with "unknown" and are remembered to be asked for again.
const UNKNOWN_MAX: usize = 64;

/// The users of a run.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    requests: u64,
    pub(crate) quorums: Quorums,
    /// Starts whose callers were told that the deadline has passed: node, life, request and what was asked.
    unknown: Vec<(usize, u64, u64, Call)>,
}

impl World {
    /// Does what somebody asks of a node, if the node can be asked.
    pub(crate) fn operate(&mut self, node: usize, ask: Op) {
        if self.life(node).is_none() || self.nodes[node].paused {
            return;
        }
        self.trace.world(self.now, &format_args!("n{node} is asked: {ask:?}"));
        match ask {
            Op::Register { names, value } => {
                let Some(pid) = self.activate(node) else { return };
                for name in names {
                    self.register(node, &pid, &name_of(name), &value);
                }
                self.end_if_nameless(node, pid);
            }
            Op::RegisterMany { first, count } => {
                let Some(pid) = self.activate(node) else { return };
                for number in first..first.saturating_add(count.min(NAMES_AT_ONCE_MAX)) {
                    let name = Name::new(&format!("many/{}/{number}", self.nodes[node].name)).expect("a valid name");
                    self.register(node, &pid, &name, "");
                }
                self.end_if_nameless(node, pid);
            }
            Op::RegisterMore { which, name, value } => {
                if let Some(pid) = self.some_process(node, which) {
                    self.register(node, &pid, &name_of(name), &value);
                }
            }
            Op::Unregister { which, name } => {
                if let Some((pid, name)) = self.some_claim(node, which, name) {
                    self.with_names(node, &("unregister", &pid, &name), |names, now, effects| {
                        names.unregister(now, &pid, &name, effects)
                    });
                    self.record.unregistered(self.now, node, &pid, &name);
                }
            }
            Op::UpdateValue { which, name, value } => {
                if let Some((pid, name)) = self.some_claim(node, which, name) {
                    let value = Bytes::from(value);
                    self.with_names(node, &("update", &pid, &name, &value), |names, now, effects| {
                        names.update_value(now, &pid, &name, value.clone(), effects)
                    });
                    self.record.named(self.now, node, "update", &pid, &name, "ok");
                }
            }
            Op::RegisterQuorum { name, value, wait_ms } => self.register_quorum(node, name_of(name), &value, wait_ms),
            Op::Join { which, group, value } => {
                let group = Name::new(&format!("group/{group}")).expect("a valid name");
                self.join(node, which, &group, &value);
            }
            Op::Leave { which, group } => self.leave_group(node, which, group),
            Op::EndProcess { which } => {
                if let Some(pid) = self.some_process(node, which) {
                    self.end_now(node, pid);
                }
            }
            Op::Read => self.read_everything(node),
            Op::Start { spec, ensure, wait_ms } => {
                let spec = self.spec_of(&spec);
                self.wish(node, Call::Start { spec, ensure }, wait_ms);
            }
            Op::StartMany { first, count, wait_ms } => {
                for child in first..first.saturating_add(count.min(NAMES_AT_ONCE_MAX)) {
                    let spec = ChildSpec::new(id_of(child), KIND, Vec::new());
                    self.wish(node, Call::Start { spec, ensure: false }, wait_ms);
                }
            }
            Op::Retry { which, wait_ms } => self.ask_again(node, which, wait_ms),
            Op::Terminate { child, wait_ms } => self.wish(node, Call::Terminate(id_of(child)), wait_ms),
            Op::Restart { child, wait_ms } => self.wish(node, Call::Restart(id_of(child)), wait_ms),
            Op::Drain { of, on, wait_ms } => {
                let of = self.nodes[of].name.clone();
                self.wish(node, Call::Drain { node: of, on }, wait_ms);
            }
            Op::Cordon { of, on, wait_ms } => {
                let of = self.nodes[of].name.clone();
                self.wish(node, Call::Cordon { node: of, on }, wait_ms);
            }
        }
        self.plan_timer(node);
    }

    fn spec_of(&self, spec: &Spec) -> ChildSpec {
        let mut asked = ChildSpec::new(id_of(spec.child), KIND, spec.character.args());
        asked.restart = spec.restart;
        if let Some(node) = spec.pinned {
            asked.placement = Placement::Pinned(self.nodes[node].name.clone());
        }
        if let Some(placed) = spec.placed {
            placed.place(&mut asked);
        }
        asked.affinity.require = spec.zone.map(|zone| (ZONE.to_owned(), zone_of(zone))).into_iter().collect();
        asked.intensity = spec.intensity.map(Allowed::intensity);
        asked.init_timeout = spec.init_timeout_ms.map_or(asked.init_timeout, Duration::from_millis);
        asked.handover = if spec.start_first { Handover::StartFirst } else { Handover::StopFirst };
        asked.stop_timeout = Duration::from_millis(spec.stop_timeout_ms);
        asked
    }

    // ---- calls about children

    fn wish(&mut self, node: usize, call: Call, wait_ms: u64) {
        self.workload.requests += 1;
        self.ask(node, self.workload.requests, call, wait_ms);
    }

    fn ask(&mut self, node: usize, request: u64, call: Call, wait_ms: u64) {
        let Some(life) = self.life(node).filter(|life| life.upper.children().is_some()) else { return };
        let life = life.number;
        let deadline_us = self.now.saturating_add(wait_ms.saturating_mul(1_000));
        self.oracle.calls.insert(request, Asked { node, life, deadline_us, call: call.clone() });
        self.record.asked(self.now, node, request, &call);
        self.call(node, request, call, Duration::from_millis(wait_ms));
    }

    /// Asks for a start of this node's again that ended with "unknown", as the same request.
    fn ask_again(&mut self, node: usize, which: usize, wait_ms: u64) {
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        let theirs = |(at, (of, in_life, ..)): (usize, &(usize, u64, u64, Call))| {
            ((*of, *in_life) == (node, life)).then_some(at)
        };
        let mine: Vec<usize> = self.workload.unknown.iter().enumerate().filter_map(theirs).collect();
        if mine.is_empty() {
            return;
        }
        let (_, _, request, call) = self.workload.unknown.remove(mine[which % mine.len()]);
        self.ask(node, request, call, wait_ms);
    }

    /// A caller was told that the deadline has passed.
    pub(crate) fn told_unknown(&mut self, node: usize, life: u64, request: u64, call: &Call) {
        if matches!(call, Call::Start { .. }) && self.workload.unknown.len() < UNKNOWN_MAX {
            self.workload.unknown.push((node, life, request, call.clone()));
        }
    }

    // ---- processes and names

    /// A new process.
    pub(crate) fn activate(&mut self, node: usize) -> Option<Pid> {
        let pid = self.with_names(node, "activate", |names, now, _| names.activate(now))?;
        let life = self.life(node)?;
        let (rank, fence) = life.upper.names().standing(&pid)?;
        let standing = (rank.clone(), fence);
        let number = life.number;
        self.oracle.activated(self.now, &pid, (node, number), standing);
        self.record.process_begins(self.now, node, &pid);
        Some(pid)
    }

    pub(crate) fn end_if_nameless(&mut self, node: usize, pid: Pid) {
        if self.life(node).is_some_and(|life| life.upper.names().holdings(&pid).next().is_none()) {
            self.end_now(node, pid);
        }
    }

    fn end_now(&mut self, node: usize, pid: Pid) {
        if let Some(life) = self.life(node).map(|life| life.number) {
            self.on_process_ends(node, life, &pid);
        }
    }

    pub(crate) fn register(&mut self, node: usize, pid: &Pid, name: &Name, value: &str) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let result = self.with_names(node, &("register", pid, name, &value), |names, now, effects| {
            names.register(now, pid, name.clone(), value.clone(), effects)
        });
        let shown = self.life(node).and_then(|life| life.upper.names().lookup(name)).map(|entry| entry.pid().clone());
        self.trace.effects(&[&result]);
        self.record.registered(self.now, node, pid, name, &result);
        self.note_rank(node, pid);
        match result {
            Some(Ok(())) => self.oracle.registered(pid, name, shown),
            Some(Err(RegisterError::AlreadyRegistered { pid: holder })) => self.oracle.refused(name, &holder, shown),
            Some(Err(_)) | None => {}
        }
    }

    /// By some policies a process's rank is fixed with its first name.
    pub(crate) fn note_rank(&mut self, node: usize, pid: &Pid) {
        let standing = self.life(node).and_then(|life| life.upper.names().standing(pid));
        if let Some(rank) = standing.map(|(rank, _)| rank.clone())
            && let Some(process) = self.oracle.processes.get_mut(pid)
        {
            process.rank = rank;
        }
    }

    pub(crate) fn some_process(&mut self, node: usize, which: usize) -> Option<Pid> {
        let upper = &self.life(node)?.upper;
        let begins = |pid: &Pid| upper.children().is_some_and(|children| children.awaits_disk(pid));
        let mine = |pid: &&Pid| !self.oracle.is_child(pid) && !begins(pid);
        let pids: Vec<Pid> = upper.names().processes().filter(mine).cloned().collect();
        (!pids.is_empty()).then(|| pids[which % pids.len()].clone())
    }

    fn some_claim(&mut self, node: usize, which: usize, name: usize) -> Option<(Pid, Name)> {
        let pid = self.some_process(node, which)?;
        let names: Vec<Name> = self.life(node)?.upper.names().names_of(&pid).cloned().collect();
        (!names.is_empty()).then(|| (pid, names[name % names.len()].clone()))
    }

    // ---- reading

    /// Compares all that a node shows with itself: every way of reading one thing gives the same.
    fn read_everything(&mut self, node: usize) {
        let Some(life) = self.life(node) else { return };
        let names = life.upper.names();
        let shown: Vec<_> = names.entries("").collect();
        let contradiction = shown
            .iter()
            .find(|entry| names.lookup(entry.name()).as_ref() != Some(*entry))
            .map(|entry| format!("{:?} is listed and not looked up alike", entry.name()))
            .or_else(|| (shown.len() != names.len()).then(|| format!("{} are listed of {}", shown.len(), names.len())))
            .or_else(|| {
                let hot: Vec<_> = names.entries("name/").collect();
                let picked = shown.iter().filter(|entry| entry.name().as_str().starts_with("name/"));
                (!picked.eq(hot.iter())).then(|| "a prefix lists other names than all do".to_owned())
            })
            .or_else(|| {
                let hidden = |entry: &&ordu_registry::core::Entry| {
                    *entry.node() != life.id && !names.view().is_living(entry.node())
                };
                shown.iter().find(hidden).map(|entry| format!("{:?} is shown at a node that is down", entry.name()))
            })
            .or_else(|| {
                let members: Vec<_> = names.all_members().collect();
                let listed =
                    |member: &GroupEntry| names.members(member.group()).filter(|one| one == member).count() == 1;
                let hidden = |member: &GroupEntry| *member.node() != life.id && !names.view().is_living(member.node());
                let wrong = members.iter().find(|member| !listed(member) || hidden(member))?;
                Some(format!("{wrong:?} is not shown once in its group, or its node is down"))
            })
            .or_else(|| {
                let children = life.upper.children()?;
                let rows = children.rows();
                let unlike = rows.iter().find(|row| children.row(&row.id).as_ref() != Some(row))?;
                Some(format!("the row of {:?} differs from the one listed", unlike.id))
            })
            .or_else(|| {
                let children = life.upper.children()?;
                (!children.counts_right()).then(|| "what is counted of children is not what there is".to_owned())
            });
        if let Some(what) = contradiction {
            self.oracle.break_promise(truth::NAME, format!("n{node}: {what}"));
        }
    }
}

/// Most names, or children, that one operation asks for.
pub(crate) const NAMES_AT_ONCE_MAX: usize = 20_000;

fn name_of(number: usize) -> Name {
    Name::new(&format!("name/{number}")).expect("a valid name")
}

fn id_of(number: usize) -> ChildId {
    ChildId::new(&format!("child-{number}")).expect("a valid id")
}
