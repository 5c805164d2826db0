//! The driver of a simulated node: inputs into its cores, and their effects out, in order.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ordu_registry::core as registry;
use ordu_registry::core::{Entry, Registry};
use ordu_supervisor::core::{self as supervisor, Call, EventKind, Exit, Input, Message};
use ordu_transport::core::codec::{self, Kind};
use ordu_transport::core::membership;
use ordu_transport::core::message::Refusal;
use ordu_transport::core::{Addr, Lane, Member, NodeId, Now, Pid, Status};
use rand::{Rng, RngExt};

use crate::cast::Word;
use crate::detector::Detector;
use crate::invariants::bounded;
use crate::link::Wire;
use crate::node::{Arrival, index_of};
use crate::upper::{Upper, Wanted};
use crate::world::{Happening, World};

/// Longest time that a process takes to end once it was told to.
const ENDS_AFTER_US: u64 = 400_000;

/// How a child ends that ran for longer than its node was vouched for.
fn killed() -> Exit {
    Exit::Abnormal("killed, for its node was not heard of".into())
}

impl World {
    /// Handles what came to a node.
    pub(crate) fn take(&mut self, node: usize, arrival: Arrival) {
        match arrival {
            Arrival::Connected { hello, dialled } => {
                let id = hello.id.clone();
                self.lose(node, &id);
                match index_of(&hello.addr) {
                    Some(peer) if !self.plan.swim => self.views_met(node, peer, &id),
                    _ => self.feed_membership(node, membership::Input::Connected { hello, dialled }),
                }
                self.feed(node, Input::Connected(id));
            }
            Arrival::Disconnected { peer } => {
                self.feed(node, Input::Disconnected(peer.clone()));
                self.feed_membership(node, membership::Input::Disconnected { peer });
            }
            Arrival::Frame { from, passed: None, wire, .. } => self.on_frame(node, from, wire),
            Arrival::Frame { from, lane, passed: Some(passed), wire } => {
                if let Some(from) = self.pass_on(node, &from, lane, passed, &wire) {
                    self.on_frame(node, from, wire);
                }
            }
            Arrival::Datagram { from, bytes } => {
                self.feed_membership(node, membership::Input::Datagram { from, bytes })
            }
            Arrival::DialFailed { addr, refusal } => self.on_dial_failed(node, addr, refusal),
            Arrival::Unreachable { peer, rtt } => {
                self.feed_membership(node, membership::Input::Unreachable { peer, rtt })
            }
            Arrival::Child { pid, word } => self.child_hears(node, pid, word),
            Arrival::Killed { pid } => self.feed(node, Input::Exited { pid, exit: killed() }),
            Arrival::Saved { number } => self.feed(node, Input::Saved { number }),
        }
    }

    fn on_frame(&mut self, node: usize, from: NodeId, wire: Wire) {
        match self.read(node, wire) {
            Ok(message) => {
                self.feed(node, Input::Message { from, message });
                self.watch_twin(node);
            }
            Err(error) => self.violate(bounded::NAME, false, format!("n{node} cannot read a frame: {error}")),
        }
    }

    /// A member that others passed frames on to is out of reach, or has a session from now on.
    fn lose(&mut self, node: usize, peer: &NodeId) {
        if self.life_mut(node).is_some_and(|life| life.reached.remove(peer)) {
            self.feed(node, Input::Disconnected(peer.clone()));
        }
    }

    fn read(&self, node: usize, wire: Wire) -> Result<Message, codec::DecodeError> {
        Ok(match wire {
            Wire::Message(message) => Arc::unwrap_or_clone(message),
            Wire::Bytes(bytes) => match self.life(node).map(|life| &life.upper) {
                Some(Upper::Children(_)) => codec::decode(Kind::Replication, &bytes)?,
                Some(Upper::Names(_)) | None => Message::Names(codec::decode(Kind::Replication, &bytes)?),
            },
        })
    }

    fn on_dial_failed(&mut self, node: usize, addr: Addr, refusal: Option<Refusal>) {
        if self.plan.swim {
            return self.feed_membership(node, membership::Input::DialFailed { addr, refusal });
        }
        if let Some(Refusal::Superseded(known)) = refusal {
            self.superseded(node, &known);
        }
    }

