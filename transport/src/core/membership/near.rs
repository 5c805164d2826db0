//! Few sessions among many members.
//!
//! Past [`Mesh::direct_peers`] others a node wants sessions with its neighbours in the [`Overlay`] of the living, and no
//! more. What is for others, membership's own datagrams included, is passed on (see [`ways`](crate::core::ways)), so that to
//! foca and to the layers above everybody is within reach, as among few.
//!
//! ```text
//!   Member, Connected, DialFailed ─▶ overlay ─▶ dials (settle)      who is to have a session
//!             Connected, overlay ─▶ ways ────▶ Reached, Lost       who is within reach without one
//!                       overlay ─▶ Close                           whoever dialled hangs up what it needs no more
//! ```
//!
//! Of those that are down a node dials the ones that would be its neighbours among all that have not left, and one of the
//! others in turn: over any cut somebody looks for somebody. A seed is dialled unless it is known as a living member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::judge::Ask;
use super::swim::Identity;
use super::{Effect, Membership, Session, packet};
use crate::core::hash::StableHasher;
use crate::core::id::{NodeId, NodeName};
use crate::core::message::{Hello, Refusal};
use crate::core::overlay::{Mesh, OVERLAY_DELAY, Overlay};
use crate::core::time::Instant;
use crate::core::view::{Addr, Member, Status};
use crate::core::ways::{Step, Ways};

/// How long a session stays that is needed no more: the view may change again.
pub const LINGER: Duration = Duration::from_secs(10);

/// How long the last overlay is gone by where there is none any more, until all have sessions with all.
const FADING: Duration = Duration::from_secs(2);

/// At how many turns of a peer in a row it may see other members than we do until it is told of all.
const DIFFERS_MAX: u32 = 2;
/// After so many of its turns a peer is told again what it was told before: it may have been lost.
const RETELL_TURNS: u32 = 8;

const PURPOSE_VIEW: u64 = 0x76_6965_7700;

/// Which members are to have a session with us, and how the others are reached.
#[derive(Debug, Default)]
pub(super) struct Near {
    mesh: Mesh,
    /// Of the living; `None` where they are so few that all have sessions with all.
    overlay: Option<Overlay>,
    /// The one before, for a while, where there is none any more: not all have sessions with all yet.
    fading: Option<(Overlay, Instant)>,
    /// Which of those that are down we look for, where there is an overlay and somebody is.
    missed: Option<BTreeSet<NodeId>>,
    /// Which of them is looked for beside those that would be neighbours.
    turn: usize,
    /// How often a neighbour was told news.
    gossip_turn: usize,
    /// When to look at the members again.
    look_at: Option<Instant>,
    ways: Arc<Ways>,
    /// Whether the overlay, or who has a session, changed since.
    ways_stale: bool,
    /// Who is within reach without a session, as was told; by nonce.
    reached: Vec<(u64, NodeId)>,
    /// The nonces of those in the overlay who live no more.
    gone: BTreeSet<u64>,
    /// Living members that did not answer when they were dialled.
    failing: BTreeSet<Addr>,
    /// Seeds that answered, and who that was.
    met: BTreeMap<Addr, NodeName>,
    /// Of the members as the view shows them; found when it is asked for.
    hash: Option<u64>,
    /// When to look for sessions that are needed no more.
    prune_at: Option<Instant>,
}

/// What two peers told each other about what they see.
#[derive(Debug, Default)]
pub(super) struct Digests {
    told: Option<u64>,
    heard: Option<u64>,
    turns: u32,
    /// How often in a row it was not the same.
    differs: u32,
}

impl Near {
    pub(super) fn new(mesh: Mesh) -> Self {
        Self { mesh, ..Self::default() }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        let faded_at = self.fading.as_ref().map(|(_, until)| *until);
        [self.look_at, self.prune_at, faded_at].into_iter().flatten().min()
    }

