//! What the simulator says of itself: a short sweep holds, a seed decides everything, and threads change nothing.

use ordu_sim::draw::Options;
use ordu_sim::scenario::{SCENARIOS, find};
use ordu_sim::sweep::{digest_of, sweep};

fn options(scenario: &str, ops: usize) -> Options {
    Options { nodes: 5, ops, scenario: find(scenario).expect("a scenario").clone() }
}

#[test]
fn every_scenario_holds_for_a_few_seeds() {
    for scenario in SCENARIOS {
        let ran = sweep(1, 4, &Options { nodes: 5, ops: 60, scenario: scenario.clone() }, 2, false, |_| {});
        let broken: Vec<_> = ran.iter().filter(|one| one.outcome.violation.is_some()).collect();
        assert!(broken.is_empty(), "{}: {broken:?}", scenario.name);
    }
}

#[test]
fn a_seed_decides_everything() {
    let ran = sweep(7, 6, &options("all", 80), 2, true, |_| {});
    for one in &ran {
        assert_eq!(one.again, Some(one.outcome.digest), "seed {}", one.outcome.seed);
        assert!(one.outcome.events > 100, "seed {} did next to nothing", one.outcome.seed);
    }
}

#[test]
fn digests_do_not_depend_on_the_number_of_threads() {
    let digests = [1, 3].map(|jobs| digest_of(&sweep(100, 6, &options("churn", 40), jobs, false, |_| {})));
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digest_of(&sweep(101, 6, &options("churn", 40), 2, false, |_| {})));
}

#[test]
fn one_node_alone_and_many_hold() {
    for nodes in [1, 2, 9] {
        let ran = sweep(1, 2, &Options { nodes, ops: 40, scenario: SCENARIOS[0].clone() }, 2, false, |_| {});
        assert!(ran.iter().all(|one| one.outcome.violation.is_none()), "{nodes} nodes: {ran:?}");
    }
}
