//! **A full stop loses everything.** What should run is kept in memory, on as many nodes as one likes; then the power fails,
//! and none is left that knows. Or a node answers "it runs", or "it is gone", and writes that down a moment later.
//!
//! The schedule: nodes that keep data; children are started and terminated, and in the middle of that all nodes are killed
//! at once. They come back one after the other, with their disks. What was accepted runs, what was terminated does not.

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
    story("blackout", "all nodes are killed at once, and come back with their disks", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::AnswersBeforeDisk, 20)];

/// How many children come and go before each blackout.
const CHILDREN: usize = 8;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 1);
    tale.plan().durable = true;
    tale.plan().disk_us = (1_000, 400_000);
    tale.must(Must::AcceptedRuns);
    tale.must(Must::EndedStays);
    for round in 0..3 {
        let first = CHILDREN * round;
        for child in first..first + CHILDREN {
            let node = tale.any();
            tale.start(node, child, Character::Steady);
        }
        tale.wait(2_000);
        for child in first..first + CHILDREN / 2 {
            let node = tale.any();
            tale.terminate(node, child);
        }
        // While the last of them are being answered.
        let ms = [0, 10, 100][tale.below(3)];
        tale.wait(ms);
        for node in 0..tale.nodes() {
            let back = 500 + 1_000 * tale.below(4) as u64;
            tale.breaks(Fault::Crash { node, disk: Disk::Kept }, back);
        }
        tale.wait(10_000);
    }
}
