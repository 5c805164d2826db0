//! Relays: past a number of peers an origin does not push to everybody. All nodes see the same ring of members; for each
//! origin it begins at that origin and is read as a tree, in which the place `p` passes on to `F*p + 1 ..= F*p + F`.
//!
//! ```text
//!   origin ─┬─ relay ─┬─ …          who takes a push that is to be passed on, and learns something by it, tells its
//!           ├─ relay  └─ …          children the same; who knows it already is silent
//!           └─ …
//! ```
//!
//! Nothing is agreed upon and nothing kept beside the ring: where views differ, or a relay is gone, a branch hears of an
//! event from the digests, and of the gap it left at the latest with the next event.

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId};

use super::clock::Clock;
use super::delta::{Interval, Key, Payload, Purpose};
use super::sync::{Outgoing, Replica};
use super::table::Shared;

/// Most peers that are pushed to directly, all at once; with more of them there are relays.
pub const DIRECT_PEERS_MAX: usize = 31;
/// To how many others the origin, and each relay, passes an event on.
pub const FAN_OUT: usize = 8;
/// Most passed-on deltas that a peer may not have acknowledged; past it it is shown our digest, and pulls.
pub const RELAYED_MAX: usize = 256;

impl<K: Key, V: Payload> Replica<K, V> {
    /// A peer came into the ring, or went.
    pub(super) fn ring_has(&mut self, id: &NodeId, here: bool) {
        match (self.ring.binary_search(id), here) {
            (Err(at), true) => self.ring.insert(at, id.clone()),
            (Ok(at), false) => drop(self.ring.remove(at)),
            _ => {}
        }
    }

    /// Whether there are so many peers that what we write is passed on by relays.
    pub(super) fn has_relays(&self) -> bool {
        self.ring.len() > self.limits.direct_peers
    }

    /// Those to whom we pass on what this origin writes.
    pub(super) fn children_of(&self, origin: &NodeId) -> Vec<NodeId> {
        // The ring has the others; we stand between two of them.
        let own = self.table.origin();
        let we = self.ring.binary_search(own).unwrap_or_else(|at| at);
        let size = self.ring.len() + 1;
        let at = |place: usize| match place.cmp(&we) {
            std::cmp::Ordering::Less => Some(&self.ring[place]),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(&self.ring[place - 1]),
        };
        let root = match self.ring.binary_search(origin) {
            _ if origin == own => we,
            Ok(place) if place < we => place,
            Ok(place) => place + 1,
            Err(_) => return Vec::new(),
        };
        let fan_out = self.limits.fan_out;
        let first = ((we + size - root) % size).saturating_mul(fan_out).saturating_add(1);
        let children = (first..size.min(first.saturating_add(fan_out))).filter_map(|place| at((root + place) % size));
        children.cloned().collect()
    }

    /// Those of a delta's intervals of which we have not seen the end.
    pub(super) fn news_of(&self, intervals: &[Interval]) -> Vec<Interval> {
        let context = self.table.context();
        let is_news = |interval: &&Interval| {
            let Interval { origin, from, to } = interval;
            // Its last event may have come early: then it is what stood before that.
            let open = (*from..*to).contains(&context.clock().get(origin));
            let new = !context.contains(origin, *to) || open;
            new && origin != self.table.origin() && !self.table.is_dropped(origin)
        };
        intervals.iter().filter(is_news).cloned().collect()
    }

    /// A delta that is to be passed on came from `from` and was taken. What was news in it is passed on; where something is
    /// missing from before, it is asked for.
    pub(super) fn pass_on(
        &mut self,
        now: Instant,
        from: &NodeId,
        news: Vec<Interval>,
        intervals: &[Interval],
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        news.into_iter().for_each(|interval| self.relay(from, interval, out));
        let known = |origin: &NodeId| self.table.context().clock().get(origin);
        let foreign = |origin: &NodeId| origin != self.table.origin() && !self.table.is_dropped(origin);
        let gap = intervals.iter().any(|Interval { origin, to, .. }| known(origin) < *to && foreign(origin));
        if gap && self.peers.values().any(|peer| peer.is_asked(now)) {
            // Whoever is asked may send it. This one is asked after that, and so learns what we have by then.
            self.peer(from).postponed = true;
        } else if gap {
            self.pull(now, from, out);
        }
    }

    fn relay(&mut self, from: &NodeId, mut interval: Interval, out: &mut Vec<Outgoing<K, V>>) {
        let children = self.children_of(&interval.origin);
        let mut batch: Option<Option<Vec<Shared<K, V>>>> = None;
        let (mut told, mut untold, mut behind) = (Vec::new(), Vec::new(), Vec::new());
        for id in children.into_iter().filter(|id| id != from && *id != interval.origin) {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.connected && peer.taking.is_none()) else {
                continue;
            };
            let serves = peer.relayed < RELAYED_MAX && self.table.serves(&interval.origin, interval.from, &peer.acked);
            let batch = batch
                .get_or_insert_with(|| self.table.delta_of(&interval, self.limits.push_events, self.limits.push_bytes));
            if !serves || batch.is_none() {
                behind.push(id);
                continue;
            }
            peer.relayed += 1;
            if std::mem::replace(&mut peer.retired_sent, true) { told.push(id) } else { untold.push(id) }
        }
        if let Some(events) = batch.flatten() {
            if is_present(Defect::RelayVouches) {
                interval.from = 0;
            }
            let retired = Some(self.table.retired().clone()).filter(|retired| !retired.is_empty());
            for (to, retired) in [(told, None), (untold, retired)] {
                if !to.is_empty() {
                    let intervals = vec![interval.clone()];
                    self.send_delta(to, Lane::Delta, retired, events.clone(), intervals, Purpose::Relay, out);
                }
            }
        }
        self.nudge(behind, out);
    }

    /// A peer has acknowledged something.
    pub(super) fn note_relayed(&mut self, from: &NodeId, clock: &Clock) {
        let own = self.table.origin();
        if let Some(peer) = self.peers.get_mut(from)
            && clock.dots.keys().any(|origin| origin != own)
        {
            peer.relayed = peer.relayed.saturating_sub(1);
        }
    }
}
