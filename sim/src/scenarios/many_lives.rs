//! **Every restart leaves something for ever.** Each life of a node writes under an identity of its own. If the earlier
//! ones are never retired, their claims and their places in every clock stay: after a thousand restarts every message
//! carries a thousand dead writers.
//!
//! The schedule: one node dies and comes back a dozen times and registers names in each life. Afterwards nothing of the
//! earlier lives is left with anybody.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("many-lives", "a node dies and comes back a dozen times, and writes each time", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::OriginsPileUp, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let node = tale.any();
    for round in 0..12 {
        tale.register(node, &[round]);
        tale.wait(300);
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 300);
        tale.wait(1_000);
    }
}
