//! **One too many, or never again one.** Nodes that take a bounded number of children learn of each other's bounds by
//! gossip: a burst of starts lands on a node that is full already, and it breaks down under them. Or a child finds every
//! node full, and is not looked at any more when one has a place again.
//!
//! The schedule: more starts at once than the cluster has places. Then a node dies for long, and nobody has a place for what
//! it leaves; some children end elsewhere, and their places are taken by those. It comes back empty, and more is started
//! than fits. No node ever has more than it may, and nothing that was accepted is lost.

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use super::tale::Tale;
use super::{Caught, story};
use crate::fault::{Disk, Fault};
use crate::musts::Must;
use crate::scenario::{Layer, Scenario};
use crate::script::{Op, Script};

/// The scenario.
pub const SCENARIO: Scenario =
    story("full-nodes", "more children than the nodes have places for, and a node that dies", Layer::Children, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::OneTooMany, 5), (Defect::FullForGood, 5)];

/// How long callers wait, in milliseconds.
const WAIT_MS: u64 = 4_000;
/// How many starts find no place.
const TOO_MANY: usize = 6;

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::AcceptedRuns);
    let places = 3 + tale.below(4);
    tale.plan().max_children = u32::try_from(places).unwrap_or(u32::MAX);
    let all = places * tale.nodes();
    let mut first = 0;
    for _ in 0..2 {
        let [asked, dies, other] = tale.pick();
        tale.ask(asked, Op::StartMany { first, count: all + TOO_MANY, wait_ms: WAIT_MS });
        tale.wait(4_000);
        tale.breaks(Fault::Crash { node: dies, disk: Disk::Kept }, 30_000);
        tale.wait(6_000);
        for _ in 0..6 {
            let child = first + tale.below(all);
            tale.terminate(other, child);
        }
        tale.wait(14_000);
        tale.wait(22_000);
        first += all + TOO_MANY;
    }
}
