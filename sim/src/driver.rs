//! The driver of a simulated node: inputs into its cores, and their effects out, in order.

use std::collections::VecDeque;
use std::fmt::Debug;

use ordu_registry::core as registry;
use ordu_registry::core::Registry;
use ordu_transport::core::codec::{self, Kind};
use ordu_transport::core::membership;
use ordu_transport::core::message::Refusal;
use ordu_transport::core::{Member, NodeId, Now};
use rand::{Rng, RngExt};

use crate::detector::Detector;
use crate::invariants::{bounded, one_owner};
use crate::link::Wire;
use crate::node::{Arrival, index_of};
use crate::oracle::Told;
use crate::world::{Happening, World};

/// Longest time that a process takes to end once it was told to.
const ENDS_AFTER_US: u64 = 400_000;

impl World {
    /// Handles what came to a node.
    pub(crate) fn take(&mut self, node: usize, arrival: Arrival) {
        match arrival {
            Arrival::Connected { hello } => {
                let id = hello.id.clone();
                match index_of(&hello.addr) {
                    Some(peer) if !self.plan.swim => self.views_met(node, peer, &id),
                    _ => self.feed_membership(node, membership::Input::Connected { hello }),
                }
                self.feed_names(node, registry::Input::Connected(id));
            }
            Arrival::Disconnected { peer } => {
                self.feed_membership(node, membership::Input::Disconnected { peer: peer.clone() });
                self.feed_names(node, registry::Input::Disconnected(peer));
            }
            Arrival::Frame { from, wire } => {
                let message = match wire {
                    Wire::Names(message) => *message,
                    Wire::Bytes(bytes) => match codec::decode(Kind::Replication, &bytes) {
                        Ok(message) => message,
                        Err(error) => {
                            return self.violate(bounded::NAME, false, format!("n{node} cannot read a frame: {error}"));
                        }
                    },
                };
                self.feed_names(node, registry::Input::Message { from, message });
            }
            Arrival::Datagram { from, bytes } => {
                self.feed_membership(node, membership::Input::Datagram { from, bytes })
            }
            Arrival::DialFailed { addr, refusal } => self.on_dial_failed(node, addr, refusal),
            Arrival::Unreachable { peer } => self.feed_membership(node, membership::Input::Unreachable { peer }),
        }
    }

    fn on_dial_failed(&mut self, node: usize, addr: ordu_transport::core::Addr, refusal: Option<Refusal>) {
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
            self.trace.input(self.now, node, "membership", &"Timeout");
            self.do_membership(node, effects);
        }
        if self.life(node).and_then(|life| life.names.poll_timeout()).is_some_and(|at| at <= now.at) {
            self.with_names(node, &"Timeout", |names, now, effects| names.handle_timeout(now, effects));
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
                membership::Effect::Dial { addr } => {
                    if let Some(peer) = index_of(&addr).filter(|&peer| peer != node && peer < self.nodes.len()) {
                        self.dial(node, peer);
                    }
                }
                membership::Effect::Member(member) => self.member(node, member),
                membership::Effect::Reborn { id } => self.reborn(node, id),
                membership::Effect::NameTaken { holder } => {
                    // Names are unique here: whoever holds ours is ourselves in another life.
                    let what = format!("n{node} was told that its name is taken at {holder}");
                    return self.violate(one_owner::NAME, false, what);
                }
                membership::Effect::Close { peer, refusal } => self.close(node, &peer, refusal),
            }
        }
    }

    /// The node's view changed.
    pub(crate) fn member(&mut self, node: usize, member: Member) {
        self.feed_names(node, registry::Input::Member(member));
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
        let peers: Vec<NodeId> = life.sessions.keys().cloned().collect();
        for peer in &peers {
            self.reset(node, peer);
        }
        self.feed_names(node, registry::Input::Reborn(id.clone()));
        if !self.plan.swim {
            let addr = self.nodes[node].addr.clone();
            self.member(node, Member { id, addr, status: ordu_transport::core::Status::Up });
        }
    }

    pub(crate) fn feed_names(&mut self, node: usize, input: registry::Input) {
        let now = self.now_of(node);
        let Some(life) = self.nodes[node].life.as_mut() else { return };
        let mut effects = Vec::new();
        self.trace.input(self.now, node, "names", &input);
        let before = life.names.names().table().context().clock().clone();
        life.names.handle(now, input, &mut effects);
        self.twin.record_names(&before, &life.names);
        self.do_names(node, effects);
    }

    /// One call into the registry core on behalf of the node's own code.
    pub(crate) fn with_names<R>(
        &mut self,
        node: usize,
        what: &dyn Debug,
        call: impl FnOnce(&mut Registry, Now, &mut Vec<registry::Effect>) -> R,
    ) -> Option<R> {
        let now = self.now_of(node);
        let life = self.nodes[node].life.as_mut()?;
        let mut effects = Vec::new();
        self.trace.input(self.now, node, "names", what);
        let before = life.names.names().table().context().clock().clone();
        let result = call(&mut life.names, now, &mut effects);
        self.twin.record_names(&before, &life.names);
        self.do_names(node, effects);
        Some(result)
    }

    fn do_names(&mut self, node: usize, effects: Vec<registry::Effect>) {
        self.trace.effects(&effects);
        if effects.len() > bounded::EFFECTS_MAX {
            return self.violate(bounded::NAME, false, format!("{} effects of one input", effects.len()));
        }
        let mut superseded = VecDeque::new();
        for effect in effects {
            match effect {
                registry::Effect::Send { to, lane, message } => {
                    let wire = if self.plan.codec {
                        Wire::Bytes(codec::encode(Kind::Replication, &message))
                    } else {
                        Wire::Names(Box::new(message))
                    };
                    self.send(node, &to, lane, wire);
                }
                registry::Effect::Visible { .. } => {}
                registry::Effect::Exit { pid, conflict } => {
                    self.oracle.told(&pid, Told { at_us: self.now, by: conflict.winner, name: conflict.name });
                    let Some(life) = self.life(node).map(|life| life.number) else { return };
                    let at = self.now + self.rng.random_range(0..ENDS_AFTER_US);
                    self.schedule(at, Happening::ProcessEnds { node, life, pid });
                }
                registry::Effect::Fence { pid, fence } => self.oracle.fence(&pid, fence),
                registry::Effect::Conflict { loser, .. } => self.oracle.conflict(&loser),
                registry::Effect::Superseded(by) => superseded.push_back(by),
            }
        }
        for by in superseded {
            self.superseded(node, &by);
        }
    }

    /// A local process ends, by itself or because it was told to.
    pub(crate) fn on_process_ends(&mut self, node: usize, life: u64, pid: &ordu_transport::core::Pid) {
        if !self.is_life(node, life) {
            return;
        }
        if self.nodes[node].paused {
            // Its code is as paused as the rest; it ends a little later.
            let at = self.now + ENDS_AFTER_US;
            return self.schedule(at, Happening::ProcessEnds { node, life, pid: pid.clone() });
        }
        self.oracle.ended(self.now, pid);
        self.with_names(node, &("Ended", pid), |names, now, effects| names.ended(now, pid, effects));
        self.plan_timer(node);
    }
}
