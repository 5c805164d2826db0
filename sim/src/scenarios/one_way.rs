//! **A hears B, B does not hear A.** A switch that drops one direction. B takes A for dead, A does not; A says that it
//! lives, B does not hear it; the verdict flaps, and with it every owner: children are started, killed and moved, again
//! and again, for as long as it lasts.
//!
//! The schedule: children run; packets from one node to one other are dropped for long. A third node reaches both, so
//! nobody is suspected, nobody ever runs twice and nobody is told to exit.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("one-way-owners", "one direction between two nodes is cut, a third reaches both", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::OneWayFlaps, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 4);
    tale.plan().swim = true;
    tale.must(Must::Undisputed);
    tale.must(Must::Unsuspected);
    tale.start_some(10);
    tale.wait(1_500);
    let [from, to] = tale.pick();
    tale.breaks(Fault::OneWay { from, to }, 7_000);
    tale.wait(8_500);
}
