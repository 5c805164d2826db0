//! **A cluster that must never run anything twice does.** Whoever is cut off, or stands still, runs on for a while, and the
//! others do not know for how long. If they take his children over too early, if he does not stop, or if a member forgets
//! to whom it had granted them, there are two.
//!
//! The schedule: children of all manners of stopping run where most members agree. One node is cut off or paused for
//! longer than the others wait, and in some rounds all the others are killed meanwhile and come back at once.

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
    story("minority", "a node is cut off or paused where children run in the majority only", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[
    (Defect::StartsUngranted, 3),
    (Defect::GrantsTwice, 3),
    (Defect::ForgetsGrants, 10),
    (Defect::RunsWithoutQuorum, 3),
    (Defect::TakesOverEarly, 3),
];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().quorum = tale.nodes() / 2 + 1;
    tale.plan().durable = true;
    tale.must(Must::NeverTwo);
    for child in 0..9 {
        let character = [Character::Steady, Character::SlowStop, Character::RefusesToStop][child % 3];
        let node = tale.any();
        tale.start(node, child, character);
    }
    tale.wait(12_000);
    for round in 0..4 {
        let [lost, asked] = tale.pick();
        let fault = if round % 2 == 0 { Fault::Isolate { node: lost } } else { Fault::Pause { node: lost } };
        tale.breaks(fault, 16_000);
        tale.wait(1_000);
        if tale.below(2) == 0 {
            for node in (0..tale.nodes()).filter(|&node| node != lost) {
                tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 300);
            }
            tale.wait(1_000);
        }
        let child = tale.below(9);
        tale.restart(asked, child);
        tale.wait(28_000);
    }
}
