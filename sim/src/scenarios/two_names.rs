//! **A name ends with nobody, because two names each killed one copy.** Two processes hold the same two names. If each
//! name decides for itself, by when it was registered, one process loses the first name and the other one the second:
//! both exit, and both names are free.
//!
//! The schedule: the cluster is split; a process on each side takes two names, in opposite orders. One process must stay
//! and keep both.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("two-names", "two processes took the same two names, in opposite orders", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::RankPerName, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let [one, other] = tale.pick();
    let side = tale.side(one, other);
    tale.breaks(Fault::Split { side }, 4_000);
    tale.wait(1_000);
    tale.register(one, &[0]);
    tale.wait(50);
    tale.register(other, &[1]);
    tale.wait(50);
    tale.ask(one, Op::RegisterMore { which: 0, name: 1, value: "second".into() });
    tale.wait(50);
    tale.ask(other, Op::RegisterMore { which: 0, name: 0, value: "second".into() });
    tale.wait(4_000);
}
