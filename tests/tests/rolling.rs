//! Planned work on a cluster that is in use: a node is drained, and all nodes are restarted in turn. No child is lost, none
//! runs twice, and none is away for longer than it takes to stop and start it.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Door, Scenario, millis, until, within};
use serde_json::json;

const CHILDREN: usize = 45;
const SOON: Duration = Duration::from_secs(20);
/// How long a child may be away: far more than it takes here, for others use this machine too.
const AWAY_MAX: Duration = Duration::from_secs(3);
/// Children that come and go meanwhile, at a time.
const LOAD: usize = 12;
const STARTERS: usize = 2;

/// Starts and stops children at all nodes, whichever answer. Returns those that were accepted last and should run, and how
/// many calls were answered.
fn load(doors: &[Door], starter: usize, is_over: &AtomicBool) -> (BTreeSet<String>, usize) {
    let (mut running, mut answered) = (BTreeSet::new(), 0);
    for number in 0.. {
        let door = &doors[number % doors.len()];
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("load{starter}-{number:06}");
        let body = json!({"id": id, "kind": "exec", "args": {"cmd": ["sleep", "100000"]}}).to_string();
        match door.ask("POST", "/v1/children", body.as_bytes()) {
            Ok(answer) if answer.status == 201 => drop((running.insert(id), answered += 1)),
            // It is on its way out, or gone; or it was asked too late to tell.
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        let oldest = running.first().filter(|_| running.len() > LOAD / STARTERS).cloned();
        if let Some(oldest) = oldest {
            let path = format!("/v1/children/{oldest}");
            // Without an answer nobody knows whether it should run.
            running.remove(&oldest);
            if door.ask("DELETE", &path, b"").is_ok_and(|answer| [204, 404].contains(&answer.status)) {
                answered += 1;
            }
        }
    }
    (running, answered)
}

/// Does something while others start and stop children, and looks afterwards that nothing of all was lost.
fn under_load(cluster: &mut Cluster, work: impl FnOnce(&mut Cluster)) {
    let doors: Vec<Door> = cluster.nodes.iter().map(|node| node.door.clone()).collect();
    let is_over = AtomicBool::new(false);
    let (accepted, answered) = std::thread::scope(|scope| {
        let (doors, is_over) = (&doors, &is_over);
        let loads: Vec<_> = (0..STARTERS).map(|starter| scope.spawn(move || load(doors, starter, is_over))).collect();
        std::thread::sleep(Duration::from_millis(500));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(cluster)));
        is_over.store(true, Ordering::Relaxed);
        let loads = loads.into_iter().map(|load| load.join().expect("it ends"));
        let all = loads.fold((BTreeSet::new(), 0), |(mut all, sum), (more, answered)| {
            all.extend(more);
            (all, sum + answered)
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        all
    });
    cluster.scenario.say(&format!("{answered} calls were answered meanwhile"));
    assert!(answered > 50, "{answered} calls are no load");
    for node in &cluster.nodes {
        within(SOON, &format!("{} shows all that was accepted", node.name), || {
            let rows = node.door.get("/v1/children")?;
            let running = rows.as_array().into_iter().flatten().filter(|row| row["status"] == "running");
            let running: BTreeSet<String> = running.filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
            let lost: Vec<&String> = accepted.difference(&running).collect();
            if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?} do not run")) }
        });
    }
}

fn begin(name: &'static str) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start(Scenario::new(name), 3);
    let ids: Vec<String> = (0..CHILDREN).map(|number| format!("c{number:02}")).collect();
    cluster.start_children(&[0, 1, 2], &ids);
    cluster.sampler.reset_quality();
    (cluster, ids)
}

fn report(cluster: &Cluster, ids: &[String], from: Instant) {
    let (away, child) = cluster.sampler.longest_absence(ids, from, Instant::now());
    let quality = cluster.sampler.quality();
    cluster.scenario.say(&format!("away the longest: {child}, for {}; {quality}", millis(away)));
    assert_eq!(cluster.sampler.doubles(ids, from), [""; 0]);
    assert!(away < AWAY_MAX, "{child} was away for {away:?}");
}

#[test]
fn a_node_is_drained_under_load() {
    let (mut cluster, ids) = begin("drain_under_load");
    let from = Instant::now();
    under_load(&mut cluster, |cluster| {
        cluster.ordu(0, &["drain", "n2"]).ok();
        until(SOON, "it has given all away", || !cluster.sampler.spread(&ids).contains_key("n2"));
        until(SOON, "nothing of the load is there either", || {
            cluster.nodes[0].get("/v1/members")[1]["children"] == json!(0)
        });
        within(SOON, "one copy of each", || cluster.sampler.one_of_each(&ids));
        cluster.ordu(2, &["undrain", "n2"]).ok();
        until(SOON, "it has some again", || cluster.sampler.spread(&ids).get("n2").is_some_and(|some| *some > 5));
    });
    within(SOON, "one copy of each", || cluster.sampler.one_of_each(&ids));
    report(&cluster, &ids, from);
    cluster.terminate_all();
}

#[test]
fn all_nodes_are_restarted_in_turn_under_load() {
    let (mut cluster, ids) = begin("rolling_restart");
    let from = Instant::now();
    under_load(&mut cluster, |cluster| {
        for index in 0..3 {
            cluster.nodes[index].signal(Signal::SIGTERM);
            assert!(cluster.nodes[index].wait(2 * SOON).success(), "it gives its children away and leaves");
            within(SOON, "one copy of each", || cluster.sampler.one_of_each(&ids));
            cluster.up(index);
            cluster.meet(3);
            let name = cluster.nodes[index].name.clone();
            until(SOON, "it has some again", || cluster.sampler.spread(&ids).get(&name).is_some_and(|some| *some > 5));
            within(SOON, "one copy of each", || cluster.sampler.one_of_each(&ids));
        }
    });
    within(SOON, "one copy of each", || cluster.sampler.one_of_each(&ids));
    report(&cluster, &ids, from);
    cluster.terminate_all();
}
