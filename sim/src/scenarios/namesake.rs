//! **Two nodes of one name retire each other for ever.** Somebody copies a configuration and starts a second node under a
//! name that is taken. If the newcomer always wins, the first sees itself replaced, comes back as a newer one, and wins
//! in turn; both lose their children each time.
//!
//! The schedule: a second node of the same name starts elsewhere for a while. The one that was there first stays; the
//! second is told, and gives way, once.

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
    story("namesake", "a second node starts under a name that is taken", Layer::Either, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::NameDuel, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.must(Must::FirstStays);
    tale.plan().swim = true;
    let of = tale.any();
    tale.register(of, &[0]);
    tale.start_some(4);
    tale.wait(1_000);
    tale.breaks(Fault::Namesake { of }, 5_000);
    tale.wait(6_500);
}
