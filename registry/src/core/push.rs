//! Pushes: what we wrote goes to every peer at once, or to the first relays, as far as each one's window has room.

use triomphe::Arc;

use ordu_transport::core::{Lane, NodeId};

use super::delta::{Closing, Event, Interval, Key, Message, Payload, Purpose};
use super::retire::Retired;
use super::sync::{Limits, Outgoing, PUSH_WINDOW_EVENTS, Peer, Replica, is_small};

impl<K: Key, V: Payload> Replica<K, V> {
    /// Pushes our own events to every connected peer that has not been sent them and has room in its window.
    pub fn flush(&mut self, out: &mut Vec<Outgoing<K, V>>) {
        // Each round brings every peer a push further, and there is room for a few of them.
        while self.push(out) {}
    }

    /// Brings each peer with room one push further. Returns whether there was any.
    fn push(&mut self, out: &mut Vec<Outgoing<K, V>>) -> bool {
        let last = self.table.context().clock().get(self.table.origin());
        // Whoever is over is heard by nobody who knows it; it goes on under a new identity.
        let over = self.table.retired().contains(self.table.origin());
        if over || self.caught_up == Some(last) {
            return false;
        }
        if !self.peers.values().any(|peer| peer.connected && peer.sent < last) {
            self.caught_up = Some(last);
            return false;
        }
        let relays = self.has_relays();
        if relays {
            self.leave_to_relays(last);
        }
        let mut pushed = false;
        let origin = self.table.origin().clone();
        let mut groups: Vec<Vec<NodeId>> = Vec::new();
        let position = |peer: &Peer| (peer.sent, peer.retired_sent);
        for (id, peer) in self.peers.iter().filter(|(_, peer)| peer.connected && peer.sent < last) {
            let known = peer.acked.get(&origin).max(peer.left_at);
            let waits = peer.sent.saturating_sub(known) >= PUSH_WINDOW_EVENTS;
            if waits || peer.taking.is_some() || !peer.has_room() {
                continue;
            }
            // Peers at the same position are sent the same bytes.
            let is_like = |to: &&mut Vec<NodeId>| {
                let other = to.first().and_then(|id| self.peers.get(id));
                other.is_some_and(|other| position(other) == position(peer) && other.acked == peer.acked)
            };
            match groups.iter_mut().find(is_like) {
                Some(to) => to.push(id.clone()),
                None => groups.push(vec![id.clone()]),
            }
        }
        let Limits { push_events, push_bytes, .. } = self.limits;
        for to in groups {
            let Some(first) = to.first().and_then(|id| self.peers.get(id)) else { continue };
            let (sent, told) = position(first);
            let Some((events, interval)) = self.table.own_delta(sent, &first.acked, push_events, push_bytes) else {
                self.nudge(to, out);
                continue;
            };
            // A piece of a backlog is not: its peer lacks more, however little goes at once.
            let small = is_small(&events) && interval.to == last;
            let purpose = match (relays, sent < self.hurried) {
                (true, _) => Purpose::Relay,
                (false, true) => Purpose::Hurry,
                (false, false) => Purpose::Push,
            };
            for id in &to {
                if let Some(peer) = self.peers.get_mut(id) {
                    (peer.sent, peer.retired_sent) = (interval.to, true);
                    peer.in_flight.push_back((interval.to, small));
                    pushed = true;
                }
            }
            let retired = (!told).then(|| self.table.retired().clone()).filter(|retired| !retired.is_empty());
            self.send_delta(to, Lane::Delta, retired, events, vec![interval], purpose, out);
        }
        pushed
    }

    /// Whoever is not pushed to has what we write by way of relays, or by repair.
    fn leave_to_relays(&mut self, last: u64) {
        let first = self.first_relays();
        let others = self.peers.iter_mut().filter(|(id, _)| !first.contains(*id));
        others.for_each(|(_, peer)| (peer.sent, peer.left_at) = (last, last));
    }

    /// Shows our digest to peers that cannot be pushed to, so that they pull; once until they acknowledge anything.
    pub(super) fn nudge(&mut self, mut to: Vec<NodeId>, out: &mut Vec<Outgoing<K, V>>) {
        to.retain(|id| !std::mem::replace(&mut self.peer(id).nudged, true));
        if !to.is_empty() {
            out.push(self.digest_to(to, false));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the messages it builds")]
    pub(super) fn send_delta(
        &mut self,
        to: Vec<NodeId>,
        lane: Lane,
        mut retired: Option<Retired>,
        events: Vec<Arc<Event<K, V>>>,
        intervals: Vec<Interval>,
        purpose: Purpose,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        let mut closing = Some(Closing { events: events.len() as u64, intervals, purpose });
        let mut events = events.into_iter().peekable();
        while closing.is_some() {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while let Some(event) = events.next_if(|_| bytes < self.limits.part_bytes) {
                bytes += event.size_bytes();
                part.push(event);
            }
            let closing = if events.peek().is_none() { closing.take() } else { None };
            let message = Message::Delta { number, retired: retired.take(), events: part.into(), closing };
            out.push(Outgoing { to: to.clone(), lane, message });
        }
    }
}
