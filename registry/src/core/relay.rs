//! Relays: past a number of members nobody speaks to everybody. What one writes it tells some of its neighbours in the
//! [`Overlay`](ordu_transport::core::Overlay), and they pass it on along the overlay's tree, which all who see the same
//! members see alike.
//!
//! ```text
//!   origin ─┬─ relay ─┬─ relay ─ …       who takes a push that is to be passed on, and learns something by it, tells those
//!           ├─ relay  └─ relay           beside it in the tree, but for whom it came from; who knows it already is silent
//!           └─ relay ─── relay ─ …
//! ```
//!
//! They are in different parts of the tree, so that an event comes over the dead relay's branch from elsewhere,
//! and in few hops; where the parts meet a few are told twice.
//!
//! Nothing is agreed upon and nothing kept beside the overlay: where views differ, or a relay is gone, a branch hears of an
//! event from the digests, and of the gap it left at the latest with the next event.

use std::collections::BTreeSet;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId};

use super::delta::{Interval, Key, Payload, Purpose};
use super::sync::{Outgoing, Peer, Replica};
use super::table::Shared;

/// Most passed-on deltas that a peer may not have acknowledged; past it it is shown our digest, and pulls.
pub const RELAYED_MAX: usize = 256;

/// To how many neighbours a node tells what it writes beside those in the tree: where these are dead, it is heard all the
/// same. Each is told twice, and so is the one before it in the tree.
pub const OTHER_RELAYS: usize = 2;

impl<K: Key, V: Payload> Replica<K, V> {
    /// Whether there are so many members that what we write is passed on by relays.
    pub(super) fn has_relays(&self) -> bool {
        self.overlay.is_some()
    }

    /// Whom we tell what we write, where relays pass it on: those beside us in the tree, and a few other neighbours.
    pub(super) fn first_relays(&self) -> BTreeSet<NodeId> {
        let Some(overlay) = &self.overlay else { return BTreeSet::new() };
        let mut relays: BTreeSet<NodeId> = overlay.beside().cloned().collect();
        // Those behind us first: otherwise all would tell the same.
        let (before, behind): (Vec<_>, Vec<_>) = overlay.neighbours().iter().partition(|id| *id < self.table.origin());
        let others = behind.into_iter().chain(before).filter(|id| self.is_linked(id) && !relays.contains(*id));
        let others: Vec<NodeId> = others.take(OTHER_RELAYS).cloned().collect();
        relays.extend(others);
        relays
    }

    /// To whom we pass on what came from `from`.
    fn beside(&self, from: &NodeId) -> Vec<NodeId> {
        let beside = self.overlay.iter().flat_map(|overlay| overlay.beside());
        beside.filter(|id| *id != from).cloned().collect()
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
        let children = self.beside(from);
        let mut batch: Option<Option<Vec<Shared<K, V>>>> = None;
        let (mut told, mut untold, mut behind) = (Vec::new(), Vec::new(), Vec::new());
        for id in children.into_iter().filter(|id| *id != interval.origin) {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.connected && peer.taking.is_none()) else {
                continue;
            };
            let serves =
                peer.relayed.len() < RELAYED_MAX && self.table.serves(&interval.origin, interval.from, &peer.acked);
            let batch = batch
                .get_or_insert_with(|| self.table.delta_of(&interval, self.limits.push_events, self.limits.push_bytes));
            if !serves || batch.is_none() {
                behind.push(id);
                continue;
            }
            peer.relayed.push_back((interval.origin.clone(), interval.to));
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
    pub(super) fn note_relayed(&mut self, from: &NodeId) {
        if let Some(peer) = self.peers.get_mut(from) {
            let Peer { relayed, acked, .. } = peer;
            let is_over = |origin: &NodeId| self.table.is_dropped(origin);
            while relayed.pop_front_if(|(origin, to)| acked.get(origin) >= *to || is_over(origin)).is_some() {}
        }
    }
}
