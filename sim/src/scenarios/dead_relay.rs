//! **A relay is gone in the middle of a broadcast.** Where nodes are many, what one writes is passed on by others. One of
//! them dies, or does not read, or sees other members than the rest: a branch has not heard, and hears of the next event
//! by another way. If whoever passes that on vouches for what came before too, the branch believes that it has everything.
//!
//! The schedule: many nodes that push to two others each; names come and go on all of them while some are killed, cut off
//! or stalled, and sessions break. Nobody is ever in dispute with the twin that holds the whole state, and in the end all
//! hold the same.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("dead-relay", "who passes on what others write dies, stalls, or sees others", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::RelayVouches, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 9);
    // Few events a push also mean few peers that are pushed to.
    tale.plan().push_events_max = 3;
    for node in 0..tale.nodes() {
        tale.ask(node, Op::RegisterMany { first: 20 * node, count: 2 });
    }
    tale.start_some(6);
    tale.wait(1_500);
    for _ in 0..5 {
        let [node, other, writer] = tale.pick();
        let fault = match tale.below(4) {
            0 => Fault::Crash { node, disk: Disk::Kept },
            1 => Fault::Stall { from: node, to: other },
            2 => Fault::OneWay { from: node, to: other },
            _ => Fault::Isolate { node },
        };
        tale.breaks(fault, 1_200);
        for round in 0..25 {
            let (any, which, name) = (tale.any(), tale.below(4), tale.below(60));
            match tale.below(4) {
                0 => tale.ask(any, Op::Unregister { which, name }),
                1 => tale.ask(any, Op::UpdateValue { which, name, value: "new".into() }),
                _ => tale.ask(writer, Op::RegisterMany { first: 300 + name, count: 1 }),
            }
            if round % 8 == 7 {
                let [one, other] = tale.pick();
                tale.breaks(Fault::Reset { one, other }, 0);
                let child = tale.below(6);
                tale.terminate(any, child);
                tale.start(any, child, crate::children::Character::Steady);
            }
            tale.wait(50);
        }
        tale.wait(800);
    }
}
