//! What everybody has, where nobody speaks to everybody: causal stability, found along the tree of the overlay.
//!
//! ```text
//!           root          a node whose branches have all had the state that it has itself, under the view that it has
//!          ↗    ↖         itself, tells its parent so. The root then knows that all members have had that state, and
//!       node    node      tells it downwards. Clocks only grow: what all have had once all have for ever.
//! ```
//!
//! It costs a node two messages once changes have come to rest for a repair interval, and nothing else. Where somebody writes all the time states do
//! not meet: after a while the root tells the tree a goal, the clock that it has then, and the branches report when they
//! have everything up to that.
//!
//! A member that cannot reach its parent turns to another one above it. Whoever misses a branch reports without it, who has
//! one that is not its own reports with it, and where the two meet they cancel out: the root knows that all have had
//! something only if nobody is missing.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crdts::CvRDT;
use ordu_transport::core::hash::StableHasher;
use ordu_transport::core::{Instant, Lane, NodeId, Overlay};

use super::clock::Clock;
use super::delta::{Had, Key, Message, Payload, Target};
use super::sync::{Outgoing, Peer, Replica, wait};

/// A state that is not known to be everybody's after so long is told anew: what was told may have been lost.
const RETELL: Duration = Duration::from_secs(5);
/// After so long without a state that all have had the root tells a goal, and tells it again.
const GOAL_AFTER: Duration = Duration::from_secs(10);
/// A goal that was not reached by all after so long is replaced: somebody may have come who cannot.
const GOAL_PATIENCE: Duration = Duration::from_secs(60);
/// Most members that are named in a report; where more are out of reach nothing is known to be everybody's.
const APART_MAX: usize = 64;

const PURPOSE_GOAL: u64 = 0x67_6f61_6c00;

/// What one replica knows about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stable {
    /// Up to where everybody has everything.
    known: Option<Known>,
    /// The last state that everybody has had, if the members have not been seen otherwise since.
    alike: Option<Target>,
    /// Whose state we have had: that of all of these,
    heard: Option<Arc<Overlay>>,
    /// but for those that were down at some time, of which it must be known anew;
    unheard: BTreeSet<NodeId>,
    /// and that of these, to whom we do not speak any more.
    met: BTreeSet<NodeId>,
    /// What the root has asked about, and since when.
    goal: Option<(Target, Clock, Instant)>,
    /// At the root: since when nothing new was known to be everybody's, and no goal was told.
    waits_since: Option<Instant>,
    /// A hash of the table when it was last looked whether it rests.
    seen: Option<u64>,
    /// What was said about our own state, and about the goal.
    reports: [Report; 2],
    /// The stand-in that we turned to, and when.
    turned: Option<(NodeId, Instant)>,
}

/// How far a node is with what it reports to its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Report {
    /// What we told last, to whom, and when.
    told: Option<(NodeId, Target, Had, Instant)>,
    /// When we last asked our branches.
    asked_at: Option<Instant>,
}

/// A state that everybody has had.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// How far it reaches.
    clock: Clock,
    /// Who everybody was.
    overlay: Arc<Overlay>,
}

/// What the branch of a peer has had: of states, and of goals.
pub(super) type Branches = [Option<(Target, Had)>; 2];

impl Stable {
    /// Whether we have had everything that this one had at some moment since it last came up.
    pub(super) fn has_heard(&self, id: &NodeId) -> bool {
        let with_all = self.heard.as_ref().is_some_and(|overlay| overlay.has(id)) && !self.unheard.contains(id);
        with_all || self.met.contains(id)
    }

    /// We have, as it told us itself.
    pub(super) fn hear(&mut self, id: &NodeId) {
        self.unheard.remove(id);
    }

    /// We do not speak to it any more; whether we have.
    pub(super) fn remember(&mut self, id: &NodeId, heard: bool) {
        if heard && !self.has_heard(id) {
            self.met.insert(id.clone());
        }
    }

    /// It went down. What all are said to have had it may have had before.
    pub(super) fn unhear(&mut self, id: &NodeId) {
        self.met.remove(id);
        if self.heard.as_ref().is_some_and(|overlay| overlay.has(id)) {
            self.unheard.insert(id.clone());
        }
    }

    /// Up to where everybody of whom it is known has everything.
    pub(super) fn known_clock(&self) -> Option<&Clock> {
        self.known.as_ref().map(|known| &known.clock)
    }

    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self { known, alike, heard, unheard, met, goal, waits_since, seen, reports, turned } = self;
        known.as_ref().map(|known| (&known.clock, known.overlay.hash())).hash(hasher);
        (alike, heard.as_ref().map(|overlay| overlay.hash()), unheard, met, seen).hash(hasher);
        let over = |since: &Instant, after: Duration| wait(now, *since + after);
        goal.as_ref().map(|(target, clock, since)| (target, clock, over(since, GOAL_PATIENCE))).hash(hasher);
        waits_since.as_ref().map(|since| over(since, GOAL_AFTER)).hash(hasher);
        turned.as_ref().map(|(id, since)| (id, over(since, RETELL))).hash(hasher);
        reports.iter().for_each(|Report { told, asked_at }| {
            told.as_ref().map(|(to, target, had, since)| (to, target, had, over(since, RETELL))).hash(hasher);
            asked_at.as_ref().map(|since| over(since, RETELL)).hash(hasher);
        });
    }
}

