//! **A restart during a slow init deadlocks.** A child takes seconds to start. Who asks for its end or its restart
//! meanwhile finds it neither running nor gone: the wish is noted for later, and later never comes.
//!
//! The schedule: children with inits of seconds, or that never end, are asked for; in the middle of it they are
//! terminated, restarted, replaced, or their node is drained. Everybody is answered, and what should not run does not.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("slow-init", "ends, restarts and drains while an init takes its time", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::SlowInitDeadlock, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let [one, other] = tale.pick();
    for child in 0..6 {
        let hangs = tale.below(4) == 0;
        let node = tale.any();
        tale.start(node, child, if hangs { Character::HangsInInit } else { Character::SlowInit });
    }
    tale.wait(250);
    tale.terminate(one, 0);
    tale.restart(other, 1);
    tale.terminate(other, 2);
    tale.restart(one, 2);
    tale.drain(one, other, true);
    tale.wait(3_000);
    tale.restart(one, 3);
    tale.wait(200);
    tale.terminate(one, 3);
    tale.drain(one, other, false);
    // What hangs in its init for ever is nothing to end with.
    tale.wait(500);
    for child in 0..6 {
        tale.terminate(other, child);
    }
    tale.wait(3_000);
}
