//! **A snapshot brings back what was released meanwhile.** A node that comes back empty is healed by state: everything that
//! a peer holds, part by part. While it travels, names are released and children end, and the newcomer hears that first.
//! If "there and not here" is then taken for news, the released name is back, and spreads. If the sender's knowledge
//! replaces the receiver's own, what it had seen of others comes as news as well.
//!
//! The schedule: much is written and released, so that nobody can be healed by changes alone; nodes die and come back on
//! a slow network while others go on releasing. Nothing that was seen released shows again.

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
    story("stale-snapshot", "a node is healed by state while others release what it holds", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::StaleSnapshot, 20), (Defect::ClearedContext, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().latency_us = (1_000, 60_000);
    tale.plan().push_events_max = 4;
    for node in 0..tale.nodes() {
        tale.ask(node, Op::RegisterMany { first: 0, count: 20 });
        tale.ask(node, Op::RegisterMany { first: 50, count: 20 });
        tale.ask(node, Op::Unregister { which: 0, name: 0 });
    }
    tale.start_some(8);
    tale.wait(800);
    tale.terminate(0, 0);
    // Long enough for the removals to be acknowledged and dropped.
    tale.wait(3_000);
    for _ in 0..2 {
        let node = tale.any();
        tale.breaks(Fault::Crash { node, disk: Disk::Kept }, 1_500);
        tale.wait(1_200);
        for _ in 0..60 {
            let (node, which, name) = (tale.any(), tale.below(4), tale.below(20));
            tale.ask(node, Op::Unregister { which, name });
            if tale.below(4) == 0 {
                let child = tale.below(8);
                tale.terminate(node, child);
                tale.start(node, child, Character::Steady);
            }
        }
        tale.wait(2_500);
    }
}
