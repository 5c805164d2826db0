//! Digests: how replicas find out that they differ, at a cost that does not grow with the cluster.
//!
//! Each repair interval a few peers are told a hash of our state, in turn, so that whoever lacks something hears of it
//! within an interval or two, and everybody hears from everybody in time. Whoever came up and was not heard yet is asked
//! for its own. Beyond that, digests are caused by change: a session that begins, and a peer that must be told to pull.

use std::ops::Bound;
use std::time::Duration;

use crdts::{CmRDT, CvRDT};
use ordu_transport::core::{Instant, Lane, NodeId};

use super::clock::Dot;
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
        let spoken_to = self.peers.iter().filter(|(_, peer)| peer.connected && !peer.guest);
        let unheard = spoken_to.filter(|(_, peer)| !peer.heard && !peer.is_asked(now));
        let unheard: Vec<NodeId> = unheard.map(|(id, _)| id.clone()).collect();
        let told: Vec<NodeId> = self.take_turns().into_iter().filter(|id| unheard.binary_search(id).is_err()).collect();
        for (to, ask) in [(told, false), (unheard, true)] {
            if !to.is_empty() {
                out.push(self.digest_to(to, ask));
            }
        }
        self.ask_strangers(out);
    }

    /// A question to some of those to whom we do not speak otherwise and who were not heard, in turn.
    fn ask_strangers(&mut self, out: &mut Vec<Outgoing<K, V>>) {
        if self.overlay.is_none() {
            return;
        }
        let from = self.stranger.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.sessions.range((from, Bound::Unbounded));
        let round = after.chain(&self.sessions).take(self.sessions.len());
        let strangers = round.filter(|id| !self.is_linked(id) && !self.has_heard(id));
        let strangers: Vec<NodeId> = strangers.take(PULLS_AT_ONCE_MAX).cloned().collect();
        if let Some(last) = strangers.last() {
            self.stranger = Some(last.clone());
            self.ask(strangers, out);
        }
    }

    /// The next peers in the order of their ids, in that order.
    fn take_turns(&mut self) -> Vec<NodeId> {
        let from = self.turn.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.peers.range((from.clone(), Bound::Unbounded));
        let round = after.chain(&self.peers).filter(|(_, peer)| peer.connected && !peer.guest);
        let mut next: Vec<NodeId> = round.map(|(id, _)| id.clone()).take(DIGEST_PEERS).collect();
        self.turn = next.last().cloned();
        next.sort_unstable();
        next.dedup();
        next
    }

    /// Asks these for their digests, and shows them ours: what each has is known then, or it pulls, and says so.
    pub(super) fn ask(&mut self, mut peers: Vec<NodeId>, out: &mut Vec<Outgoing<K, V>>) {
        peers.iter().for_each(|id| self.receive_guest(id));
        peers.retain(|id| self.is_linked(id));
        peers.iter().for_each(|id| self.note_guest(id));
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
        self.hear(from);
        let clock = self.table.context().clock();
        let Some(peer) = self.peers.get_mut(from) else { return };
        let answered = peer.pulling.take().is_some();
        peer.state = None;
        (peer.nudged, peer.postponed) = (false, false);
        peer.relayed.clear();
        if peer.guest {
            let origin = self.table.origin();
            peer.acked.apply(Dot::new(origin.clone(), clock.get(origin)));
        } else if peer.acked != *clock {
            peer.acked.merge(clock.clone());
        }
        peer.has_up_to(self.table.origin());
        if answered {
            self.pull_postponed(now, out);
        }
    }

    /// Whether these have what we have: all of them have shown our present digest since `since`; or, where we do not speak
    /// to all, those that we speak to and can reach have, and everybody is known to have had it.
    pub fn is_alike<'a>(&self, mut others: impl Iterator<Item = &'a NodeId>, since: Instant) -> bool {
        match &self.overlay {
            None => others.all(|id| self.shows_ours(id, since)),
            Some(overlay) => {
                let tells_us = |id: &&NodeId| self.has_session(id) && !overlay.substitutes().contains(id);
                let mut reached = overlay.neighbours().iter().filter(tells_us).peekable();
                self.is_stable() && reached.peek().is_some() && reached.all(|id| self.shows_ours(id, since))
            }
        }
    }

    /// Whether the peer showed our present digest, at `since` or, where its turn comes later than that, when it last had
    /// it.
    fn shows_ours(&self, peer: &NodeId, since: Instant) -> bool {
        let spoken_to = self.peers.values().filter(|peer| peer.connected && !peer.guest).count();
        let longer = turn_of_all(spoken_to).saturating_sub(turn_of_all(1));
        let since = Instant::from_micros(since.as_micros().saturating_sub(longer.as_micros() as u64));
        let seen = self.peers.get(peer).and_then(|peer| peer.digest);
        seen.is_some_and(|(hash, at)| at >= since && hash == self.table.digest())
    }
}
