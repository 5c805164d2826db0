//! A laboratory that catches nothing proves nothing: every known defect is put back into the cores, one at a time, and must
//! be caught, by the stories that are about it and, where it shows there, by the plain sweep, each within a stated number
//! of seeds. Where it was caught, the same seed holds without it.
//!
//! `cargo test --release -p ordu-sim --features defects --test defects -- --ignored --nocapture report` writes the table of
//! `docs/simulation.md`.

use ordu_sim::draw::Options;
use ordu_sim::invariants::Violation;
use ordu_sim::scenario::{SCENARIOS, Scenario, find};
use ordu_sim::scenarios::STORIES;
use ordu_sim::script::Script;
use ordu_sim::world;
use ordu_transport::core::defects::{Defect, put_back};

/// What a run of this seed violates, with a defect or without.
fn violation(seed: u64, scenario: &Scenario, defect: Option<Defect>) -> Option<Violation> {
    let options = Options { nodes: 5, ops: 200, scenario: scenario.clone() };
    let script = Script::draw(seed, &options);
    // The switch is this thread's own, and the run stays on it.
    put_back(defect);
    let (outcome, _) = world::run(&script, None);
    put_back(None);
    outcome.violation
}

#[test]
#[ignore = "measures"]
#[allow(clippy::disallowed_methods, reason = "a report for whoever asks for it, no part of a core")]
fn measure() {
    let seeds: u64 = std::env::var("ORDU_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let only = std::env::var("ORDU_STORIES").unwrap_or_default();
    for (story, catches) in STORIES {
        if !only.is_empty() && !only.split(',').any(|name| name == story.name) {
            continue;
        }
        let begun = std::time::Instant::now();
        let broken: Vec<_> = (1..=seeds).filter_map(|seed| Some((seed, violation(seed, story, None)?))).collect();
        println!(
            "{}: {} of {seeds} broken, {:.1} ms a seed {:?}",
            story.name,
            broken.len(),
            begun.elapsed().as_secs_f64() * 1000.0 / seeds as f64,
            broken.first()
        );
        for (defect, _) in *catches {
            let caught: Vec<_> =
                (1..=seeds).filter_map(|seed| Some((seed, violation(seed, story, Some(*defect))?))).collect();
            let all: std::collections::BTreeSet<_> = caught.iter().map(|(_, found)| found.invariant).collect();
            println!("    {defect:?}: {} of {seeds}: {all:?} {:?}", caught.len(), caught.first());
        }
    }
    let _ = (find("all"), SCENARIOS);
}
