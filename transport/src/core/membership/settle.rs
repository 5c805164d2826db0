//! What follows from every call: the view, the sessions and the dials are brought in line with what foca knows.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::State;

use super::packet::Update;
use super::swim::LEFT;
use super::{Effect, Membership};
use crate::core::id::NodeId;
use crate::core::message::{Hello, Refusal};
use crate::core::time::Instant;
use crate::core::view::{Addr, Member, Status, View};

impl Membership {
    /// foca does so too, but not while it holds everybody as down: two nodes that gave up one another over a session
    /// that survived would never speak again.
    pub(super) fn announce_to_down(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.announce_at = None;
        let down: Vec<_> = self.down_with_session().map(|hello| self.identity_of(&hello.id, &hello.addr)).collect();
        for peer in down {
            self.swim(now, effects, |swim, wishes| swim.announce(peer, wishes));
        }
    }

    fn down_with_session(&self) -> impl Iterator<Item = &Hello> {
        let down = |id: &NodeId| self.view.of(id).is_some_and(|row| row.status == Status::Down);
        self.sessions.values().map(|session| &session.hello).filter(move |hello| down(&hello.id))
    }

    /// After every call: brings the view, the sessions and the dials in line with what foca knows now.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.settle_view(now, effects);
        let peers_changed = std::mem::take(&mut self.peers_stale);
        if peers_changed {
            self.odd_sessions = !self.sessions.keys().all(|id| self.view.is_living(id));
        }
        self.settle_refusals(now, peers_changed);
        if self.odd_sessions {
            self.close_over(now, effects);
        }
        self.settle_near(now, effects);
        self.settle_probes(now);
        if !self.odd_sessions || self.down_with_session().next().is_none() {
            self.announce_at = None;
        } else {
            let next = now + self.timings.announce_to_down;
            self.announce_at.get_or_insert(next);
        }
        if std::mem::take(&mut self.dials_stale) {
            self.dials.want(now, &self.wanted());
        } else {
            self.dials.want_same(now);
        }
    }

    /// Shows what foca knows by now, and has it tell the others.
    fn settle_view(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut touched = self.touched.take();
        let is_same = match &mut touched {
            Some(touched) => {
                touched.sort_unstable();
                if !touched.is_empty() {
                    // What changes now may change back, and the sum with it.
                    self.rows_sum = None;
                }
                touched.is_empty()
            }
            None => {
                let sum = Some(rows_sum(self.swim.iter_membership_state()));
                std::mem::replace(&mut self.rows_sum, sum) == sum
            }
        };
        if is_same {
            return self.settle_gossip(now, false, effects);
        }
        let is_touched =
            |row: &&Update| touched.as_ref().is_none_or(|names| names.binary_search(&row.id().name_hash).is_ok());
        let own = self.swim.identity().name_hash;
        let rows = self.swim.iter_membership_state().filter(is_touched);
        let mut changed = BTreeMap::new();
        for row in rows.filter(|row| row.id().name_hash != own) {
            self.rows.note(row);
            if !is_shown(&self.view, row) {
                changed.insert(row.id().id.name.clone(), row_of(row));
            }
        }
        let mut is_urgent = false;
        for row in changed.into_values() {
            let was = self.view.of(&row.id).map(|row| row.status);
            is_urgent |= row.status != Status::Up || was == Some(Status::Suspect);
            if row.status == Status::Suspect {
                effects.push(Effect::CheckPort { peer: row.id.clone() });
            }
            self.show(now, row, effects);
        }
        self.settle_gossip(now, is_urgent, effects);
    }

    /// Doubts and verdicts are told at once; what else is to be told waits for foca's timer, which runs only then.
    fn settle_gossip(&mut self, now: Instant, is_urgent: bool, effects: &mut Vec<Effect>) {
        if is_urgent {
            self.swim(now, effects, |swim, wishes| swim.gossip(wishes));
        }
        if self.swim.updates_backlog() > 0
            && let Some(timer) = self.idle_gossip.take()
        {
            self.timers.insert(now, self.timings.gossip, timer);
        }
    }

    pub(super) fn show(&mut self, now: Instant, row: Member, effects: &mut Vec<Effect>) {
        if let Some(before) = self.view.apply(row.clone()) {
            // Among many the dials follow once the members are looked at again.
            self.dials_stale |= self.near.overlay().is_none();
            self.peers_stale = true;
            self.near_changes(now, before.as_ref(), &row, effects);
            effects.push(Effect::Member(row));
        }
    }

    /// Closes the sessions that are of no use: with incarnations known to be over, and with members that are down and
    /// silent, so that what they meet over next is fresh.
    fn close_over(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let silent_after = self.timings.probe_period;
        for (peer, session) in &mut self.sessions {
            let Some(row) = self.view.get(&peer.name) else { continue };
            let over = row.id > *peer && (!row.status.is_living() || row.addr == session.hello.addr);
            let removed = row.id == *peer && row.status == Status::Left;
            let down = row.id == *peer && row.status == Status::Down;
            let refusal = if over || removed {
                Refusal::Superseded(row.id.clone())
            } else if down && now.saturating_since(session.heard_at) > silent_after {
                Refusal::Silent
            } else {
                continue;
            };
            if !std::mem::replace(&mut session.closing, true) {
                effects.push(Effect::Close { peer: peer.clone(), refusal });
            }
        }
    }

    /// The addresses that should have a session and have none, and how long the first dial of each waits.
    fn wanted(&self) -> BTreeMap<Addr, Duration> {
        let own = self.swim.identity();
        let mut wanted = BTreeMap::new();
        for row in self.view.members() {
            let is_wanted = self.near.wants(row) || self.asks.contains_key(&row.id.name);
            let is_other = row.id.name != own.id.name && row.status != Status::Left;
            if is_other && is_wanted && !self.sessions.contains_key(&row.id) {
                let delay = if own.id < row.id { Duration::ZERO } else { self.timings.dial_yield };
                wanted.insert(row.addr.clone(), delay);
            }
        }
        for seed in self.seeds.iter().filter(|seed| self.near.wants_seed(seed, self.view.living())) {
            // Its name is not known, but if it has us as a seed too, it compares the same two addresses.
            let delay = if own.addr < *seed { Duration::ZERO } else { self.timings.seed_yield };
            wanted.entry(seed.clone()).or_insert(delay);
        }
        wanted.remove(&own.addr);
        for session in self.sessions.values() {
            wanted.remove(&session.hello.addr);
        }
        wanted
    }
}