    /// Who has a session with whom, where not all have.
    pub(super) fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref()
    }

    /// The same, or what it was a moment ago: those without a session are reached by it, and others look after them.
    pub(super) fn graph(&self) -> Option<&Overlay> {
        self.overlay.as_ref().or(self.fading.as_ref().map(|(overlay, _)| overlay))
    }

    /// Whether a member is to have a session with us.
    pub(super) fn wants(&self, row: &Member) -> bool {
        if row.status.is_living() {
            self.overlay.as_ref().is_none_or(|overlay| overlay.is_neighbour(&row.id))
        } else {
            self.missed.as_ref().map_or(self.overlay.is_none(), |missed| missed.contains(&row.id))
        }
    }

    /// Whether a seed is still to be dialled: who is a member is dialled as such, or reached.
    pub(super) fn wants_seed<'a>(&self, seed: &Addr, mut living: impl Iterator<Item = &'a Member>) -> bool {
        let met = self.met.get(seed);
        self.overlay.is_none() || !living.any(|row| row.addr == *seed || met == Some(&row.id.name))
    }

    /// A member is within reach no more, or by a session. Returns whether it was without.
    fn forget(&mut self, peer: &NodeId) -> bool {
        let at = self.reached.binary_search_by_key(&peer.nonce, |(nonce, _)| *nonce);
        at.is_ok_and(|at| self.reached[at].1 == *peer && self.reached.remove(at).1 == *peer)
    }

    /// Sessions came or went, or whether they are good for passing something on.
    pub(super) fn sessions_changed(&mut self) {
        self.ways_stale = true;
    }
}

impl Membership {
    /// How members without a session are reached.
    pub fn ways(&self) -> &Arc<Ways> {
        &self.near.ways
    }

    /// Whether a member is within reach without a session, as was told by [`Effect::Reached`].
    pub fn is_reached(&self, id: &NodeId) -> bool {
        let at = self.near.reached.binary_search_by_key(&id.nonce, |(nonce, _)| *nonce);
        at.is_ok_and(|at| self.near.reached[at].1 == *id)
    }

    /// A row of the view changed.
    pub(super) fn near_changes(
        &mut self,
        now: Instant,
        before: Option<&Member>,
        row: &Member,
        effects: &mut Vec<Effect>,
    ) {
        let place =
            |row: &Member| (row.id.clone(), row.addr.clone(), row.status.is_living(), row.status == Status::Left);
        self.near.hash = None;
        self.near.ways_stale |= self.sessions.contains_key(&row.id);
        let gone = before.filter(|before| before.id != row.id).map(|before| &before.id);
        let gone = gone.or(Some(&row.id).filter(|_| !row.status.is_living()));
        if let Some(peer) = gone {
            if self.near.graph().is_some_and(|overlay| overlay.has(peer)) {
                self.near.gone.insert(peer.nonce);
            }
            if self.near.forget(peer) {
                effects.push(Effect::Lost { peer: peer.clone() });
            }
        }
        if row.status.is_living() {
            self.near.gone.remove(&row.id.nonce);
        }
        // It may be back before anybody has looked at the members again.
        let is_back = before.is_some_and(|before| !before.status.is_living()) && row.status.is_living();
        self.near.ways_stale |= is_back && self.near.graph().is_some_and(|overlay| overlay.has(&row.id));
        if before.map(place) != Some(place(row)) {
            self.look_soon(now);
        }
    }

    fn look_soon(&mut self, now: Instant) {
        // At first at once: otherwise all would dial all until then.
        let delay = if self.near.overlay.is_some() { OVERLAY_DELAY } else { Duration::ZERO };
        let at = now + delay;
        self.near.look_at = Some(self.near.look_at.map_or(at, |planned| planned.min(at)));
    }

    /// A dial succeeded, or a peer has dialled us.
    pub(super) fn note_met(&mut self, now: Instant, hello: &Hello, dialled: Option<&Addr>) {
        if self.near.failing.remove(&hello.addr) {
            self.look_soon(now);
        }
        if let Some(seed) = dialled.filter(|addr| self.seeds.contains(addr)) {
            self.near.met.insert(seed.clone(), hello.id.name.clone());
        }
    }

