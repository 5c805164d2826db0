//! Pulls: who differs asks for what it lacks, and is answered by one delta or, where that would be too long or does not
//! tell everything, by a reconciliation.

use triomphe::Arc;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId};

use super::clock::Context;
use super::delta::{Event, Key, Message, Payload, Purpose};
use super::digest::PULLS_AT_ONCE_MAX;
use super::reconcile::{Answer, Ask, Incoming, Next};
use super::retire::Retired;
use super::sync::{Outgoing, Replica};

impl<K: Key, V: Payload> Replica<K, V> {
    /// Whether another peer than this is sending us what we lack part by part: mostly what the others would.
    fn takes_elsewhere(&self, now: Instant, from: &NodeId) -> bool {
        self.peers.iter().any(|(id, peer)| id != from && peer.state.is_some() && peer.is_asked(now))
    }

    /// Whether as many others are asked as may be at once.
    fn asks_enough(&self, now: Instant, from: &NodeId) -> bool {
        let asked = self.peers.iter().filter(|(id, peer)| *id != from && peer.is_asked(now));
        asked.take(PULLS_AT_ONCE_MAX).count() == PULLS_AT_ONCE_MAX
    }

    /// A peer has answered: those that had to wait are asked whether they still differ.
    pub(super) fn pull_postponed(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        let asked = self.peers.values().filter(|peer| peer.is_asked(now)).count();
        let waiting = self.peers.iter_mut().filter(|(_, peer)| peer.postponed && peer.connected);
        let mut to = Vec::new();
        for (id, peer) in waiting.take(PULLS_AT_ONCE_MAX.saturating_sub(asked)) {
            peer.postponed = false;
            to.push(id.clone());
        }
        if !to.is_empty() {
            out.push(self.digest_to(to, true));
        }
    }

    pub(super) fn pull(&mut self, now: Instant, from: &NodeId, out: &mut Vec<Outgoing<K, V>>) {
        let elsewhere = self.takes_elsewhere(now, from) || self.asks_enough(now, from);
        let number = self.next_number;
        self.next_number += 1;
        let peer = self.peer(from);
        peer.postponed = elsewhere;
        if elsewhere || peer.is_asked(now) {
            return;
        }
        (peer.pulling, peer.pull_number, peer.state) = (Some(now), number, None);
        let (context, retired) = (self.table.context().clone(), self.table.retired().clone());
        let message = Message::Pull { number, context, retired, sum: self.table.sum() };
        out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message });
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the message it takes")]
    pub(super) fn on_pull(
        &mut self,
        now: Instant,
        from: &NodeId,
        number: u64,
        theirs: Context,
        retired: &Retired,
        sum: u64,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let retired_alike = *retired == *self.table.retired();
        self.retire(retired);
        self.on_ack(from, theirs.clock().clone());
        self.peer(from).relayed.clear();
        let alarm = retired_alike && theirs == *self.table.context() && sum != self.table.sum();
        let delta_bytes = self.limits.delta_bytes;
        let fits =
            |events: &[Arc<Event<K, V>>]| events.iter().map(|event| event.size_bytes()).sum::<usize>() <= delta_bytes;
        match self.table.delta_for(&theirs).filter(|(events, _)| !alarm && fits(events)) {
            Some((events, intervals)) => {
                let retired = Some(self.table.retired().clone());
                self.send_delta(vec![from.clone()], Lane::Bulk, retired, events, intervals, Purpose::Answer, out);
            }
            None => {
                let seen = if is_present(Defect::StaleSnapshot) { Context::default() } else { theirs.clone() };
                let ask = Ask { number, seen, ..Ask::default() };
                self.send_state(now, from, &ask, out);
            }
        }
        if is_present(Defect::AnswerMovesCursor) {
            self.peer(from).sent = self.table.context().clock().get(self.table.origin());
        }
        if alarm {
            self.alarms += 1;
            tracing::error!(peer = %from, "equal clocks with unequal contents: reconciling by state");
        }
        // What it holds of origins that are over here is nothing to ask for: two that have retired each other would pull
        // back and forth without a pause.
        if alarm || !self.table.context().contains_all(&self.table.wanted(theirs)) {
            self.pull(now, from, out);
        }
    }

    pub(super) fn send_state(&mut self, now: Instant, to: &NodeId, ask: &Ask, out: &mut Vec<Outgoing<K, V>>) {
        let answer = self.table.answer(ask, self.limits.part_bytes);
        self.peer(to).taking = Some(now);
        let message = Message::State { retired: self.table.retired().clone(), answer };
        out.push(Outgoing { to: vec![to.clone()], lane: Lane::Bulk, message });
    }

    pub(super) fn on_state(
        &mut self,
        now: Instant,
        from: &NodeId,
        answer: Answer<K, V>,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let elsewhere = self.takes_elsewhere(now, from);
        let peer = self.peers.entry(from.clone()).or_default();
        if peer.pulling.is_none() || peer.pull_number != answer.number {
            return;
        }
        let mut incoming = match peer.state.take() {
            Some(incoming) => *incoming,
            None if elsewhere => return (peer.pulling, peer.postponed) = (None, true),
            None if is_present(Defect::StaleSnapshot) => Incoming::new(answer.number, Context::default()),
            None => Incoming::new(answer.number, self.table.context().clone()),
        };
        match self.table.take_answer(&mut incoming, answer, &mut self.touched) {
            Next::Ask => {
                let message = Message::More(incoming.ask().clone());
                let peer = self.peer(from);
                (peer.state, peer.pulling) = (Some(Box::new(incoming)), Some(now));
                out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message });
            }
            Next::Stale => self.peer(from).state = Some(Box::new(incoming)),
            Next::Refused => {
                tracing::warn!(peer = %from, "a peer answers what it was not asked; giving its answer up");
            }
            Next::Adopt => {
                let touched = self.table.adopt(incoming);
                self.touched.extend(touched);
                let clock = self.table.context().clock().clone();
                let peer = self.peer(from);
                peer.pulling = None;
                self.hear(from);
                out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message: Message::Ack { clock } });
                self.pull_postponed(now, out);
            }
        }
    }
}
