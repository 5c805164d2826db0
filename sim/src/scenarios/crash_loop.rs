//! **One failing child takes its group down.** In a tree of supervisors a child that fails again and again uses up the
//! restarts of its group, and the group goes with it. Or it is given up, and whoever takes its node's place begins anew.
//!
//! The schedule: a child that always fails, with two restarts allowed, beside ten that do not. Once it is in quarantine one
//! node after another crashes and comes back. It is not started again, and nobody else notices.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Allowed, Script};

/// The scenario.
pub const SCENARIO: Scenario = story(
    "crash-loop",
    "a child that always fails is left alone, whichever node crashes after that",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::QuarantineForgotten, 5)];

/// Which child fails.
const FAILING: usize = 10;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::CrashLoopEnds);
    tale.start_some(FAILING);
    let node = tale.any();
    tale.start_limited(node, FAILING, Character::Fails, Allowed { restarts: 2, within_ms: 600_000 });
    tale.wait(20_000);
    for node in 0..tale.nodes() {
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 3_000);
        tale.wait(8_000);
    }
}
