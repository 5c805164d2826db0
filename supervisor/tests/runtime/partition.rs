//! A cluster that is cut in two and healed: both sides run everything meanwhile, and one copy of each afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ordu_supervisor::core::{ChildId, ChildStatus, EventKind};
use ordu_supervisor::{Context, Kinds, Supervisor};
use ordu_transport::core::Pid;

use crate::nodes::{Nodes, PATIENCE, spec};

/// The processes that are alive, by child, whatever their supervisors believe.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<BTreeMap<ChildId, Vec<Pid>>>>, Losers);

/// Each process that was given what another left, and which other. Every process leaves its pid.
type Losers = Arc<Mutex<Vec<(Pid, Pid)>>>;

impl Alive {
    fn kinds(&self) -> Kinds {
        let alive = self.clone();
        Kinds::new().with_fn("idle", move |ctx: Context| {
            let alive = alive.clone();
            async move {
                alive.0.lock().unwrap().entry(ctx.id().clone()).or_default().push(ctx.pid().clone());
                loop {
                    tokio::select! {
                        () = ctx.stopping() => break,
                        merged = ctx.merged() => {
                            assert_eq!(merged.state, merged.loser.to_string());
                            alive.1.lock().unwrap().push((ctx.pid().clone(), merged.loser));
                        }
                    }
                }
                ctx.hand_off(ctx.pid().to_string()).unwrap();
                alive.0.lock().unwrap().get_mut(ctx.id()).unwrap().retain(|pid| pid != ctx.pid());
            }
        })
    }

    fn pids(&self) -> BTreeMap<ChildId, Vec<Pid>> {
        self.0.lock().unwrap().clone()
    }
}

fn shown(supervisor: &Supervisor) -> BTreeMap<ChildId, Vec<Pid>> {
    let rows = supervisor.children().into_iter().filter(|row| row.status == ChildStatus::Running);
    rows.map(|row| (row.id, row.pid.into_iter().collect())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_split_heals_to_the_originals() {
    let alive = Alive::default();
    let mut nodes = Nodes::behind_relays();
    let [n1, n2, n3] = nodes.start_all(["n1", "n2", "n3"], |_| alive.kinds()).await;
    for number in 0..6 {
        n1.start_child(spec(&format!("c{number}"), "idle"), PATIENCE).await.unwrap();
    }
    let originals = shown(&n1);
    assert_eq!((originals.len(), alive.pids()), (6, originals.clone()));
    // What a side has not heard of before the cut it cannot run.
    for node in [&n2, &n3] {
        node.until("all running", |supervisor| shown(supervisor) == originals).await;
    }

    nodes.cut_off(&n3);
    for (node, others) in [(&n1, ["n1", "n2"]), (&n3, ["n3", "n3"])] {
        let everything_here = |supervisor: &Supervisor| {
            let rows = shown(supervisor);
            rows.len() == 6 && rows.values().flatten().all(|pid| others.contains(&pid.node.name.as_str()))
        };
        node.until("a copy of each on either side", everything_here).await;
    }
    assert!(alive.pids().values().all(|pids| pids.len() == 2), "{:#?}", alive.pids());
    let both = alive.pids();

    nodes.heal();
    for node in [&n1, &n2, &n3] {
        node.until("the originals", |supervisor| shown(supervisor) == originals).await;
        node.until("alike", |supervisor| supervisor.status().converged).await;
    }
    assert_eq!(alive.pids(), originals);
    // What each copy left, the original of its child was given.
    let copies =
        both.iter().map(|(id, pids)| (originals[id][0].clone(), pids.iter().find(|pid| **pid != originals[id][0])));
    let mut expected: Vec<(Pid, Pid)> = copies.map(|(pid, copy)| (pid, copy.unwrap().clone())).collect();
    expected.sort();
    n1.until("all merged", |_| {
        let mut merged = alive.1.lock().unwrap().clone();
        merged.sort();
        merged == expected
    })
    .await;
    let conflicts = |supervisor: &Supervisor| {
        let events = supervisor.recent_events();
        let own = events.into_iter().filter(|event| event.node == supervisor.cluster().id().name);
        own.filter(|event| matches!(event.what, EventKind::NameConflict { .. })).count()
    };
    // Once per loser, by its own node.
    assert_eq!(conflicts(&n1) + conflicts(&n2) + conflicts(&n3), 6);
    assert!(n1.children().iter().all(|row| row.restarts == 0));
    for node in [n3, n2, n1] {
        node.shut_down().await;
    }
}
