//! **Random placement is uneven.** By a hash alone one of five nodes has twice as many children as another; by how many
//! each has they differ by one.
//!
//! The schedule: children are asked for one after the other, at any nodes, once the others know of the last one. Nothing
//! breaks. No two nodes differ by more than one child.

use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Placed, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("least-loaded", "children that go where fewest are, one after the other", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::AcceptedRuns);
    tale.must(Must::Undisputed);
    tale.must(Must::Even);
    // Who asks first must know of all members, or it takes what others should have.
    tale.wait(3_000);
    for child in 0..4 * tale.nodes() {
        let node = tale.any();
        tale.start_placed(node, child, Placed::LeastLoaded);
        tale.wait(400);
    }
}
