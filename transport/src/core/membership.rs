//! Who is there: the pure membership core.
//!
//! SWIM (by the `foca` crate) over the datagrams of sessions, plus what SWIM leaves open: whom to dial, who may have a
//! name ([`judge`](Membership::judge)), who left for good, and how far our own verdicts are to be trusted when our clockwork is late.
//!
//! ```text
//!   Connected, Disconnected, Datagram,      ┌────────────┐   Datagram, Dial, Close,
//!   DialFailed, Unreachable, Leave, Remove ─▶ Membership ├─▶ Member, Reborn, NameTaken
//!                             judge(Hello) ─▶            │
//!                           handle_timeout ─▶            │
//!                                           └────────────┘
//! ```
//!
//! The driver owns the sessions. It dials where it is told to unless a session with that address exists or is being
//! dialled, exchanges [`Hello`]s, asks both sides' [`judge`](Membership::judge), and reports what came of it. It calls
//! [`handle_timeout`](Membership::handle_timeout) as soon as [`poll_timeout`](Membership::poll_timeout) says so, which
//! any call may change. A fresh core wants to be called at once.
//!
//! Every node keeps its own [`View`]; nothing here is agreed upon.

mod boundary;
mod dials;
mod judge;
mod near;
mod packet;
mod probe;
mod refused;
mod rows;
mod settle;
mod swim;
#[cfg(test)]
mod tests;
mod timers;
mod timings;

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Foca, Header, Message, State, Timer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::dials::Dials;
use self::judge::Ask;
use self::near::{Digests, Near};
use self::packet::{Known, Packet, PacketCodec, Update};
use self::probe::Probes;
use self::refused::Refusals;
use self::rows::Rows;
use self::swim::{Identity, LEFT, Swim, Wishes};
use self::timers::Timers;
use super::defects::{Defect, is_present};
use super::id::{NodeId, NodeName};
use super::message::{Hello, Refusal};
use super::time::{Hlc, Instant, Now};
use super::view::{Addr, Member, Status, View};

pub use self::boundary::{Effect, Input, MembershipConfig};
pub use self::near::LINGER;
pub use self::packet::{ADDR_BYTES_MAX, DATAGRAM_BYTES_MAX};
pub use self::refused::{REFUSALS_IGNORED, WITNESSES_MAX};
pub use self::timers::{GRACE_MAX, HEALED_AFTER, HEALTH_MAX, LATE_MIN, POSTPONED_MAX};
pub use self::timings::Timings;

/// Most names that a node keeps as members, dead ones included. News of further names are ignored.
pub const MEMBERS_MAX: usize = 4096;
/// Shortest time between two renewals of our identity: whoever holds us as down says so in answer to every datagram.
pub const RENEWAL_MIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Session {
    hello: Hello,
    /// Whether we dialled it.
    dialled: bool,
    /// Since when it is needed no more.
    superfluous_since: Option<Instant>,
    /// When the last datagram came, or the session began.
    heard_at: Instant,
    digests: Digests,
    /// Whether [`Effect::Close`] was given out.
    closing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Fresh,
    Running,
    Left,
}

/// The membership of one node. See the [module](self).
pub struct Membership {
    cluster: String,
    started: Hlc,
    seeds: Vec<Addr>,
    timings: Timings,
    phase: Phase,
    swim: Swim,
    /// foca's current timer token, learnt from the timers it sets.
    token: u8,
    timers: Timers,
    sessions: BTreeMap<NodeId, Session>,
    dials: Dials,
    /// Whether the view, a session or our id changed since the dials were looked at.
    dials_stale: bool,
    /// Whether what is believed of a member, a session or our id changed since the last call was settled.
    peers_stale: bool,
    /// Whether there is a session with somebody who is not believed to live.
    odd_sessions: bool,
    known: Known,
    asks: BTreeMap<NodeName, Ask>,
    refusals: Refusals,
    near: Near,
    probes: Probes,
    /// foca's gossip timer, while there is nothing to gossip.
    idle_gossip: Option<Timer<Identity>>,
    view: View,
    rows: Rows,
    /// Of foca's rows when the view was last compared with all of them.
    rows_sum: Option<u64>,
    /// The hashed names of the rows that this call may have changed; `None`: any.
    touched: Option<Vec<u64>>,
    renewed_at: Option<Instant>,
    /// When to speak next to the members that are down and have a session.
    announce_at: Option<Instant>,
    rng: ChaCha8Rng,
    /// What `judge` wants done; given out by the next call.
    pending: Vec<Effect>,
}

