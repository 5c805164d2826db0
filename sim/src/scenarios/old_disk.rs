//! **An old disk makes a node take itself for its former self.** A node comes back with an empty or an older disk, and gives
//! itself a number that it had before. What it writes now looks like what it wrote then: others have "seen it already"
//! and ignore it, or hold the old in place of the new.
//!
//! The schedule: a node writes, dies, comes back with a lost or an old disk and writes again, several times, while the
//! others still know its earlier life. Every life is told apart from every other.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("old-disk", "a node comes back with a boot number that it had before, and writes", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::DotReuse, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    let node = tale.any();
    for round in 0..3 {
        tale.ask(node, Op::RegisterMany { first: 10 * round, count: 6 });
        tale.register(node, &[round]);
        tale.start(node, round, Character::Steady);
        tale.wait(800);
        let disk = if tale.below(2) == 0 { Disk::Lost } else { Disk::Old };
        tale.breaks(Fault::Crash { node, disk }, 1_800);
        tale.wait(3_500);
    }
    tale.ask(node, Op::RegisterMany { first: 50, count: 6 });
}
