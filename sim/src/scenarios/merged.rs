//! **What a loser knew is gone.** On each side of a cut a child runs and works. After the heal one of both stays, and what
//! the other has done meanwhile is forgotten, or is done to the winner twice.
//!
//! The schedule: a node is cut off for long enough that others take its children over, and comes back; sessions break in
//! that very moment, and nodes are drained, so that the winner moves on while the loser stops.

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
    story("merged", "a cut heals, and losers of conflicts leave something to the winners", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::LoserForgets, 3), (Defect::MergesTwice, 120)];

const CHILDREN: usize = 12;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::LosersMerge);
    for child in 0..CHILDREN {
        let character = [Character::Steady, Character::SlowStop, Character::SlowInit][child % 3];
        let node = tale.any();
        tale.start(node, child, character);
    }
    tale.wait(4_000);
    for _ in 0..2 {
        let [cut, asks, drained] = tale.pick();
        tale.breaks_us(Fault::Isolate { node: cut }, 9_000_000);
        tale.wait_us(8_990_000);
        for _ in 0..6 {
            tale.wait(80);
            tale.breaks(Fault::Reset { one: cut, other: drained }, 1);
            tale.breaks(Fault::Reset { one: cut, other: asks }, 1);
        }
        tale.drain(asks, drained, true);
        tale.wait(8_000);
        tale.drain(asks, drained, false);
        tale.wait(8_000);
    }
}
