//! **A firewall is taken for a death.** Between two nodes stands one that answers "port unreachable" to everything. Each
//! concludes that the other's process is gone, and starts its children; everybody else sees both.
//!
//! The schedule: children run; two nodes cannot reach each other, and kernels say that their ports are closed. A third
//! reaches both, so nobody is held as down, nobody ever runs twice and nobody is told to exit.

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
    story("refusing-firewall", "a firewall between two nodes says that their ports are closed", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::HintIsProof, 10)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().swim = true;
    tale.plan().cuts_refuse = true;
    tale.must(Must::Unburied);
    tale.must(Must::Undisputed);
    tale.start_some(10);
    tale.wait(2_000);
    for _ in 0..3 {
        let [from, to] = tale.pick();
        tale.breaks(Fault::OneWay { from, to }, 7_000);
        tale.wait(12_000);
    }
}
