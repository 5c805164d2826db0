//! One child's life on the node that holds it, and the arithmetic of its back-off. Pure data; `reconcile` moves it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Fence;
use ordu_registry::core::clock::Dot;
use ordu_transport::core::{Instant, NodeId, Pid, SKEW_MAX};

use super::checkpoint::Own;
use super::intensity::Failures;
use super::spec::{ChildSpec, Restart};
use super::successor::Successor;
use super::tables::State;
use super::wishes::Wishes;

/// The first pause before a child that ended is started again; it doubles with each further failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A child that ran for this long is taken as healthy: its next failure counts as its first.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// How long a child whose init failed is kept for its caller to take the start back; after that its restart policy
/// decides.
pub const FAILED_KEPT_MAX: Duration = Duration::from_secs(5);

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Exit {
    /// As it should.
    Normal,
    /// Otherwise; the text says how.
    Abnormal(String),
    /// A store refused its write: it has seen this later fence. As abnormal, and the next activation's fence is higher.
    Fenced(Fence),
}

impl From<()> for Exit {
    fn from((): ()) -> Self {
        Exit::Normal
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Exit {
    fn from(ended: Result<(), E>) -> Self {
        ended.map_or_else(|error| Exit::Abnormal(error.to_string()), Exit::from)
    }
}

/// Longest text of how a child ended that is kept and replicated, in bytes; the rest is cut off.
pub const REASON_BYTES_MAX: usize = 4096;

impl Exit {
    /// One whose fence lies too far ahead of this node's clock to be followed: the next activation's will not pass it.
    pub(super) fn not_followed(seen: Fence) -> Self {
        let what = fenced(seen);
        Exit::Abnormal(format!("{what}, more than {SKEW_MAX:?} ahead of this node's clock: set the clocks right"))
    }

    /// How, as its row shows it.
    pub(super) fn text(&self) -> Arc<str> {
        match self {
            Exit::Normal => "exited normally".into(),
            Exit::Abnormal(how) => how[..how.floor_char_boundary(REASON_BYTES_MAX)].into(),
            Exit::Fenced(seen) => fenced(*seen).into(),
        }
    }
}

fn fenced(seen: Fence) -> String {
    format!("fenced: its write was refused under the later fence {seen}")
}

/// What follows once a stopping child has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// Nothing: it is not ours any more.
    Gone,
    /// It is started again, here.
    Restart,
    /// It lost a name, not its own, and its restart policy decides.
    Policy,
    /// Its init took too long: it has failed.
    Late,
    /// Another node may start it.
    Move { to: NodeId, token: u64 },
}

/// Where a held child is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Its init runs, until then at most.
    Starting {
        until: Instant,
    },
    Running {
        since: Instant,
    },
    Stopping(Then),
    Backoff {
        until: Instant,
    },
    /// Its process has ended here and `to` may start it; until then we keep the claim.
    Released {
        to: NodeId,
        token: u64,
        until: Instant,
    },
    /// It failed too often.
    Quarantined,
    /// Its init failed; until then its caller may take the start back.
    Failed {
        until: Instant,
    },
    Done {
        until: Instant,
    },
}

/// A child that this node holds.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) dot: Dot,
    /// The start that its last process was activated for.
    pub(super) begun: Dot,
    pub(super) spec: Arc<ChildSpec>,
    pub(super) phase: Phase,
    pub(super) pid: Option<Pid>,
    pub(super) token: Option<u64>,
    /// It came by that token as an assignment: no process of it had been where it came from.
    pub(super) assigned: bool,
    /// Another node held this start before.
    pub(super) taken_over: bool,
    /// A process got through its init, here or where it was taken over from.
    pub(super) ran: bool,
    pub(super) restarts: u64,
    /// Failures since it was last healthy.
    pub(super) failures: u32,
    /// Those that its intensity counts.
    pub(super) recent: Failures,
    /// The wishes to restart it that were followed, or are about to be.
    pub(super) followed: Wishes,
    pub(super) since_ms: u64,
    pub(super) os_pid: Option<u32>,
    pub(super) log: Option<Arc<str>>,
    pub(super) reason: Option<Arc<str>>,
    /// The node that did not take it, until when it is not offered to that one again, and how often in a row that was.
    pub(super) refused: Option<(NodeId, Instant, u32)>,
    /// The kind that its last process was activated as.
    pub(super) kind: Arc<str>,
    /// What its process was given of the one before, until it is through its init; or what the next one will be given.
    pub(super) given: Option<Bytes>,
    /// What its process leaves for the next one.
    pub(super) left: Option<Bytes>,
    /// What its process said last that it needs to go on, and who keeps that.
    pub(super) checkpoint: Option<Own>,
    /// Its process was started while that runs on which it is to succeed, and has no name before it is through its init.
    pub(super) ahead: bool,
    /// The process that is being started in place of ours.
    pub(super) successor: Option<Successor>,
    /// The copy of the child that its process lost to.
    pub(super) lost_to: Option<Pid>,
    /// When it is looked at again, if nothing happens before.
    pub(super) timer: Option<Instant>,
    /// It was counted among those that the node holds.
    pub(super) takes_place: bool,
}

impl Local {
    /// What the others are told of its phase.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => match &self.successor {
                Some(Successor { to, token, .. }) => {
                    State::Moving { to: to.clone(), token: *token, released: false, carries: false, ahead: true }
                }
                None => State::Running,
            },
            Phase::Stopping(Then::Move { to, token }) => {
                State::Moving { to: to.clone(), token: *token, released: false, carries: false, ahead: false }
            }
            Phase::Stopping(Then::Gone | Then::Restart | Then::Policy | Then::Late) => State::Stopping,
            Phase::Released { to, token, .. } => State::Moving {
                to: to.clone(),
                token: *token,
                released: true,
                carries: self.given.is_some(),
                ahead: false,
            },
            Phase::Backoff { .. } => State::Backoff,
            Phase::Quarantined => State::Quarantined,
            Phase::Failed { .. } => State::Failed,
            Phase::Done { .. } => State::Done,
        }
    }

    /// When the phase ends by itself.
    pub(super) fn expires(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Running { .. } => self.successor.as_ref().map(|successor| successor.until),
            Phase::Stopping(_) | Phase::Quarantined => None,
            Phase::Starting { until }
            | Phase::Backoff { until }
            | Phase::Released { until, .. }
            | Phase::Failed { until }
            | Phase::Done { until } => Some(*until),
        }
    }

    /// What its process left, now that it has ended after it was asked to stop, is for the next one: or what it was given
    /// itself, if it never got through its init; or else its checkpoint. A process of another kind would not know what to do with it.
    pub(super) fn hand_on(&mut self) {
        let checkpoint = self.checkpoint.as_ref().map(|own| own.checkpoint.state.clone());
        let left = self.left.take().or(self.given.take()).or(checkpoint);
        self.given = left.filter(|_| self.kind == self.spec.kind);
    }

    /// Whether it is started again after this exit.
    pub(super) fn restarts_after(&self, exit: &Exit) -> bool {
        match (self.spec.restart, exit) {
            (Restart::Permanent, _) | (Restart::Transient, Exit::Abnormal(_) | Exit::Fenced(_)) => true,
            (Restart::Transient, Exit::Normal) | (Restart::Temporary, _) => false,
        }
    }
}

/// The pause after the `failures`-th failure in a row, with `jitter` in [0, 1) spreading it by a quarter either way.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1u32 << failures.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(0.75 + jitter / 2.0)
}
