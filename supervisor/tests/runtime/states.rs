//! What children leave for one another: checkpoints that survive a crash, and moves in which the new one starts first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::{ChildSpec, ChildStatus, Exit, Handover, Placement};
use ordu_supervisor::{Context, Kinds, Started, Supervisor};
use ordu_transport::core::NodeName;

use crate::nodes::{Nodes, PATIENCE, id, spec};

fn text(state: Option<&Bytes>) -> Option<String> {
    state.map(|state| String::from_utf8_lossy(state).into_owned())
}

/// What each process was given, and by how many nodes its checkpoint is kept.
type Given = Arc<Mutex<Vec<(Option<String>, usize)>>>;

/// A child that counts: it goes on from what it was given, and says it with two other nodes before it tells of it.
fn counts(told: &Given) -> Kinds {
    let told = told.clone();
    Kinds::new().with_fn("counts", move |ctx: Context| {
        let told = told.clone();
        async move {
            let given = text(ctx.handed_off());
            let count: u32 = given.as_deref().map_or(0, |given| given.parse().unwrap());
            ctx.started(Started::default());
            // Of several the last counts.
            ctx.checkpoint(format!("{count}")).unwrap();
            ctx.checkpoint(format!("{}", count + 1)).unwrap();
            let keepers = ctx.checkpointed().await;
            told.lock().unwrap().push((given, keepers));
            ctx.stopping().await;
        }
    })
}

#[tokio::test]
async fn what_a_child_says_is_kept_by_others_and_given_back_after_a_crash() {
    let told = Given::default();
    let nodes = Nodes::new().start_all(["n1", "n2", "n3"], |_| counts(&told)).await;
    nodes[0].start_child(spec("c", "counts"), PATIENCE).await.unwrap();
    let said = |count: usize| {
        let told = told.clone();
        move |_: &Supervisor| told.lock().unwrap().len() == count
    };
    nodes[0].until("it is kept", said(1)).await;
    let place = nodes[0].children()[0].node.clone().unwrap();
    let (crashed, left): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.cluster().id().name == place);
    crashed.into_iter().for_each(|node| node.crash());
    left[0].until("it runs again", said(2)).await;
    let expected = [(None, 2), (Some("1".to_owned()), 1)];
    assert_eq!(*told.lock().unwrap(), expected);
    for node in left {
        node.shut_down().await;
    }
}

/// Tells when each process begins to run and when it is asked to stop; its init waits until it may go on.
fn overlaps(told: &Arc<Mutex<Vec<String>>>) -> Kinds {
    let told = told.clone();
    Kinds::new().with("overlaps", move |ctx: Context| {
        let told = told.clone();
        async move {
            let say = |what: &str| told.lock().unwrap().push(format!("{} {what}", ctx.node()));
            say("begins");
            tokio::time::sleep(Duration::from_millis(200)).await;
            say("runs");
            ctx.started(Started::default());
            loop {
                tokio::select! {
                    () = ctx.stopping() => break,
                    merged = ctx.merged() => say(&format!("has {}", text(Some(&merged.state)).unwrap())),
                }
            }
            say("stops");
            ctx.hand_off(format!("what {} knew", ctx.node())).unwrap();
            Exit::Normal
        }
    })
}

#[tokio::test]
async fn a_child_that_starts_first_is_there_all_the_time() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let [n1, n2] = Nodes::new().start_all(["n1", "n2"], |_| overlaps(&told)).await;
    let numbers = 0..50;
    // One whose seat is the second node.
    let spec_of = |number: u32| ChildSpec { handover: Handover::StartFirst, ..spec(&format!("c{number}"), "overlaps") };
    let second = NodeName::new("n2").unwrap();
    let mut numbers = numbers.into_iter();
    let c = loop {
        let id = spec_of(numbers.next().unwrap());
        assert_eq!(id.placement, Placement::Uniform);
        let row = n1.start_child(id.clone(), PATIENCE).await.unwrap();
        if row.node == Some(second.clone()) {
            break id.id;
        }
        n1.terminate_child(&id.id, PATIENCE).await.unwrap();
    };
    told.lock().unwrap().clear();
    let before = n1.registry().lookup(c.as_str()).unwrap();
    n1.drain(&second, PATIENCE).await.unwrap();
    let moved = |node: &Supervisor| {
        let entry = node.registry().lookup(id(c.as_str()).as_str()).expect("somebody holds its name at any moment");
        let row = node.children();
        entry.pid() != before.pid() && row[0].status == ChildStatus::Running && told.lock().unwrap().len() == 4
    };
    n1.until("it has moved", moved).await;
    assert_eq!(*told.lock().unwrap(), ["n1 begins", "n1 runs", "n2 stops", "n1 has what n2 knew"]);
    assert_eq!(n1.children()[0].restarts, 0);
    n1.shut_down().await;
    n2.shut_down().await;
}
