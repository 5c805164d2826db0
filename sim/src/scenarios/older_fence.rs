//! **The survivor's fence is the older one.** A database lets in only who shows a number at least as high as the last one it
//! saw. The copy on the other side began later and showed a higher number; at the heal the long-running copy wins, and
//! the database refuses it from now on.
//!
//! The schedule: a name and children are held; a node that is cut off starts its own, which get higher fences. At the heal
//! the survivor's fence rises above every fence that the losers had.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "older-fence",
    "the survivor of a heal began before the loser, whose fence is the higher",
    Layer::Either,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::FenceStays, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let [holder, alone] = tale.pick();
    tale.register(holder, &[0]);
    tale.start_some(4);
    tale.wait(1_000);
    let side = tale.side(alone, holder);
    tale.breaks(Fault::Split { side }, 4_000);
    tale.wait(3_000);
    tale.register(alone, &[0]);
    tale.wait(4_000);
}
