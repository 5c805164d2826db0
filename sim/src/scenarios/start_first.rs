//! **A child that should be there all the time is not, while it is moved.** It is to start at its new node before it stops
//! at the old one, and stops too soon; or the new process fails, and the old one has gone.
//!
//! The schedule: children of all manners of beginning and ending run while nodes are drained and taken back, and sessions
//! break in the middle of it. Nothing fails but inits.

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
    story("start-first", "children are moved that start before they stop", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::SuccessorTooSoon, 3)];

const CHILDREN: usize = 10;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::NeverAbsent);
    tale.must(Must::LosersMerge);
    for child in 0..CHILDREN {
        let character = [Character::SlowInit, Character::BadInit, Character::SlowStop, Character::Steady][child % 4];
        let node = tale.any();
        tale.start_first(node, child, character);
    }
    tale.wait(9_000);
    for _ in 0..3 {
        let [asks, drained, other] = tale.pick();
        tale.drain(asks, drained, true);
        tale.wait(700);
        tale.breaks(Fault::Reset { one: drained, other }, 1);
        tale.wait(8_000);
        tale.drain(asks, drained, false);
        tale.wait(9_000);
    }
}