impl Membership {
    /// A core that knows only itself.
    pub fn new(config: MembershipConfig) -> Self {
        let MembershipConfig { id, addr, started, cluster, seeds, seed, timings, mesh } = config;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let identity = Identity::new(id, addr, 0);
        let swim = Foca::new(identity, swim::config(&timings), ChaCha8Rng::seed_from_u64(seed), PacketCodec::default());
        Self {
            cluster,
            started,
            seeds,
            timings,
            phase: Phase::Fresh,
            swim,
            token: 0,
            timers: Timers::default(),
            sessions: BTreeMap::new(),
            dials: Dials::default(),
            dials_stale: true,
            peers_stale: true,
            odd_sessions: false,
            known: Known::default(),
            asks: BTreeMap::new(),
            refusals: Refusals::default(),
            near: Near::new(mesh),
            probes: Probes::default(),
            idle_gossip: None,
            view: View::default(),
            rows: Rows::default(),
            rows_sum: None,
            touched: None,
            renewed_at: None,
            announce_at: None,
            rng,
            pending: Vec::new(),
        }
    }

    /// Who we are now.
    pub fn id(&self) -> &NodeId {
        &self.swim.identity().id
    }

    /// What we believe of the members, ourselves included.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What we say first in every session.
    pub fn hello(&self) -> Hello {
        let Identity { id, addr, .. } = self.swim.identity().clone();
        Hello { cluster: self.cluster.clone(), id, addr, started: self.started }
    }

    /// How many times longer than configured our verdicts take at present, because our own clockwork is late.
    pub fn stretch(&self) -> u32 {
        self.timers.stretch()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Fresh => Some(Instant::default()),
            Phase::Running if !self.pending.is_empty() => Some(Instant::default()),
            Phase::Running => {
                let firsts = [self.timers.first(), self.dials.first(), self.refusals.first(), self.near.first()];
                firsts.into_iter().chain([self.announce_at, self.probes.first()]).flatten().min()
            }
            Phase::Left => None,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Left {
            return;
        }
        let now = now.at;
        self.timers.called(now);
        self.begin(effects);
        match input {
            Input::Connected { hello, dialled } => self.on_connected(now, hello, dialled.as_ref(), effects),
            Input::Disconnected { peer } => {
                self.dials_stale |= self.sessions.remove(&peer).is_some();
                self.sessions_changed();
            }
            Input::Datagram { from, bytes } => {
                self.touched = Some(Vec::new());
                if self.sessions.contains_key(&from)
                    && let Some((from, bytes)) = self.take_passed(&from, &bytes, effects)
                {
                    self.on_datagram(now, &from, &bytes, effects);
                }
            }
            Input::DialFailed { addr, refusal } => self.on_dial_failed(now, &addr, refusal, effects),
            Input::Unreachable { peer, rtt } => self.on_unreachable(now, &peer, rtt, effects),
            Input::Leave => return self.on_leave(effects),
            Input::Remove { name } => self.on_remove(now, &name, effects),
        }
        self.settle(now, effects);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Left {
            return;
        }
        let now = now.at;
        self.timers.called(now);
        self.begin(effects);
        while let Some(timer) = self.timers.take_due(now) {
            self.swim(now, effects, |swim, wishes| swim.handle_timer(timer, wishes));
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_to_down(now, effects);
        }
        self.look_at_ports(now, effects);
        self.probe_neighbours(now, effects);
        self.settle(now, effects);
        let jitter = (self.timings.dial_min, self.timings.dial_max);
        while let Some(addr) = self.dials.take_due(now, jitter, &mut self.rng) {
            effects.push(Effect::Dial { addr });
        }
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Fresh {
            self.phase = Phase::Running;
            self.show(Instant::default(), self.own_row(Status::Up), effects);
        }
        effects.append(&mut self.pending);
    }

