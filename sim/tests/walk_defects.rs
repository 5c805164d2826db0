//! What a walk is worth: known defects, put back, are found in small worlds that are sound without them.
//!
//! Run with `cargo test --release -p ordu-sim --features defects --test walk_defects -- --nocapture` to see the actions.

use ordu_sim::walk::{WORLDS, find, walk};
use ordu_transport::core::defects::{Defect, put_back};

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

/// In a table that others write in too; where only its owner does, a later event supersedes earlier ones by itself.
#[test]
fn removals_that_ship_without_what_they_cover_are_found() {
    is_found(Defect::BareRemoval, "takeover");
}

#[test]
fn contexts_wider_than_their_events_are_found() {
    is_found(Defect::WideContext, "crossing");
}

/// Says of every defect which small world finds it, and in how many actions: `ORDU_WALK_DEPTH=8 ORDU_DEFECTS=
/// OldNewsDecides,BlindStart cargo test --release -p ordu-sim --features defects --test walk_defects -- --ignored
/// --nocapture table`.
#[test]
#[ignore = "takes minutes; it reports and asserts nothing"]
#[allow(clippy::disallowed_methods, reason = "a report for whoever asks for it, no part of a core")]
fn table() {
    let depth = std::env::var("ORDU_WALK_DEPTH").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let only = std::env::var("ORDU_DEFECTS").unwrap_or_default();
    let wanted = |defect: &Defect| only.is_empty() || only.split(',').any(|name| name == format!("{defect:?}"));
    for defect in Defect::ALL.into_iter().filter(wanted) {
        put_back(Some(defect));
        let found: Vec<String> = WORLDS
            .iter()
            .filter_map(|world| {
                let walked = walk(world, depth.min(world.depth), |_| {});
                let trace = walked.violation?;
                Some(format!("{} in {} actions ({})", world.name, trace.actions.len(), trace.what))
            })
            .collect();
        put_back(None);
        println!("{defect:?}: {}", if found.is_empty() { "not found".to_owned() } else { found.join("; ") });
    }
}
