//! What children print, read from any node: whole, through rotations, after a child that moves, and by slow readers.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use ordu_tests::{Cluster, Scenario, Spawned, resident_bytes, spawn, until, within};

const SOON: Duration = Duration::from_secs(20);
/// How long one of a node's logs may become.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// As many requests as two nodes have open between them.
const REQUESTS_MAX: usize = 16;

fn start(name: &'static str, nodes: usize) -> Cluster {
    Cluster::start(Scenario::new(name), nodes)
}

/// Follows a child's output by a node.
fn follow(cluster: &Cluster, index: usize, id: &str) -> Spawned {
    let address = cluster.nodes[index].door.address.to_string();
    spawn(&cluster.scenario, None, &["logs", id, "-f", "-n", "1000000", "--http", &address])
}

/// The node that runs a child, as a node shows it.
fn holder(cluster: &Cluster, by: usize, id: &str) -> usize {
    let (node, _) = within(SOON, "it runs", || {
        let row = cluster.nodes[by].door.get(&format!("/v1/children/{id}"))?;
        if row["status"] == "running" { Ok(row["node"].clone()) } else { Err(row.to_string()) }
    });
    cluster.nodes.iter().position(|other| node == *other.name).expect("a node of ours")
}

/// The file beside a child's log, on the node that runs it.
fn beside(cluster: &Cluster, index: usize, id: &str, ending: &str) -> PathBuf {
    cluster.nodes[index].data_dir.join("logs").join(format!("{id}.log{ending}"))
}

/// How many bytes of a child's output were rotated away from its present file, ever.
fn base(cluster: &Cluster, index: usize, id: &str) -> u64 {
    let mark = std::fs::read_to_string(beside(cluster, index, id, ".mark")).unwrap_or_default();
    mark.split(' ').nth(1).and_then(|base| base.parse().ok()).unwrap_or(0)
}

#[test]
fn a_childs_output_is_read_from_each_node() {
    let mut cluster = start("logs", 3);
    let script = "for i in $(seq 1 250); do echo line $i; done; echo err >&2; while true; do sleep 1; done";
    cluster.ordu(0, &["start", "talk", "--node", "n2", "--", "sh", "-c", script]).ok();
    let all: String = (1..=250).map(|n| format!("line {n}\n")).chain(["err\n".to_owned()]).collect();
    let last = |lines: usize| all.lines().skip(251 - lines).map(|line| format!("{line}\n")).collect::<String>();
    for index in 0..3 {
        until(SOON, "all is printed", || cluster.ordu(index, &["logs", "talk", "-n", "1"]).ok() == "err\n");
        assert_eq!(cluster.ordu(index, &["logs", "talk"]).ok(), last(100));
        assert_eq!(cluster.ordu(index, &["logs", "talk", "-n", "3"]).ok(), "line 249\nline 250\nerr\n");
        assert_eq!(cluster.ordu(index, &["logs", "talk", "-n", "0"]).ok(), "");
        assert_eq!(cluster.ordu(index, &["logs", "talk", "-n", "9999"]).ok(), all);
        let answer = cluster.nodes[index].door.ask("GET", "/v1/children/talk/logs?lines=2", b"").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "line 250\nerr\n"));
        assert!(answer.head.contains("content-type: text/plain; charset=utf-8"), "{}", answer.head);
        cluster.ordu(index, &["logs", "nobody"]).fails(1, "there is no child nobody");
        cluster.ordu(index, &["logs", "nobody", "-f"]).fails(1, "there is no child nobody");
    }
    // Done, and its row still stands.
    cluster.ordu(0, &["start", "once", "--restart", "temporary", "--", "echo", "done"]).ok();
    for index in 0..3 {
        until(SOON, "it is done", || {
            cluster.nodes[index].door.get("/v1/children/once").is_ok_and(|row| row["status"] == "done")
        });
        assert_eq!(cluster.ordu(index, &["logs", "once"]).ok(), "done\n");
        assert_eq!(cluster.ordu(index, &["logs", "once", "-f"]).ok(), "done\n", "it has ended");
    }
    cluster.ordu(1, &["stop", "talk"]).ok();
    for index in 0..3 {
        until(SOON, "it is gone everywhere", || cluster.nodes[index].door.get("/v1/children/talk").is_err());
        cluster.ordu(index, &["logs", "talk"]).fails(1, "there is no child talk");
    }
    // It waits for its node, and runs nowhere.
    cluster.ordu(0, &["start", "pinned", "--node", "n3", "--", "sleep", "1000"]).ok();
    assert_eq!(cluster.ordu(0, &["logs", "pinned"]).ok(), "");
    // A node that does not answer is told from one that has nothing.
    cluster.nodes[2].signal(Signal::SIGSTOP);
    let answer = cluster.nodes[0].door.ask("GET", "/v1/children/pinned/logs", b"").unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (503, &"node_unreachable".into()), "{}", answer.body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("n3"), "{}", answer.body);
    cluster.nodes[2].kill_9();
    for index in 0..2 {
        until(SOON, "it is pending", || {
            cluster.nodes[index].door.get("/v1/children/pinned").is_ok_and(|row| row["status"] == "pending")
        });
        cluster.ordu(index, &["logs", "pinned"]).fails(1, "pinned has no log to read, because it runs nowhere now");
        let answer = cluster.nodes[index].door.ask("GET", "/v1/children/pinned/logs", b"").unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"not_found".into()));
    }
    cluster.terminate_all();
}

