//! **A child arrives without what it left.** It is moved, and starts at its new node before its state is there, or in place
//! of it: what it knew is gone, though nothing failed.
//!
//! The schedule: children are moved by draining nodes, restarted while they are moved, and sessions end in the middle of
//! it. Nobody is cut off for longer than a move may take, so each process has what the one before it left.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::Fault;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("empty-handed", "planned moves and restarts of children that leave a state", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::MovesEmptyHanded, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::StateGoesOn);
    for child in 0..8 {
        let character = [Character::SlowStop, Character::SlowInit, Character::Steady][tale.below(3)];
        let node = tale.any();
        tale.start(node, child, character);
    }
    tale.wait(3_000);
    for _ in 0..2 {
        let [asks, drained, other] = tale.pick();
        tale.drain(asks, drained, true);
        tale.wait(600);
        let child = tale.below(8);
        tale.restart(other, child);
        tale.breaks(Fault::Reset { one: drained, other }, 1);
        tale.wait(4_000);
        tale.drain(asks, drained, false);
        tale.wait(5_000);
    }
}
