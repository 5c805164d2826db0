//! **A cluster that is fine with five nodes drowns in itself with hundreds.** Everybody speaks to everybody, and what one
//! event, one lost member or one cut costs a node grows with the cluster.
//!
//! The schedule: each node registers ten names; then the cluster is cut in halves, each holds the other for down, and
//! both meet again. It is the one to run with many nodes, a thousand at most: `--scenario halves --nodes 300`.

use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::Fault;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("halves", "ten names a node, and a cut through the middle: to be run with many nodes", Layer::Names, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[];

/// How many names each node registers.
const NAMES: usize = 10;
/// How long it takes at most until a thousand nodes have met, in microseconds.
const MEETING_US: u64 = 2_000_000;
/// How long all registrations take, in microseconds.
const REGISTERING_US: u64 = 1_000_000;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 2);
    let plan = tale.plan();
    // All that is large here is the cluster.
    (plan.swim, plan.codec, plan.latency_us) = (true, false, (100, 2_000));
    let nodes = tale.nodes();
    tale.wait_us(MEETING_US);
    for node in 0..nodes {
        tale.asks_now(node, Op::RegisterMany { first: 0, count: NAMES });
        tale.wait_us(REGISTERING_US / nodes as u64);
    }
    tale.wait(2_000);
    tale.breaks_us(Fault::Split { side: (0..nodes / 2).collect() }, 5_000_000);
    tale.wait(6_000);
}
