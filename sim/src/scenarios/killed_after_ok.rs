//! **"Done", and then it is gone.** A node answers "it runs" as soon as it has written that down itself, and dies before
//! anybody else has heard of it. The caller holds an answer for a child that no node knows of.
//!
//! The schedule: starts on a slow network; the node that was asked dies within a moment of its answer. What was accepted
//! runs again.

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
    story("killed-after-ok", "the node that was asked dies in the moment of its answer", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::HastyAnswer, 50)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::AcceptedRuns);
    tale.plan().latency_us = (60_000, 120_000);
    tale.wait(1_500);
    for round in 0..3 {
        let node = tale.any();
        for child in 0..6 {
            tale.start(node, 6 * round + child, Character::Steady);
        }
        tale.wait(30);
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 2_500);
        tale.wait(5_000);
    }
}
