//! **The first node back takes every child.** A cluster is restarted as a whole. Its first node sees nobody else, and starts
//! all; the others come a second later, and most children are stopped and started again, or the first node breaks down
//! under them.
//!
//! The schedule: nodes that keep data and expect all of them; children run; all nodes are killed at once and come back
//! one after the other. No child is moved, and all that was accepted runs.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "first-back",
    "the nodes of a cluster that was stopped come back one after the other",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::ExpectsNobody, 5)];

/// How many children there are.
const CHILDREN: usize = 12;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().durable = true;
    tale.plan().expect = tale.nodes();
    tale.must(Must::AcceptedRuns);
    tale.must(Must::NothingMoves);
    tale.start_some(CHILDREN);
    tale.wait(3_000);
    for round in 0..2 {
        for node in 0..tale.nodes() {
            let back = 1_000 + 1_500 * node as u64;
            tale.breaks(Fault::Crash { node, disk: Disk::Kept }, back);
        }
        tale.wait(15_000 + round);
    }
}
