//! Waiting for others, on real nodes.

use std::time::Duration;

use ordu_registry::core::visible::Vain;
use ordu_registry::core::{RegisterError, Scope};
use ordu_registry::{AwaitError, QuorumError};

use super::{Nodes, PATIENCE, name, shows, start, until, within};

#[tokio::test]
async fn what_all_have_acknowledged_all_show() {
    let mut nodes = Nodes::new();
    let all = [nodes.start("a", 1).await, nodes.start("b", 1).await, nodes.start("c", 1).await];
    for node in &all {
        until(node, |node| node.view().living().count() == 3).await;
    }
    let process = all[0].process();
    process.register(name("x"), "").unwrap();
    assert_eq!(process.await_visible(&name("x"), Scope::All, PATIENCE).await, Ok(()));
    assert!(all.iter().all(|node| shows(node, "x", &process)));
    assert_eq!(process.register_quorum(name("y"), "", PATIENCE).await, Ok(()));
    assert!(all.iter().filter(|node| shows(node, "y", &process)).count() >= 2);
    let refused = QuorumError::Register(RegisterError::AlreadyRegistered { pid: process.pid().clone() });
    assert_eq!(all[0].process().register_quorum(name("y"), "", PATIENCE).await, Err(refused));
    let absent = process.await_visible(&name("z"), Scope::Majority, PATIENCE).await;
    assert_eq!(absent, Err(AwaitError::Vain(Vain::Gone)));
    for node in all {
        within(node.shutdown()).await;
    }
}

#[tokio::test]
async fn without_a_majority_nothing_is_kept() {
    let mut nodes = Nodes::new();
    let a = nodes.start("a", 1).await;
    // A node whose machine stops dead: its one thread does nothing more, from here on.
    let machine = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let b = machine.spawn(start(nodes.config("b", 1))).await.unwrap().cluster().id();
    until(&a, |a| a.view().living().count() == 2).await;
    let (stops, stopped) = tokio::sync::oneshot::channel();
    let (goes_on, waits) = std::sync::mpsc::channel::<()>();
    machine.spawn(async move {
        let _ = stops.send(());
        let _ = waits.recv();
    });
    within(stopped).await.unwrap();
    machine.shutdown_background();

    let process = a.process();
    let missing = vec![b];
    let none = process.register_quorum(name("x"), "", Duration::from_millis(50)).await;
    assert_eq!(none, Err(QuorumError::Deadline { missing: missing.clone() }));
    assert_eq!((a.lookup("x"), a.names_of(process.pid())), (None, vec![]));
    // A caller who goes away takes the claim along.
    {
        let mut waits = std::pin::pin!(process.register_quorum(name("y"), "", PATIENCE));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waits.as_mut().poll(context))).await;
        assert!(polled.is_pending() && shows(&a, "y", &process));
    }
    assert_eq!(a.lookup("y"), None);
    // Whoever only waits keeps what there is.
    process.register(name("z"), "").unwrap();
    let late = process.await_visible(&name("z"), Scope::Majority, Duration::from_millis(50)).await;
    assert_eq!(late, Err(AwaitError::Deadline { missing }));
    assert!(shows(&a, "z", &process));
    // Once the other is held as down it is not waited for, but it counts.
    until(&a, |a| a.view().living().count() == 1).await;
    assert_eq!(process.await_visible(&name("z"), Scope::All, PATIENCE).await, Ok(()));
    let late = process.await_visible(&name("z"), Scope::Majority, Duration::ZERO).await;
    assert!(matches!(late, Err(AwaitError::Deadline { .. })));
    within(a.shutdown()).await;
    drop(goes_on);
}
