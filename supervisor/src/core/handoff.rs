//! What a child hands to its next activation when it is asked to stop: here, or on the node that it goes to.
//!
//! ```text
//!   the node that has it                              the node that it goes to
//!      ├── the child ends and leaves its state             │
//!      ├── its claim: moving, released, with state ───────▶│  waits for the state
//!      ├── the state, beside it ──────────────────────────▶│  claims the child and starts it with that
//!      │◀───────────────────────────────────── its claim ──┤
//!   forgets the state                                 forgets it once the init is over
//! ```
//!
//! The state goes to one node, once for each session with it. Who gets none in time does not start the child, and who let
//! the child go then starts it again itself, with the state that it has kept.

use std::time::Duration;

use bytes::Bytes;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId, Now, Pid};

use super::child::{Local, Phase, Then};
use super::moves::MOVE_MAX;
use super::spec::ChildId;
use super::supervisor::Supervisor;
use super::words::{Control, Effect, Message};

/// Longest state that a child hands on, in bytes.
pub const STATE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of states that came and whose children are not started yet; further ones are not taken.
pub const STATES_BYTES_MAX: usize = 64 << 20;
/// No sender takes more of that than its share among so many.
const SENDERS: usize = 4;
/// Slower than this a state may not travel, in bytes a millisecond, or its child is started again where it was.
const STATE_BYTES_PER_MS_MIN: u64 = 128;
/// How long a state that came is kept: longer than anybody keeps a child back for the node that it goes to.
const KEPT_MAX: Duration = MOVE_MAX.saturating_mul(10);
/// What each takes beside its bytes.
const HANDED_BYTES: usize = 512;

/// Which move of which child a state belongs to, and who let it go.
pub(super) type HandedKey = (ChildId, NodeId, u64);

/// A state that came.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) state: Bytes,
    pub(super) until: Instant,
}

impl Handed {
    fn size_bytes(&self) -> usize {
        self.state.len() + HANDED_BYTES
    }
}

impl Supervisor {
    /// A child of ours leaves something for its next activation; of several the last counts. Longer ones are not taken, and
    /// none of a process that is not through its init: what it was given is still there for the next.
    pub(super) fn on_handed_off(&mut self, pid: &Pid, state: Bytes) {
        let id = self.children_by_pid.get(pid);
        let local = id.and_then(|id| self.local.get_mut(id)).filter(|local| local.pid.as_ref() == Some(pid));
        let Some(local) = local.filter(|_| state.len() <= STATE_BYTES_MAX) else { return };
        match local.phase {
            Phase::Stopping(Then::Gone) if local.lost_to.is_some() => local.left = Some(state),
            Phase::Running { .. } | Phase::Stopping(Then::Restart | Then::Policy | Then::Move { .. }) => {
                local.left = Some(state);
            }
            Phase::Starting { .. }
            | Phase::Stopping(Then::Gone | Then::Late)
            | Phase::Backoff { .. }
            | Phase::Released { .. }
            | Phase::Quarantined
            | Phase::Failed { .. }
            | Phase::Done { .. } => {}
        }
    }

    /// Until when a child is kept back for the node that it goes to.
    pub(super) fn kept_back_until(&self, now: Now, id: &ChildId) -> Instant {
        let bytes = self.local.get(id).and_then(|local| local.given.as_ref()).map_or(0, Bytes::len);
        now.at + MOVE_MAX + Duration::from_millis(bytes as u64 / STATE_BYTES_PER_MS_MIN)
    }

    /// Sends the state of a child that another node may start to that node.
    pub(super) fn send_state(&self, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(Local { phase: Phase::Released { to, token, .. }, given: Some(state), .. }) = self.local.get(id)
        else {
            return;
        };
        let handed = Control::State { child: id.clone(), token: *token, state: state.clone() };
        let message = Box::new(Message::Control(handed));
        effects.push(Effect::Send { to: vec![to.clone()], lane: Lane::Bulk, message });
    }

    /// Sends them again over a new session: the one before may have ended with them.
    pub(super) fn send_states(&self, to: &NodeId, effects: &mut Vec<Effect>) {
        let goes = |local: &Local| matches!(&local.phase, Phase::Released { to: taker, .. } if taker == to);
        let children = self.local.iter().filter(|(_, local)| goes(local)).map(|(id, _)| id);
        children.for_each(|id| self.send_state(id, effects));
    }

    /// The state of a child that comes to us.
    pub(super) fn on_state(&mut self, now: Now, from: &NodeId, child: ChildId, token: u64, state: Bytes) {
        self.forget_states(now.at);
        let key = (child, from.clone(), token);
        self.handed.remove(&key);
        let (mut held, mut of_sender) = (0, 0);
        for ((_, sender, _), handed) in &self.handed {
            held += handed.size_bytes();
            of_sender += if sender == from { handed.size_bytes() } else { 0 };
        }
        let handed = Handed { state, until: now.at + KEPT_MAX };
        let size = handed.size_bytes();
        let has_room = held + size <= STATES_BYTES_MAX && of_sender + size <= STATES_BYTES_MAX / SENDERS;
        if handed.state.len() > STATE_BYTES_MAX || !has_room {
            tracing::warn!(peer = %from, child = %key.0, bytes = size, held, "a state is not taken: there is no room");
            return;
        }
        self.dirty.insert(key.0.clone());
        self.handed.insert(key, handed);
    }

    /// Forgets states whose child has not come.
    pub(super) fn forget_states(&mut self, at: Instant) {
        self.handed.retain(|_, handed| handed.until > at);
    }

    /// Whether all is here that a child needs which comes to us from a node.
    pub(super) fn has_state(&self, key: &HandedKey, carries: bool) -> bool {
        !carries || self.handed.contains_key(key) || is_present(Defect::MovesEmptyHanded)
    }
}
