//! **A peer that was away too long never hears what was removed.** Logs are bounded: what was removed leaves them one day,
//! whoever has not heard of it. A peer that comes back from behind that line and is told only what is new keeps what is
//! gone, and, since it has now seen as much as the others, nobody finds out.
//!
//! The schedule: logs that hold two or three removals; a node is cut off while others release and terminate far more than
//! that, and do not stop when it is back. Nothing that was removed is left.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("full-log", "more is removed behind a node's back than logs hold", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::UnfoundRemovals, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().push_events_max = 1;
    for node in 0..tale.nodes() {
        tale.ask(node, Op::RegisterMany { first: 20 * node, count: 20 });
    }
    tale.start_some(12);
    tale.wait(2_500);
    for _ in 0..2 {
        let [away] = tale.pick();
        tale.breaks(Fault::Isolate { node: away }, 4_000);
        tale.wait(200);
        for _ in 0..40 {
            let (node, which, name) = (tale.any(), tale.below(4), tale.below(60));
            tale.ask(node, Op::Unregister { which, name });
            if tale.below(3) == 0 {
                let child = tale.below(12);
                tale.terminate(node, child);
            }
            tale.wait(150);
        }
    }
}
