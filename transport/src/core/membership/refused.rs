//! What follows from a kernel's word that nobody listens at a member's port.
//!
//! A process that is killed leaves a kernel behind, which refuses what comes for the closed port: a byte sent there finds
//! out long before any probe has timed out, and a process that is merely starved refuses nothing. It is a hint and no
//! proof, for a firewall in between answers likewise. So:
//!
//! * Every node looks at the port of one other, the next by name; whoever is suspected is looked at by everybody.
//! * Who is refused suspects. It tells the suspect, which can contradict, and all others, who look too, pass the suspicion
//!   on to the suspect, and answer if they are refused as well.
//! * The suspect is down once a second node was refused and it has been silent for [`Timings::refused_to_down`]; in a
//!   cluster of two, once we were refused twice. Without that the times of a silent member hold: who is refused by
//!   everybody has lost its own network, and decides about nobody.
//! * Who has contradicted, or came back, is believed for [`REFUSALS_IGNORED`], whatever the kernel says; twice as long each
//!   time, for then something in between refuses in its place.
//!
//! [`Timings::refused_to_down`]: super::Timings::refused_to_down

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use foca::{Message, State};

use super::packet::{Packet, Update};
use super::swim::id_hash;
use super::timers::LATE_MIN;
use super::{Effect, Membership};
use crate::core::defects::{Defect, is_present};
use crate::core::id::NodeId;
use crate::core::time::Instant;
use crate::core::view::Status;

/// Most nodes that are remembered to have been refused by one suspect; one decides as well as ten.
pub const WITNESSES_MAX: usize = 8;
/// How long refusals of a member are ignored after it contradicted one, the first time.
pub const REFUSALS_IGNORED: Duration = Duration::from_secs(5);
/// How often that doubles at most.
const DOUBLED_MAX: u32 = 10;
/// How often the kernel must refuse where nobody else can be asked.
const REFUSALS_ALONE: u32 = 2;
/// A look at the watched port comes up to this much early, along with something else that is due.
const WATCH_EARLY: Duration = Duration::from_millis(30);

/// Whose ports are looked at, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By suspect; none that is not suspected.
    doubts: BTreeMap<NodeId, Doubt>,
    /// Who contradicted, until when it is believed, and how often it had to.
    believed: BTreeMap<NodeId, (Instant, u32)>,
    /// Whom we look after, and when to look next.
    watched: Option<(NodeId, Instant)>,
}

/// A suspect of which some kernel says that its port is closed.
#[derive(Debug, Default)]
struct Doubt {
    /// Others who were refused.
    witnesses: BTreeSet<NodeId>,
    /// Once we were refused ourselves.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    /// Since when it is silent, as far as we know.
    since: Instant,
    refusals: u32,
    /// When to look again, and to decide.
    next_at: Instant,
    /// How long it has for contradicting.
    patience: Duration,
}

impl Refusals {
    pub(super) fn first(&self) -> Option<Instant> {
        let looks = self.doubts.values().filter_map(|doubt| doubt.own.as_ref()).map(|own| own.next_at);
        looks.chain(self.watched.as_ref().map(|(_, at)| *at)).min()
    }

    fn is_doubted(&self, id: &NodeId) -> bool {
        self.doubts.get(id).is_some_and(|doubt| doubt.own.is_some())
    }
}

