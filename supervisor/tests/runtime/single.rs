//! One node: what callers are told, and what becomes of a child that fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ordu_registry::core::{Fence, Name};
use ordu_supervisor::core::handoff::STATE_BYTES_MAX;
use ordu_supervisor::core::{ChildStatus, EventKind, Placement, Restart};
use ordu_supervisor::{Closed, Context, Exit, Kinds, RestartError, StartError, Started, TerminateError};
use ordu_transport::core::{Hlc, NodeName};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::nodes::{Nodes, PATIENCE, id, idle, spec};

#[tokio::test]
async fn start_ensure_restart_terminate() {
    let [node] = Nodes::new().start_all(["n1"], |_| idle()).await;
    let row = node.start_child(spec("a", "idle"), PATIENCE).await.unwrap();
    assert_eq!((row.status, row.node.as_ref().map(|node| node.as_str())), (ChildStatus::Running, Some("n1")));
    // Read your writes: the child holds its id as a name.
    assert_eq!(node.registry().lookup("a").map(|entry| entry.pid().clone()), row.pid);

    let again = node.start_child(spec("a", "idle"), PATIENCE).await;
    assert!(matches!(&again, Err(StartError::AlreadyRunning(found)) if found.pid == row.pid), "{again:?}");
    let ensured = node.ensure_child(spec("a", "idle"), PATIENCE).await.unwrap();
    assert_eq!(ensured.pid, row.pid);

    let restarted = node.restart_child(&id("a"), PATIENCE).await.unwrap();
    assert_eq!(restarted.status, ChildStatus::Running);
    assert!(restarted.pid != row.pid && restarted.fence > row.fence);

    node.terminate_child(&id("a"), PATIENCE).await.unwrap();
    assert_eq!((node.child(&id("a")), node.registry().lookup("a")), (None, None));
    assert_eq!(node.terminate_child(&id("a"), PATIENCE).await, Err(TerminateError::NotFound));
    assert_eq!(node.restart_child(&id("a"), PATIENCE).await, Err(RestartError::NotFound));
    node.shut_down().await;
}

