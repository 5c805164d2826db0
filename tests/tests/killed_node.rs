//! A node is killed: its children run elsewhere within seconds, and come back when it does, never twice.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ordu_tests::{Cluster, Scenario, millis, until, with_variable, within};

const CHILDREN: usize = 60;
/// How many of the children each of three nodes runs.
const SPREAD: std::ops::RangeInclusive<usize> = 8..=32;
/// From the kill until everything runs exactly once again.
const RECOVERY_MAX: Duration = Duration::from_secs(3);
/// From the kill until no process of the dead node is left.
const ORPHANS_MAX: Duration = Duration::from_secs(1);
/// For so long after the recovery nothing may change.
const CALM: Duration = Duration::from_secs(2);
/// From the node's return until it has its share.
const RETURN_MAX: Duration = Duration::from_secs(30);

#[test]
fn sixty_children_survive_a_killed_node() {
    let mut cluster = Cluster::start(Scenario::new("killed_node"), 3);
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    let began = Instant::now();
    cluster.start_children(&[0, 1, 2], &ids);
    cluster.scenario.say(&format!("{CHILDREN} children started by commands in {}", millis(began.elapsed())));
    let before = spread(&cluster, &ids, "before the kill");

    let survivors: BTreeMap<String, i32> = ids
        .iter()
        .flat_map(|id| cluster.sampler.living(id).into_iter().map(|life| (id.clone(), life)))
        .filter(|(_, life)| life.node != "n2")
        .map(|(id, life)| (id, life.pid))
        .collect();
    let boot = cluster.nodes[1].boot;
    cluster.sampler.reset_quality();
    let killed = cluster.nodes[1].kill_9();

    until(Duration::from_secs(5), "no process of the dead node is left", || {
        with_variable("ORDU_NODE", |node| node == "n2").iter().all(|pid| !cluster.scenario.processes().contains(pid))
    });
    let orphans = killed.elapsed();
    within(Duration::from_secs(20), "one copy of each child", || cluster.sampler.one_of_each(&ids));
    // Whoever starts a second copy does so now.
    std::thread::sleep(CALM);
    cluster.sampler.one_of_each(&ids).unwrap();
    let recovery = cluster.sampler.settled(&ids) - killed;
    let downs = cluster.events.since(killed, "member_down");
    let detection = downs.iter().map(|event| event.heard - killed).min().expect("somebody saw the node go down");
    let (absence, _) = cluster.sampler.longest_absence(&ids, killed, Instant::now());
    let last_seen = ids.iter().flat_map(|id| cluster.sampler.lives(id)).filter(|life| life.node == "n2");
    let leaves = last_seen.filter_map(|life| life.gone).max().expect("it had children") - killed;
    cluster.scenario.say(&format!(
        "of {} children of the dead node the last leaf was gone after {}, everything of it after {}",
        before["n2"],
        millis(leaves),
        millis(orphans)
    ));
    cluster.scenario.say(&format!(
        "detected after {}, all {CHILDREN} exactly once again after {} (longest absence {}); {}",
        millis(detection),
        millis(recovery),
        millis(absence),
        cluster.sampler.quality()
    ));
    cluster.scenario.say(&format!("spread over two: {:?}", cluster.sampler.spread(&ids)));
    assert!(orphans <= ORPHANS_MAX, "the dead node's children lived on for {orphans:?}");
    assert!(recovery <= RECOVERY_MAX, "the recovery took {recovery:?}");
    assert_eq!(cluster.sampler.doubles(&ids, killed), Vec::<String>::new());
    for (id, pid) in &survivors {
        assert_eq!(cluster.sampler.living(id)[0].pid, *pid, "{id} was not on the dead node and was moved");
    }

    let back = Instant::now();
    cluster.nodes[1].boot = 0;
    cluster.up(1);
    assert!(cluster.nodes[1].boot > boot, "boot {} after {boot}", cluster.nodes[1].boot);
    cluster.meet(3);
    let shown = cluster.nodes[0].get("/v1/members");
    let member = shown.as_array().unwrap().iter().find(|member| member["name"] == "n2").unwrap().clone();
    assert_eq!(member["boot"], cluster.nodes[1].boot, "{member}");
    // The share it had before: placement goes by names, and they are the same.
    within(RETURN_MAX, "the children are back where they were", || {
        let now = cluster.sampler.spread(&ids);
        cluster.sampler.one_of_each(&ids)?;
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let moved = back.elapsed();
    within(Duration::from_secs(10), "the nodes converge", || cluster.converged());
    std::thread::sleep(CALM);
    cluster.sampler.one_of_each(&ids).unwrap();
    let (absence, id) = cluster.sampler.longest_absence(&ids, back, Instant::now());
    let changes = ids.iter().map(|id| cluster.sampler.owner_changes(id, back)).max().unwrap_or(0);
    cluster.scenario.say(&format!(
        "the node is back under boot {} after {boot} and has its share after {}; a move takes a child away for {} at most \
         ({id}), {changes} owner change per child at most",
        cluster.nodes[1].boot,
        millis(moved),
        millis(absence)
    ));
    spread(&cluster, &ids, "after the return");
    assert_eq!(cluster.sampler.doubles(&ids, began), Vec::<String>::new(), "a child ran twice");
    cluster.terminate_all();
}

#[track_caller]
fn spread(cluster: &Cluster, ids: &[String], when: &str) -> BTreeMap<String, usize> {
    let spread = cluster.sampler.spread(ids);
    cluster.scenario.say(&format!("spread {when}: {spread:?}"));
    assert_eq!(spread.len(), 3, "{spread:?}");
    assert!(spread.values().all(|count| SPREAD.contains(count)), "{spread:?} is not within {SPREAD:?}");
    spread
}