    /// Nobody answered at an address.
    pub(super) fn note_unmet(&mut self, now: Instant, addr: &Addr) {
        let is_neighbours =
            |overlay: &Overlay| self.view.living().any(|row| row.addr == *addr && overlay.is_neighbour(&row.id));
        if self.near.overlay.as_ref().is_some_and(is_neighbours) && self.near.failing.insert(addr.clone()) {
            self.look_soon(now);
        }
    }

    /// After every call: who is to have a session, and who is reached without.
    pub(super) fn settle_near(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.near.look_at.take_if(|at| *at <= now).is_some() {
            self.look_at_members(now);
        }
        if self.near.fading.take_if(|(_, until)| *until <= now).is_some() {
            self.near.ways_stale = true;
        }
        if std::mem::take(&mut self.near.ways_stale) {
            self.find_ways(effects);
            self.plan_pruning(now);
        }
        if self.near.prune_at.take_if(|at| *at <= now).is_some() {
            self.prune(now, effects);
            self.plan_pruning(now);
        }
    }

    fn look_at_members(&mut self, now: Instant) {
        let own = self.id().clone();
        let Mesh { direct_peers, rings } = self.near.mesh;
        let members = |counts: fn(Status) -> bool| {
            let others = self.view.members().filter(|row| row.id.name != own.name && counts(row.status));
            let members: Vec<NodeId> = others.map(|row| row.id.clone()).chain([own.clone()]).collect();
            Some(members).filter(|members| members.len() > direct_peers + 1)
        };
        let in_reach = |id: &NodeId| {
            let fails = |row: &Member| self.near.failing.contains(&row.addr);
            self.sessions.contains_key(id) || !self.view.of(id).is_some_and(fails)
        };
        let overlay = members(Status::is_living).map(|members| Overlay::new(&own, members, rings, in_reach));
        let is_any_down = self.view.members().any(|row| row.status == Status::Down);
        let all = members(|status| status != Status::Left).filter(|_| overlay.is_some() && is_any_down);
        let mut missed: Option<BTreeSet<NodeId>> = all.map(|members| {
            let around = Overlay::new(&own, members, rings, |_| true);
            around.neighbours().iter().cloned().collect()
        });
        if let Some(missed) = &mut missed {
            // And another one each time: the neighbours may all be gone for good.
            let down: Vec<&Member> = self.view.members().filter(|row| row.status == Status::Down).collect();
            missed.extend(down.get(self.near.turn % down.len().max(1)).map(|row| row.id.clone()));
            self.near.turn = self.near.turn.wrapping_add(1);
        }
        let addrs: BTreeSet<&Addr> = self.view.living().map(|row| &row.addr).collect();
        self.near.failing.retain(|addr| addrs.contains(addr));
        if overlay.is_none() {
            self.near.met.clear();
        }
        match (&overlay, self.near.overlay.take()) {
            (Some(_), _) => {
                self.near.fading = None;
                self.near.gone.clear();
            }
            (None, Some(before)) => self.near.fading = Some((before, now + FADING)),
            (None, None) => {}
        }
        (self.near.overlay, self.near.missed) = (overlay, missed);
        (self.near.ways_stale, self.dials_stale) = (true, true);
        self.peers_stale = true;
        if self.near.missed.is_some() {
            self.near.look_at = Some(now + LINGER);
        }
    }

