//! A program hands what it knows to its next activation, by a file: through restarts, moves, and a rolling restart of all
//! nodes.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use ordu_tests::{Cluster, Scenario, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// It counts its activations, and has nothing but what the last one left to know them by.
const COUNTS: &str = "n=$(cat \"$ORDU_STATE_FILE\" 2>/dev/null || echo 0)
trap 'echo $((n + 1)) > \"$ORDU_HANDOFF_FILE\"; exit 0' TERM
echo $n
while :; do sleep 1000 & wait $!; done";

/// The last lines that a child printed, as far as they can be had while it moves.
fn printed(cluster: &Cluster, by: usize, id: &str, lines: &str) -> String {
    cluster.ordu(by, &["logs", id, "-n", lines]).stdout
}

/// What the present activation of a child printed: how many there were before.
#[track_caller]
fn counted(cluster: &Cluster, by: usize, id: &str, expected: &str) -> Value {
    let (row, _) = within(SOON, &format!("{id} is at {expected}"), || {
        let row = cluster.nodes[by].door.get(&format!("/v1/children/{id}"))?;
        let printed = printed(cluster, by, id, "1");
        if row["status"] == "running" && printed.trim() == expected {
            Ok(row)
        } else {
            Err(format!("{printed}: {row}"))
        }
    });
    row
}

#[test]
fn a_program_goes_on_where_the_one_before_it_stopped() {
    let mut cluster = Cluster::start(Scenario::new("handoff"), 3);
    let mut starts = vec![vec!["start", "counts", "--", "sh", "-c", COUNTS]];
    if geteuid().is_root() {
        starts.push(vec!["start", "nobodys", "--user", "nobody", "--", "sh", "-c", COUNTS]);
    } else {
        cluster.scenario.say("skipped: a child of another user, for this is not root");
    }
    let ids: Vec<&str> = starts.iter().map(|start| start[1]).collect();
    for (start, id) in starts.iter().zip(&ids) {
        cluster.ordu(0, start).ok();
        counted(&cluster, 0, id, "0");
        cluster.ordu(1, &["restart", id]).ok();
        counted(&cluster, 2, id, "1");
        // Moved by a drain, to another node's files.
        let row = counted(&cluster, 0, id, "1");
        let at = row["node"].as_str().unwrap().to_owned();
        cluster.ordu(0, &["drain", &at]).ok();
        let row = counted(&cluster, 0, id, "2");
        assert_ne!(row["node"], json!(at));
        cluster.ordu(0, &["undrain", &at]).ok();
    }
    // All nodes are restarted in turn; it counts each of its moves.
    for index in 0..3 {
        let by = (index + 1) % 3;
        cluster.nodes[index].signal(Signal::SIGTERM);
        assert!(cluster.nodes[index].wait(2 * SOON).success());
        for id in &ids {
            within(SOON, &format!("{id} has not begun anew"), || match printed(&cluster, by, id, "1").trim().parse() {
                Ok(2u32..) => Ok(()),
                count => Err(format!("{count:?}")),
            });
        }
        cluster.up(index);
        cluster.meet(3);
    }
    // Who fails begins anew.
    for id in &ids {
        let row = cluster.nodes[0].get(&format!("/v1/children/{id}"));
        kill(Pid::from_raw(i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap()), Signal::SIGKILL).unwrap();
        within(SOON, &format!("{id} begins anew"), || {
            let printed = printed(&cluster, 0, id, "2");
            if printed.lines().any(|line| line == "0") { Ok(()) } else { Err(printed) }
        });
    }
    cluster.terminate_all();
}

/// It says what the next one would need, and is there for good.
const SAYS: &str = "n=$(cat \"$ORDU_STATE_FILE\" 2>/dev/null || echo 0)
echo $((n + 1)) > \"$ORDU_CHECKPOINT_FILE.new\" && mv \"$ORDU_CHECKPOINT_FILE.new\" \"$ORDU_CHECKPOINT_FILE\"
while [ -e \"$ORDU_CHECKPOINT_FILE\" ]; do sleep 0.1; done
echo $n
while :; do sleep 1000; done";

/// What a program said by the file of its checkpoints is there after it was killed, and after its node was.
#[test]
fn a_program_goes_on_from_its_checkpoint_after_a_crash() {
    let mut cluster = Cluster::start(Scenario::new("checkpoint"), 3);
    cluster.ordu(0, &["start", "says", "--", "sh", "-c", SAYS]).ok();
    let row = counted(&cluster, 0, "says", "0");
    kill(Pid::from_raw(i32::try_from(row["os_pid"].as_i64().unwrap()).unwrap()), Signal::SIGKILL).unwrap();
    let row = counted(&cluster, 0, "says", "1");
    let at = cluster.nodes.iter().position(|node| node.name == row["node"].as_str().unwrap()).unwrap();
    // Its node has taken it; the others have what they had before, until the later one comes.
    within(SOON, "both others keep the checkpoint", || {
        let kept = |node: usize| cluster.nodes[node].get("/v1/status")["checkpoints"].as_u64().unwrap();
        let kept = [kept((at + 1) % 3), kept((at + 2) % 3)];
        if kept == [1, 1] { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    cluster.nodes[at].signal(Signal::SIGKILL);
    cluster.nodes[at].wait(SOON);
    within(SOON, "it goes on elsewhere", || {
        let printed = printed(&cluster, (at + 1) % 3, "says", "1");
        // The last word may not have left the node that died.
        if ["1", "2"].contains(&printed.trim()) { Ok(()) } else { Err(printed) }
    });
    cluster.up(at);
    cluster.meet(3);
    cluster.ordu(at, &["stop", "says"]).ok();
    for node in &cluster.nodes {
        assert_eq!(node.get("/v1/status")["checkpoints"], json!(0), "{} keeps what nobody needs", node.name);
    }
}
