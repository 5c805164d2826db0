//! **Keys vanish when a sync is split into parts.** A replica that was cut off lacks many changes; they travel in several
//! messages. If the word "you have everything up to here" is wider than what came with it, the receiver's clock covers
//! changes that it never saw. Nobody will send them again: for it those keys do not exist, for ever. And a removal that
//! travels without what it removes takes nothing away.
//!
//! The schedule: many names and some children are there; the cluster splits, both sides change much, and it heals; a
//! session breaks in the middle of that. Nobody is ever in dispute with the twin that holds the whole state.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("split-sync", "both sides of a split change much; what heals it comes in parts", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::WideContext, 3), (Defect::BareRemoval, 3)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let [one, other] = tale.pick();
    tale.ask(one, Op::RegisterMany { first: 0, count: 30 });
    tale.ask(other, Op::RegisterMany { first: 100, count: 30 });
    tale.start_some(6);
    tale.wait(1_000);
    let side = tale.side(one, other);
    tale.breaks(Fault::Split { side }, 3_500);
    for round in 0..6 {
        let node = tale.any();
        let (which, name) = (tale.below(8), tale.below(30));
        tale.ask(node, Op::Unregister { which, name });
        tale.ask(one, Op::RegisterMany { first: 200 + round * 10, count: 8 });
        tale.ask(other, Op::UpdateValue { which, name, value: "later".into() });
        let child = tale.below(8);
        tale.terminate(node, child);
        tale.start(other, child, crate::children::Character::Steady);
        tale.wait(300);
    }
    tale.wait(2_500);
    tale.breaks(Fault::Reset { one, other }, 0);
    tale.ask(one, Op::RegisterMany { first: 300, count: 10 });
    tale.ask(other, Op::EndProcess { which: 0 });
}
