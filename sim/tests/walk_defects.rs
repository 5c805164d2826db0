//! What a walk is worth: each known defect, put back, is found in a small world, and the world is sound without it.
//!
//! Run with `cargo test --release -p ordu-sim --features defects --test walk_defects -- --nocapture` to see the actions.

use ordu_registry::core::defects::{Defect, put_back};
use ordu_sim::walk::{find, walk};

fn is_found(defect: Defect, name: &str) {
    let world = find(name).expect("a world");
    // The switch is this thread's own, and a walk stays on it.
    put_back(Some(defect));
    let walked = walk(world, world.depth, |_| {});
    put_back(None);
    let Some(trace) = walked.violation else { panic!("{defect:?} was not found in {name}: {walked:?}") };
    println!("{defect:?}, found in {name} among {} states within {} actions: {trace}", walked.states, walked.depth);
    let healthy = walk(world, walked.depth, |_| {});
    assert_eq!(healthy.violation, None);
}

#[test]
fn losers_that_are_not_stopped_are_found() {
    is_found(Defect::LoserLives, "pair");
}

#[test]
fn removals_that_ship_without_what_they_cover_are_found() {
    is_found(Defect::BareRemoval, "pair");
    is_found(Defect::BareRemoval, "takeover");
}

#[test]
fn contexts_wider_than_their_events_are_found() {
    is_found(Defect::WideContext, "crossing");
}