    fn on_connected(&mut self, now: Instant, hello: Hello, dialled: Option<&Addr>, effects: &mut Vec<Effect>) {
        self.asks.remove(&hello.id.name);
        self.note_met(now, &hello, dialled);
        self.forget_reached(&hello.id);
        self.sessions_changed();
        let peer = self.identity_of(&hello.id, &hello.addr);
        // Who was reached by way of others has heard what we have.
        let is_known = self.near.overlay().is_some() && self.view.is_living(&hello.id);
        let stranger = hello.id.name == self.id().name || self.is_full_for(&hello.id.name);
        self.dials_stale = true;
        self.sessions.insert(
            hello.id.clone(),
            Session {
                hello,
                dialled: dialled.is_some(),
                superfluous_since: None,
                heard_at: now,
                digests: Digests::default(),
                closing: false,
            },
        );
        if peer.renewal == LEFT || stranger {
            return;
        }
        let alive = Update::alive(peer.clone());
        self.swim(now, effects, |swim, wishes| swim.apply_many([alive].into_iter(), true, wishes));
        self.swim(now, effects, |swim, wishes| swim.announce(peer.clone(), wishes));
        if !is_known {
            self.tell_all(&peer, effects);
        }
    }

    /// Sends a new peer every row that we have, the dead ones too, which foca's own feed leaves out.
    fn tell_all(&self, peer: &Identity, effects: &mut Vec<Effect>) {
        let mut updates: Vec<_> =
            self.swim.iter_membership_state().filter(|row| row.id().id.name != peer.id.name).cloned().collect();
        updates.sort_by(|a, b| a.id().id.cmp(&b.id().id));
        if !updates.is_empty() {
            self.gossip_as(Message::Gossip, peer, updates, effects);
        }
    }

    fn on_datagram(&mut self, now: Instant, from: &NodeId, bytes: &[u8], effects: &mut Vec<Effect>) {
        if let Some(hash) = packet::read_digest(bytes) {
            return self.on_digest(from, hash);
        }
        let own = self.swim.identity().clone();
        let Some(addr) = self.addr_of(from) else { return };
        let mut packet = match Packet::from_wire(bytes, from, &addr, &own, &mut self.known, &self.rows) {
            Ok(packet) => packet,
            Err(error) => return tracing::debug!(peer = %from, %error, "membership datagram dropped"),
        };
        if let Some(session) = self.sessions.get_mut(from) {
            session.heard_at = now;
        }
        self.probes.note(from, &packet.header.message);
        if is_present(Defect::SuspectIsDown) && self.view.of(from).is_some_and(|row| row.status == Status::Suspect) {
            return;
        }
        if packet.header.message == Message::TurnUndead && !self.may_renew(now) {
            return;
        }
        if is_present(Defect::OneWayFlaps) && matches!(packet.header.message, Message::PingReq { .. }) {
            return;
        }
        let mut above = None;
        let mut updates = std::mem::take(&mut packet.updates);
        updates.retain(|update| self.admit(now, &own, update, &mut above));
        if packet.header.message == Message::Broadcast {
            packet.header.message = Message::Gossip;
            self.on_refused_elsewhere(from, &updates, effects);
        }
        packet.updates = updates;
        if let Some(touched) = &mut self.touched {
            let Header { src, src_incarnation, .. } = &packet.header;
            let speaks = Update::new(src.clone(), *src_incarnation, State::Alive);
            let sender = Some(src.name_hash).filter(|_| !self.rows.knows(&speaks));
            touched.extend(packet.updates.iter().map(|update| update.id().name_hash).chain(sender));
        }
        let Some(bytes) = packet.to_foca() else { return };
        self.swim(now, effects, |swim, wishes| swim.handle_data(&bytes, wishes));
        if let Some(id) = above {
            self.be_reborn(now, &id, effects);
        }
    }