#[tokio::test]
async fn many_are_started_in_one_call_and_each_is_answered() {
    const MANY: usize = 3_000;
    let kinds = || idle().with("failing", |_: Context| async { Exit::Abnormal("no such file".to_owned()) });
    let [one, other] = Nodes::new().start_all(["n1", "n2"], |_| kinds()).await;
    let mut specs: Vec<_> = (0..MANY).map(|number| spec(&format!("c{number:04}"), "idle")).collect();
    specs[1_500].kind = "failing".into();
    specs[2_000].kind = "unknown".into();
    specs.push(spec("c0007", "idle"));
    let answers = one.start_children(specs.clone(), 3 * PATIENCE).await;
    assert_eq!(answers.len(), MANY + 1);
    for (number, (spec, answer)) in specs.iter().zip(&answers).enumerate() {
        match (number, answer) {
            (1_500, Err(StartError::Failed(why))) => assert_eq!(why, "no such file"),
            (2_000, Err(StartError::NoEligibleNode(_))) | (MANY, Err(StartError::AlreadyRunning(_))) => {}
            (_, Ok(row)) => assert_eq!((&row.id, row.status), (&spec.id, ChildStatus::Running)),
            (_, Err(error)) => panic!("{number}: {error}"),
        }
    }
    one.until("two are not kept", |one| one.children().len() == MANY - 2).await;
    assert!(one.members().iter().all(|member| member.children > MANY / 3), "{:?}", one.members());
    assert_eq!(one.start_children([], PATIENCE).await, vec![]);
    // Without giving them away: they are many.
    timeout(PATIENCE, one.shutdown(Duration::ZERO)).await.unwrap();
    assert_eq!(one.start_children([spec("late", "idle")], PATIENCE).await, vec![Err(StartError::Closed)]);
    timeout(PATIENCE, other.shutdown(Duration::ZERO)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_run_is_refused_and_not_kept() {
    let kinds = || {
        let failing = |_: Context| async { Exit::Abnormal("no such file".to_owned()) };
        let panicking = |_: Context| async { panic!("out of cheese") };
        let never = |ctx: Context| async move {
            ctx.stopping().await;
            Exit::Normal
        };
        let early = |_: Context| async { Err("not even once") };
        let kinds = Kinds::new().with("failing", failing).with("panicking", panicking).with("never", never);
        kinds.with_fn("early", early)
    };
    let [node] = Nodes::new().start_all(["n1"], |_| kinds()).await;
    let failed = node.start_child(spec("a", "failing"), PATIENCE).await;
    assert_eq!(failed, Err(StartError::Failed("no such file".to_owned())));
    let failed = node.start_child(spec("b", "panicking"), PATIENCE).await;
    assert_eq!(failed, Err(StartError::Failed("panicked: out of cheese".to_owned())));
    let failed = node.start_child(spec("c", "early"), PATIENCE).await;
    assert_eq!(failed, Err(StartError::Failed("not even once".to_owned())));
    let nowhere = node.start_child(spec("c", "unknown"), PATIENCE).await;
    assert!(matches!(&nowhere, Err(StartError::NoEligibleNode(_))), "{nowhere:?}");
    let elsewhere = Placement::Pinned(NodeName::new("n2").unwrap());
    let pinned = ordu_supervisor::core::ChildSpec { placement: elsewhere, ..spec("d", "never") };
    let nowhere = node.start_child(pinned, PATIENCE).await;
    assert!(matches!(&nowhere, Err(StartError::NoEligibleNode(_))), "{nowhere:?}");
    let hurried = ordu_supervisor::core::ChildSpec { init_timeout: Duration::from_millis(50), ..spec("e", "never") };
    let failed = node.start_child(hurried, PATIENCE).await;
    assert_eq!(failed, Err(StartError::Failed("its init took longer than 50ms".to_owned())));
    node.until("nothing kept", |node| node.children().is_empty() && node.registry().count() == 0).await;

    // An init that takes too long is accepted, and says so; it can be taken back.
    let late = node.start_child(spec("e", "never"), Duration::from_millis(20)).await;
    assert_eq!(late, Err(StartError::Timeout { accepted: true }));
    node.until_status("e", ChildStatus::Starting).await;
    let asked = node.ensure_child(spec("e", "never"), Duration::from_millis(20)).await;
    assert_eq!(asked, Err(StartError::Timeout { accepted: true }));
    node.terminate_child(&id("e"), PATIENCE).await.unwrap();
    node.shut_down().await;
}

/// Waits for the next event that `pick` takes.
async fn next<T>(events: &mut Receiver<ordu_supervisor::core::Event>, pick: impl Fn(&EventKind) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = pick(&events.recv().await.expect("nothing is missed").what) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the event comes")
}

#[tokio::test]
async fn a_child_goes_on_with_what_the_one_before_it_left() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tell = seen.clone();
    let kinds = Kinds::new().with_fn("counter", move |ctx| {
        let count = ctx.handed_off().map_or(0, |state| state.len());
        tell.lock().unwrap().push(count);
        async move {
            ctx.stopping().await;
            assert!(ctx.hand_off(vec![0; STATE_BYTES_MAX + 1]).is_err());
            ctx.hand_off(vec![0; count + 1]).unwrap();
        }
    });
    let [node] = Nodes::new().start_all(["n1"], |_| kinds.clone()).await;
    node.start_child(spec("a", "counter"), PATIENCE).await.unwrap();
    for _ in 0..2 {
        node.restart_child(&id("a"), PATIENCE).await.unwrap();
    }
    node.terminate_child(&id("a"), PATIENCE).await.unwrap();
    node.start_child(spec("a", "counter"), PATIENCE).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 0]);
    node.shut_down().await;
}

