//! **Old news decides.** A node comes back from behind a cut, and everybody remembers what it held before. If that counts at
//! once, a process that took a name over meanwhile is told to exit for one that ended long ago, and the name ends with
//! nobody.
//!
//! The schedule: a process holds names; its node is cut off, and there it ends; others take the names over. When the node
//! is back, nobody exits for the one that is gone.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario = story(
    "ended-meanwhile",
    "a process ended behind a cut; who took its names over stays when the node is back",
    Layer::Names,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::OldNewsDecides, 10)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::NoGhosts);
    let [away, other] = tale.pick();
    for name in 0..4 {
        tale.register(away, &[name]);
    }
    tale.wait(500);
    tale.breaks(Fault::Isolate { node: away }, 5_500);
    tale.wait(700);
    for _ in 0..4 {
        tale.ask(away, Op::EndProcess { which: 0 });
    }
    tale.wait(2_500);
    for name in 0..4 {
        tale.register(other, &[name]);
    }
    tale.wait(5_000);
}
