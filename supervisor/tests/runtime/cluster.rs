//! Several nodes: where children run, and what becomes of them when nodes go.

use ordu_supervisor::core::{ChildRow, ChildStatus};
use ordu_supervisor::{DrainError, Supervisor};
use ordu_transport::core::NodeName;

use crate::nodes::{Node, Nodes, PATIENCE, id, idle, spec};

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn running(supervisor: &Supervisor) -> Vec<ChildRow> {
    supervisor.children().into_iter().filter(|row| row.status == ChildStatus::Running).collect()
}

async fn start_many(node: &Node, count: usize) {
    for number in 0..count {
        node.start_child(spec(&format!("c{number}"), "idle"), PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn children_run_anywhere_and_are_seen_everywhere() {
    let nodes = Nodes::new().start_all(["n1", "n2", "n3"], |_| idle()).await;
    start_many(&nodes[0], 12).await;
    // What its caller was told, its node shows.
    assert_eq!(running(&nodes[0]).len(), 12);
    for node in &nodes {
        node.until("all running", |node| running(node).len() == 12 && node.registry().count() == 12).await;
        let places: std::collections::BTreeSet<_> = running(node).into_iter().filter_map(|row| row.node).collect();
        assert_eq!(places.len(), 3);
    }
    // Any node speaks for the cluster.
    for (number, node) in nodes.iter().cycle().take(12).enumerate() {
        node.terminate_child(&id(&format!("c{number}")), PATIENCE).await.unwrap();
    }
    for node in &nodes {
        node.until("none left", |node| node.children().is_empty() && node.registry().count() == 0).await;
        node.until("alike", |node| node.status().converged).await;
    }
    for node in nodes {
        node.shut_down().await;
    }
}

#[tokio::test]
async fn a_crash_is_survived() {
    let [n1, n2, n3] = Nodes::new().start_all(["n1", "n2", "n3"], |_| idle()).await;
    start_many(&n1, 12).await;
    n3.crash();
    for node in [&n1, &n2] {
        let survived = |node: &Supervisor| {
            let rows = running(node);
            rows.len() == 12 && rows.iter().all(|row| row.node != Some(name("n3")))
        };
        node.until("taken over", survived).await;
    }
    n2.shut_down().await;
    n1.until("all on one", |node| running(node).iter().filter(|row| row.node == Some(name("n1"))).count() == 12).await;
    n1.shut_down().await;
}

#[tokio::test]
async fn draining_moves_children_and_undraining_brings_them_back() {
    let [n1, n2] = Nodes::new().start_all(["n1", "n2"], |_| idle()).await;
    start_many(&n1, 12).await;
    let on = |node: &Supervisor, place: &str| running(node).iter().filter(|row| row.node == Some(name(place))).count();
    let before = on(&n1, "n2");
    assert!((1..12).contains(&before));
    assert_eq!(n1.drain(&name("n9"), PATIENCE).await, Err(DrainError::UnknownNode));
    n1.drain(&name("n2"), PATIENCE).await.unwrap();
    for node in [&n1, &n2] {
        node.until("all moved", |node| on(node, "n1") == 12 && node.registry().count() == 12).await;
    }
    n1.undrain(&name("n2"), PATIENCE).await.unwrap();
    for node in [&n1, &n2] {
        node.until("moved back", |node| on(node, "n2") == before && running(node).len() == 12).await;
    }
    // A move is no restart.
    assert!(n1.children().iter().all(|row| row.restarts == 0));
    n1.shut_down().await;
    n2.until("taken over", |node| on(node, "n2") == 12).await;
    n2.shut_down().await;
}
