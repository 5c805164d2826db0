//! A node stops answering without dying: paused for a while by a signal, as by a swapping host or a suspended machine. Its
//! children run on meanwhile, so others run copies of them; when it goes on, one copy of each is left, the original.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Life, Scenario, millis, within};

const CHILDREN: usize = 30;
const PAUSE: Duration = Duration::from_secs(10);
const HEAL_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_paused_node_goes_on_with_its_children() {
    let mut cluster = Cluster::start(Scenario::new("paused"), 3);
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    within(Duration::from_secs(10), "the nodes converge", || cluster.converged());
    let originals: BTreeMap<&String, Life> = ids.iter().map(|id| (id, cluster.sampler.living(id).remove(0))).collect();
    let theirs = originals.values().filter(|life| life.node == "n2").count();

    let paused = Instant::now();
    cluster.nodes[1].signal(Signal::SIGSTOP);
    within(PAUSE, "the others run all that the paused node had", || {
        let missing = ids.iter().filter(|id| cluster.sampler.living(id).iter().all(|life| life.node == "n2"));
        let missing: Vec<&String> = missing.collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    let taken = paused.elapsed();
    sleep(PAUSE.saturating_sub(paused.elapsed()));
    let went_on = Instant::now();
    cluster.nodes[1].signal(Signal::SIGCONT);
    let (_, single) = within(Duration::from_secs(30), "one copy of each", || cluster.sampler.one_of_each(&ids));
    within(Duration::from_secs(30), "the nodes converge", || cluster.converged());
    let equal = went_on.elapsed();
    cluster.scenario.say(&format!(
        "{theirs} children taken over {} after the pause began; one copy of each {} after its end, equal after {}",
        millis(taken),
        millis(single),
        millis(equal)
    ));
    for id in &ids {
        let is = &cluster.sampler.living(id)[0];
        assert_eq!((is.pid, &is.node), (originals[id].pid, &originals[id].node), "{id}: not the original is left");
    }
    let (absence, id) = cluster.sampler.longest_absence(&ids, paused, Instant::now());
    assert_eq!(absence, Duration::ZERO, "{id} was away");
    let conflicts = cluster.events.since(paused, "name_conflict");
    assert_eq!(conflicts.len(), theirs, "one conflict for each copy");
    assert!(single <= HEAL_MAX && equal <= HEAL_MAX, "{single:?}, {equal:?}");
    let status = cluster.nodes[1].get("/v1/status");
    assert_eq!(status["boot"], 1, "being held as down costs no boot: {status}");
    cluster.terminate_all();
}

/// Shorter than what makes a node suspect for good: nothing happens at all.
#[test]
fn a_node_that_is_merely_busy_loses_nothing() {
    let mut cluster = Cluster::start(Scenario::new("busy"), 3);
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    let began = Instant::now();
    for round in 0..12 {
        let node = &cluster.nodes[round % 3];
        node.signal(Signal::SIGSTOP);
        sleep(Duration::from_millis(250));
        node.signal(Signal::SIGCONT);
        sleep(Duration::from_millis(500));
    }
    let told = |kind: &str| cluster.events.since(began, kind).len();
    cluster.scenario.say(&format!(
        "12 pauses of 250 ms: {} member_suspect, {} member_down events",
        told("member_suspect"),
        told("member_down")
    ));
    assert_eq!(told("member_down"), 0);
    for id in &ids {
        assert_eq!(cluster.sampler.lives(id).len(), 1, "{id} was started again");
    }
    cluster.terminate_all();
}
