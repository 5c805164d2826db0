//! One of three nodes is cut off for 20 s: both sides run everything, and when they meet again one copy of each is left.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Life, Network, Plan, Scenario, millis, within};

const CHILDREN: usize = 60;
const NEW: usize = 10;
/// How long the node is cut off.
const CUT: Duration = Duration::from_secs(20);
/// From the heal until one copy of each is left and the nodes are equal.
const HEAL_MAX: Duration = Duration::from_secs(5);
/// For so long after that no child may come up twice again.
const CALM: Duration = Duration::from_secs(5);

#[test]
fn a_partition_heals() {
    let scenario = Scenario::new("partition");
    let network = match Network::new(&scenario, 3) {
        Ok(network) => network,
        Err(why) => return scenario.skip(&why),
    };
    let mut cluster = Cluster::make(scenario, &Plan { nodes: 3, arguments: &[], network: Some(&network) });
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    let new: Vec<String> = (0..NEW).map(|number| format!("x{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    within(Duration::from_secs(10), "the nodes converge", || cluster.converged());
    let originals: BTreeMap<&String, Life> = ids.iter().map(|id| (id, cluster.sampler.living(id).remove(0))).collect();
    cluster.scenario.say(&format!("spread before: {:?}", cluster.sampler.spread(&ids)));

    let cut = Instant::now();
    network.isolate(3);
    within(CUT, "both sides run all", || both_sides(&cluster, &ids));
    cluster.scenario.say(&format!("both sides run all {CHILDREN} {} after the cut", millis(cut.elapsed())));
    std::thread::scope(|scope| {
        for side in [0, 2] {
            let (cluster, new) = (&cluster, &new);
            scope.spawn(move || new.iter().for_each(|id| drop(cluster.start_child(side, id).ok())));
        }
    });
    within(CUT, "both sides run the new ones", || both_sides(&cluster, &new));
    // By the side that does not run the original.
    let stopped = ids.iter().find(|id| originals[id].node == "n1").expect("n1 has children").clone();
    cluster.ordu(2, &["stop", &stopped]).ok();
    assert_eq!(cluster.sampler.living(&stopped).len(), 1, "the other side has not heard of it");
    sleep(CUT.saturating_sub(cut.elapsed()));

    let left: Vec<String> = ids.iter().filter(|id| **id != stopped).cloned().collect();
    let all: Vec<String> = left.iter().chain(&new).cloned().collect();
    both_sides(&cluster, &all).unwrap();
    let copies: BTreeMap<String, Vec<Life>> = all.iter().map(|id| (id.clone(), cluster.sampler.living(id))).collect();
    cluster.sampler.reset_quality();
    let healed = Instant::now();
    network.heal();
    within(Duration::from_secs(30), "one copy of each, the stopped one gone", || {
        cluster.sampler.one_of_each(&all)?;
        cluster.sampler.copies_of_each(std::slice::from_ref(&stopped), 0)
    });
    let single = healed.elapsed();
    let (hash, _) = within(Duration::from_secs(30), "equal clock hashes", || cluster.converged());
    let equal = healed.elapsed();
    sleep(CALM);
    cluster.sampler.one_of_each(&all).unwrap();
    cluster.sampler.copies_of_each(std::slice::from_ref(&stopped), 0).unwrap();
    cluster.scenario.say(&format!(
        "one copy of each {} after the heal, equal clock hashes ({hash}) after {}; {}",
        millis(single),
        millis(equal),
        cluster.sampler.quality()
    ));
    let (absence, id) = cluster.sampler.longest_absence(&all, healed, Instant::now());
    cluster.scenario.say(&format!("longest absence of a child after the heal: {} ({id})", millis(absence)));
    let moved = all.iter().filter(|id| cluster.sampler.lives(id).iter().any(|life| life.first > healed)).count();
    cluster.scenario.say(&format!("{moved} children were started anew after the heal"));

    conflicts(&cluster, &copies, &all);
    for id in &left {
        let (is, was) = (&cluster.sampler.living(id)[0], &originals[id]);
        assert_eq!((is.pid, &is.process), (was.pid, &was.process), "{id}: not the long-running one is left");
    }
    let doubles = cluster.sampler.doubles(&all, healed + HEAL_MAX);
    assert_eq!(doubles, Vec::<String>::new(), "two copies after the heal was over");
    assert!(single <= HEAL_MAX, "the heal took {single:?}");
    assert!(equal <= HEAL_MAX, "the nodes were equal after {equal:?}");
    for node in &cluster.nodes {
        let status = node.get("/v1/status");
        assert_eq!((&status["children"], &status["running"]), (&all.len().into(), &all.len().into()), "{status}");
        assert!(node.door.get(&format!("/v1/children/{stopped}")).is_err(), "{} shows {stopped}", node.name);
    }
    cluster.terminate_all();
}

/// Whether n3 runs each child once, and so do the other two together.
fn both_sides(cluster: &Cluster, ids: &[String]) -> Result<(), String> {
    let wrong = ids.iter().filter_map(|id| {
        let nodes: Vec<String> = cluster.sampler.living(id).into_iter().map(|life| life.node).collect();
        let alone = nodes.iter().filter(|&node| node == "n3").count();
        (alone != 1 || nodes.len() != 2).then(|| format!("{id} on {nodes:?}"))
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} are wrong: {}", wrong.len(), wrong.join(", "))) }
}

/// Every child has one `name_conflict` event among all those that all nodes told, and it names its two copies.
#[track_caller]
fn conflicts(cluster: &Cluster, copies: &BTreeMap<String, Vec<Life>>, all: &[String]) {
    let told = cluster.events.of("name_conflict");
    cluster.scenario.say(&format!("{} losers, {} name_conflict events", all.len(), told.len()));
    let mut told_of: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &told {
        let id = event.field("name");
        *told_of.entry(id).or_default() += 1;
        let expected: BTreeSet<&str> = copies[id].iter().map(|life| &*life.process).collect();
        assert_eq!(BTreeSet::from([event.field("winner"), event.field("loser")]), expected, "{:?}", event.what);
        assert!(event.field("loser").starts_with(&format!("{}#", event.field("node"))), "by whom: {:?}", event.what);
        assert_eq!(event.field("policy"), "longest_running", "{:?}", event.what);
    }
    let wrong: Vec<_> = all.iter().filter(|id| told_of.get(&***id) != Some(&1)).collect();
    assert!(wrong.is_empty(), "not exactly one conflict: {wrong:?}");
    assert_eq!(told.len(), all.len());
}
