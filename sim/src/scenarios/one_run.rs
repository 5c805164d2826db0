//! **What runs once at most runs again.** A temporary child has one run, whatever becomes of it. Its node dies, the others
//! see a child without a process and start it, because nobody wrote down that it had its run.
//!
//! The schedule: temporary children run; nodes die and come back. No temporary child ever has a second process.

use ordu_supervisor::core::Restart;
use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("one-run", "the node of a temporary child dies; the child had its run", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::RunsTwice, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::RunsOnce);
    for child in 0..8 {
        let character = [Character::Steady, Character::Finishes][tale.below(2)];
        let node = tale.any();
        tale.start_as(node, child, character, Restart::Temporary, None);
    }
    tale.wait(1_000);
    for _ in 0..2 {
        let node = tale.any();
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 3_000);
        tale.wait(5_000);
    }
}
