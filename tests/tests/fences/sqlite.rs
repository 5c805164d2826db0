//! SQLite, and children in process: nodes that never hear of one another, as on two sides of a cut, share a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ordu_registry::core::Fence;
use ordu_supervisor::core::{ChildId, ChildSpec, ChildStatus};
use ordu_supervisor::{Context, Kinds, Supervisor, SupervisorConfig};
use ordu_tests::within;
use ordu_transport::core::{Hlc, NodeName};
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::page::block;
use crate::writer;

const PATIENCE: Duration = Duration::from_secs(20);
const CHILD: &str = "journal";

struct Store {
    _directory: TempDir,
    path: PathBuf,
    reader: Connection,
}

/// A line of the journal: its number, under which fence it was written, and by whom.
type Line = (i64, String, String);

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store");
        let reader = Connection::open(&path).expect("a store");
        reader.execute_batch(block("SQLite: the tables")).expect("the tables");
        Self { _directory: directory, path, reader }
    }

    fn journal(&self) -> Vec<Line> {
        let read = "SELECT number, fence, writer FROM journal WHERE resource = ?1 ORDER BY number";
        let mut read = self.reader.prepare(read).expect("a query");
        let lines = read.query_map([CHILD], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("an answer");
        lines.map(|line| line.expect("a line")).collect()
    }

    /// Waits until the last line is one that this node wrote.
    #[track_caller]
    fn is_written_by(&self, node: &str) -> Line {
        let by = format!("{node}#");
        within(PATIENCE, &format!("{node} writes"), || match self.journal().pop() {
            Some(line) if line.2.starts_with(&by) => Ok(line),
            line => Err(format!("{line:?}")),
        })
        .0
    }
}

/// A node that is a cluster by itself.
struct Node {
    runtime: Runtime,
    supervisor: Supervisor,
}

impl Node {
    fn start(name: &str, store: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (name, path) = (NodeName::new(name).unwrap(), store.to_owned());
        let config = ClusterConfig {
            cluster: "test".to_owned(),
            boot: 1,
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            join: Vec::new(),
            tls: CertificateAuthority::generate().unwrap().issue(&name).unwrap(),
            name,
        };
        let kinds = Kinds::new().with_fn("writer", move |ctx: Context| writer::run(ctx, path.clone()));
        let supervisor = runtime.block_on(async {
            let (cluster, events) = Cluster::start(config).await.unwrap();
            Supervisor::start(cluster, events, SupervisorConfig { kinds, ..SupervisorConfig::default() })
        });
        let spec = ChildSpec::new(ChildId::new(CHILD).unwrap(), "writer", "");
        runtime.block_on(supervisor.start_child(spec, PATIENCE)).expect("it runs");
        Self { runtime, supervisor }
    }

    /// Its child's restarts, how it ended last, and its fence once it runs.
    #[track_caller]
    fn row(&self) -> (u64, Option<String>, String) {
        let id = ChildId::new(CHILD).unwrap();
        let runs = || match self.supervisor.child(&id) {
            Some(row) if row.status == ChildStatus::Running => {
                Ok((row.restarts, row.reason, row.fence.expect("it has one").to_string()))
            }
            row => Err(format!("{row:?}")),
        };
        within(PATIENCE, "it runs", runs).0
    }

    fn end(self) {
        self.runtime.block_on(self.supervisor.shutdown(Duration::ZERO));
        self.runtime.shutdown_background();
    }
}

/// Nothing is lost or written twice, and nothing under an older fence than what came before.
#[track_caller]
fn assert_in_order(journal: &[Line]) {
    for (line, number) in journal.iter().zip(1..) {
        assert_eq!(line.0, number, "{line:?}");
    }
    for pair in journal.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{pair:?}");
    }
}

#[test]
fn two_nodes_that_do_not_know_one_another_take_turns() {
    let store = Store::new();
    let first = Node::start("n1", &store.path);
    let (_, older, _) = store.is_written_by("n1");
    let second = Node::start("n2", &store.path);
    let (number, newer, _) = store.is_written_by("n2");
    assert!(older < newer);
    let mut writer = Connection::open(&store.path).expect("a store");
    let refused = writer::step(&mut writer, CHILD, older.parse::<Fence>().unwrap(), "late").expect("the store answers");
    assert!(refused >= Some(newer.clone()), "{refused:?}");
    // Each is refused, begins anew above the other, and writes on.
    for node in ["n1", "n2", "n1", "n2"] {
        store.is_written_by(node);
    }
    second.end();
    let (last, fence, pid) = store.is_written_by("n1");
    within(PATIENCE, "who is left writes on", || match store.journal().pop() {
        Some(line) if line.0 > last + 10 => Ok(()),
        line => Err(format!("{line:?}")),
    });
    let (restarts, reason, own) = first.row();
    assert!(restarts > 0 && reason.as_deref().is_some_and(|why| why.starts_with("fenced: ")), "{reason:?}");
    let journal = store.journal();
    let tail = journal.iter().filter(|line| line.0 > last);
    assert!(tail.clone().count() > 10 && tail.clone().all(|line| line.2 == pid), "{pid}");
    assert_eq!(own, fence);
    assert!(journal.iter().filter(|line| line.0 > number).all(|line| line.1 >= newer && line.2 != "late"));
    assert_in_order(&journal);
    first.end();
}

#[test]
fn a_store_that_has_seen_a_fence_far_ahead_refuses_once() {
    let store = Store::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    let ahead = Hlc::from_wall_ms(u64::try_from(now.as_millis()).expect("a time") + 300_000);
    let stranger = ordu_transport::core::NodeId::new(NodeName::new("stranger").unwrap(), 1, 9);
    let seen = Fence::new(ahead, &stranger).to_string();
    let remember = |fence: &str| store.reader.execute("INSERT INTO fences VALUES (?1, ?2)", params![CHILD, fence]);
    for garbage in ["", "g", &"f".repeat(33), &"F".repeat(32), &format!("{}\n", "f".repeat(31))] {
        assert!(remember(garbage).is_err_and(|error| error.to_string().contains("CHECK")), "{garbage:?}");
    }
    remember(&seen).expect("it is stored");
    let node = Node::start("n1", &store.path);
    let (_, fence, _) = store.is_written_by("n1");
    assert!(fence > seen, "{fence} is not above {seen}");
    let (restarts, reason, own) = node.row();
    assert_eq!((restarts, own), (1, fence));
    assert_eq!(reason, Some(format!("fenced: its write was refused under the later fence {seen}")));
    assert_in_order(&store.journal());
    node.end();
}
