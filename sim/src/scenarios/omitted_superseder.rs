//! **What replaced a change is left out.** A sync that may carry so many changes stops in the middle, and says that all up
//! to its last one is complete. But an earlier change had been replaced by one that comes later: the receiver now holds
//! neither, and a name that was held all along is free there for a while.
//!
//! The schedule: a node registers names, is cut off, and changes the values of some of them, early and late ones. At the
//! heal what it wrote is pushed to everybody at once.

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
    story("omitted-superseder", "a node that was away has written over what it wrote before", Layer::Names, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::OmittedSuperseder, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::TwinAlways);
    let [away, other] = tale.pick();
    tale.ask(away, Op::RegisterMany { first: 0, count: 12 });
    tale.wait(600);
    for round in 0..5 {
        if tale.below(2) == 0 {
            tale.breaks(Fault::Isolate { node: away }, 2_500);
        } else {
            tale.breaks(Fault::OneWay { from: away, to: other }, 2_500);
        }
        tale.ask(away, Op::RegisterMany { first: 20 + 10 * round, count: 4 });
        for _ in 0..8 {
            let (which, name) = (tale.below(4), tale.below(16));
            tale.ask(away, Op::UpdateValue { which, name, value: "new".into() });
            tale.ask(away, Op::Unregister { which, name: name + 5 });
            tale.wait(60);
        }
        tale.wait(3_000);
        tale.breaks(Fault::Reset { one: away, other }, 0);
    }
}
