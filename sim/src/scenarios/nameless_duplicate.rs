//! **A duplicate that was never registered lives for ever.** Conflicts are found where two processes hold one name. A copy
//! of a child that was started without a name is in nobody's way: no heal finds it, and it runs on beside the other.
//!
//! The schedule: children start before and during a split, so that both sides run them. After the heal every child runs
//! once.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("nameless-duplicate", "both sides of a split run the same children; one copy stays", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::NamelessChild, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let [one, other] = tale.pick();
    tale.start_some(4);
    tale.wait(800);
    let side = tale.side(one, other);
    tale.breaks(Fault::Split { side }, 3_500);
    tale.wait(300);
    for child in 4..8 {
        tale.start(one, child, Character::Steady);
        tale.start(other, child, Character::Steady);
    }
    tale.wait(4_000);
}
