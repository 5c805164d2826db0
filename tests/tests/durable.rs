//! What should run outlives all nodes at once, and a file that something has damaged is refused.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ordu_tests::{Cluster, Plan, Scenario, run, within};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// For so long nothing may come back.
const CALM: Duration = Duration::from_secs(3);

fn ids(of: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{of}{number}")).collect()
}

fn fences(cluster: &Cluster) -> BTreeMap<String, String> {
    let rows = cluster.nodes[0].get("/v1/children");
    let fence = |row: &Value| Some((row["id"].as_str()?.to_owned(), row["fence"].as_str()?.to_owned()));
    rows.as_array().expect("a list").iter().filter_map(fence).collect()
}

#[test]
fn nothing_accepted_is_lost_and_nothing_ended_comes_back_when_all_nodes_are_killed_at_once() {
    let plan = Plan { nodes: 3, arguments: &["--expect", "3"], network: None };
    let mut cluster = Cluster::make(Scenario::new("blackout"), &plan);
    let (lasting, ended, late) = (ids("lasting", 20), ids("ended", 8), ids("late", 12));
    cluster.start_children(&[0, 1, 2], &lasting);
    cluster.start_children(&[0, 1, 2], &ended);
    for (number, id) in ended.iter().enumerate() {
        cluster.ordu(number % 3, &["stop", id]).ok();
    }
    let before = fences(&cluster);
    // The last answers come right before the end.
    for (number, id) in late.iter().enumerate() {
        cluster.start_child(number % 3, id).ok();
    }
    for node in &mut cluster.nodes {
        node.kill_9();
    }
    within(SOON, "nothing runs", || cluster.sampler.copies_of_each(&lasting, 0));

    (0..3).for_each(|index| cluster.up(index));
    let accepted = [&lasting[..], &late[..]].concat();
    within(SOON, "one copy of each accepted child", || cluster.sampler.one_of_each(&accepted));
    std::thread::sleep(CALM);
    cluster.sampler.one_of_each(&accepted).unwrap();
    cluster.sampler.copies_of_each(&ended, 0).unwrap();
    within(SOON, "all nodes agree", || cluster.converged());
    for id in &ended {
        cluster.ordu(1, &["show", id]).fails(1, id);
    }
    let after = fences(&cluster);
    for id in &lasting {
        assert!(before[id] < after[id], "the fence of {id} fell: {} {}", before[id], after[id]);
    }
    assert!(cluster.events.of("child_moved").is_empty(), "a child was moved");
    cluster.terminate_all();
}

#[test]
fn a_damaged_file_is_refused_and_the_peers_know_what_it_said() {
    let mut cluster = Cluster::start(Scenario::new("damaged"), 2);
    let children = ids("child", 6);
    cluster.start_children(&[0, 1], &children);
    cluster.nodes[0].kill_9();
    let file = cluster.nodes[0].data_dir.join("children.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    let writable = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    // All of it but the beginning, which says what kind of file it is.
    (512..length).step_by(512).for_each(|at| writable.write_all_at(&[0x5a; 64], at).unwrap());

    let address = cluster.nodes[0].quic.to_string();
    let (tls, data) = (cluster.nodes[0].tls_dir.clone(), cluster.nodes[0].data_dir.clone());
    let line = ["up", "--name", "n1", "--listen", &address, "--http", &address];
    let paths = ["--tls-dir", tls.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let refused = || run(&cluster.scenario, None, &[&line[..], &paths[..]].concat());
    refused().fails(2, "children.redb: it is damaged");
    refused().fails(2, &format!("mv {} {}.damaged", file.display(), file.display()));

    std::fs::rename(&file, file.with_extension("redb.damaged")).unwrap();
    cluster.up(0);
    cluster.meet(2);
    within(SOON, "all nodes agree", || cluster.converged());
    within(SOON, "one copy of each child", || cluster.sampler.one_of_each(&children));
    cluster.nodes[1].kill_9();
    within(SOON, "one copy of each child", || cluster.sampler.one_of_each(&children));
    cluster.terminate_all();
}
