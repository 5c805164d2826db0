//! Who may have a name.
//!
//! A restarted node is a later incarnation at the same address and is accepted at once. Another address is either the
//! same node moved, or a second node of that name: the newcomer waits until the holder either speaks, and then the one
//! that started later gives way, or is down. An incarnation below a known one comes of a lost or an old disk: it is told,
//! and comes back above it.

use std::time::Duration;

use super::{Effect, Membership, Phase};
use crate::core::defects::{Defect, is_present};
use crate::core::id::NodeId;
use crate::core::message::{Hello, Refusal};
use crate::core::time::{Instant, Now};
use crate::core::view::Status;

/// Most newcomers that are kept waiting at a time; a further one waits without being remembered.
pub(super) const ASKS_MAX: usize = 256;
/// How long a waiting newcomer is remembered after it first asked; then it starts anew.
pub(super) const ASK_FORGET: Duration = Duration::from_secs(30);

/// A newcomer that wants a name which seems to be held.
#[derive(Debug)]
pub(super) struct Ask {
    newcomer: NodeId,
    first_at: Instant,
}

impl Ask {
    /// When it is forgotten.
    pub(super) fn over_at(&self) -> Instant {
        self.first_at + ASK_FORGET
    }

    pub(super) fn is_recent(&self, now: Instant) -> bool {
        now < self.over_at()
    }
}

impl Membership {
    /// Judges the hello of a peer, before there is a session. Both sides ask this; a session exists if both say yes. It
    /// may set timers; and only [`Refusal::Checking`] asks the peer to come again soon.
    pub fn judge(&mut self, now: Now, hello: &Hello) -> Result<(), Refusal> {
        let own = self.hello();
        if self.phase == Phase::Left || hello.id == own.id {
            return Err(Refusal::Checking);
        }
        if hello.cluster != own.cluster {
            return Err(Refusal::Cluster(own.cluster));
        }
        if hello.id.name == own.id.name {
            if started_later(hello, &own) {
                return Err(Refusal::NameTaken(own.addr));
            }
            self.pending.push(Effect::NameTaken { holder: hello.addr.clone() });
            return Err(Refusal::Checking);
        }
        self.judge_conflict(now.at, hello)?;
        self.judge_row(now.at, hello)
    }

    /// Against a living session with another holder of the name.
    fn judge_conflict(&mut self, now: Instant, hello: &Hello) -> Result<(), Refusal> {
        let holder = self.sessions.values().find(|session| {
            let other = &session.hello;
            other.id.name == hello.id.name
                && other.id != hello.id
                && other.addr != hello.addr
                && !session.closing
                && self.view.of(&other.id).is_none_or(|row| row.status.is_living())
        });
        let Some(holder) = holder else { return Ok(()) };
        let (holder, heard_at) = (holder.hello.clone(), holder.heard_at);
        let Some(first_at) = self.asked_at(now, hello) else { return Err(Refusal::Checking) };
        if heard_at <= first_at {
            let identity = self.identity_of(&holder.id, &holder.addr);
            let mut effects = Vec::new();
            self.swim(now, &mut effects, |swim, wishes| swim.announce(identity, wishes));
            self.pending.append(&mut effects);
            return Err(Refusal::Checking);
        }
        self.asks.remove(&hello.id.name);
        if started_later(hello, &holder) {
            return Err(Refusal::NameTaken(holder.addr));
        }
        if let Some(session) = self.sessions.get_mut(&holder.id) {
            session.closing = true;
        }
        self.pending.push(Effect::Close { peer: holder.id, refusal: Refusal::NameTaken(hello.addr.clone()) });
        Ok(())
    }

    /// Against what is known of the name.
    fn judge_row(&mut self, now: Instant, hello: &Hello) -> Result<(), Refusal> {
        let Some(row) = self.view.get(&hello.id.name) else { return Ok(()) };
        if row.id == hello.id {
            return match row.status {
                Status::Up | Status::Suspect | Status::Down => Ok(()),
                Status::Left => Err(Refusal::Superseded(row.id.clone())),
            };
        }
        let given_way = self.sessions.get(&row.id).is_some_and(|session| session.closing);
        let known = row.id.clone();
        if row.status.is_living() && row.addr != hello.addr && !given_way {
            if !self.sessions.contains_key(&known) {
                // Among many the holder may have no session with us: now it shall.
                self.dials_stale |= self.asked_at(now, hello).is_some();
                self.near.sessions_changed();
            }
            return Err(Refusal::Checking);
        }
        if hello.id > known { Ok(()) } else { Err(Refusal::Superseded(known)) }
    }

    /// When this newcomer first asked.
    fn asked_at(&mut self, now: Instant, hello: &Hello) -> Option<Instant> {
        self.asks.retain(|_, ask| ask.is_recent(now));
        if self.asks.get(&hello.id.name).is_none_or(|ask| ask.newcomer != hello.id) {
            if self.asks.len() >= ASKS_MAX {
                return None;
            }
            self.asks.insert(hello.id.name.clone(), Ask { newcomer: hello.id.clone(), first_at: now });
        }
        self.asks.get(&hello.id.name).map(|ask| ask.first_at)
    }
}

/// Of two holders of a name, whether the first gives way.
fn started_later(one: &Hello, other: &Hello) -> bool {
    (one.started, &one.id) > (other.started, &other.id) && !is_present(Defect::NameDuel)
}
