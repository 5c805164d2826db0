//! Moves of children that start first: the old process runs on until the new one is through its init.
//!
//! ```text
//!   holder                                                  to
//!      ├── Moving{to, token, ahead} ────────────────────────▶│  starts it, without its name
//!      │◀──────────────────────────── Starting{token} ───────┤
//!      │                                                     │  its init is over: it takes the name
//!      │◀──────────────── its name, with a rank before ours ─┤
//!      │  its process loses, as in a conflict: it is asked to stop
//!      ├── what it leaves ──────────────────────────────────▶│  merges it
//! ```
//!
//! If the new process fails, or is late, or its node goes down, the old one runs on. If the holder goes down, the new one is
//! the child. In a cluster that needs a quorum children stop first: there are never two.

use ordu_registry::core::Name;
use ordu_registry::core::names::NameConflict;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, NodeId, Now};
use rand::RngExt;

use super::child::{Local, Phase, Then};
use super::moves::MOVE_MAX;
use super::spec::{ChildId, Handover};
use super::supervisor::Supervisor;
use super::tables::{Actual, State};
use super::words::Effect;

/// A process that is being started elsewhere in place of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Successor {
    pub(super) to: NodeId,
    pub(super) token: u64,
    /// Until when it has to run.
    pub(super) until: Instant,
}

impl Supervisor {
    // ---- where the child is

    /// Lets another node start a child of ours that runs on meanwhile. False, and nothing is changed, if it has to stop first.
    pub(super) fn begin_successor(&mut self, now: Now, id: &ChildId, to: &NodeId) -> bool {
        let token = self.rng.random();
        let Some(local) = self.local.get_mut(id) else { return false };
        let rank = local.pid.as_ref().and_then(|pid| self.registry.standing(pid)).map(|(rank, _)| rank);
        let may = rank.and_then(|rank| rank.before()).is_some() && self.votes.is_none();
        let (Some(pid), true) = (&local.pid, may && local.spec.handover == Handover::StartFirst) else { return false };
        let until = now.at + local.spec.init_timeout + MOVE_MAX;
        self.registry.set_successor(pid, Some(to.clone()));
        local.successor = Some(Successor { to: to.clone(), token, until });
        true
    }

    /// Whether a child of ours has to run on alone: who was to succeed it failed, is late or gone.
    pub(super) fn tend_successor(&mut self, now: Now, id: &ChildId, expired: bool) {
        let Some(Successor { to, token, .. }) = self.local.get(id).and_then(|local| local.successor.clone()) else {
            return;
        };
        let failed = |(node, claim): (&NodeId, &Actual)| {
            *node == to && claim.token == Some(token) && matches!(claim.state, State::Failed | State::Backoff)
        };
        if expired || !self.registry.view().is_living(&to) || self.claims(id).any(failed) {
            self.end_successor(id);
            self.note_refusal(now, id, to);
            // It may have to go elsewhere.
            self.queue_move(now, id);
        }
    }

    /// Nobody is to succeed the process of a child any more: it ends, or runs on.
    pub(super) fn end_successor(&mut self, id: &ChildId) {
        let Some(local) = self.local.get_mut(id) else { return };
        if local.successor.take().is_some()
            && let Some(pid) = &local.pid
        {
            self.registry.set_successor(pid, None);
        }
    }

    /// Whether a process of ours loses to the one that is to succeed it.
    pub(super) fn is_succeeded(&self, id: &ChildId, conflict: &NameConflict) -> bool {
        let successor = self.local.get(id).and_then(|local| local.successor.as_ref());
        successor.is_some_and(|successor| successor.to == conflict.winner.node)
    }

    // ---- where it goes

    /// Starts ahead of the holder's process have their rank from that.
    pub(super) fn predecessor(&self, id: &ChildId) -> Option<&Actual> {
        let local = self.local.get(id).filter(|local| local.ahead)?;
        self.claims(id).map(|(_, claim)| claim).find(|claim| {
            matches!(&claim.state, State::Moving { to, token, ahead: true, .. }
                if to == self.id() && Some(*token) == local.token)
        })
    }

    /// Whether a process that was started ahead is not wanted any more: the holder's runs on.
    pub(super) fn is_called_off(&self, id: &ChildId) -> bool {
        let runs = |(node, claim): (&NodeId, &Actual)| node != self.id() && claim.has_process() && !claim.losing;
        self.predecessor(id).is_none() && self.claims(id).any(runs)
    }

    /// A process that was started ahead is through its init: it takes the name.
    pub(super) fn take_name(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(local) = self.local.get_mut(id).filter(|local| local.ahead) else { return };
        local.ahead = false;
        let (Some(pid), Ok(name)) = (local.pid.clone(), Name::new(id.as_str())) else { return };
        if is_present(Defect::NamelessChild) {
            return;
        }
        self.with_registry_raw(now, effects, |registry, out| {
            if let Err(error) = registry.succeed(now, &pid, name, bytes::Bytes::new(), out) {
                tracing::warn!(child = %id, %error, "a child runs without its name");
            }
        });
    }

    /// A process that was started ahead failed: the holder is told so, and keeps its own.
    pub(super) fn fail_ahead(&mut self, now: Now, id: &ChildId, how: &str) {
        let Some(local) = self.local.get_mut(id) else { return };
        let until = now.at + MOVE_MAX;
        (local.phase, local.since_ms, local.reason) = (Phase::Failed { until }, now.wall_ms, Some(how.into()));
        self.dirty.insert(id.clone());
    }

    /// Looks at a child that was started ahead here. Whether there is nothing else to do about it.
    pub(super) fn tend_ahead(&mut self, id: &ChildId, expired: bool, effects: &mut Vec<Effect>) -> bool {
        let Some(Local { ahead: true, phase, .. }) = self.local.get(id) else { return false };
        match phase {
            Phase::Starting { .. } if self.is_called_off(id) => self.stop(id, Then::Gone, effects),
            Phase::Failed { .. } if expired || self.predecessor(id).is_none() => self.drop_local(id),
            Phase::Failed { .. } => {}
            _ => return false,
        }
        true
    }
}
