//! The worked example of the laboratory: with fences nothing is spent twice, and without them that is found.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ordu_sim::shrink::Scripts;
use proptest::prelude::*;

#[path = "../examples/bank_transfer.rs"]
mod bank_transfer;

use bank_transfer::{Care, Counts, lab, options};

fn scripts() -> Scripts {
    lab(Care::Fenced, Arc::default()).scripts(options())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_fences_every_transfer_is_applied_once(script in scripts()) {
        lab(Care::Fenced, Arc::default()).check(&script)?;
    }
}

#[test]
fn the_same_seeds_hold_and_the_bank_had_something_to_refuse() {
    let counts = Arc::new(Counts::default());
    lab(Care::Fenced, counts.clone()).hunt(&options(), 1, 24).unwrap_or_else(|failure| panic!("{failure}"));
    let (applied, refused) = (counts.applied.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed));
    assert!(applied > 1_000 && refused > 10, "{applied} applied, {refused} refused");
}

#[test]
fn a_double_spend_is_found_where_the_bank_does_not_look() {
    let failure = lab(Care::NoFence, Arc::default()).hunt(&options(), 1, 24).expect_err("it is found");
    let ours = ["money-is-conserved", "applied-once", "fences-never-fall"];
    assert!(ours.contains(&failure.violation.invariant), "{failure}");
    assert!(failure.script.steps.len() <= 12, "{failure}");
    assert!(failure.to_string().contains("\n  "), "it lists the steps: {failure}");
}

#[test]
fn a_worker_that_writes_under_a_fence_it_got_since_is_found() {
    let failure = lab(Care::FreshFence, Arc::default()).hunt(&options(), 1, 200).expect_err("it is found");
    assert!(["money-is-conserved", "applied-once"].contains(&failure.violation.invariant), "{failure}");
}
