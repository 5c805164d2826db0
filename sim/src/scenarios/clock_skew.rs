//! **Wall clocks that differ by minutes decide who is later.** A node whose clock is minutes behind takes a child over: its
//! fence is the lower one, though it began later, and what guards by fences refuses it. Or a clock is set back while a
//! node runs, and its next process is "older" than its last.
//!
//! The schedule: clocks differ by up to four minutes and jump; holders die, end and hand over, one after the other, always
//! within sight of the next. Whoever comes later has the higher fence.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario = story(
    "clock-skew",
    "wall clocks are minutes apart and are set back; one holder follows another",
    Layer::Either,
    stage,
);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::SkewDecides, 20), (Defect::ClockFalls, 10)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().skew_ms_max = 240_000;
    tale.start_some(6);
    for round in 0..5 {
        let [one, other] = tale.pick();
        tale.register(one, &[round]);
        tale.wait(300);
        let by_ms = -30_000 - i64::try_from(tale.below(60_000)).unwrap_or(0);
        tale.breaks(Fault::Skew { node: one, by_ms }, 1);
        tale.ask(one, Op::EndProcess { which: 0 });
        tale.wait(300);
        tale.register(other, &[round]);
        tale.wait(100);
        tale.register(one, &[20 + round]);
        let child = tale.below(6);
        tale.restart(other, child);
        tale.wait(500);
    }
    let node = tale.any();
    tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 2_500);
    tale.wait(4_000);
}