#[test]
fn following_loses_and_repeats_nothing_through_rotations() {
    const PARTS: usize = 16;
    let mut cluster = start("logs_rotation", 3);
    let gate = cluster.scenario.path().join("gate");
    // Some twenty megabytes, so that the log is rotated twice, no faster than a reader can be expected to read.
    let script = format!(
        "echo begin; while [ ! -e {} ]; do sleep 0.1; done; \
         for part in $(seq 1 {PARTS}); do seq -f $part-%.0f 1 150000; sleep 0.5; done; echo end; \
         while true; do sleep 1; done",
        gate.display()
    );
    cluster.ordu(0, &["start", "long", "--node", "n2", "--", "sh", "-c", &script]).ok();
    let followers: Vec<Spawned> = (0..3).map(|index| follow(&cluster, index, "long")).collect();
    for follower in &followers {
        until(SOON, "it follows", || follower.stdout() == "begin\n");
    }
    std::fs::write(&gate, "").unwrap();
    let log = beside(&cluster, 1, "long", "");
    let ends = || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with("\nend\n"));
    until(Duration::from_secs(90), "all is printed", ends);
    let rotated = base(&cluster, 1, "long");
    assert!(rotated > LOG_BYTES_MAX, "rotated twice: {rotated}");
    // The program is stopped at once: what it printed last is told all the same.
    cluster.ordu(0, &["stop", "long"]).ok();
    let mut all = String::from("begin\n");
    for part in 1..=PARTS {
        (1..=150_000).for_each(|n| all.push_str(&format!("{part}-{n}\n")));
    }
    all.push_str("end\n");
    for (index, follower) in followers.into_iter().enumerate() {
        let printed = follower.wait(Duration::from_secs(180)).ok();
        let mut lines = all.lines();
        // Each line is one of the rest: none is repeated, and none comes too early.
        let strange = printed.lines().find(|printed| !lines.any(|line| line == *printed));
        assert!(printed.ends_with("\nend\n"), "by n{}: what came last is missing", index + 1);
        assert!(strange.is_none(), "by n{}: {strange:?} is out of order", index + 1);
        assert!(printed == all, "by n{}: {} of {} bytes", index + 1, printed.len(), all.len());
    }
    cluster.terminate_all();
}

