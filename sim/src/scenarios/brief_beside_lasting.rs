//! **A brief start takes a lasting one along.** Behind a cut, one side starts a child that is to run on, the other one of the
//! same name that runs once at most, and later, so that it counts. At the heal one of both processes goes. Whoever follows
//! the start that counts, wherever it stands, gives the lasting child up for one that had its run, or runs that again; and
//! the end of the brief one removes both starts.
//!
//! The schedule: a cut; permanent children on one side, temporary ones of the same names on the other; the cut ends, and a
//! node may die. What was accepted to run on runs in the end, and nothing temporary ran twice.

use ordu_supervisor::core::Restart;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario = story(
    "brief-beside-lasting",
    "one side of a split starts a child for good, the other one of its name that runs once",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::AcceptedRuns);
    tale.must(Must::RunsOnce);
    let [one, other] = tale.pick();
    let side = tale.side(one, other);
    tale.breaks(Fault::Split { side }, 6_000);
    tale.wait(2_500);
    for child in 0..4 {
        let character = [Character::Steady, Character::SlowStop][tale.below(2)];
        tale.start_as(one, child, character, Restart::Permanent, None);
    }
    tale.wait(500);
    for child in 0..4 {
        let character = [Character::Steady, Character::Finishes, Character::SlowStop][tale.below(3)];
        tale.start_as(other, child, character, Restart::Temporary, None);
    }
    tale.wait(5_000);
    if tale.below(2) == 0 {
        let node = tale.any();
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 2_000);
        tale.wait(4_000);
    }
}