impl Membership {
    /// The kernel says that nobody listens at this member's port.
    pub(super) fn on_unreachable(&mut self, now: Instant, peer: &NodeId, rtt: Duration, effects: &mut Vec<Effect>) {
        let Some(row) = self.living_row(peer) else { return };
        if self.refusals.believed.get(peer).is_some_and(|(until, _)| now < *until) || is_present(Defect::HintUnheard) {
            return;
        }
        if is_present(Defect::HintIsProof) {
            return self.declare_down(now, &row, effects);
        }
        let patience = (self.timings.refused_to_down + rtt * 2) * self.timers.stretch();
        let doubt = self.refusals.doubts.entry(peer.clone()).or_default();
        if let Some(own) = &mut doubt.own {
            own.refusals += 1;
            return;
        }
        doubt.own = Some(Own { since: now, refusals: 1, next_at: now + patience / 2, patience });
        let witnesses = doubt.witnesses.clone();
        let suspect = Update::new(row.id().clone(), row.incarnation(), State::Suspect);
        self.swim(now, effects, |swim, wishes| swim.apply_many([suspect.clone()].into_iter(), true, wishes));
        self.timers.insert(now, self.timings.probe_period + self.timings.suspect_to_down, self.verdict(&row));
        self.tell_suspect(&suspect, effects);
        let others = if witnesses.is_empty() { self.others_than(peer) } else { witnesses };
        for other in others {
            let Some(addr) = self.addr_of(&other) else { continue };
            let to = self.identity_of(&other, &addr);
            self.gossip_as(Message::Broadcast, &to, vec![suspect.clone()], effects);
        }
    }

    /// A peer was refused by these; foca reads of it as of any suspicion.
    pub(super) fn on_refused_elsewhere(&mut self, from: &NodeId, updates: &[Update], effects: &mut Vec<Effect>) {
        for update in updates {
            let about = &update.id().id;
            let row = self.living_row(about).filter(|row| update.incarnation() >= row.incarnation());
            let speaks = self.view.of(from).is_some_and(|row| row.status.is_living());
            if update.state() != State::Suspect || about == from || row.is_none() || !speaks {
                continue;
            }
            let witnesses = &mut self.refusals.doubts.entry(about.clone()).or_default().witnesses;
            if witnesses.len() < WITNESSES_MAX {
                witnesses.insert(from.clone());
            }
            effects.push(Effect::CheckPort { peer: about.clone() });
            self.tell_suspect(update, effects);
        }
    }

    /// Looks at ports, and decides about those that refused, as far as that is due.
    pub(super) fn look_at_ports(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some((watched, at)) = &mut self.refusals.watched
            && *at <= now + WATCH_EARLY
        {
            *at = now + self.timings.port_check;
            effects.push(Effect::CheckPort { peer: watched.clone() });
        }
        let is_due = |doubt: &Doubt| doubt.own.as_ref().is_some_and(|own| own.next_at <= now);
        let due: Vec<_> =
            self.refusals.doubts.iter().filter(|(_, doubt)| is_due(doubt)).map(|(id, _)| id.clone()).collect();
        for suspect in due {
            self.decide(now, &suspect, effects);
        }
    }

    fn decide(&mut self, now: Instant, suspect: &NodeId, effects: &mut Vec<Effect>) {
        let heard_at = self.sessions.get(suspect).map(|session| session.heard_at);
        let alone = !self.view.living().any(|member| member.id != *suspect && member.id != *self.id());
        let Some(doubt) = self.refusals.doubts.get_mut(suspect) else { return };
        let Some(own) = &mut doubt.own else { return };
        if let Some(heard_at) = heard_at.filter(|heard_at| *heard_at > own.since) {
            // Perhaps it had waited in a queue.
            own.since = heard_at;
        }
        if now.saturating_since(own.next_at) > LATE_MIN {
            // We stood still ourselves: what it said meanwhile may not have been read yet.
            own.since = now;
        }
        let agreed = if alone { own.refusals >= REFUSALS_ALONE } else { !doubt.witnesses.is_empty() };
        if agreed && now.saturating_since(own.since) >= own.patience {
            if let Some(row) = self.living_row(suspect) {
                self.declare_down(now, &row, effects);
            }
            return;
        }
        own.next_at = now + own.patience / 2;
        effects.push(Effect::CheckPort { peer: suspect.clone() });
        // It may have been out of reach when it was told, and in reach by now.
        if let Some(row) = self.living_row(suspect) {
            self.tell_suspect(&row, effects);
        }
    }

    fn declare_down(&mut self, now: Instant, row: &Update, effects: &mut Vec<Effect>) {
        let timer = self.verdict(row);
        self.swim(now, effects, |swim, wishes| swim.handle_timer(timer, wishes));
    }

