//! A laboratory that catches nothing proves nothing: three known defects are put back into the cores, one at a time, and
//! the simulator must catch each within a thousand seeds at five nodes and two hundred operations.
//!
//! Run with `cargo test --release -p ordu-sim --features defects --test defects -- --nocapture` to see after how many.

use ordu_registry::core::defects::{Defect, put_back};
use ordu_sim::draw::Options;
use ordu_sim::scenario::SCENARIOS;
use ordu_sim::script::Script;
use ordu_sim::world;

const SEEDS: u64 = 1000;

fn is_caught(defect: Defect) {
    let options = Options { nodes: 5, ops: 200, scenario: SCENARIOS[0].clone() };
    for seed in 1..=SEEDS {
        let script = Script::draw(seed, &options);
        // The switch is this thread's own, and the run stays on it.
        put_back(Some(defect));
        let (outcome, _) = world::run(&script, None);
        put_back(None);
        if let Some(found) = outcome.violation {
            println!("{defect:?}: caught after {seed} seeds, by {}: {}", found.invariant, found.what);
            let (healthy, _) = world::run(&script, None);
            assert_eq!(healthy.violation, None, "seed {seed} fails without the defect too");
            return;
        }
    }
    panic!("{defect:?} was not caught within {SEEDS} seeds");
}

#[test]
fn losers_that_are_not_stopped_are_caught() {
    is_caught(Defect::LoserLives);
}

#[test]
fn removals_that_ship_without_what_they_cover_are_caught() {
    is_caught(Defect::BareRemoval);
}

#[test]
fn contexts_wider_than_their_events_are_caught() {
    is_caught(Defect::WideContext);
}
