//! The runtime half against real clusters: QUIC on loopback.

mod groups;
mod listening;
mod visible;

use std::time::Duration;

use ordu_registry::core::{Name, RegisterError};
use ordu_registry::{Closed, ExitReason, NameEvent, Process, Registry, RegistryConfig, RegistryNode};
use ordu_transport::core::NodeName;
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig};
use tokio::time::timeout;

/// How long anything in these tests may take; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Nodes {
    authority: CertificateAuthority,
    addrs: Vec<String>,
}

impl Nodes {
    fn new() -> Self {
        Self { authority: CertificateAuthority::generate().unwrap(), addrs: Vec::new() }
    }

    /// Starts a node that joins the earlier ones; waits for none of them.
    async fn start(&mut self, text: &str, boot: u64) -> RegistryNode {
        let node = start(self.config(text, boot)).await;
        self.addrs.push(node.cluster().addr().to_string());
        node
    }

    fn config(&self, text: &str, boot: u64) -> ClusterConfig {
        let name = NodeName::new(text).unwrap();
        ClusterConfig {
            cluster: "test".to_owned(),
            boot,
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            join: self.addrs.clone(),
            tls: self.authority.issue(&name).unwrap(),
            name,
        }
    }
}

async fn start(config: ClusterConfig) -> RegistryNode {
    let (cluster, events) = Cluster::start(config).await.unwrap();
    Registry::start(cluster, events, RegistryConfig::default())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

async fn until(node: &RegistryNode, check: impl Fn(&Registry) -> bool) {
    within(node.wait_until(check)).await;
}

fn shows(registry: &Registry, text: &str, process: &Process) -> bool {
    registry.lookup(text).is_some_and(|entry| entry.pid() == process.pid())
}

#[tokio::test]
async fn names_are_registered_seen_changed_and_released() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.start("a", 1).await, nodes.start("b", 1).await);
    let process = a.process();
    process.register(name("x/1"), "one").unwrap();
    process.register(name("x/2"), "two").unwrap();
    // Read your writes.
    assert!(shows(&a, "x/1", &process));
    assert_eq!((a.count(), a.names_of(process.pid())), (2, vec![name("x/1"), name("x/2")]));

    until(&b, |b| shows(b, "x/1", &process) && shows(b, "x/2", &process)).await;
    let other = b.process();
    let taken = RegisterError::AlreadyRegistered { pid: process.pid().clone() };
    assert_eq!(other.register(name("x/1"), ""), Err(taken));
    assert_eq!(b.entries("x/").iter().map(|entry| &entry.value()[..]).collect::<Vec<_>>(), [b"one", b"two"]);

    assert!(process.update_value(&name("x/1"), "uno"));
    until(&b, |b| b.lookup_with("x/1", |entry| &entry.value()[..] == b"uno") == Some(true)).await;
    assert!(!other.update_value(&name("x/1"), "eins") && !other.unregister(&name("x/1")));

    assert!(process.unregister(&name("x/1")));
    assert_eq!(a.lookup("x/1"), None);
    until(&b, |b| b.lookup("x/1").is_none()).await;
    other.register(name("x/1"), "mine").unwrap();
    until(&a, |a| shows(a, "x/1", &other)).await;

    // The last handle gone, the process has ended.
    drop(process);
    assert_eq!(a.lookup("x/2"), None);
    until(&b, |b| b.lookup("x/2").is_none()).await;
    until(&b, Registry::is_converged).await;
    within(b.shutdown()).await;
    assert_eq!(within(b.closed()).await, Closed::Shutdown);
    until(&a, |a| a.count() == 0).await;
    within(a.shutdown()).await;
}

async fn hold(process: Process) -> Result<(), RegisterError> {
    process.register(name("held"), process.pid().to_string())?;
    process.stopping().await;
    Ok(())
}

