//! **Where a child goes depends on the others, and they come and go.** The node that was chosen for a child dies before it
//! takes it, and whoever chose it waits for ever; or two that must not be on one node meet there after a cut, and stay.
//!
//! The schedule: children that keep apart, and children that go where fewest are, are asked for everywhere. A node is
//! killed, cut off, paused or drained, and more are asked for before anybody has noticed. All that was accepted runs, and
//! where there is room no two are together that must not be.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Act, Op, Placed, Script};

/// The scenario.
pub const SCENARIO: Scenario = story(
    "kept-apart",
    "children that keep apart or go where fewest are, while nodes come and go",
    Layer::Children,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::AssignmentStands, 20), (Defect::CrowdStays, 60)];

/// The children that are to be alone are four at most, in a cluster of four at least.
const PLACED: [Placed; 8] = [
    Placed::Alone,
    Placed::LeastLoaded,
    Placed::LeastLoaded,
    Placed::SpreadOverZones,
    Placed::LeastLoaded,
    Placed::Alone,
    Placed::SpreadOverZones,
    Placed::LeastLoaded,
];
/// How many children are placed so.
const CHILDREN: usize = 16;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 4);
    tale.must(Must::AcceptedRuns);
    tale.must(Must::KeptApart);
    for child in 0..CHILDREN / 2 {
        let node = tale.any();
        tale.start_placed(node, child, PLACED[child % PLACED.len()]);
    }
    tale.wait(2_500);
    let [node, asked, other] = tale.pick();
    let side = tale.side(node, asked);
    let fault = match tale.below(6) {
        0 | 1 => Fault::Split { side },
        2 => Fault::Pause { node },
        3 => Fault::Leave { node },
        4 => Fault::Crash { node, disk: Disk::Lost },
        _ => Fault::Crash { node, disk: Disk::Kept },
    };
    tale.breaks(fault, 8_000);
    for child in CHILDREN / 2..CHILDREN {
        let node = [asked, other][tale.below(2)];
        tale.start_placed(node, child, PLACED[child % PLACED.len()]);
    }
    // One on each side, once the sides hold each other as down.
    tale.wait(5_000);
    tale.start_placed(node, CHILDREN, Placed::OneAZone);
    tale.start_placed(asked, CHILDREN + 1, Placed::OneAZone);
    tale.wait(4_000);
    tale.drain(asked, other, true);
    tale.wait(3_000);
    tale.drain(asked, other, false);
    tale.wait(3_000);
}

/// Of the children that were drawn some are placed by where others are.
pub(crate) fn place_some(_: &mut ChaCha8Rng, script: &mut Script) {
    for step in &mut script.steps {
        let Act::Op { ask: Op::Start { spec, .. }, .. } = &mut step.act else { continue };
        if spec.pinned.is_none() {
            spec.placed = match spec.child % 8 {
                0 | 3 | 5 => Some(Placed::LeastLoaded),
                1 | 6 => Some(Placed::SpreadOverZones),
                2 => Some(Placed::Alone),
                4 => Some(Placed::OneAZone),
                _ => None,
            };
        }
    }
    if script.plan.children {
        script.plan.musts.push(Must::KeptApart);
    }
}