    /// After every call: forgets the suspects that are none any more, and finds whom to look after.
    pub(super) fn settle_refusals(&mut self, now: Instant, peers_changed: bool) {
        if !self.refusals.doubts.is_empty() {
            let Self { refusals, view, sessions, .. } = self;
            refusals.believed.retain(|id, (until, _)| now < *until || sessions.contains_key(id));
            refusals.doubts.retain(|id, doubt| {
                let status = view.of(id).map(|row| row.status);
                // One that is down by now is believed if it comes back.
                if status != Some(Status::Suspect) && doubt.own.is_some() {
                    let (until, times) = refusals.believed.entry(id.clone()).or_insert((now, 0));
                    *until = now + REFUSALS_IGNORED * 2_u32.pow((*times).min(DOUBLED_MAX));
                    *times += 1;
                }
                status == Some(Status::Suspect)
            });
        }
        if !peers_changed {
            return;
        }
        let next = self.next_by_name().cloned();
        if self.refusals.watched.as_ref().map(|(id, _)| id) != next.as_ref() {
            self.refusals.watched = next.map(|id| (id, now));
        }
    }

    /// The next by name of those that are up and have a session, after the last the first; among many, the next on the
    /// first ring.
    fn next_by_name(&self) -> Option<&NodeId> {
        let is_up = |id: &&NodeId| self.view.of(id).is_some_and(|row| row.status == Status::Up);
        if let Some(overlay) = self.near.overlay() {
            return overlay.next_on_ring(self.id(), |id| self.sessions.contains_key(id) && is_up(&id));
        }
        let behind = self.sessions.range((Bound::Excluded(self.id().clone()), Bound::Unbounded));
        let behind = behind.map(|(id, _)| id).find(is_up);
        behind.or_else(|| self.sessions.keys().find(is_up))
    }

    /// Who may be asked about a suspect: whom we have a session with, or among many the suspect has, who lives, and did not
    /// refuse us.
    fn others_than(&self, suspect: &NodeId) -> BTreeSet<NodeId> {
        let asked = |id: &&NodeId| {
            *id != suspect
                && !self.refusals.is_doubted(id)
                && self.view.of(id).is_some_and(|row| row.status.is_living())
        };
        let beside = self.near.overlay().map(|overlay| overlay.neighbours_of(suspect)).unwrap_or_default();
        let beside = beside.iter().filter(|id| *id != self.id());
        self.sessions.keys().chain(beside).filter(asked).cloned().collect()
    }

    /// Says to a suspect that it is one: foca would do so with its next packet to it, and there is less time.
    pub(super) fn tell_suspect(&self, suspect: &Update, effects: &mut Vec<Effect>) {
        if self.sessions.contains_key(&suspect.id().id) || self.near.overlay().is_some() {
            self.gossip_as(Message::Gossip, suspect.id(), vec![suspect.clone()], effects);
        }
    }

    /// foca's row of exactly this incarnation.
    pub(super) fn row_of(&self, id: &NodeId) -> Option<&Update> {
        let hash = id_hash(id);
        self.swim.iter_membership_state().find(|row| row.id().id_hash == hash && row.id().id == *id)
    }

    /// The same, unless it is down.
    pub(super) fn living_row(&self, id: &NodeId) -> Option<Update> {
        self.row_of(id).filter(|row| row.state() != State::Down).cloned()
    }

    /// Gossip in our own name, outside foca's schedule; as `Broadcast` it tells who refused us.
    pub(super) fn gossip_as(
        &self,
        message: Message<super::Identity>,
        to: &super::Identity,
        updates: Vec<Update>,
        effects: &mut Vec<Effect>,
    ) {
        let header = foca::Header {
            src: self.swim.identity().clone(),
            // Only says that we live, which hearing us says as well.
            src_incarnation: 0,
            dst: to.clone(),
            message,
        };
        let datagrams = Packet { header, updates }.to_wire();
        datagrams.into_iter().for_each(|bytes| self.send(&to.id, bytes, effects));
    }
}