    /// What the ways are now, and for whom that makes a difference.
    fn find_ways(&mut self, effects: &mut Vec<Effect>) {
        let own = self.id().clone();
        let is_up = |id: &&NodeId| self.view.of(id).is_some_and(|row| row.status == Status::Up);
        let sessions = self.sessions.iter().filter(|(_, session)| !session.closing).map(|(id, _)| id);
        let ways = self.near.graph().map(|overlay| Ways::new(&own, overlay, sessions.filter(is_up)));
        let ways = ways.unwrap_or_default();
        if ways != *self.near.ways {
            self.near.ways = Arc::new(ways);
            effects.push(Effect::Ways);
        }
        let mut met: Vec<u64> = self.sessions.keys().map(|id| id.nonce).collect();
        met.sort_unstable();
        let is_stranger = |nonce: u64| met.binary_search(&nonce).is_err() && !self.near.gone.contains(&nonce);
        let mut before = std::mem::take(&mut self.near.reached).into_iter().peekable();
        let (mut lost, mut new) = (Vec::new(), Vec::new());
        for (nonce, id) in self.near.ways.reached().filter(|(nonce, _)| is_stranger(*nonce)) {
            while let Some((_, peer)) = before.next_if(|(other, _)| *other < nonce) {
                lost.push(Effect::Lost { peer });
            }
            let known = before.next_if(|(other, _)| *other == nonce).unwrap_or_else(|| {
                new.push(Effect::Reached { peer: id.clone() });
                (nonce, id.clone())
            });
            self.near.reached.push(known);
        }
        lost.extend(before.map(|(_, peer)| Effect::Lost { peer }));
        effects.extend(lost.into_iter().chain(new));
    }

    /// We go on as another incarnation, or a session takes the place of the ways.
    pub(super) fn forget_reached(&mut self, peer: &NodeId) {
        self.near.forget(peer);
    }

    /// Nobody is within reach any more, for we go on as another incarnation.
    pub(super) fn lose_all(&mut self, effects: &mut Vec<Effect>) {
        let reached = std::mem::take(&mut self.near.reached);
        effects.extend(reached.into_iter().map(|(_, peer)| Effect::Lost { peer }));
        let mesh = self.near.mesh;
        let before = std::mem::replace(&mut self.near, Near::new(mesh));
        self.near.met = before.met;
        if !before.ways.is_empty() {
            effects.push(Effect::Ways);
        }
    }

    // ---- sessions that are needed no more

    fn is_superfluous(&self, peer: &NodeId, session: &Session) -> bool {
        let overlay = self.near.overlay.as_ref();
        session.dialled
            && !session.closing
            && overlay.is_some_and(|overlay| overlay.has(peer) && !overlay.is_neighbour(peer))
            && self.view.is_living(peer)
            && !self.asks.contains_key(&peer.name)
    }

    fn plan_pruning(&mut self, now: Instant) {
        let asks = self.asks.len();
        self.asks.retain(|_, ask| ask.is_recent(now));
        self.dials_stale |= asks != self.asks.len();
        let superfluous = self.sessions.iter().filter(|(peer, session)| self.is_superfluous(peer, session));
        let superfluous: BTreeSet<NodeId> = superfluous.map(|(peer, _)| peer.clone()).collect();
        for (peer, session) in &mut self.sessions {
            let since = session.superfluous_since.unwrap_or(now);
            session.superfluous_since = superfluous.contains(peer).then_some(since);
        }
        let closed = self.sessions.values().filter_map(|session| session.superfluous_since).map(|since| since + LINGER);
        let asked = self.asks.values().map(Ask::over_at).filter(|_| self.near.overlay.is_some());
        self.near.prune_at = closed.chain(asked).min();
    }

