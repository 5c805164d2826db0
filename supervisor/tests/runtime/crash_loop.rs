//! A child that fails again and again among a thousand others, none of which notices.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ordu_supervisor::core::{ChildId, ChildSpec, ChildStatus, Intensity};
use ordu_supervisor::{Context, Exit, Kinds, Started, Supervisor};
use ordu_transport::core::Pid;

use crate::nodes::{Nodes, PATIENCE, spec};

const OTHERS: usize = 1_000;
/// How often the failing one is started again.
const RESTARTS: u32 = 4;

/// Every process that began, and how many have ended.
#[derive(Clone, Default)]
struct Lives {
    begun: Arc<Mutex<BTreeMap<ChildId, Vec<Pid>>>>,
    ended: Arc<AtomicUsize>,
}

impl Lives {
    fn kinds(&self) -> Kinds {
        let lives = self.clone();
        let steady = move |ctx: Context| {
            let lives = lives.clone();
            async move {
                lives.begun.lock().unwrap().entry(ctx.id().clone()).or_default().push(ctx.pid().clone());
                ctx.stopping().await;
                lives.ended.fetch_add(1, Ordering::Relaxed);
            }
        };
        let failing = |ctx: Context| async move {
            ctx.started(Started::default());
            Exit::Abnormal("it is broken".to_owned())
        };
        Kinds::new().with_fn("steady", steady).with("failing", failing)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_loop_is_quarantined_and_a_thousand_others_do_not_notice() {
    let lives = Lives::default();
    let nodes = Nodes::new().start_all(["n1", "n2", "n3"], |_| lives.kinds()).await;
    let specs = (0..OTHERS).map(|number| spec(&format!("steady{number}"), "steady"));
    let started = nodes[0].start_children(specs, 3 * PATIENCE).await;
    let processes: BTreeMap<String, Pid> = started
        .into_iter()
        .map(|row| row.map(|row| (row.id.to_string(), row.pid.expect("it runs"))).expect("it is started"))
        .collect();
    let shows_all = |node: &Supervisor| {
        processes.iter().all(|(id, pid)| node.registry().lookup(id).is_some_and(|entry| entry.pid() == pid))
    };
    for node in &nodes {
        node.until("every name on every node", shows_all).await;
    }

    let intensity = Some(Intensity::new(RESTARTS, Duration::from_secs(60)));
    let failing = ChildSpec { intensity, ..spec("loop", "failing") };
    nodes[0].start_child(failing, PATIENCE).await.unwrap();
    let looks = AtomicU64::new(0);
    for node in &nodes {
        // On each change anywhere: as the failing one comes and goes, each of the others is found.
        let is_over = |supervisor: &Supervisor| {
            assert!(shows_all(supervisor), "one of the others is not found");
            looks.fetch_add(1, Ordering::Relaxed);
            let row = supervisor.child(&ChildId::new("loop").unwrap());
            row.is_some_and(|row| row.status == ChildStatus::Quarantined && row.restarts == u64::from(RESTARTS))
        };
        node.until("it is in quarantine", is_over).await;
    }
    println!("{OTHERS} names were found in each of {} looks", looks.into_inner());

    for node in &nodes {
        let rows = node.children();
        let steady: Vec<_> = rows.iter().filter(|row| row.id.as_str() != "loop").collect();
        assert_eq!(steady.len(), OTHERS);
        for row in steady {
            assert_eq!((row.status, row.restarts), (ChildStatus::Running, 0), "{}", row.id);
            assert_eq!(row.pid.as_ref(), processes.get(row.id.as_str()));
        }
    }
    let begun = lives.begun.lock().unwrap().clone();
    assert!(begun.len() == OTHERS && begun.values().all(|pids| pids.len() == 1), "one was restarted");
    assert_eq!(lives.ended.load(Ordering::Relaxed), 0);
    for node in nodes {
        node.supervisor.shutdown(Duration::ZERO).await;
    }
}
