//! **The change that explains a gap stays behind.** One node asks for a child, a second one changes or ends it; a third,
//! which was away, is told by the first that it has everything, and the second's word is not among it. For the third the
//! key is empty, though it was never removed, and its clock says that this is so.
//!
//! The schedule: a node is cut off again and again; meanwhile two others start, restart and end the same children in turn.
//! It meets either of them first. What it holds must be what its clock says, at every moment.

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
pub const SCENARIO: Scenario = story(
    "foreign-superseder",
    "others write over a node's children while a third is away; it hears of both, or of neither",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::SilentSuperseder, 10)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::TwinAlways);
    let [asks, changes, away] = tale.pick();
    for child in 0..6 {
        tale.start(asks, child, Character::Steady);
    }
    tale.wait(800);
    for _ in 0..4 {
        tale.breaks(Fault::Isolate { node: away }, 2_500);
        for child in 0..6 {
            if tale.below(2) == 0 {
                tale.restart(asks, child);
                tale.wait(30);
                tale.restart(changes, child);
            } else {
                tale.start(asks, child + 6, Character::Steady);
                tale.wait(60);
                tale.terminate(changes, child + 6);
            }
        }
        tale.wait(3_500);
    }
}
