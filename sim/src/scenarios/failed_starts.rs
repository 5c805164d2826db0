//! **Failed starts leave entries behind.** A child whose init fails is refused to its caller, but what was written down for
//! it stays: memory grows with every failure, and the child that was refused runs some day after all. Or the clean-up
//! takes too much: another caller's start of the same child goes with it.
//!
//! The schedule: hundreds of starts whose init fails half of the time, some at two nodes at once. After each answer the
//! tables hold what was accepted, and nothing else.

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
    story("failed-starts", "hundreds of starts whose init fails, alone and beside good ones", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::FailedStartStays, 10), (Defect::FailedStartTakesAll, 50)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::RefusedGoes);
    tale.must(Must::GoodStarts);
    tale.plan().latency_us = (5_000, 40_000);
    for child in 0..200 {
        let [one, other] = tale.pick();
        if tale.below(3) == 0 {
            // Both ask before either has heard of the other.
            let characters = [Character::Steady, Character::BadInit];
            let first = tale.below(2);
            tale.start(one, child, characters[first]);
            tale.start(other, child, characters[1 - first]);
        } else {
            tale.start(one, child, Character::BadInit);
        }
    }
    tale.wait(2_000);
}
