//! **Who is suspected is as good as dead.** A node is out of reach for the blink of an eye, is suspected, says at once that
//! it lives, and is not heard: it is declared down, its children are started elsewhere, and it comes back to copies.
//!
//! The schedule: one node after another is cut off for a third of a second, less than it takes to be held as down. Nobody
//! is told to exit and nobody ever runs twice.

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
    story("blinks", "nodes are out of reach for a third of a second each", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::SuspectIsDown, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().swim = true;
    tale.must(Must::Undisputed);
    tale.start_some(10);
    tale.wait(1_500);
    for _ in 0..5 {
        let node = tale.any();
        tale.breaks(Fault::Isolate { node }, 300);
        tale.wait(2_000);
    }
}
