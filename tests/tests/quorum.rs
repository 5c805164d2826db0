//! Children that run where most nodes are only: whoever is cut off or stands still loses them, the others take them over
//! once they must be gone there, and at no moment is there a second copy of one.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Network, Plan, Scenario, millis, within};

const CHILDREN: usize = 24;
const QUORUM: [&str; 6] = ["--partition", "quorum:2", "--quorum-grace", "1s", "--quorum-stop-timeout", "2s"];
/// With these a child is granted to others 9 s after anybody vouched for its node last.
const TAKEOVER_MAX: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(20);

fn ids() -> Vec<String> {
    (0..CHILDREN).map(|number| format!("c{number:02}")).collect()
}

/// A cluster of three whose children run.
fn cluster(scenario: Scenario, network: Option<&Network>, ids: &[String]) -> Cluster {
    let cluster = Cluster::make(scenario, &Plan { nodes: 3, arguments: &QUORUM, network });
    let (_, began) = within(SOON, "all three take part", || {
        let held = |node: &ordu_tests::Node| node.get("/v1/status")["quorum"]["held"] == true;
        if cluster.nodes.iter().all(held) { Ok(()) } else { Err("not yet".to_owned()) }
    });
    cluster.scenario.say(&format!("three new nodes take part {} after they met", millis(began)));
    cluster.start_children(&[0, 1, 2], ids);
    within(SOON, "the nodes converge", || cluster.converged());
    cluster
}

/// Until the others run all that a node had, and what that took.
fn taken_over(cluster: &Cluster, ids: &[String], from: &str, since: Instant) -> Duration {
    within(TAKEOVER_MAX, "the others run all", || {
        cluster.sampler.one_of_each(ids)?;
        let spread = cluster.sampler.spread(ids);
        if spread.contains_key(from) { Err(format!("{spread:?}")) } else { Ok(()) }
    });
    since.elapsed()
}

#[test]
fn a_node_that_is_cut_off_stops_and_the_others_take_over() {
    let scenario = Scenario::new("minority");
    let network = match Network::new(&scenario, 3) {
        Ok(network) => network,
        Err(why) => return scenario.skip(&why),
    };
    let ids = ids();
    let mut cluster = cluster(scenario, Some(&network), &ids);
    let began = Instant::now();
    let had = cluster.sampler.spread(&ids).get("n3").copied().unwrap_or(0);
    assert!(had > 0, "n3 has children");

    network.isolate(3);
    let took = taken_over(&cluster, &ids, "n3", began);
    cluster.scenario.say(&format!("{had} children of a node that is cut off run elsewhere after {}", millis(took)));
    // Who is in the minority says so, refuses, and shows what it knows.
    let status = cluster.nodes[2].get("/v1/status");
    assert_eq!((&status["healthy"], &status["quorum"]["held"]), (&false.into(), &false.into()), "{status}");
    cluster.ordu(2, &["start", "late", "--", "sleep", "600"]).fails(1, "quorum");
    cluster.ordu(2, &["names", "--json"]).json();
    assert!(cluster.ordu(2, &["status"]).ok().contains("this node runs no children"));
    assert_eq!(cluster.events.since(began, "quorum_lost").len(), 1);
    // The others go on as ever.
    cluster.ordu(0, &["start", "early", "--", "sleep", "600"]).ok();
    cluster.ordu(1, &["stop", &ids[0]]).ok();

    network.heal();
    let left: Vec<String> = ids[1..].to_vec();
    within(SOON, "the nodes converge", || cluster.converged());
    within(SOON, "n3 has children again", || {
        cluster.sampler.one_of_each(&left)?;
        let spread = cluster.sampler.spread(&left);
        if spread.contains_key("n3") { Ok(()) } else { Err(format!("{spread:?}")) }
    });
    cluster.sampler.copies_of_each(&ids[..1], 0).unwrap();
    assert_eq!(cluster.sampler.doubles(&ids, began), Vec::<String>::new(), "never two");
    assert_eq!(cluster.events.since(began, "name_conflict").len(), 0);
    assert_eq!(cluster.events.since(began, "quorum_regained").len(), 1);
    cluster.terminate_all();
}

/// Its own process does nothing for that: what keeps its programs kills them.
#[test]
fn the_children_of_a_node_that_stands_still_are_killed() {
    let ids = ids();
    let mut cluster = cluster(Scenario::new("still"), None, &ids);
    let began = Instant::now();
    let had = cluster.sampler.spread(&ids).get("n2").copied().unwrap_or(0);
    assert!(had > 0, "n2 has children");
    cluster.nodes[1].signal(Signal::SIGSTOP);
    let took = taken_over(&cluster, &ids, "n2", began);
    cluster.scenario.say(&format!("{had} children of a node that stands still run elsewhere after {}", millis(took)));
    cluster.nodes[1].signal(Signal::SIGCONT);
    within(SOON, "the nodes converge", || cluster.converged());
    within(SOON, "n2 has children again", || {
        cluster.sampler.one_of_each(&ids)?;
        let spread = cluster.sampler.spread(&ids);
        if spread.contains_key("n2") { Ok(()) } else { Err(format!("{spread:?}")) }
    });

    // One that is killed takes its children along, and the two that are left are a quorum; one alone is none.
    cluster.nodes[2].kill_9();
    taken_over(&cluster, &ids, "n3", Instant::now());
    cluster.nodes[0].kill_9();
    within(TAKEOVER_MAX, "nothing runs", || cluster.sampler.copies_of_each(&ids, 0));
    assert_eq!(cluster.sampler.doubles(&ids, began), Vec::<String>::new(), "never two");
    cluster.up(0);
    within(TAKEOVER_MAX, "all run again", || cluster.sampler.one_of_each(&ids));
    assert_eq!(cluster.sampler.doubles(&ids, began), Vec::<String>::new(), "never two");
    cluster.terminate_all();
}