    fn prune(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_due = |session: &Session| session.superfluous_since.is_some_and(|since| since + LINGER <= now);
        let due = self.sessions.iter().filter(|(peer, session)| is_due(session) && self.is_superfluous(peer, session));
        let due: Vec<NodeId> = due.map(|(peer, _)| peer.clone()).collect();
        for peer in due {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.closing = true;
            }
            effects.push(Effect::Close { peer, refusal: Refusal::Superfluous });
        }
    }

    // ---- what neighbours see

    /// A hash of who lives, who is down and who left, as we see it.
    fn view_hash(&mut self) -> u64 {
        let view = &self.view;
        *self.near.hash.get_or_insert_with(|| {
            let place = |status: Status| match status {
                Status::Up | Status::Suspect => 0,
                Status::Down => 1,
                Status::Left => 2,
            };
            let hasher = StableHasher::new(PURPOSE_VIEW);
            view.members().fold(hasher, |hasher, row| hasher.node(&row.id).number(place(row.status))).finish()
        })
    }

    /// Tells a peer what we see, if it does not know: news reach nearly everybody, and whom they missed would not notice. If
    /// it sees something else for a while, it is told everything.
    pub(super) fn compare_views(&mut self, peer: &NodeId, effects: &mut Vec<Effect>) {
        let hash = self.view_hash();
        let Some(Session { hello, digests, .. }) = self.sessions.get_mut(peer) else { return };
        digests.turns = (digests.turns + 1) % RETELL_TURNS;
        if digests.told.replace(hash) != Some(hash) || digests.turns == 0 {
            effects.push(Effect::Datagram { to: peer.clone(), bytes: packet::digest(hash) });
        }
        digests.differs = if digests.heard.is_none_or(|theirs| theirs == hash) { 0 } else { digests.differs + 1 };
        if digests.differs >= DIFFERS_MAX {
            digests.differs = 0;
            let addr = hello.addr.clone();
            let peer = self.identity_of(peer, &addr);
            self.tell_all(&peer, effects);
        }
    }

    /// A peer told what it sees.
    pub(super) fn on_digest(&mut self, peer: &NodeId, hash: u64) {
        if let Some(session) = self.sessions.get_mut(peer) {
            session.digests.heard = Some(hash);
        }
    }

    // ---- datagrams

    /// The neighbour whose turn it is to hear news that foca would tell a stranger.
    pub(super) fn next_to_gossip(&mut self) -> Option<Identity> {
        let is_open = |session: &&Session| !session.closing && self.view.is_living(&session.hello.id);
        let open: Vec<&Session> = self.sessions.values().filter(is_open).collect();
        let (turn, len) = (self.near.gossip_turn, open.len());
        // Another one first each round: what goes in every second packet would reach every second neighbour only.
        let at = turn.wrapping_add(turn.checked_div(len)?) % len;
        let peer = open.get(at).map(|session| self.identity_of(&session.hello.id, &session.hello.addr));
        self.near.gossip_turn = turn.wrapping_add(1);
        peer
    }

    /// Sends a datagram over the session with a member, or by way of others; without either it is lost.
    pub(super) fn send(&self, to: &NodeId, bytes: Bytes, effects: &mut Vec<Effect>) {
        if self.sessions.contains_key(to) {
            effects.push(Effect::Datagram { to: to.clone(), bytes });
        } else if let Some((to, passed)) = self.near.ways.begin(to) {
            effects.push(Effect::Datagram { to, bytes: packet::wrap(passed, &bytes) });
        }
    }

    /// Passes on what is for somebody else. Returns whose it is if it is for us, and the datagram itself.
    pub(super) fn take_passed(
        &self,
        peer: &NodeId,
        bytes: &Bytes,
        effects: &mut Vec<Effect>,
    ) -> Option<(NodeId, Bytes)> {
        let Some((passed, inner)) = packet::unwrap(bytes) else { return Some((peer.clone(), bytes.clone())) };
        match self.near.ways.step(peer, passed) {
            Step::Here(from) => return Some((from, inner)),
            Step::On(to, passed) => effects.push(Effect::Datagram { to, bytes: packet::wrap(passed, &inner) }),
            Step::Nowhere => {}
        }
        None
    }

    /// Where a member is dialled, if it has a session or is known.
    pub(super) fn addr_of(&self, id: &NodeId) -> Option<Addr> {
        let session = self.sessions.get(id).map(|session| session.hello.addr.clone());
        session.or_else(|| self.view.of(id).map(|row| row.addr.clone()))
    }
}
