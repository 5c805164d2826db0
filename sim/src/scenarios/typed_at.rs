//! **The restart of the node you typed at loses your children.** You ask node A for a child, it runs on B, and all is well
//! until A is restarted: what its earlier life wrote is cleared away, and your wish with it.
//!
//! The schedule: children are asked for at one node and run anywhere; that node dies and comes back, or leaves. They go on.

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
pub const SCENARIO: Scenario = story(
    "typed-at",
    "the node that was asked for the children goes, and comes back as another",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::RetireDropsDesired, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::AcceptedRuns);
    let node = tale.any();
    for child in 0..6 {
        tale.start(node, child, Character::Steady);
    }
    tale.wait(1_000);
    let fault = match tale.below(3) {
        0 => Fault::Leave { node },
        1 => Fault::Crash { node, disk: Disk::Kept },
        _ => Fault::Crash { node, disk: Disk::Lost },
    };
    tale.breaks(fault, 2_500);
    tale.wait(5_000);
}
