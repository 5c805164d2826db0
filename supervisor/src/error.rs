//! Why a call was not done, one enum per operation, each saying what is left behind.

use crate::core::calls::CALLS_MAX;
use crate::core::{CallError, ChildRow};

/// Why [`Supervisor::start_child`](crate::Supervisor::start_child) did not start a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A child of this id is desired already, in whatever status. Nothing changed.
    #[error("a child of this id is desired already")]
    AlreadyRunning(Box<ChildRow>),
    /// No node may run it. Nothing is kept.
    #[error("{0}")]
    NoEligibleNode(String),
    /// As many children should run as the cluster may have, see [`Bounds`](crate::core::Bounds). Nothing is kept.
    #[error("{0} children should run already, and this cluster takes no more")]
    ClusterFull(u32),
    /// Its init failed. Nothing is kept.
    #[error("{0}")]
    Failed(String),
    /// It finished, or somebody terminated it, before this node saw it run. Nothing is kept.
    #[error("it ended, or was terminated, before this node saw it run")]
    Ended,
    /// The deadline passed.
    #[error("the deadline passed; {}", if *accepted { "the child is accepted, and started as soon as can be" } else { "nothing is kept" })]
    Timeout {
        /// Whether the child is desired: it is then started as soon as can be, and asking again is safe.
        accepted: bool,
    },
    /// The spec cannot be accepted. Nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// [`CALLS_MAX`] calls wait on this node already. Nothing changed.
    #[error("{CALLS_MAX} calls wait already")]
    Busy,
    /// This node is on its way out. What was accepted stays desired.
    #[error("this node is closed")]
    Closed,
}

/// Why [`Supervisor::terminate_child`](crate::Supervisor::terminate_child) did not see a child end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TerminateError {
    /// No such child. Nothing changed.
    #[error("there is no such child")]
    NotFound,
    /// The deadline passed; it is not desired any more and will end.
    #[error("the deadline passed before it had ended")]
    Timeout,
    /// [`CALLS_MAX`] calls wait on this node already. Nothing changed.
    #[error("{CALLS_MAX} calls wait already")]
    Busy,
    /// This node is on its way out.
    #[error("this node is closed")]
    Closed,
}

/// Why [`Supervisor::restart_child`](crate::Supervisor::restart_child) did not see a child run again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// No such child. Nothing changed.
    #[error("there is no such child")]
    NotFound,
    /// The deadline passed; the wish stands.
    #[error("the deadline passed before it ran again")]
    Timeout,
    /// It did not come to run again.
    #[error("{0}")]
    Failed(String),
    /// [`CALLS_MAX`] calls wait on this node already. Nothing changed.
    #[error("{CALLS_MAX} calls wait already")]
    Busy,
    /// This node is on its way out.
    #[error("this node is closed")]
    Closed,
}

/// Why [`Supervisor::drain`](crate::Supervisor::drain) or [`Supervisor::cordon`](crate::Supervisor::cordon) did not see a
/// node do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// No such node. Nothing changed.
    #[error("there is no such node")]
    UnknownNode,
    /// It cannot be reached from here. Nothing changed.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The deadline passed; whether it was told is unknown, and asking again is safe.
    #[error("the deadline passed before the node said so")]
    Timeout,
    /// [`CALLS_MAX`] calls wait on this node already. Nothing changed.
    #[error("{CALLS_MAX} calls wait already")]
    Busy,
    /// This node is on its way out.
    #[error("this node is closed")]
    Closed,
}

impl From<CallError> for StartError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::AlreadyStarted(row) => StartError::AlreadyRunning(row),
            CallError::NoEligibleNode(why) => StartError::NoEligibleNode(why),
            CallError::ClusterFull(max) => StartError::ClusterFull(max),
            CallError::Failed(why) => StartError::Failed(why),
            CallError::Ended => StartError::Ended,
            CallError::Invalid(why) => StartError::Invalid(why),
            CallError::Timeout => StartError::Timeout { accepted: true },
            CallError::Busy => StartError::Busy,
            // Not said to a start.
            CallError::NotFound | CallError::Unreachable => StartError::Failed(error.to_string()),
        }
    }
}

impl From<CallError> for TerminateError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Timeout => TerminateError::Timeout,
            CallError::Busy => TerminateError::Busy,
            // Only the first is said to a terminate.
            CallError::NotFound
            | CallError::Unreachable
            | CallError::AlreadyStarted(_)
            | CallError::NoEligibleNode(_)
            | CallError::ClusterFull(_)
            | CallError::Failed(_)
            | CallError::Ended
            | CallError::Invalid(_) => TerminateError::NotFound,
        }
    }
}

impl From<CallError> for RestartError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotFound => RestartError::NotFound,
            CallError::Timeout => RestartError::Timeout,
            CallError::Busy => RestartError::Busy,
            CallError::Unreachable
            | CallError::AlreadyStarted(_)
            | CallError::NoEligibleNode(_)
            | CallError::ClusterFull(_)
            | CallError::Failed(_)
            | CallError::Ended
            | CallError::Invalid(_) => RestartError::Failed(error.to_string()),
        }
    }
}

/// Why a member was not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// The cluster knows of no such node. Nothing changed.
    #[error("there is no such member")]
    UnknownNode,
    /// It is up, as far as this node sees. Nothing changed.
    #[error("it is up")]
    Living,
    /// It did not show in time; it may be removed yet.
    #[error("the deadline passed; whether it is removed is unknown")]
    Timeout,
}

impl From<CallError> for DrainError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotFound => DrainError::UnknownNode,
            CallError::Timeout => DrainError::Timeout,
            CallError::Busy => DrainError::Busy,
            // Only the first is said to a drain or a cordon.
            CallError::Unreachable
            | CallError::AlreadyStarted(_)
            | CallError::NoEligibleNode(_)
            | CallError::ClusterFull(_)
            | CallError::Failed(_)
            | CallError::Ended
            | CallError::Invalid(_) => DrainError::Unreachable,
        }
    }
}