    /// Calls the cores whose time has come.
    pub(crate) fn fire(&mut self, node: usize) {
        let now = self.now_of(node);
        let Some(life) = self.life_mut(node) else { return };
        if life.detector.poll_timeout().is_some_and(|at| at <= now.at)
            && let Detector::Swim(membership) = &mut life.detector
        {
            let mut effects = Vec::new();
            membership.handle_timeout(now, &mut effects);
            self.trace.input(self.now, node, "membership", "Timeout");
            self.do_membership(node, effects);
        }
        if self.life(node).and_then(|life| life.upper.poll_timeout()).is_some_and(|at| at <= now.at) {
            self.with_upper(node, "Timeout", |upper, now| ((), upper.handle_timeout(now)));
        }
    }

    pub(crate) fn feed_membership(&mut self, node: usize, input: membership::Input) {
        let now = self.now_of(node);
        let Some(Detector::Swim(membership)) = self.nodes[node].life.as_mut().map(|life| &mut life.detector) else {
            return;
        };
        self.trace.input(self.now, node, "membership", &input);
        let mut effects = Vec::new();
        membership.handle(now, input, &mut effects);
        self.do_membership(node, effects);
    }

    fn do_membership(&mut self, node: usize, effects: Vec<membership::Effect>) {
        self.trace.effects(&effects);
        for effect in effects {
            match effect {
                membership::Effect::Datagram { to, bytes } => self.send_datagram(node, &to, bytes),
                membership::Effect::CheckPort { peer } => self.check_port(node, &peer),
                membership::Effect::Dial { addr } => {
                    if let Some(peer) = index_of(&addr).filter(|&peer| peer != node && peer < self.nodes.len()) {
                        self.dial(node, peer);
                    }
                }
                membership::Effect::Member(member) => self.member(node, member),
                membership::Effect::Reborn { id } => self.reborn(node, id),
                membership::Effect::NameTaken { holder } => return self.gives_way(node, &holder),
                membership::Effect::Ways => {}
                membership::Effect::Reached { peer } => {
                    if let Some(life) = self.life_mut(node) {
                        life.reached.insert(peer.clone());
                    }
                    self.feed(node, Input::Connected(peer));
                }
                membership::Effect::Lost { peer } => self.lose(node, &peer),
                membership::Effect::Close { peer, refusal } => self.close(node, &peer, refusal),
            }
        }
    }

    /// The node's view changed.
    pub(crate) fn member(&mut self, node: usize, member: Member) {
        self.record.view(self.now, node, &member);
        self.watch_member(node, &member);
        self.feed(node, Input::Member(member));
    }

    /// The layers above learnt of a later incarnation of our own name.
    fn superseded(&mut self, node: usize, by: &NodeId) {
        let Some(life) = self.life(node) else { return };
        if self.plan.swim {
            let addr = self.nodes[node].addr.clone();
            let refusal = Some(Refusal::Superseded(by.clone()));
            return self.feed_membership(node, membership::Input::DialFailed { addr, refusal });
        }
        if *by >= life.id {
            let id = NodeId::new(by.name.clone(), by.boot + 1, self.rng.next_u64());
            self.reborn(node, id);
        }
    }

    /// The node goes on as another incarnation: all sessions close.
    fn reborn(&mut self, node: usize, id: NodeId) {
        self.nodes[node].disk_boot = self.nodes[node].disk_boot.max(id.boot);
        let Some(life) = self.life_mut(node) else { return };
        life.id = id.clone();
        self.record.node_reborn(self.now, node, &id);
        let Some(life) = self.life(node) else { return };
        let peers: Vec<NodeId> = life.sessions.keys().cloned().collect();
        for peer in &peers {
            self.reset(node, peer);
        }
        self.feed(node, Input::Reborn(id.clone()));
        if !self.plan.swim {
            let addr = self.nodes[node].addr.clone();
            self.member(node, Member { id, addr, status: Status::Up });
        }
    }

