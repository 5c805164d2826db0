//! **Conflicts use up the restarts and take the tree down.** After a heal every child that ran on both sides loses one
//! copy. If such an exit counts as a failure, a few splits look like a child that cannot run: it is started again beside
//! its winner, loses again, and ends in back-off or worse.
//!
//! The schedule: the cluster splits and heals several times while children run on both sides. Each loser is told once,
//! is gone, and its child goes on where it won; no child is ever shown as one that failed.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("conflict-budget", "one heal after another, each with conflicts of every child", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::ConflictIsRestart, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::Blameless);
    tale.start_some(6);
    tale.wait(1_000);
    for _ in 0..4 {
        let [one, other] = tale.pick();
        let side = tale.side(one, other);
        tale.breaks(Fault::Split { side }, 3_500);
        tale.wait(5_500);
    }
}