    /// Whether foca may see an update. Those about our own name are ours to read: foca would declare any other holder of
    /// the name down, to everybody.
    fn admit(&self, now: Instant, own: &Identity, update: &Update, above: &mut Option<NodeId>) -> bool {
        let about = update.id();
        if is_present(Defect::SuspectIsDown) && self.view.of(&about.id).is_some_and(|row| row.status == Status::Suspect)
        {
            return update.state() != State::Alive;
        }
        if about.id.name != own.id.name {
            return !self.is_full_for(&about.id.name);
        }
        if about == own {
            return update.state() != State::Down || self.may_renew(now);
        }
        let gone = about.id > own.id || (about.id == own.id && about.renewal == LEFT);
        if gone && update.state() == State::Down {
            *above = Some(above.take().map_or_else(|| about.id.clone(), |id| id.max(about.id.clone())));
        }
        false
    }

    fn may_renew(&self, now: Instant) -> bool {
        self.renewed_at.is_none_or(|at| now.saturating_since(at) >= RENEWAL_MIN)
    }

    fn on_dial_failed(&mut self, now: Instant, addr: &Addr, refusal: Option<Refusal>, effects: &mut Vec<Effect>) {
        match refusal {
            None => self.note_unmet(now, addr),
            Some(Refusal::Superfluous) => {}
            Some(Refusal::Cluster(_)) => self.dials.set_due(addr, now + self.timings.stranger_retry),
            Some(Refusal::Checking) => self.dials.set_due(addr, now + self.timings.checking_retry),
            Some(Refusal::Silent) => self.dials.set_due(addr, now),
            Some(Refusal::NameTaken(holder)) => effects.push(Effect::NameTaken { holder }),
            Some(Refusal::Superseded(known)) if known.name == self.id().name && known >= *self.id() => {
                self.be_reborn(now, &known, effects);
            }
            // Of another node, or of an incarnation that we are above already.
            Some(Refusal::Superseded(_)) => {}
        }
    }

    fn on_leave(&mut self, effects: &mut Vec<Effect>) {
        let left = Identity { renewal: LEFT, ..self.swim.identity().clone() };
        let peers: Vec<_> =
            self.sessions.values().map(|session| self.identity_of(&session.hello.id, &session.hello.addr)).collect();
        for peer in peers {
            self.gossip_as(Message::Gossip, &peer, vec![Update::down(left.clone())], effects);
        }
        self.phase = Phase::Left;
        self.show(Instant::default(), self.own_row(Status::Left), effects);
    }

    fn on_remove(&mut self, now: Instant, name: &NodeName, effects: &mut Vec<Effect>) {
        let Some(row) = self.swim.iter_membership_state().find(|row| row.id().id.name == *name) else { return };
        if row.state() != State::Down || row.id().renewal == LEFT {
            return;
        }
        let left = Update::down(Identity { renewal: LEFT, ..row.id().clone() });
        self.swim(now, effects, |swim, wishes| swim.apply_many([left].into_iter(), true, wishes));
    }

    /// Becomes a new incarnation above `known`.
    fn be_reborn(&mut self, now: Instant, known: &NodeId, effects: &mut Vec<Effect>) {
        let Some(boot) = known.boot.max(self.id().boot).checked_add(1) else { return };
        self.touched = None;
        let id = NodeId::new(self.id().name.clone(), boot, self.rng.next_u64());
        let identity = Identity::new(id.clone(), self.swim.identity().addr.clone(), 0);
        // No datagram of the new incarnation goes over a session of the old one.
        self.sessions.clear();
        self.dials_stale = true;
        self.renewed_at = None;
        self.peers_stale = true;
        self.lose_all(effects);
        effects.push(Effect::Reborn { id });
        self.swim(now, effects, |swim, wishes| swim.change_identity(identity, wishes));
        let mut wishes = Wishes::default();
        self.go_on_probing(&mut wishes);
        self.grant(now, &mut wishes, effects);
        self.show(now, self.own_row(Status::Up), effects);
    }

    /// One call into foca, and what it wished for.
    fn swim<E: std::fmt::Display>(
        &mut self,
        now: Instant,
        effects: &mut Vec<Effect>,
        call: impl FnOnce(&mut Swim, &mut Wishes) -> Result<(), E>,
    ) {
        let mut wishes = Wishes::default();
        if let Err(error) = call(&mut self.swim, &mut wishes) {
            tracing::debug!(node = %self.id(), %error, "foca refused");
        }
        self.grant(now, &mut wishes, effects);
        if wishes.rejoined {
            self.touched = None;
            self.renewed_at = Some(now);
            let mut wishes = Wishes::default();
            self.go_on_probing(&mut wishes);
            for session in self.sessions.values() {
                let peer = self.identity_of(&session.hello.id, &session.hello.addr);
                if let Err(error) = self.swim.announce(peer, &mut wishes) {
                    tracing::debug!(node = %self.id(), %error, "foca refused");
                }
            }
            self.grant(now, &mut wishes, effects);
        }
    }