impl<K: Key, V: Payload> Replica<K, V> {
    /// Up to where a member has the events of an origin, as far as is known.
    pub(super) fn acked(&self, id: &NodeId, origin: &NodeId) -> u64 {
        let told = self.peers.get(id).map_or(0, |peer| peer.acked.get(origin));
        let known = self.stable.known.as_ref().filter(|known| known.overlay.has(id));
        known.map_or(told, |known| told.max(known.clock.get(origin)))
    }

    /// Up to where a member is known to have everything, whatever it says itself.
    pub(super) fn known_of(&self, id: &NodeId) -> Option<&Clock> {
        self.stable.known.as_ref().filter(|known| known.overlay.has(id)).map(|known| &known.clock)
    }

    /// Whether all members are known to have had what we have now, under the view that we have now.
    pub(super) fn is_stable(&self) -> bool {
        self.stable.alike.is_some() && self.stable.alike == self.target(false)
    }

    /// What we can report: our state, or the goal if we have everything up to it.
    fn target(&self, goal: bool) -> Option<Target> {
        let overlay = self.overlay.as_ref()?;
        let members = overlay.hash();
        if !goal {
            return Some(Target { members, hash: self.table.digest(), goal });
        }
        let (target, clock, _) = self.stable.goal.as_ref()?;
        let known = self.table.context().clock();
        let has = |(origin, &counter): (&NodeId, &u64)| {
            known.get(origin) >= counter || (self.table.is_dropped(origin) && !overlay.has(origin))
        };
        (target.members == members && clock.dots.iter().all(has)).then_some(*target)
    }

    /// Tells our parent what our branch of the tree has had, where that is not known to all; and asks our branches now and
    /// then, where we wait for them.
    pub(super) fn tell_had(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        if self.overlay.is_none() || self.is_stable() {
            self.stable.waits_since = None;
            return;
        }
        self.turn_to_stand_in(now, out);
        self.set_goal(now, out);
        // While there are changes with every look, states do not meet, and reports would be in vain.
        let here = self.table.digest();
        if self.stable.seen.replace(here) == Some(here) {
            self.report(now, false, out);
        }
        self.report(now, true, out);
    }

    /// Tells the one that stands in for our parent so: it passes goals on to us then.
    fn turn_to_stand_in(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        let Some((overlay, above)) = self.overlay.as_ref().zip(self.above()) else { return };
        let is_told = |(id, since): &(NodeId, Instant)| id == above && now < *since + RETELL;
        if overlay.parent() != Some(above) && !self.stable.turned.as_ref().is_some_and(is_told) {
            let (to, target) = (above.clone(), Target { members: overlay.hash(), hash: 0, goal: true });
            self.stable.turned = Some((to.clone(), now));
            out.push(had_to(vec![to], target, Had::Turned));
        }
    }

    /// The root asks about what it has now, once nothing was known to be everybody's for a while.
    fn set_goal(&mut self, now: Instant, out: &mut Vec<Outgoing<K, V>>) {
        let Some(overlay) = self.overlay.as_ref().filter(|overlay| overlay.parent().is_none()) else { return };
        let since = *self.stable.waits_since.get_or_insert(now);
        if now < since + GOAL_AFTER {
            return;
        }
        let members = overlay.hash();
        let told = self.stable.goal.take().filter(|(.., since)| now < *since + GOAL_PATIENCE);
        let clock = told.as_ref().map_or(self.table.context().clock(), |(_, clock, _)| clock).clone();
        let begun = told.map_or(now, |(.., begun)| begun);
        self.stable.waits_since = Some(now);
        self.take_goal(begun, members, clock, out);
    }

    fn take_goal(&mut self, since: Instant, members: u64, clock: Clock, out: &mut Vec<Outgoing<K, V>>) {
        let hasher = StableHasher::new(PURPOSE_GOAL).number(members);
        let hash = clock.dots.iter().fold(hasher, |hasher, (id, &counter)| hasher.node(id).number(counter)).finish();
        let to = self.below();
        if !to.is_empty() {
            out.push(Outgoing { to, lane: Lane::Delta, message: Message::Goal { members, clock: clock.clone() } });
        }
        self.stable.goal = Some((Target { members, hash, goal: true }, clock, since));
    }

