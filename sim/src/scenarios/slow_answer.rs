//! **The fast lane overtakes the slow one.** An answer to "tell me what I lack" is long and travels behind other long things;
//! news are short and travel in front. If the answer counts as told as soon as it is sent, the next piece of news closes
//! a gap whose filling is still under way: the receiver believes that it has what it has not, until it comes or is lost.
//!
//! The schedule: nodes crash and come back to a cluster that has dropped what it removed, so that they are healed by long
//! answers, on a network with very unequal delays, where sessions break and everybody goes on writing. What a node holds
//! is what its clock says, at every moment.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("slow-answer", "news overtake the answer to a pull, and the session breaks", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::AnswerMovesCursor, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    tale.must(Must::TwinAlways);
    tale.plan().latency_us = (500, 80_000);
    for node in 0..tale.nodes() {
        tale.ask(node, Op::RegisterMany { first: 0, count: 30 });
    }
    tale.wait(800);
    for node in 0..tale.nodes() {
        for name in 0..5 {
            tale.ask(node, Op::Unregister { which: 0, name });
        }
    }
    // Long enough for the removals to be acknowledged and dropped.
    tale.wait(3_000);
    for _ in 0..4 {
        let [node, other] = tale.pick();
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 800);
        tale.wait(700);
        for round in 0..40 {
            let (node, first, which) = (tale.any(), tale.below(1_000), tale.below(4));
            match tale.below(3) {
                0 => tale.ask(node, Op::RegisterMany { first, count: 2 }),
                1 => tale.ask(node, Op::UpdateValue { which, name: first, value: "new".into() }),
                _ => tale.ask(node, Op::Unregister { which, name: first }),
            }
            if round % 10 == 9 {
                tale.breaks(Fault::Reset { one: node, other }, 0);
            }
            tale.wait(60);
        }
    }
}