    /// Under a new identity foca probes nobody until it hears of somebody: cut off in that moment, it would hold the
    /// others as up for ever. It looks at whom it knows when it is told of nothing.
    fn go_on_probing(&mut self, wishes: &mut Wishes) {
        if let Err(error) = self.swim.apply_many(std::iter::empty(), false, wishes) {
            tracing::debug!(node = %self.id(), %error, "foca refused");
        }
    }

    fn sessions_changed(&mut self) {
        self.near.sessions_changed();
        self.peers_stale = true;
    }

    fn grant(&mut self, now: Instant, wishes: &mut Wishes, effects: &mut Vec<Effect>) {
        let (mut restarted, mut answers) = (false, Vec::new());
        for (after, timer) in wishes.timers.drain(..) {
            if let Timer::ProbeRandomMember(token) = timer {
                restarted |= std::mem::replace(&mut self.token, token) != token;
            }
            if matches!(timer, Timer::PeriodicGossip(_)) && self.swim.updates_backlog() == 0 {
                self.idle_gossip = Some(timer);
                continue;
            }
            self.timers.insert(now, after, timer);
        }
        if restarted {
            self.time_suspects(now);
        }
        for (to, packet) in wishes.packets.drain(..) {
            if !self.sessions.contains_key(&to.id) && self.near.graph().is_none() {
                continue;
            }
            let mut to = to;
            if self.is_probed_by_others(&to.id)
                && let Some(header) = packet::header_of(&packet)
            {
                // News go from neighbour to neighbour: any member is good for them.
                if header.message == Message::Gossip
                    && let Some(neighbour) = self.next_to_gossip()
                {
                    to = neighbour;
                }
                // Who sees which members the neighbours tell each other.
                if header.message == Message::Announce {
                    continue;
                }
                if let Some(answer) = self.living_row(&to.id).and_then(|row| packet::answer_to_probe(header, &row)) {
                    answers.push(answer);
                    continue;
                }
            }
            match packet::to_wire(&packet, &to) {
                Ok(datagrams) => datagrams.into_iter().for_each(|bytes| self.send(&to.id, bytes, effects)),
                Err(error) => tracing::error!(node = %self.id(), %error, "foca wrote a packet that we cannot read"),
            }
        }
        for answer in answers {
            self.swim(now, effects, |swim, wishes| swim.handle_data(&answer, wishes));
        }
    }

    /// Under a new identity foca knows its suspects on, and has forgotten their times.
    fn time_suspects(&mut self, now: Instant) {
        let suspects = self.swim.iter_membership_state().filter(|row| row.state() == State::Suspect);
        for row in suspects {
            self.timers.insert(now, self.timings.probe_period + self.timings.suspect_to_down, self.verdict(row));
        }
    }

    /// The timer that ends a suspicion.
    fn verdict(&self, row: &Update) -> Timer<Identity> {
        Timer::ChangeSuspectToDown { member_id: row.id().clone(), incarnation: row.incarnation(), token: self.token }
    }

    fn own_row(&self, status: Status) -> Member {
        let own = self.swim.identity();
        Member { id: own.id.clone(), addr: own.addr.clone(), status }
    }

    /// foca's identity of an incarnation, at the latest renewal that we heard of.
    fn identity_of(&self, id: &NodeId, addr: &Addr) -> Identity {
        let renewal = self.row_of(id).filter(|row| row.id().addr == *addr).map_or(0, |row| row.id().renewal);
        Identity::new(id.clone(), addr.clone(), renewal)
    }

    fn is_full_for(&self, name: &NodeName) -> bool {
        self.swim.iter_membership_state().len() >= MEMBERS_MAX && self.view.get(name).is_none()
    }
}