    /// Those below us that can be told something: our children, and others that turned to us.
    fn below(&self) -> Vec<NodeId> {
        let Some(overlay) = &self.overlay else { return Vec::new() };
        let is_child = |id: &NodeId| overlay.children().binary_search(id).is_ok();
        let linked = self.peers.iter().filter(|(_, peer)| peer.connected);
        let below = linked.filter(|(id, peer)| is_child(id) || peer.turned == Some(overlay.hash()));
        below.map(|(id, _)| id.clone()).collect()
    }

    /// The one to whom we report. Two that cannot reach their parents must not turn to each other.
    fn above(&self) -> Option<&NodeId> {
        let overlay = self.overlay.as_ref()?;
        let is_above = |id: &&NodeId| {
            let peer = self.peers.get(*id).filter(|peer| peer.connected);
            peer.is_some_and(|peer| peer.turned != Some(overlay.hash()))
        };
        overlay.parent().into_iter().chain(overlay.stand_ins()).find(is_above)
    }

    fn report(&mut self, now: Instant, goal: bool, out: &mut Vec<Outgoing<K, V>>) {
        let (Some(overlay), Some(target)) = (self.overlay.clone(), self.target(goal)) else { return };
        let way = usize::from(goal);
        let said = |id: &NodeId| {
            let peer = self.peers.get(id).filter(|peer| peer.connected)?;
            peer.branches[way].as_ref().filter(|(said, _)| *said == target).map(|(_, had)| had)
        };
        let (mut without, mut with, mut missing) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for id in overlay.children().iter().filter(|id| said(id).is_none()) {
            if self.is_linked(id) {
                missing.push(id.clone());
            } else {
                without.insert(id.clone());
            }
        }
        if !missing.is_empty() {
            let asked_at = *self.stable.reports[way].asked_at.get_or_insert(now);
            if asked_at + RETELL <= now {
                self.stable.reports[way].asked_at = Some(now);
                out.push(had_to(missing, target, Had::Asked));
            }
            return;
        }
        for (id, had) in self.peers.keys().filter_map(|id| Some((id, said(id)?))) {
            let Had::Branch { without: theirs, with: others } = had else { continue };
            without.extend(theirs.iter().cloned());
            with.extend(others.iter().cloned());
            if overlay.children().binary_search(id).is_err() {
                with.insert(id.clone());
            }
        }
        let both: Vec<NodeId> = without.intersection(&with).cloned().collect();
        both.iter().for_each(|id| {
            without.remove(id);
            with.remove(id);
        });
        self.stable.reports[way].asked_at = None;
        if overlay.parent().is_none() {
            if without.is_empty() {
                self.learn(now, target, out);
            }
            return;
        }
        let Some(to) = self.above().filter(|_| without.len() + with.len() <= APART_MAX).cloned() else { return };
        let had = Had::Branch { without, with };
        let is_told = |(above, what, who, at): &(NodeId, Target, Had, Instant)| {
            (above, what, who) == (&to, &target, &had) && now < *at + RETELL
        };
        if !self.stable.reports[way].told.as_ref().is_some_and(is_told) {
            self.stable.reports[way].told = Some((to.clone(), target, had.clone(), now));
            out.push(had_to(vec![to], target, had));
        }
    }

    pub(super) fn on_had(
        &mut self,
        now: Instant,
        from: &NodeId,
        target: Target,
        had: Had,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let is_ours = self.overlay.as_ref().is_some_and(|overlay| overlay.hash() == target.members);
        match had {
            Had::All => {
                let is_news = self.stable.alike != Some(target);
                if is_news && self.above() == Some(from) && self.target(target.goal) == Some(target) {
                    self.learn(now, target, out);
                }
            }
            // What we said may have been lost. Who sees other members is told nothing: it may be ours to ask.
            Had::Asked if is_ours => {
                self.stable.reports[usize::from(target.goal)].told = None;
                self.report(now, target.goal, out);
            }
            Had::Asked => {}
            Had::Turned => {
                self.peer(from).turned = Some(target.members);
                let goal = self.stable.goal.as_ref().filter(|(goal, ..)| is_ours && goal.members == target.members);
                if let Some((Target { members, .. }, clock, _)) = goal {
                    let message = Message::Goal { members: *members, clock: clock.clone() };
                    out.push(Outgoing { to: vec![from.clone()], lane: Lane::Delta, message });
                }
            }
            Had::Branch { ref without, ref with } if without.len() + with.len() > APART_MAX => {}
            Had::Branch { .. } => {
                self.peer(from).branches[usize::from(target.goal)] = Some((target, had));
                if self.is_stable() && self.stable.alike == Some(target) {
                    out.push(had_to(vec![from.clone()], target, Had::All));
                } else if !self.is_stable() {
                    self.report(now, target.goal, out);
                }
            }
        }
    }

