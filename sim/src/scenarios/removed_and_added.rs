//! **One child becomes many after a node is removed and added again.** A node that comes back hears first what should run,
//! and only then what runs already. If it does not wait for the second, it starts everything that belongs on it a second
//! time, and the copies have to be found and killed.
//!
//! The schedule: children run; a node dies or leaves, others take its children over; it comes back, with its disk or
//! without. Nothing is ever cut, so nobody may ever run twice, not even for a moment.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("removed-and-added", "a node goes and comes back to children that run elsewhere", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::BlindStart, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::Undisputed);
    tale.start_some(12);
    tale.wait(1_500);
    for _ in 0..2 {
        let node = tale.any();
        let fault = match tale.below(3) {
            0 => Fault::Leave { node },
            1 => Fault::Crash { node, disk: Disk::Kept },
            _ => Fault::Crash { node, disk: Disk::Lost },
        };
        tale.breaks(fault, 6_500);
        tale.wait(14_000);
    }
}
