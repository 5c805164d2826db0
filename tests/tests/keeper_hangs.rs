//! A node's keeper that does not answer: it is stopped by a signal, as a debugger or a frozen cgroup would.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ordu_tests::{Cluster, Scenario, is_alive, until};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

/// Starts a child that does not end by itself; its process, and the keeper.
fn start(cluster: &Cluster, id: &str) -> (i32, Pid) {
    let line = ["start", id, "--json", "--stop-timeout", "100ms", "--", "sleep", "1000"];
    let row = cluster.ordu(0, &line).json();
    let child = i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    let parent = stat.rsplit_once(") S ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    (child, Pid::from_raw(parent))
}

#[test]
fn a_child_has_ended_only_when_its_process_is_gone() {
    let mut cluster = Cluster::start(Scenario::new("keeper_hangs"), 1);
    let (child, keeper) = start(&cluster, "web");
    kill(keeper, Signal::SIGSTOP).unwrap();
    cluster.ordu(0, &["stop", "web"]).ok();
    let is_left = is_alive(child);
    kill(keeper, Signal::SIGCONT).unwrap();
    assert!(!is_left, "it was told that the child had ended, and its process lived");
    let (_, same) = start(&cluster, "after");
    assert_eq!(same, keeper);
    cluster.terminate_all();
}

/// It may be started whenever the keeper goes on.
#[test]
fn a_child_that_was_ordered_has_not_ended_while_it_may_still_begin() {
    let mut cluster = Cluster::start(Scenario::new("keeper_hangs_before"), 1);
    let (_, keeper) = start(&cluster, "web");
    kill(keeper, Signal::SIGSTOP).unwrap();
    let spec = json!({"id": "late", "args": {"cmd": ["sleep", "1000"], "stop_timeout": "100ms"}});
    let ask =
        |method: &str, path: &str| cluster.nodes[0].door.ask(method, path, spec.to_string().as_bytes()).unwrap().status;
    let started = ask("POST", "/v1/children?timeout=100ms");
    let stopped = ask("DELETE", "/v1/children/late?timeout=5s");
    kill(keeper, Signal::SIGCONT).unwrap();
    assert_eq!((started, stopped), (504, 504));
    until(SOON, "it is gone", || cluster.nodes[0].door.get("/v1/children/late").is_err());
    cluster.terminate_all();
}