    /// One input of the layer above membership.
    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        if let Some(life) = self.life_mut(node) {
            let alternates = match &input {
                Input::Connected(peer) => life.in_reach.insert(peer.clone()),
                Input::Disconnected(peer) => life.in_reach.remove(peer),
                _ => true,
            };
            if !alternates {
                self.violate(bounded::NAME, false, format!("n{node} is told twice: {input:?}"));
            }
            self.trace.input(self.now, node, "upper", &input);
            self.do_upper(node, |upper, now| ((), upper.handle(now, input)));
        }
    }

    /// One call into the registry core on behalf of the node's own code.
    pub(crate) fn with_names<R>(
        &mut self,
        node: usize,
        what: &(impl Debug + Hash + ?Sized),
        call: impl FnOnce(&mut Registry, Now, &mut Vec<registry::Effect>) -> R,
    ) -> Option<R> {
        self.with_upper(node, what, |upper, now| upper.with_names(now, |names, effects| call(names, now, effects)))
    }

    /// One call into the layer above membership, and what it wanted done.
    pub(crate) fn with_upper<R>(
        &mut self,
        node: usize,
        what: &(impl Debug + Hash + ?Sized),
        call: impl FnOnce(&mut Upper, Now) -> (R, Wanted),
    ) -> Option<R> {
        self.life(node)?;
        self.trace.input(self.now, node, "upper", what);
        self.do_upper(node, call)
    }

    fn do_upper<R>(&mut self, node: usize, call: impl FnOnce(&mut Upper, Now) -> (R, Wanted)) -> Option<R> {
        let now = self.now_of(node);
        let life = self.nodes[node].life.as_mut()?;
        let since = life.upper.written();
        let entries = |upper: &Upper| upper.names().names().table().live_len();
        let held = entries(&life.upper);
        let (result, wanted) = call(&mut life.upper, now);
        for wrote in life.upper.record(&since, &mut self.twin) {
            self.oracle.desired_changed(self.cause.as_ref(), &wrote, self.plan.max_children > 0);
        }
        // A delta, or a member that goes, may change what every name shows.
        let held = held.max(entries(&life.upper));
        if wanted.len() > bounded::EFFECTS_MAX + bounded::EFFECTS_A_NAME_MAX * held {
            self.violate(bounded::NAME, false, format!("{} effects of one input", wanted.len()));
        }
        match wanted {
            Wanted::Names(effects) => self.do_names(node, effects),
            Wanted::Children(effects) => self.do_children(node, effects),
        }
        self.look_at_quorums(node);
        Some(result)
    }

    /// One wish of a caller.
    pub(crate) fn call(&mut self, node: usize, request: u64, call: Call, wait: Duration) {
        let shown = ("call", request, call.clone(), wait);
        let asked = call.clone();
        self.asked(node, request, &asked);
        self.cause = Some(call.clone());
        self.with_upper(node, &shown, |upper, now| {
            let mut effects = Vec::new();
            if let Upper::Children(supervisor) = upper {
                supervisor.call(now, request, call, wait, &mut effects);
            }
            ((), Wanted::Children(effects))
        });
        self.cause = None;
        self.noted(node, request, &asked);
    }

    fn do_names(&mut self, node: usize, effects: Vec<registry::Effect>) {
        self.trace.effects(&effects);
        let mut superseded = Vec::new();
        for effect in effects {
            match effect {
                registry::Effect::Send { to, lane, message } => {
                    let wire = if self.plan.codec {
                        Wire::Bytes(codec::encode(Kind::Replication, &message))
                    } else {
                        Wire::Message(Arc::new(Message::Names(*message)))
                    };
                    self.send(node, &to, lane, wire);
                }
                registry::Effect::Visible { entry, .. } => self.on_visible(node, entry.as_ref()),
                registry::Effect::Exit { pid, conflict } => {
                    self.record.told(self.now, &pid, &conflict.winner, conflict.name.as_str());
                    self.watch_loser(node, &pid, &conflict.winner, conflict.name.as_str());
                    self.oracle.told(self.now, &pid, Some((conflict.winner, conflict.name.text())));
                    self.end_soon(node, pid);
                }
                registry::Effect::Member { .. } => {}
                registry::Effect::Fence { pid, fence } => self.oracle.fence(&pid, fence),
                registry::Effect::Conflict { loser, .. } => self.oracle.conflict(&loser),
                registry::Effect::Superseded(by) => superseded.push(by),
            }
        }
        superseded.iter().for_each(|by| self.superseded(node, by));
    }

    fn do_children(&mut self, node: usize, effects: Vec<supervisor::Effect>) {
        self.trace.effects(&effects);
        let (mut superseded, mut drained) = (Vec::new(), false);
        for effect in effects {
            match effect {
                supervisor::Effect::Send { to, lane, message } => self.send_message(node, &to, lane, *message),
                supervisor::Effect::Start { pid, spec, fence, state } => {
                    self.runs_for(node, &pid, &spec.id);
                    self.start_child(node, pid, spec, fence, state);
                }
                supervisor::Effect::Stop { pid, timeout } => self.stop_child(node, pid, timeout),
                supervisor::Effect::Fence { pid, fence } => self.oracle.fence(&pid, fence),
                supervisor::Effect::Exit { pid, conflict } => {
                    self.record.told(self.now, &pid, &conflict.winner, conflict.name.as_str());
                    self.watch_loser(node, &pid, &conflict.winner, conflict.name.as_str());
                    self.oracle.told(self.now, &pid, Some((conflict.winner, conflict.name.text())));
                    self.end_soon(node, pid);
                }
                supervisor::Effect::Visible { entry, .. } => self.on_visible(node, entry.as_ref()),
                supervisor::Effect::Member { .. } => {}
                supervisor::Effect::Reply { request, reply } => {
                    self.watch_reply(node, request, &reply);
                    self.on_reply(node, request, reply);
                }
                supervisor::Effect::Event(event) => {
                    if let EventKind::NameConflict { loser, winner, name, .. } = event.what {
                        self.watch_loser(node, &loser, &winner, name.as_str());
                        self.oracle.conflict(&loser);
                        if self.oracle.is_child(&loser) {
                            self.record.told(self.now, &loser, &winner, name.as_str());
                            self.oracle.told(self.now, &loser, Some((winner, name.text())));
                        }
                    }
                }
                supervisor::Effect::Checkpointed { .. } => {}
                supervisor::Effect::Merge { pid, loser, state } => {
                    self.tell_child(node, &pid, 0, Word::Merged(loser, state));
                }
                supervisor::Effect::Save { number, stored } => self.save(node, number, stored),
                supervisor::Effect::Drained => drained = true,
                supervisor::Effect::Lease { within } => self.lease(node, within),
                // What becomes of the node is for its owner to say.
                supervisor::Effect::Escalate(_) => {}
                supervisor::Effect::Superseded(by) => superseded.push(by),
            }
        }
        superseded.iter().for_each(|by| self.superseded(node, by));
        if drained && let Some(life) = self.life(node).filter(|life| life.leaving) {
            let life = life.number;
            self.schedule(self.now, Happening::Leaves { node, life });
        }
    }

    fn send_message(&mut self, node: usize, to: &[NodeId], lane: Lane, message: Message) {
        let wire = if self.plan.codec {
            Wire::Bytes(codec::encode(Kind::Replication, &message))
        } else {
            Wire::Message(Arc::new(message))
        };
        self.send(node, to, lane, wire);
    }

    /// Lookups of a name show something else now.
    fn on_visible(&mut self, node: usize, entry: Option<&Entry>) {
        let (now, at) = (self.now_of(node), self.now);
        if let (Some(life), Some(entry)) = (self.nodes[node].life.as_ref(), entry) {
            self.oracle.shown(at, now, (node, life.number), entry);
        }
    }

    /// Until when the children of a node may run without a further word of it. What sees to that goes on when the node is
    /// paused.
    fn lease(&mut self, node: usize, within: Option<Duration>) {
        let us = |within: Duration| u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        let at_us = within.map(|within| self.now.saturating_add(us(within)));
        let Some(life) = self.life_mut(node) else { return };
        life.lease_us = at_us;
        let number = life.number;
        if let Some(at_us) = at_us {
            self.schedule(at_us, Happening::LeaseOver { node, life: number, at_us });
        }
    }

    /// Kills the children of a node that has not said in time that they may go on.
    pub(crate) fn lease_over(&mut self, node: usize, life: u64, at_us: u64) {
        if !self.life(node).is_some_and(|now| now.number == life && now.lease_us == Some(at_us)) {
            return;
        }
        for pid in self.oracle.children_of(node, life) {
            self.oracle.ended_badly(&pid);
            self.oracle.ended(self.now, &pid);
            self.record.child_ends(self.now, &pid, &killed());
            if let Some(cast) = &mut self.cast {
                cast.forget(&pid);
            }
            self.arrive(node, Arrival::Killed { pid });
        }
    }

    /// A process that was told to exit does so in a moment.
    fn end_soon(&mut self, node: usize, pid: Pid) {
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        let at = self.now + self.rng.random_range(0..ENDS_AFTER_US);
        self.schedule(at, Happening::ProcessEnds { node, life, pid });
    }

    /// A local process, which is not a child, ends by itself or because it was told to.
    pub(crate) fn on_process_ends(&mut self, node: usize, life: u64, pid: &Pid) {
        if !self.is_life(node, life) {
            return;
        }
        if self.nodes[node].paused {
            // Its code is as paused as the rest; it ends a little later.
            let at = self.now + ENDS_AFTER_US;
            return self.schedule(at, Happening::ProcessEnds { node, life, pid: pid.clone() });
        }
        self.oracle.ended(self.now, pid);
        self.record.process_ends(self.now, pid);
        self.with_names(node, &("ended", pid), |names, now, effects| names.ended(now, pid, effects));
        self.plan_timer(node);
    }
}