#[test]
fn a_follower_goes_after_a_child_that_moves() {
    let mut cluster = start("logs_moves", 3);
    // Each activation says who it is; the sleep is told to go when the shell is.
    let script = "echo $ORDU_PID; while true; do sleep 0.1; done";
    cluster.ordu(0, &["start", "mover", "--", "sh", "-c", script]).ok();
    let pid = |by: usize| {
        let row = cluster.nodes[by].door.get("/v1/children/mover").unwrap_or_default();
        row["pid"].as_str().map(str::to_owned).unwrap_or_default()
    };
    let first = holder(&cluster, 0, "mover");
    let others: Vec<usize> = (0..3).filter(|&index| index != first).collect();
    let mut expected = format!("{}\n", pid(first));
    let followers = [follow(&cluster, first, "mover"), follow(&cluster, others[0], "mover")];
    let prints = |expected: &str, followers: &[Spawned]| {
        for follower in followers {
            within(SOON, "what is printed", || match follower.stdout() {
                printed if printed == expected => Ok(()),
                printed => Err(format!("{printed:?}, not {expected:?}; {}", follower.stderr())),
            });
        }
    };
    prints(&expected, &followers);
    // Started again at the same place.
    cluster.ordu(0, &["restart", "mover"]).ok();
    expected.push_str(&format!("{}\n", pid(0)));
    prints(&expected, &followers);
    // Moved away from a node that is drained.
    let name = cluster.nodes[first].name.clone();
    cluster.ordu(first, &["drain", &name]).ok();
    until(SOON, "it runs elsewhere", || !pid(first).is_empty() && holder(&cluster, first, "mover") != first);
    let second = holder(&cluster, first, "mover");
    let moved = pid(first);
    expected.push_str(&format!("{moved}\n"));
    prints(&expected, &followers);
    for index in 0..3 {
        until(SOON, "all see it there", || pid(index) == moved);
        assert_eq!(cluster.ordu(index, &["logs", "mover"]).ok(), format!("{moved}\n"), "what it printed there");
    }
    // Taken over from a node that is killed. Its own follower goes with it.
    let [by_first, by_other] = followers;
    let left = if second == others[0] { vec![by_first] } else { vec![by_first, by_other] };
    cluster.nodes[second].kill_9();
    let third = (0..3).find(|&index| index != first && index != second).unwrap();
    until(SOON, "it is taken over", || holder(&cluster, first, "mover") == third);
    let row = cluster.nodes[first].get("/v1/children/mover");
    expected.push_str(&format!("{}\n", row["pid"].as_str().unwrap()));
    prints(&expected, &left);
    cluster.ordu(first, &["stop", "mover"]).ok();
    for follower in left {
        assert_eq!(follower.wait(SOON).ok(), expected, "it ends with the child");
    }
    cluster.terminate_all();
}

/// Asks a node to follow a child, and reads no more of the answer than that there is one.
fn open(cluster: &Cluster, index: usize, id: &str) -> (TcpStream, String) {
    let door = &cluster.nodes[index].door;
    let mut stream = door.connect().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET /v1/children/{id}/logs?follow=true HTTP/1.1\r\nhost: {}\r\n\r\n", door.address).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (stream, String::from_utf8_lossy(&status).into_owned())
}

#[test]
fn readers_that_do_not_read_cost_little_and_leave_nothing() {
    let mut cluster = start("logs_slow", 2);
    let script = "while true; do seq 1 100000; sleep 0.1; done";
    cluster.ordu(0, &["start", "spill", "--node", "n2", "--", "sh", "-c", script]).ok();
    until(SOON, "it prints", || !cluster.ordu(0, &["logs", "spill", "-n", "1"]).ok().is_empty());
    let resident = |cluster: &Cluster| [0, 1].map(|index| resident_bytes(cluster.nodes[index].os_pid()));
    for round in 0..3 {
        let mut readers = Vec::new();
        // A place is given back once both nodes have seen that its reader left.
        while readers.len() < REQUESTS_MAX {
            within(SOON, "there is a place", || match open(&cluster, 0, "spill") {
                (stream, status) if status.ends_with("200") => {
                    readers.push(stream);
                    Ok(())
                }
                (mut stream, status) => {
                    let mut why = [0; 1024];
                    let read = stream.read(&mut why).unwrap_or(0);
                    let held = readers.len();
                    Err(format!("round {round}, {held} held: {status}{}", String::from_utf8_lossy(&why[..read])))
                }
            });
        }
        let (_, status) = open(&cluster, 0, "spill");
        assert!(status.ends_with("503"), "one more than there are places: {status}");
        if round == 0 {
            let printed = |bytes: u64| {
                let begun = base(&cluster, 1, "spill");
                until(Duration::from_secs(120), "much is printed", || base(&cluster, 1, "spill") > begun + bytes);
            };
            // Until all that lies between the log and the readers is full; from then on nothing grows.
            printed(8 << 20);
            let before = resident(&cluster);
            printed(32 << 20);
            let after = resident(&cluster);
            for (before, after) in before.iter().zip(after) {
                assert!(after < before + (8 << 20), "{before} bytes resident before, {after} after");
            }
            // The members have not noticed.
            assert!(cluster.nodes.iter().all(|node| node.get("/v1/status")["members_up"] == 2));
        }
    }
    cluster.nodes[1].signal(Signal::SIGTERM);
    assert!(cluster.nodes[1].wait(SOON).success(), "a node that is read from ends all the same");
    cluster.terminate_all();
}
