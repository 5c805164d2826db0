//! A child that fails too often is left alone, also once its node is gone, and nobody else notices.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use ordu_tests::{Cluster, Scenario, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
/// For so long nothing may change.
const CALM: Duration = Duration::from_secs(3);
const OTHERS: usize = 30;

#[test]
fn a_crash_loop_ends_in_quarantine_and_the_others_do_not_notice() {
    let mut cluster = Cluster::start(Scenario::new("quarantine"), 3);
    let others: Vec<String> = (0..OTHERS).map(|number| format!("steady{number}")).collect();
    cluster.start_children(&[0, 1, 2], &others);
    let before: Vec<i32> = others.iter().map(|id| cluster.sampler.living(id)[0].pid).collect();

    let runs = cluster.scenario.path().join("runs");
    let script = format!("echo run >> {}; sleep 0.3; exit 3", runs.display());
    let line = ["start", "loop", "--max-restarts", "2", "--within", "60s", "--", "sh", "-c", &script];
    cluster.ordu(0, &line).ok();
    let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
    let quarantined = |cluster: &Cluster, gone: Option<&str>| {
        let mut last = Value::Null;
        for node in cluster.nodes.iter().filter(|node| Some(node.name.as_str()) != gone) {
            (last, _) = within(SOON, &format!("{} says so", node.name), || {
                let row = node.door.get("/v1/children/loop")?;
                if row["status"] == json!("quarantined") { Ok(row) } else { Err(row.to_string()) }
            });
            let reason = last["reason"].as_str().unwrap();
            assert!(reason.contains('3') && reason.contains("2 times within 60s"), "{reason}");
        }
        last
    };
    let row = quarantined(&cluster, None);
    assert_eq!((count(), &row["os_pid"]), (3, &Value::Null));
    cluster.ordu(1, &["start", "loop", "--", "true"]).fails(1, "already quarantined");
    let after: Vec<i32> = others.iter().map(|id| cluster.sampler.living(id)[0].pid).collect();
    assert_eq!(before, after, "a steady child was restarted");

    let holder = row["node"].as_str().expect("somebody holds it").to_owned();
    let index = cluster.nodes.iter().position(|node| node.name == holder).unwrap();
    cluster.nodes[index].kill_9();
    within(SOON, "one copy of each other child", || cluster.sampler.one_of_each(&others));
    std::thread::sleep(CALM);
    quarantined(&cluster, Some(&holder));
    assert_eq!(count(), 3, "it was started again by another node");

    let survivor = (index + 1) % 3;
    cluster.ordu(survivor, &["restart", "loop"]).ok();
    quarantined(&cluster, Some(&holder));
    assert_eq!(count(), 6);
    cluster.ordu(survivor, &["stop", "loop"]).ok();
    cluster.ordu(survivor, &["show", "loop"]).fails(1, "loop");
    cluster.terminate_all();
}

#[test]
fn a_crash_loop_that_escalates_ends_its_node_alone() {
    let mut cluster = Cluster::start(Scenario::new("escalates"), 3);
    let others: Vec<String> = (0..OTHERS).map(|number| format!("steady{number}")).collect();
    cluster.start_children(&[0, 1, 2], &others);
    let ends = format!("{}/end", cluster.scenario.path().display());
    let script = format!("while ! [ -e {ends} ]; do sleep 0.1; done; exit 3");
    let line = ["start", "loop", "--max-restarts", "1", "--escalate", "--json", "--", "sh", "-c", &script];
    let row = cluster.ordu(0, &line).json();
    let index = cluster.nodes.iter().position(|node| row["node"] == json!(node.name)).unwrap();
    std::fs::write(&ends, "").unwrap();
    assert_eq!(cluster.nodes[index].wait(2 * SOON).code(), Some(1));
    let told = cluster.nodes[index].log_tail(3);
    assert!(told.contains("loop failed too often here") && told.contains("1 times within 60s"), "{told}");
    within(SOON, "one copy of each other child", || cluster.sampler.one_of_each(&others));
    // The others leave it alone, and live on.
    std::thread::sleep(CALM);
    for (other, node) in cluster.nodes.iter_mut().enumerate().filter(|(other, _)| *other != index) {
        assert!(node.is_running(), "{other}");
        assert_eq!(node.get("/v1/children/loop")["status"], json!("quarantined"), "{other}");
        assert_eq!(node.get("/v1/status")["members_up"], json!(2), "{other}");
    }
    // Started anew it is a member as any other.
    cluster.up(index);
    cluster.meet(3);
    cluster.terminate_all();
}
