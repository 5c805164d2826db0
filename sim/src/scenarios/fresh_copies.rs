//! **A cut-off node's fresh copies beat everyone's long-running ones.** While a node is alone it starts everything that it
//! believes to be lost. At the heal those copies are seconds old; if the latest wins, the whole cluster's work is thrown
//! away for them.
//!
//! The schedule: children and names have been there for a while; one node is cut off and fills the gaps on its own. At
//! the heal the longest-running stays, everywhere.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// The scenario.
pub const SCENARIO: Scenario =
    story("fresh-copies", "a cut-off node starts everything anew; at the heal the old ones stay", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::FreshWins, 5), (Defect::LoserLives, 5)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    let [holder, alone] = tale.pick();
    tale.register(holder, &[0, 1]);
    tale.register(holder, &[2]);
    tale.start_some(8);
    tale.wait(2_000);
    tale.breaks(Fault::Isolate { node: alone }, 4_500);
    tale.wait(3_000);
    tale.register(alone, &[0]);
    tale.register(alone, &[1, 2]);
    tale.wait(4_000);
}