#[tokio::test]
async fn a_child_that_panics_is_restarted() {
    let lives = Arc::new(AtomicU32::new(0));
    let counted = lives.clone();
    let kinds = Kinds::new().with_fn("fragile", move |ctx| {
        let life = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            if life < 2 {
                panic!("life {life}");
            }
            ctx.stopping().await;
        }
    });
    let [node] = Nodes::new().start_all(["n1"], |_| kinds.clone()).await;
    let mut events = node.events();
    node.start_child(spec("a", "fragile"), PATIENCE).await.unwrap();
    for life in 0..2 {
        let reason = next(&mut events, |what| match what {
            EventKind::ChildExited { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(reason.await, format!("panicked: life {life}"));
    }
    let is_third = |node: &ordu_supervisor::Supervisor| {
        node.child(&id("a")).is_some_and(|row| row.restarts == 2 && row.status == ChildStatus::Running)
    };
    node.until("the third life", is_third).await;
    assert_eq!(lives.load(Ordering::Relaxed), 3);
    node.shut_down().await;
}

/// A store that has seen a fence which is five minutes ahead: of a node whose clock is.
#[tokio::test]
async fn a_child_that_is_refused_comes_back_with_a_higher_fence() {
    let stored = Arc::new(Mutex::new(None));
    let refusals = Arc::new(AtomicU32::new(0));
    let (store, refused) = (stored.clone(), refusals.clone());
    let kinds = Kinds::new().with_fn("writer", move |ctx| {
        let (store, refused) = (store.clone(), refused.clone());
        async move {
            tokio::task::yield_now().await;
            let ahead = || Fence::new(Hlc::from_wall_ms(ctx.fence().at().wall_ms() + 300_000), &ctx.pid().node);
            let seen = *store.lock().unwrap().get_or_insert_with(ahead);
            if ctx.fence() < seen {
                refused.fetch_add(1, Ordering::Relaxed);
                return Exit::Fenced(seen);
            }
            ctx.stopping().await;
            Exit::Normal
        }
    });
    let [node] = Nodes::new().start_all(["n1"], |_| kinds.clone()).await;
    node.start_child(spec("a", "writer"), PATIENCE).await.unwrap();
    // It is shown as running before it writes for the first time.
    let written = || *stored.lock().unwrap();
    let is_above = |row: &ordu_supervisor::core::ChildRow| {
        row.status == ChildStatus::Running && written().is_some_and(|seen| row.fence > Some(seen))
    };
    node.until("its write is accepted", |node| node.child(&id("a")).is_some_and(|row| is_above(&row))).await;
    let seen = || written().expect("it has written");
    let row = node.child(&id("a")).unwrap();
    assert_eq!((row.restarts, refusals.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(row.reason, Some(format!("fenced: its write was refused under the later fence {}", seen())));
    node.shut_down().await;
}

#[tokio::test]
async fn restart_policies() {
    let kinds = || {
        let fail = |_: Context| async {
            tokio::task::yield_now().await;
            Err("broken")
        };
        Kinds::new().with_fn("end", |_| async {}).with_fn("fail", fail)
    };
    let [node] = Nodes::new().start_all(["n1"], |_| kinds()).await;
    let with = |child, kind, restart| ordu_supervisor::core::ChildSpec { restart, ..spec(child, kind) };
    let mut events = node.events();
    for (child, kind, restart) in
        [("a", "end", Restart::Transient), ("b", "end", Restart::Temporary), ("c", "fail", Restart::Temporary)]
    {
        node.start_child(with(child, kind, restart), PATIENCE).await.unwrap();
        next(&mut events, |what| matches!(what, EventKind::ChildDone { .. }).then_some(())).await;
    }
    for (child, kind, restart) in [("d", "fail", Restart::Transient), ("e", "end", Restart::Permanent)] {
        node.start_child(with(child, kind, restart), PATIENCE).await.unwrap();
        let is_restarted =
            |node: &ordu_supervisor::Supervisor| node.child(&id(child)).is_some_and(|row| row.restarts >= 2);
        node.until("restarted twice", is_restarted).await;
    }
    // What is done leaves its row after a while, and its id can be used again.
    node.until("rows of the done go", |node| node.child(&id("a")).is_none()).await;
    node.start_child(with("a", "end", Restart::Transient), PATIENCE).await.unwrap();
    node.shut_down().await;
}

#[tokio::test]
async fn a_child_sees_its_surroundings_and_tells_of_itself() {
    let seen = Arc::new(Mutex::new(None));
    let see = seen.clone();
    let kinds = Kinds::new().with("curious", move |ctx: Context| {
        let see = see.clone();
        async move {
            ctx.register(Name::new("curious/name").unwrap(), "value").unwrap();
            *see.lock().unwrap() = Some((ctx.node().to_string(), ctx.args().clone(), ctx.fence()));
            ctx.started(Started { os_pid: Some(7), log: Some("/tmp/log".to_owned()) });
            ctx.stopping().await;
            Exit::Normal
        }
    });
    let [node] = Nodes::new().start_all(["n1"], |_| kinds.clone()).await;
    let curious = ordu_supervisor::core::ChildSpec { args: "args".into(), ..spec("a", "curious") };
    let row = node.start_child(curious, PATIENCE).await.unwrap();
    assert_eq!((row.os_pid, row.log.as_deref()), (Some(7), Some("/tmp/log")));
    let (place, args, fence) = seen.lock().unwrap().take().unwrap();
    assert_eq!((place.as_str(), &args[..], Some(fence)), ("n1", &b"args"[..], row.fence));
    assert_eq!(node.registry().lookup_with("curious/name", |entry| entry.value().clone()), Some("value".into()));
    node.terminate_child(&id("a"), PATIENCE).await.unwrap();
    assert_eq!(node.registry().lookup("curious/name"), None);
    node.shut_down().await;
}

#[tokio::test]
async fn a_child_that_does_not_stop_is_aborted() {
    let kinds = Kinds::new().with_fn("deaf", |_| std::future::pending::<()>());
    let [node] = Nodes::new().start_all(["n1"], |_| kinds.clone()).await;
    node.start_child(spec("a", "deaf"), PATIENCE).await.unwrap();
    let mut events = node.events();
    node.terminate_child(&id("a"), PATIENCE).await.unwrap();
    let reason = next(&mut events, |what| match what {
        EventKind::ChildExited { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "aborted: it had not ended 500ms after it was asked to stop");
    node.shut_down().await;
}

#[tokio::test]
async fn shutting_down_stops_what_is_left_and_answers_everybody() {
    let kinds = || {
        let never = |ctx: Context| async move {
            ctx.stopping().await;
            Exit::Normal
        };
        idle().with("never", never)
    };
    let [node] = Nodes::new().start_all(["n1"], |_| kinds()).await;
    node.start_child(spec("a", "idle"), PATIENCE).await.unwrap();
    let waiting = {
        let supervisor = node.supervisor.clone();
        tokio::spawn(async move { supervisor.start_child(spec("b", "never"), PATIENCE).await })
    };
    node.until_status("b", ChildStatus::Starting).await;
    let supervisor = node.supervisor.clone();
    node.shut_down().await;
    assert_eq!(timeout(PATIENCE, supervisor.closed()).await, Ok(Closed::Shutdown));
    assert!(timeout(PATIENCE, waiting).await.unwrap().unwrap().is_err());
    assert_eq!(supervisor.start_child(spec("c", "idle"), PATIENCE).await, Err(StartError::Closed));
    assert_eq!(supervisor.terminate_child(&id("a"), PATIENCE).await, Err(TerminateError::Closed));
    // Once more does nothing, and returns.
    timeout(PATIENCE, supervisor.shutdown(PATIENCE)).await.unwrap();
}
