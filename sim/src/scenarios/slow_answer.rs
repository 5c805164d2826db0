//! **The fast lane overtakes the slow one.** An answer to "tell me what I lack" is long and travels behind other long things;
//! news are short and travel in front. If the answer counts as told as soon as it is sent, the next piece of news closes
//! a gap whose filling is still under way: the receiver believes that it has what it has not, until it comes or is lost.
//!
//! The schedule: sessions break and come back on a network with very unequal delays while everybody goes on writing. What
//! a node holds is what its clock says, at every moment.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
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
    for _ in 0..6 {
        let [one, other] = tale.pick();
        let side = tale.side(one, other);
        if tale.below(2) == 0 {
            tale.breaks(Fault::Split { side }, 2_500);
        } else {
            tale.breaks(Fault::Reset { one, other }, 0);
        }
        for _ in 0..40 {
            let (node, first, which) = (tale.any(), tale.below(1_000), tale.below(4));
            match tale.below(3) {
                0 => tale.ask(node, Op::RegisterMany { first, count: 2 }),
                1 => tale.ask(node, Op::UpdateValue { which, name: first, value: "new".into() }),
                _ => tale.ask(node, Op::Unregister { which, name: first }),
            }
            tale.wait(60);
        }
    }
}
