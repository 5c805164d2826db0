//! **What is done with is kept while anything happens.** What stands beside a finished thing may go once everybody knows
//! that it is finished. Whoever waits for a moment in which all replicas are equal waits for ever where somebody always
//! writes.
//!
//! The schedule: for most of a minute children come that run once, for a moment, without a pause in which all would be
//! equal. The marks of those that are over go meanwhile.

use ordu_supervisor::core::Restart;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "short-runs",
    "children that run once, for a moment, come without a pause; what is noted of them goes meanwhile",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::MarksGo);
    for child in 0..160 {
        let node = tale.any();
        tale.start_as(node, child, Character::Finishes, Restart::Temporary, None);
        tale.wait(300);
    }
}
