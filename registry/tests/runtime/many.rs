//! So many nodes that not all have sessions with all.

use ordu_registry::core::Scope;
use ordu_transport::core::Lane;
use ordu_transport::core::membership::LINGER;
use ordu_transport::core::overlay::RINGS;

use super::*;

const NODES: usize = 40;

async fn all_see(nodes: &[RegistryNode], count: usize) {
    for node in nodes {
        until(node, |node| node.view().living().count() == count).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_sessions_are_enough() {
    let mut nodes = Nodes::new();
    let mut all = Vec::new();
    for number in 0..NODES {
        all.push(nodes.start(&format!("n{number}"), 1).await);
        nodes.addrs.truncate(2);
    }
    all_see(&all, NODES).await;

    // What is written anywhere is seen everywhere, and everybody counts for a majority.
    let process = all[17].process();
    assert_eq!(process.register_quorum(name("x"), "", PATIENCE).await, Ok(()));
    assert_eq!(process.await_visible(&name("x"), Scope::All, PATIENCE).await, Ok(()));
    for node in &all {
        until(node, |node| shows(node, "x", &process)).await;
    }

    // What is needed no more is hung up.
    let sessions = || all.iter().map(|node| node.cluster().metrics().sessions).max();
    let lingering = async {
        while sessions() > Some(2 * RINGS as u64) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LINGER + PATIENCE, lingering).await.unwrap_or_else(|_| panic!("{:?} sessions", sessions()));
    let made = |nodes: &[RegistryNode]| nodes.iter().map(|node| node.cluster().metrics().sessions_made).sum::<u64>();
    let before = made(&all);

    // A stranger is within reach; what is for it is passed on.
    let one = all[3].cluster();
    let strangers = all.iter().map(|node| node.cluster()).filter(|cluster| one.rtt(&cluster.id()).is_none());
    let strangers: Vec<_> = strangers.map(|cluster| cluster.id()).filter(|id| *id != one.id()).collect();
    assert!(strangers.len() > NODES / 2 && strangers.iter().all(|id| one.is_connected(id)));
    let passed = |nodes: &[RegistryNode]| nodes.iter().map(|node| node.cluster().metrics().frames_passed).sum::<u64>();
    let passed_before = passed(&all);
    one.send_all(&strangers, Lane::Bulk, &bytes::Bytes::from_static(b"no envelope"));
    within(async {
        while passed(&all) < passed_before + strangers.len() as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    // Who leaves has left for all; at rest nobody dials.
    let gone = all.pop().unwrap();
    within(gone.shutdown()).await;
    all_see(&all, NODES - 1).await;
    assert!(made(&all) <= before + NODES as u64, "{} sessions more", made(&all) - before);
    let process = all[20].process();
    assert_eq!(process.register_quorum(name("y"), "", PATIENCE).await, Ok(()));
    let ends: Vec<_> = all.into_iter().map(|node| tokio::spawn(async move { node.shutdown().await })).collect();
    for end in ends {
        within(end).await.unwrap();
    }
}