    /// The root asks.
    pub(super) fn on_goal(
        &mut self,
        now: Instant,
        from: &NodeId,
        members: u64,
        clock: Clock,
        out: &mut Vec<Outgoing<K, V>>,
    ) {
        let is_ours = self.overlay.as_ref().is_some_and(|overlay| overlay.hash() == members);
        if is_ours && self.above() == Some(from) {
            self.take_goal(now, members, clock, out);
            self.report(now, true, out);
        }
    }

    /// All members have had this, and we have it.
    fn learn(&mut self, now: Instant, target: Target, out: &mut Vec<Outgoing<K, V>>) {
        let Some(overlay) = self.overlay.clone() else { return };
        let to = self.below();
        let mut clock = match self.stable.goal.take_if(|_| target.goal) {
            Some((_, clock, _)) => clock,
            None => {
                self.stable.alike = Some(target);
                self.hear_all(&overlay);
                self.table.context().clock().clone()
            }
        };
        self.stable.waits_since = Some(now);
        if let Some(before) = self.stable.known.take() {
            // Who is away now had what was known before.
            for id in self.counted.iter().filter(|id| before.overlay.has(id) && !overlay.has(id)) {
                self.peers.entry(id.clone()).or_default().acked.merge(before.clock.clone());
            }
            // Who has come since has it too.
            if before.overlay.hash() == overlay.hash() {
                clock.merge(before.clock);
            }
        }
        self.stable.known = Some(Known { clock, overlay });
        if !to.is_empty() {
            out.push(had_to(to, target, Had::All));
        }
    }

    /// We have what everybody had at some moment.
    fn hear_all(&mut self, overlay: &Arc<Overlay>) {
        let Stable { heard, unheard, met, .. } = &mut self.stable;
        met.clear();
        unheard.retain(|id| overlay.has(id));
        if heard.replace(overlay.clone()).is_none_or(|before| before.hash() != overlay.hash()) {
            self.hearings += 1;
        }
    }

    // ---- whom we speak to

    /// Whether we speak to this one of those with whom there is a session.
    pub(super) fn speaks_to(&self, id: &NodeId) -> bool {
        self.overlay.as_ref().is_none_or(|overlay| overlay.is_neighbour(id))
    }

    /// From now on the members are seen like this; `None` where all speak to all.
    pub fn set_overlay(&mut self, overlay: Option<Arc<Overlay>>, out: &mut Vec<Outgoing<K, V>>) {
        self.overlay = overlay;
        // Whoever went and is back may have changed meanwhile.
        (self.stable.alike, self.stable.goal, self.stable.waits_since) = (None, None, None);
        (self.stable.reports, self.stable.turned) = Default::default();
        self.peers.values_mut().for_each(|peer| peer.branches = Branches::default());
        let sessions: Vec<NodeId> = self.sessions.iter().cloned().collect();
        for id in sessions {
            let is_spoken_to = self.peers.get(&id).is_some_and(|peer| peer.connected && !peer.guest);
            match (is_spoken_to, self.speaks_to(&id)) {
                (false, true) => self.link(&id, out),
                (true, false) => self.peer(&id).guest = true,
                _ => {}
            }
        }
    }

    /// Whether there is a session with this one, whether we speak to it or not.
    pub fn has_session(&self, id: &NodeId) -> bool {
        self.sessions.contains(id)
    }

    pub(super) fn is_linked(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.connected)
    }

    /// Takes those up for a while with whom we do not speak otherwise: they have spoken to us, or are to be asked.
    pub(super) fn receive_guest(&mut self, id: &NodeId) {
        if self.sessions.contains(id) && !self.is_linked(id) {
            self.begin(id, true);
        }
    }

    /// A guest has spoken.
    pub(super) fn note_guest(&mut self, id: &NodeId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.lingers = peer.guest;
        }
    }

    /// Guests that have not been heard for a repair interval are none any more.
    pub(super) fn see_guests_off(&mut self, now: Instant) {
        let members = self.overlay.as_ref().map(|overlay| overlay.hash());
        let stays = |peer: &Peer| peer.lingers || peer.is_asked(now) || (members.is_some() && peer.turned == members);
        let is_idle = |peer: &Peer| peer.guest && peer.connected && !stays(peer);
        let idle = self.peers.iter().filter(|(_, peer)| is_idle(peer));
        let idle: Vec<NodeId> = idle.map(|(id, _)| id.clone()).collect();
        idle.iter().for_each(|id| self.end(id));
        self.peers.values_mut().for_each(|peer| peer.lingers = false);
    }
}

fn had_to<K: Key, V: Payload>(to: Vec<NodeId>, target: Target, had: Had) -> Outgoing<K, V> {
    Outgoing { to, lane: Lane::Delta, message: Message::Had { target, had } }
}
