//! Starts that fail, many thousands of them: a node keeps nothing of any. Alone in its process, whose memory is looked at.
#![allow(unreachable_pub, dead_code, reason = "what the tests of real clusters share")]

#[path = "runtime/nodes.rs"]
mod nodes;
#[path = "runtime/relay.rs"]
mod relay;

use ordu_supervisor::core::calls::CALLS_MAX;
use ordu_supervisor::{Context, Exit, Kinds, StartError};

use crate::nodes::{Nodes, PATIENCE, spec};

const FIRST: usize = 1_000;
const ALL: usize = 10_000;
/// How much more memory the node may have after all than after the first.
const GROWTH_MAX: u64 = 16 << 20;

/// This process's resident memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn ten_thousand_starts_that_fail_leave_no_memory_behind() {
    const { assert!(FIRST <= CALLS_MAX) };
    let failing = |_: Context| async { Exit::Abnormal("no such file".to_owned()) };
    let [node] = Nodes::new().start_all(["n1"], |_| Kinds::new().with("failing", failing)).await;
    let mut after_first = None;
    for begun in (0..ALL).step_by(FIRST) {
        let specs = (begun..begun + FIRST).map(|number| spec(&format!("c{number}"), "failing"));
        let answers = node.start_children(specs, 3 * PATIENCE).await;
        assert_eq!(answers.len(), FIRST);
        for answer in answers {
            assert_eq!(answer.unwrap_err(), StartError::Failed("no such file".into()));
        }
        node.until("none is kept", |node| node.children().is_empty()).await;
        after_first.get_or_insert_with(resident_bytes);
    }
    let (before, after) = (after_first.unwrap(), resident_bytes());
    println!("resident memory: {before} bytes after {FIRST} failing starts, {after} after {ALL}");
    assert!(after < before + GROWTH_MAX, "{before} bytes after {FIRST}, {after} after {ALL}");
    node.shut_down().await;
}
