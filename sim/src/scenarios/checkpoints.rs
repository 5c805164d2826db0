//! **A child begins anew after a crash.** What it had told other nodes while it ran is not looked for, or somebody goes by
//! an old part of it; or what it left comes back after it was terminated, as another child of that name is started.
//!
//! The schedule: children tell others every fifth of a second what they need. Nodes are killed, one at a time, while one of
//! the others does not get what they send; children fail by themselves, are moved, restarted, terminated and started again.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("checkpoints", "nodes are killed whose children have said what they need", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::CrashForgets, 3), (Defect::StaleCheckpoint, 10)];

const CHILDREN: usize = 10;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 4);
    tale.plan().checkpoint_ms = 200;
    tale.must(Must::CheckpointsGoOn);
    tale.must(Must::BeginsAnew);
    for child in 0..CHILDREN {
        let character = [Character::Steady, Character::Fails, Character::SlowInit, Character::SlowStop][child % 4];
        let node = tale.any();
        tale.start(node, child, character);
    }
    tale.wait(4_000);
    for _ in 0..3 {
        let [killed, deaf, asked, drained] = tale.pick();
        // Too short for anybody to be taken for dead.
        tale.breaks_us(Fault::OneWay { from: killed, to: deaf }, 950_000);
        tale.wait_us(900_000);
        tale.breaks(Fault::Crash { node: killed, disk: Disk::Kept }, 3_000);
        tale.wait(9_000);
        let child = tale.below(CHILDREN);
        tale.restart(asked, child);
        let child = tale.below(CHILDREN);
        tale.terminate(asked, child);
        // Until it has ended, however slowly, and the caller was told.
        tale.wait(5_000);
        tale.start(asked, child, Character::Steady);
        tale.drain(asked, drained, true);
        tale.wait(4_000);
        tale.drain(asked, drained, false);
        tale.wait(6_000);
    }
}
