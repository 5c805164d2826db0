//! **A node that was paused for half a minute loses its names, or takes everybody else for dead.** A virtual machine that
//! was moved, a laptop that slept: it goes on as if nothing had been, and finds every timer overdue. If it concludes that
//! the *others* were silent, it holds all of them as down at once, shows none of their names, and starts their children.
//!
//! The schedule: every node holds a name; one is paused, for seconds and for half a minute, just when it suspects
//! somebody. Right after it goes on it is asked for the others' names: it must still show them. Nothing was cut and it held nothing in common with anybody, so nobody
//! is told to exit.

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
    story("paused", "a node stops for half a minute and goes on as if nothing had been", Layer::Names, stage);
/// What it catches.
pub const CATCHES: &[Caught] = &[(Defect::PauseBlamesOthers, 20)];

fn stage(rng: &mut ChaCha8Rng, script: &mut Script) {
    let mut tale = Tale::begin(rng, script, 3);
    tale.plan().swim = true;
    tale.must(Must::Undisputed);
    for node in 0..tale.nodes() {
        tale.register(node, &[node]);
    }
    tale.wait(500);
    for (blink_ms, pause_ms) in [(900, 1_500), (800, 30_000), (1_000, 3_000)] {
        let [paused, other] = tale.pick();
        // It suspects somebody in the moment in which it stops.
        let node = [paused, other][tale.below(2)];
        tale.breaks(Fault::Isolate { node }, blink_ms);
        tale.wait(blink_ms - 50);
        let pause_us = tale.about_us(pause_ms);
        tale.breaks_us(Fault::Pause { node: paused }, pause_us);
        tale.wait_us(pause_us + 100);
        for name in 0..tale.nodes() {
            if name != paused {
                tale.register(paused, &[name]);
            }
        }
        tale.wait(4_000);
    }
}
