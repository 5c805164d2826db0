//! What a story makes sure of beside the promises: things that a fault may well bring about, and that nothing in this story
//! gives a reason for.

use serde::{Deserialize, Serialize};

/// What must hold in a run, beside the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// No child ever has two living processes, and nobody is told to exit.
    Undisputed,
    /// Nobody is told to exit for a process that ended more than a second before.
    NoGhosts,
    /// No temporary child has a second process.
    RunsOnce,
}
