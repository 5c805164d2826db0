//! Exhaustive small worlds: each is walked as deep as takes seconds.
//!
//! `ORDU_WALK_DEPTH` goes deeper than the usual run.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how deep is looked comes from outside; a test may take the time"
)]

use std::time::Instant;

use ordu_sim::walk::{Walked, find, walk};

fn walked(name: &str) -> Walked {
    let world = find(name).expect("a world");
    // A debug build is ten times slower; `ordu-sim walk` of a release build goes the whole way.
    let usual = if cfg!(debug_assertions) { world.depth * 2 / 3 } else { world.depth };
    let depth = std::env::var("ORDU_WALK_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(usual);
    let begun = Instant::now();
    let walked = walk(world, depth, |progress| {
        println!("{name}: {} states within {} actions, {:?}", progress.states, progress.depth, begun.elapsed());
    });
    let Walked { states, transitions, depth, complete, nodes, .. } = &walked;
    println!(
        "{name}: {states} states, {transitions} transitions within {depth} actions{}, {nodes:?} nodes and steps, {:?}",
        if *complete { ", all there are" } else { "" },
        begun.elapsed()
    );
    walked
}

fn holds(name: &str, states: usize) {
    let walked = walked(name);
    if let Some(trace) = &walked.violation {
        panic!("{name}: {trace}");
    }
    assert!(walked.states > states, "{walked:?}");
}

#[test]
fn pair() {
    holds("pair", 1000);
}

#[test]
fn heal() {
    holds("heal", 1000);
}

#[test]
fn lives() {
    holds("lives", 1000);
}

#[test]
fn crossing() {
    holds("crossing", 1000);
}

#[test]
fn takeover() {
    holds("takeover", 1000);
}

#[test]
fn restart() {
    holds("restart", 1000);
}

#[test]
fn twice() {
    holds("twice", 1000);
}

#[test]
fn duel() {
    holds("duel", 1000);
}

#[test]
fn trio() {
    holds("trio", 1000);
}
