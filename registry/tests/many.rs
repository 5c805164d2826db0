//! So many nodes that not all have sessions with all. In a process of its own: so many are a load to whatever runs beside.

use std::time::Duration;

use ordu_registry::core::{Name, Scope};
use ordu_registry::{Registry, RegistryConfig, RegistryNode};
use ordu_transport::core::membership::LINGER;
use ordu_transport::core::overlay::RINGS;
use ordu_transport::core::{Lane, NodeName};
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig};
use tokio::time::timeout;

/// How long anything here may take; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
const NODES: usize = 40;
/// How many of them the others are told of.
const SEEDS: usize = 2;

/// Starts all, and waits for none.
async fn start_all() -> Vec<RegistryNode> {
    let authority = CertificateAuthority::generate().unwrap();
    let mut nodes: Vec<RegistryNode> = Vec::new();
    for number in 0..NODES {
        let node_name = NodeName::new(&format!("n{number}")).unwrap();
        let config = ClusterConfig {
            cluster: "many".to_owned(),
            boot: 1,
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            join: nodes.iter().take(SEEDS).map(|node| node.cluster().addr().to_string()).collect(),
            tls: authority.issue(&node_name).unwrap(),
            name: node_name,
        };
        let (cluster, events) = Cluster::start(config).await.unwrap();
        nodes.push(Registry::start(cluster, events, RegistryConfig::default()));
    }
    nodes
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

async fn all_see(nodes: &[RegistryNode], count: usize) {
    for node in nodes {
        within(node.wait_until(|node| node.view().living().count() == count)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_sessions_are_enough() {
    let mut all = start_all().await;
    all_see(&all, NODES).await;

    // What is written anywhere is seen everywhere, and everybody counts for a majority.
    let process = all[17].process();
    assert_eq!(process.register_quorum(name("x"), "", PATIENCE).await, Ok(()));
    assert_eq!(process.await_visible(&name("x"), Scope::All, PATIENCE).await, Ok(()));
    for node in &all {
        let shows = |node: &Registry| node.lookup("x").is_some_and(|entry| entry.pid() == process.pid());
        within(node.wait_until(shows)).await;
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
