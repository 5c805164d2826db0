//! **A killed process is missed late, or a starved one is buried.** Whoever waits for answers only must wait for longer
//! than a living node may take to get a processor; whoever does not wait for that long declares it down when its machine is
//! busy. The kernel of the killed one's machine knows better: it refuses what comes for the port.
//!
//! The schedule: nodes are killed, some on machines whose kernel answers and some on silent ones; then nodes stand still
//! for a second each. The killed ones are down for everybody within 300 ms, or a few seconds where all is silent; of
//! those that stand still nobody says so.

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
    story("killed-or-starved", "nodes are killed, and others stand still for a second", Layer::Names, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::HintUnheard, 5), (Defect::StarvedIsDead, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().swim = true;
    tale.plan().latency_us = (100, 2_000);
    tale.must(Must::FoundSoon);
    tale.must(Must::Unburied);
    for _ in 0..4 {
        let node = tale.any();
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 5_000);
        tale.wait(12_000);
    }
    for _ in 0..6 {
        let node = tale.any();
        tale.breaks_us(Fault::Pause { node }, 1_000_000);
        tale.wait(4_000);
    }
}
