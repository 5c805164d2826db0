//! **A move starts the child at its new node before it has ended at the old one.** For as long as the old process takes to
//! stop, both run, and what the two write meets.
//!
//! The schedule: children that take their time to stop, or have to be killed, are moved by draining nodes and by a node
//! that goes and comes back. Nothing is cut, so nobody may ever run twice, not even for a moment.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("early-handoff", "planned moves of children that are slow to stop", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::EarlyHandoff, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::Undisputed);
    for child in 0..8 {
        let character = [Character::SlowStop, Character::RefusesToStop, Character::Steady][tale.below(3)];
        let node = tale.any();
        tale.start(node, child, character);
    }
    tale.wait(1_500);
    let [asks, drained] = tale.pick();
    tale.drain(asks, drained, true);
    tale.wait(4_000);
    tale.drain(asks, drained, false);
    tale.wait(4_000);
}
