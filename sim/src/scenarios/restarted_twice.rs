//! **A child is restarted twice.** Two people ask for the same restart at two nodes, or a node dies while its child is
//! being restarted, and two nodes follow the same wish. And a restart that writes down "this should run" once more brings
//! back a child that somebody ended meanwhile.
//!
//! The schedule: restarts of the same children at several nodes at once; the holder may die in the middle; on the other
//! side of a split one of the children is ended while this side restarts it. What was ended stays ended.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "restarted-twice",
    "several ask for one restart at once; the holder dies, or somebody ends the child meanwhile",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::RestartRevives, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    let [one, other, dies] = tale.pick();
    tale.start_some(4);
    tale.wait(1_000);
    for child in 0..4 {
        tale.restart(one, child);
        tale.restart(other, child);
    }
    tale.breaks(Fault::Crash { node: dies, disk: Disk::Kept }, 3_000);
    tale.wait(5_000);
    let side = tale.side(one, other);
    tale.breaks(Fault::Split { side }, 3_000);
    tale.wait(300);
    for child in 0..4 {
        tale.terminate(one, child);
        tale.restart(other, child);
    }
    tale.wait(3_500);
}
