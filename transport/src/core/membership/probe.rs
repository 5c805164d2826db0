//! Who is probed where not all have sessions with all: a node's neighbours, in turn.
//!
//! foca probes any member. What it asks a stranger would pass through many hands, all of which can fail, so its probes of
//! strangers are answered on the spot: others look after those, their own neighbours. Everybody has several, who see the same
//! members and so know that they are to look. (Rapid, Suresh et al., 2018, monitors along the edges of such a graph too;
//! its verdicts are agreed upon, ours are not.)
//!
//! A neighbour that does not answer is asked again, also by others that have a session with it, and then suspected as foca
//! suspects. One that has no session with us is asked by way of others: otherwise nobody might look after it.

use std::collections::BTreeSet;
use std::ops::Bound;

use foca::{Message, State};

use super::packet::Update;
use super::timers::{LATE_MIN, POSTPONED_MAX};
use super::{Effect, Membership};
use crate::core::id::NodeId;
use crate::core::time::Instant;
use crate::core::view::Status;

/// How many others ask a neighbour that did not answer.
const HELPERS: usize = 3;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// When the next step is due.
    at: Option<Instant>,
    last: Option<NodeId>,
    probe: Option<Probe>,
    number: u8,
}

#[derive(Debug)]
struct Probe {
    peer: NodeId,
    heard: bool,
    /// Whether others were asked.
    helped: bool,
    /// How often it was begun anew because we were late ourselves.
    postponed: u32,
}

impl Probes {
    pub(super) fn first(&self) -> Option<Instant> {
        self.at
    }

    /// Something came from a member, or word of it from one who was asked.
    pub(super) fn note(&mut self, from: &NodeId, message: &Message<super::Identity>) {
        let about = match message {
            Message::ForwardedAck { origin, .. } => Some(&origin.id),
            _ => None,
        };
        if let Some(probe) = &mut self.probe {
            probe.heard |= probe.peer == *from || about == Some(&probe.peer);
        }
    }
}

impl Membership {
    /// After every call: probing begins and ends with the overlay.
    pub(super) fn settle_probes(&mut self, now: Instant) {
        if self.near.overlay().is_none() {
            self.probes = Probes::default();
        } else {
            self.probes.at.get_or_insert(now);
        }
    }

    /// The next step of a probe, or the next neighbour, if that is due.
    pub(super) fn probe_neighbours(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(due) = self.probes.at.filter(|at| *at <= now) else { return };
        let (first, second) = (self.timings.probe_rtt, self.timings.probe_period - self.timings.probe_rtt);
        let (first, second) = (first * self.timers.stretch(), second * self.timers.stretch());
        match self.probes.probe.take() {
            Some(probe) if !probe.heard && probe.postponed < POSTPONED_MAX && now.saturating_since(due) > LATE_MIN => {
                // We were not there ourselves: the answer may not have been read yet.
                self.probes.probe = Some(Probe { postponed: probe.postponed + 1, ..probe });
                self.probes.at = Some(now + first);
            }
            Some(probe @ Probe { heard: false, helped: false, .. }) => {
                self.ask_again(&probe.peer, effects);
                self.probes.probe = Some(Probe { helped: true, ..probe });
                self.probes.at = Some(now + second);
            }
            Some(Probe { peer, heard: false, helped: true, .. }) => {
                self.suspect(now, &peer, effects);
                self.next_probe(effects);
                self.probes.at = Some(now + first);
            }
            // Who has answered leaves the rest of its time unused.
            Some(Probe { heard: true, helped: false, .. }) => self.probes.at = Some(now + second),
            Some(_) | None => {
                self.next_probe(effects);
                self.probes.at = Some(now + first);
            }
        }
    }

    fn next_probe(&mut self, effects: &mut Vec<Effect>) {
        let Some(overlay) = self.near.overlay() else { return };
        let sessions = self.sessions.iter().filter(|(_, session)| !session.closing).map(|(id, _)| id);
        let watched: BTreeSet<&NodeId> =
            sessions.chain(overlay.neighbours()).filter(|id| self.view.is_living(id)).collect();
        let from = self.probes.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = watched.range::<NodeId, _>((from, Bound::Unbounded)).next();
        let Some(peer) = behind.or_else(|| watched.first()).map(|id| (*id).clone()) else { return };
        self.probes.number = self.probes.number.wrapping_add(1);
        self.ask(&peer, Message::Ping(self.probes.number), effects);
        self.compare_views(&peer, effects);
        self.probes.last = Some(peer.clone());
        self.probes.probe = Some(Probe { peer, heard: false, helped: false, postponed: 0 });
    }

    /// Asks a neighbour again, by itself and through some others that have sessions with it.
    fn ask_again(&mut self, peer: &NodeId, effects: &mut Vec<Effect>) {
        let probe_number = self.probes.number;
        self.ask(peer, Message::Ping(probe_number), effects);
        let (Some(overlay), Some(target)) = (self.near.overlay(), self.living_row(peer)) else { return };
        let is_up = |id: &NodeId| self.view.of(id).is_some_and(|row| row.status == Status::Up);
        let beside = overlay.neighbours_of(peer).into_iter().filter(|id| id != self.id() && is_up(id));
        // Another three each time.
        let mut helpers: Vec<NodeId> = beside.collect();
        let turn = usize::from(probe_number) % helpers.len().max(1);
        helpers.rotate_left(turn);
        for helper in helpers.into_iter().take(HELPERS) {
            let message = Message::PingReq { target: target.id().clone(), probe_number };
            self.ask(&helper, message, effects);
        }
    }

    fn ask(&self, peer: &NodeId, message: Message<super::Identity>, effects: &mut Vec<Effect>) {
        if let Some(addr) = self.addr_of(peer) {
            self.gossip_as(message, &self.identity_of(peer, &addr), vec![], effects);
        }
    }

    /// Has the others hear that a member does not answer.
    fn suspect(&mut self, now: Instant, peer: &NodeId, effects: &mut Vec<Effect>) {
        let Some(row) = self.living_row(peer) else { return };
        let suspect = Update::new(row.id().clone(), row.incarnation(), State::Suspect);
        if row.state() == State::Alive {
            self.swim(now, effects, |swim, wishes| swim.apply_many([suspect.clone()].into_iter(), true, wishes));
        }
        // Whoever suspected it before us may be gone.
        self.timers.insert(now, self.timings.suspect_to_down, self.verdict(&row));
        self.tell_suspect(&suspect, effects);
    }

    /// Whether foca's probe of this member is answered in its place. Who is out of reach is vouched for by nobody.
    pub(super) fn is_probed_by_others(&self, id: &NodeId) -> bool {
        self.near.graph().is_some() && self.is_reached(id)
    }
}
