//! **A name ends with nobody, because two layers each killed one copy.** A process that has lost is on its way out, but
//! its claims are still there. If such a claim wins against a third process, that one goes too: of three copies the first
//! killed the second, the second the third, and one of the names is empty afterwards.
//!
//! The schedule: nodes that are cut off from one another register names in a chain, each sharing one with the next, and
//! start the same children. At the heal the best of each name stays, and nobody is told to exit for a process that is
//! known to have lost.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "chain-of-conflicts",
    "processes that share names in a chain meet: who has lost beats nobody any more",
    Layer::Either,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::LosingClaimCounts, 20), (Defect::LoserLives, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 4);
    let chain: [usize; 4] = tale.pick();
    for round in 0..2 {
        let first = 10 * round;
        for &node in &chain[1..] {
            tale.breaks(Fault::Isolate { node }, 4_000);
        }
        tale.wait(2_600);
        for (at, &node) in chain.iter().enumerate() {
            tale.register(node, &[first + at, first + at + 1]);
        }
        for &node in &chain {
            tale.start(node, round, crate::children::Character::Steady);
        }
        tale.wait(6_000);
    }
}