#[tokio::test]
async fn a_conflict_ends_the_younger_process() {
    let mut nodes = Nodes::new();
    let a = nodes.start("a", 1).await;
    let older = a.spawn(hold);
    until(&a, |a| shows(a, "held", &older)).await;
    // They have not met yet.
    let b = nodes.start("b", 1).await;
    let (mut events, younger) = (b.events(), b.process());
    younger.register(name("held"), "").unwrap();
    younger.register(name("other"), "").unwrap();

    within(younger.stopping()).await;
    let conflict = younger.conflict().unwrap();
    assert_eq!((&conflict.name, &conflict.winner), (&name("held"), older.pid()));
    assert_eq!(&conflict.winner_value[..], older.pid().to_string().as_bytes());
    younger.end();
    assert_eq!(within(younger.exited()).await, ExitReason::NameConflict(conflict.clone()));
    until(&b, |b| shows(b, "held", &older) && b.lookup("other").is_none()).await;
    assert_eq!((a.conflicts_total(), b.conflicts_total()), (0, 1));
    // A loser's fence is below the winner's.
    assert!(older.fence() > younger.fence());

    let mut told = 0;
    while let Ok(event) = events.try_recv() {
        told += u32::from(event == NameEvent::Conflict { loser: younger.pid().clone(), conflict: conflict.clone() });
    }
    assert_eq!(told, 1);
    within(b.shutdown()).await;
    older.stop();
    assert_eq!(within(older.exited()).await, ExitReason::Normal);
    assert_eq!(a.lookup("held"), None);
    within(a.shutdown()).await;
}

async fn hold_and_panic(process: Process) {
    process.register(name("panics"), "").unwrap();
    panic!("out of cheese");
}

#[tokio::test]
async fn processes_end_as_their_tasks_do() {
    let node = Nodes::new().start("a", 1).await;
    let fails = node.spawn(|process| async move {
        process.register(name("fails"), "").map_err(|error| error.to_string())?;
        Err::<(), _>("broken".to_owned())
    });
    assert_eq!(within(fails.exited()).await, ExitReason::Abnormal("broken".to_owned()));
    let panics = node.spawn(hold_and_panic);
    assert_eq!(within(panics.exited()).await, ExitReason::Abnormal("panicked: out of cheese".to_owned()));
    assert_eq!(node.count(), 0);
    // What has ended registers nothing.
    assert_eq!(panics.register(name("late"), ""), Err(RegisterError::NoProcess));
    let stops = node.spawn(hold);
    until(&node, |node| shows(node, "held", &stops)).await;
    within(node.shutdown()).await;
    assert_eq!(within(stops.exited()).await, ExitReason::Normal);
}

#[tokio::test]
async fn events_come_in_order() {
    let node = Nodes::new().start("a", 1).await;
    let mut events = node.events();
    let process = node.process();
    process.register(name("x"), "1").unwrap();
    process.update_value(&name("x"), "2");
    process.unregister(&name("x"));
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(match within(events.recv()).await.unwrap() {
            NameEvent::Registered(entry) => format!("+{}", String::from_utf8_lossy(entry.value())),
            NameEvent::Updated(entry) => format!("={}", String::from_utf8_lossy(entry.value())),
            NameEvent::Released { pid, .. } => format!("-{}", pid == *process.pid()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["+1", "=2", "-true"]);
    within(node.shutdown()).await;
}

/// A node whose data is older than the cluster's memory of it gets a new identity, and keeps its names.
#[tokio::test]
async fn names_survive_a_rebirth() {
    let mut nodes = Nodes::new();
    let a = nodes.start("a", 1).await;
    let b = nodes.start("b", 5).await;
    let gone = b.process();
    gone.register(name("gone"), "").unwrap();
    until(&a, |a| shows(a, "gone", &gone)).await;
    within(b.shutdown()).await;
    until(&a, |a| a.count() == 0).await;

    let b = nodes.start("b", 2).await;
    let (before, process) = (b.cluster().id(), b.process());
    process.register(name("kept"), "").unwrap();
    until(&a, |a| shows(a, "kept", &process)).await;
    assert!(b.cluster().id().boot > 5 && b.node() == b.cluster().id() && process.pid().node == before);
    assert!(shows(&b, "kept", &process) && process.conflict().is_none());
    drop(process);
    until(&a, |a| a.count() == 0).await;
    within(b.shutdown()).await;
    within(a.shutdown()).await;
}

/// Of two nodes with one name the newcomer closes, and tells its processes to stop.
#[tokio::test]
async fn a_name_that_is_taken_closes_the_newcomer() {
    let mut nodes = Nodes::new();
    let first = nodes.start("a", 1).await;
    let second = nodes.start("a", 2).await;
    let process = second.process();
    let holder = first.cluster().addr();
    assert_eq!(within(second.closed()).await, Closed::NameTaken { holder });
    within(process.stopping()).await;
    within(second.shutdown()).await;
    within(first.shutdown()).await;
}