/// A sum over foca's rows: if it is the same as before, so are they. Their addresses are left out, which are the same as
/// long as the rest is.
fn rows_sum<'a>(rows: impl Iterator<Item = &'a Update>) -> u64 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    rows.fold(0, |sum, row| {
        let state = match row.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        };
        let place = u64::from(row.id().renewal) << 2 | state;
        let mixed = (row.id().id_hash ^ place.wrapping_mul(SPREAD)).wrapping_mul(SPREAD);
        sum.wrapping_add((mixed ^ mixed >> 29).wrapping_mul(SPREAD))
    })
}

/// Whether the view says so already, or something later.
fn is_shown(view: &View, row: &Update) -> bool {
    let id = row.id();
    view.get(&id.id.name).is_some_and(|known| {
        known.id > id.id || (known.id == id.id && known.status == status_of(row) && known.addr == id.addr)
    })
}

fn row_of(row: &Update) -> Member {
    Member { id: row.id().id.clone(), addr: row.id().addr.clone(), status: status_of(row) }
}

fn status_of(row: &Update) -> Status {
    match (row.id().renewal, row.state()) {
        (LEFT, _) => Status::Left,
        (_, State::Alive) => Status::Up,
        (_, State::Suspect) => Status::Suspect,
        (_, State::Down) => Status::Down,
    }
}
