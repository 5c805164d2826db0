//! Digests: how replicas find out that they differ, at a cost that does not grow with the cluster.
//!
//! Each repair interval a few peers are told a hash of our state, in turn, so that whoever lacks something hears of it
//! within an interval or two, and everybody hears from everybody in time. Whoever came up and was not heard yet is asked
//! for its own. Beyond that, digests are caused by change: a session that begins, and a peer that must be told to pull.

use std::ops::Bound;
use std::time::Duration;

use crdts::CvRDT;
use ordu_transport::core::{Instant, Lane, NodeId};

use super::delta::{Key, Message, Payload};
use super::sync::{Outgoing, REPAIR_INTERVAL, Replica};

/// How many peers are told our digest each repair interval; all of them take turns.
pub const DIGEST_PEERS: usize = 2;
/// Most peers whose answers to a pull are waited for at once; further ones are asked as these have answered.
pub const PULLS_AT_ONCE_MAX: usize = 8;

/// How long it takes at most until each of so many peers was told our digest.
pub fn turn_of_all(peers: usize) -> Duration {
    REPAIR_INTERVAL.mul_f64(1.25) * u32::try_from(peers.div_ceil(DIGEST_PEERS)).unwrap_or(u32::MAX)
}

impl<K: Key, V: Payload> Replica<K, V> {
    /// Our digest to the peers whose turn it is, and a question for theirs to those that were not heard.
    pub(super) fn tell_digests(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        let unheard = self.peers.iter().filter(|(_, peer)| peer.connected && !peer.heard && !peer.is_asked(now));
        let unheard: Vec<NodeId> = unheard.map(|(id, _)| id.clone()).collect();
        let told: Vec<NodeId> = self.take_turns().into_iter().filter(|id| unheard.binary_search(id).is_err()).collect();
        for (to, ask) in [(told, false), (unheard, true)] {
            if !to.is_empty() {
                out.push(self.digest_to(to, ask));
            }
        }
    }

    /// The next peers in the order of their ids, in that order.
    fn take_turns(&mut self) -> Vec<NodeId> {
        let from = self.turn.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.peers.range((from.clone(), Bound::Unbounded));
        let round = after.chain(&self.peers).filter(|(_, peer)| peer.connected);
        let mut next: Vec<NodeId> = round.map(|(id, _)| id.clone()).take(DIGEST_PEERS).collect();
        self.turn = next.last().cloned();
        next.sort_unstable();
        next.dedup();
        next
    }

    /// Asks these for their digests, and shows them ours: what each has is known then, or it pulls, and says so.
    pub(super) fn ask(&self, mut peers: Vec<NodeId>, out: &mut Vec<Outgoing<K, V>>) {
        peers.retain(|id| self.peers.get(id).is_some_and(|peer| peer.connected));
        peers.sort_unstable();
        if !peers.is_empty() {
            out.push(self.digest_to(peers, true));
        }
    }

    pub(super) fn digest_to(&self, to: Vec<NodeId>, ask: bool) -> Outgoing<K, V> {
        Outgoing { to, lane: Lane::Delta, message: Message::Digest { hash: self.table.digest(), ask } }
    }

    pub(super) fn on_digest(
        &mut self,
        now: Instant,
        from: &NodeId,
        hash: u64,
        ask: bool,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let alike = hash == self.table.digest();
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.digest = Some((hash, now));
        if ask {
            out.push(self.digest_to(vec![from.clone()], false));
        }
        if !alike {
            return self.pull(now, from, out);
        }
        let clock = self.table.context().clock();
        let Some(peer) = self.peers.get_mut(from) else { return };
        let answered = peer.pulling.take().is_some();
        peer.state = None;
        (peer.heard, peer.nudged, peer.postponed, peer.relayed) = (true, false, false, 0);
        if peer.acked != *clock {
            peer.acked.merge(clock.clone());
        }
        peer.has_up_to(self.table.origin());
        if answered {
            self.pull_postponed(now, out);
        }
    }

    /// Whether the peer showed our present digest, at `since` or, where its turn comes later than that, when it last had
    /// it.
    pub fn is_alike(&self, peer: &NodeId, since: Instant) -> bool {
        let longer = turn_of_all(self.peers.len()).saturating_sub(turn_of_all(1));
        let since = Instant::from_micros(since.as_micros().saturating_sub(longer.as_micros() as u64));
        let seen = self.peers.get(peer).and_then(|peer| peer.digest);
        seen.is_some_and(|(hash, at)| at >= since && hash == self.table.digest())
    }
}
