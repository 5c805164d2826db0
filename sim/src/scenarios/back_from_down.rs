//! **A node that went down and came back loses the names of its living processes.** It was only cut off: its processes
//! went on all the time. Who treats "down" as "gone" has deleted, or goes on hiding, what they hold.
//!
//! The schedule: processes hold names; their node is cut off until everybody holds it as down, and comes back; others cut
//! it off again. Afterwards everybody shows what is held.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("back-from-down", "a cut-off node comes back with its processes alive", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::HiddenIsGone, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    for node in 0..tale.nodes() {
        tale.register(node, &[node]);
        tale.ask(node, Op::RegisterMany { first: 0, count: 5 });
    }
    tale.wait(500);
    for _ in 0..2 {
        let node = tale.any();
        tale.breaks(Fault::Isolate { node }, 3_500);
        tale.wait(5_500);
    }
}
