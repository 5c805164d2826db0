//! Supervisor cores that talk over a perfect network in virtual time: what a cluster does when nothing is lost. The
//! simulator covers the rest.

mod world;

use std::sync::Arc;
use std::time::Duration;

use ordu_supervisor::core::{
    Call, CallError, ChildSpec, ChildStatus, EventKind, Exit, Input, Placement, Reply, Restart,
};
use ordu_transport::core::Status;

use self::world::{World, id, name, spec};

fn sixty(world: &mut World) {
    let requests: Vec<u64> = (0..60).map(|n| world.start("a", spec(&format!("c{n}")))).collect();
    world.run(Duration::from_secs(2));
    assert!(requests.iter().all(|&request| world.started(request)));
}

/// Children are started, ended, moved and replaced, on both sides of a cut too. Who runs what at the end.
fn a_life(takes_all: bool) -> Vec<Vec<String>> {
    let mut world = World::new(&["a", "b", "c"]);
    world.takes_all = takes_all;
    sixty(&mut world);
    let ended: Vec<u64> = (0..10).map(|n| world.call("b", Call::Terminate(id(&format!("c{n}"))))).collect();
    world.run(Duration::from_secs(2));
    assert!(ended.iter().all(|request| world.replies[request] == Reply::Done(Ok(()))));
    world.split(&["a"], Status::Down);
    for n in 60..80 {
        world.start("a", spec(&format!("c{n}")));
        world.start("b", spec(&format!("c{n}")));
    }
    world.call("c", Call::Terminate(id("c20")));
    world.run(Duration::from_secs(3));
    world.split(&["a"], Status::Up);
    world.run(Duration::from_secs(10));
    world.kill("c");
    world.run(Duration::from_secs(20));
    world.assert_alike();
    assert_eq!(world.counts().iter().sum::<usize>(), 69);
    (0..80).map(|n| world.copies(&format!("c{n}"))).collect()
}

#[test]
fn messages_that_are_taken_together_come_to_the_same() {
    assert_eq!(a_life(true), a_life(false));
}

#[test]
fn children_spread_and_every_node_knows_them() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    assert!(world.counts().iter().all(|count| (8..=32).contains(count)), "{:?}", world.counts());
    world.run(Duration::from_secs(3));
    world.assert_alike();
    assert_eq!(world.doubles, Vec::<String>::new());
    for node in ["a", "b", "c"] {
        let core = &world.nodes[&name(node)].core;
        assert_eq!((core.rows().len(), core.registry().len()), (60, 60));
        assert_eq!(core.status_row(world.now()).running, 60);
    }
}

#[test]
fn a_dead_nodes_children_run_again_and_go_back_when_it_returns() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    world.kill("b");
    world.run(Duration::from_secs(1));
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    world.join("b", 2);
    world.run(Duration::from_secs(20));
    assert_eq!(world.counts().iter().sum::<usize>(), 60);
    assert!(world.counts().iter().all(|count| (8..=32).contains(count)), "{:?}", world.counts());
    assert_eq!(world.doubles, Vec::<String>::new());
    world.assert_alike();
}

#[test]
fn a_split_heals_to_one_copy_of_each_and_the_originals_stay() {
    let mut world = World::new(&["a", "b", "c"]);
    sixty(&mut world);
    let before: Vec<Vec<String>> = (0..60).map(|n| world.copies(&format!("c{n}"))).collect();
    world.split(&["c"], Status::Down);
    world.run(Duration::from_secs(5));
    assert_eq!(world.counts().iter().sum::<usize>(), 120);
    for n in 0..10 {
        world.start("a", spec(&format!("new{n}")));
        world.start("c", spec(&format!("new{n}")));
    }
    let stopped = world.call("a", Call::Terminate(id("c7")));
    world.run(Duration::from_secs(5));
    assert_eq!(world.replies.get(&stopped), Some(&Reply::Done(Ok(()))));
    world.events.clear();
    world.split(&["c"], Status::Up);
    world.run(Duration::from_secs(5));
    for n in (0..60).filter(|n| *n != 7) {
        assert_eq!(world.copies(&format!("c{n}")), before[n as usize], "c{n}");
    }
    assert_eq!(world.copies("c7"), Vec::<String>::new());
    for n in 0..10 {
        assert_eq!(world.copies(&format!("new{n}")).len(), 1);
    }
    world.assert_alike();
    let conflicts = world.events.iter().filter(|(_, event)| matches!(event.what, EventKind::NameConflict { .. }));
    // Every child but the stopped one ran twice, and every loser is told once, by its own node.
    let mut losers: Vec<String> = conflicts.map(|(at, event)| format!("{at} {:?}", event.what)).collect();
    losers.sort();
    assert_eq!(losers.len(), 69, "{losers:#?}");
}

#[test]
fn starting_twice_is_refused_and_ensuring_is_not() {
    let mut world = World::new(&["a", "b"]);
    let first = world.start("a", spec("x"));
    world.run(Duration::from_secs(1));
    let (second, ensured) =
        (world.start("b", spec("x")), world.call("b", Call::Start { spec: spec("x"), ensure: true }));
    world.run(Duration::from_secs(1));
    assert!(world.started(first) && world.started(ensured));
    assert!(matches!(&world.replies[&second], Reply::Child(Err(CallError::AlreadyStarted(_)))));
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn a_failing_init_is_told_to_its_caller_and_leaves_nothing() {
    let mut world = World::new(&["a", "b", "c"]);
    world.failing = (0..9).map(|n| format!("f{n}")).collect();
    let requests: Vec<u64> = (0..9).map(|n| world.start("a", spec(&format!("f{n}")))).collect();
    world.run(Duration::from_secs(4));
    for request in requests {
        assert_eq!(world.replies[&request], Reply::Child(Err(CallError::Failed("no such thing".into()))));
    }
    for node in world.nodes.values() {
        assert_eq!((node.core.rows(), node.core.registry().len()), (Vec::new(), 0));
        assert_eq!(node.core.desired().table().removals_len(), 0);
    }
    world.assert_alike();
}

#[test]
fn nobody_offers_the_kind() {
    let mut world = World::new(&["a", "b"]);
    let request = world.start("a", ChildSpec::new(id("x"), "other", ""));
    assert!(matches!(&world.replies[&request], Reply::Child(Err(CallError::NoEligibleNode(_)))));
    assert_eq!(world.status("a", "x"), None);
}

#[test]
fn terminating_what_is_not_there_is_not_found() {
    let mut world = World::new(&["a"]);
    let request = world.call("a", Call::Terminate(id("x")));
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::NotFound)));
}

#[test]
fn a_child_is_restarted_by_its_kind_of_restart() {
    let mut world = World::new(&["a"]);
    for (text, restart) in
        [("p", Restart::Permanent), ("t", Restart::Transient), ("n", Restart::Transient), ("o", Restart::Temporary)]
    {
        world.start("a", ChildSpec { restart, ..spec(text) });
    }
    world.run(Duration::from_secs(1));
    let exit = |world: &mut World, text: &str, exit: Exit| {
        let node = world.nodes.get_mut(&name("a")).unwrap();
        let pid = node.running.iter().find(|(_, spec)| spec.id.as_str() == text).map(|(pid, _)| pid.clone()).unwrap();
        node.running.remove(&pid);
        world.input("a", Input::Exited { pid, exit });
    };
    exit(&mut world, "p", Exit::Normal);
    exit(&mut world, "t", Exit::Abnormal("boom".into()));
    exit(&mut world, "n", Exit::Normal);
    exit(&mut world, "o", Exit::Abnormal("boom".into()));
    assert_eq!(world.status("a", "t"), Some(ChildStatus::Backoff));
    world.run(Duration::from_secs(1));
    for (text, status, restarts) in [
        ("p", ChildStatus::Running, 1),
        ("t", ChildStatus::Running, 1),
        ("n", ChildStatus::Done, 0),
        ("o", ChildStatus::Done, 0),
    ] {
        let row = world.nodes[&name("a")].core.row(&id(text)).unwrap();
        assert_eq!((row.status, row.restarts), (status, restarts), "{text}");
    }
    world.run(Duration::from_secs(90));
    assert_eq!(world.status("a", "n"), None);
}

#[test]
fn a_temporary_child_is_suspended_with_its_node_and_ends_when_that_is_over() {
    let mut world = World::new(&["a", "b"]);
    let pinned = ChildSpec { restart: Restart::Temporary, placement: Placement::Uniform, ..spec("x") };
    world.start("a", pinned);
    world.run(Duration::from_secs(1));
    let holder = world.copies("x").remove(0);
    let other = if holder == "a" { "b" } else { "a" };
    world.kill(&holder);
    world.run(Duration::from_secs(5));
    assert_eq!(world.status(other, "x"), Some(ChildStatus::Suspended));
    world.join(&holder, 2);
    world.run(Duration::from_secs(5));
    assert_eq!((world.status("a", "x"), world.status("b", "x")), (None, None));
    assert_eq!(world.copies("x"), Vec::<String>::new());
}

#[test]
fn restarting_gives_a_new_process_with_a_higher_fence() {
    let mut world = World::new(&["a", "b"]);
    world.start("a", spec("x"));
    world.run(Duration::from_secs(1));
    let before = world.nodes[&name("b")].core.row(&id("x")).unwrap();
    let request = world.call("b", Call::Restart(id("x")));
    world.run(Duration::from_secs(1));
    assert!(world.started(request));
    let after = world.nodes[&name("b")].core.row(&id("x")).unwrap();
    assert!(after.fence > before.fence && after.pid != before.pid && after.restarts == before.restarts);
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn a_draining_node_gives_its_children_away_and_the_last_one_stops_them() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    world.input("a", Input::Shutdown);
    world.run(Duration::from_secs(10));
    assert!(world.nodes[&name("a")].stopping);
    assert_eq!((world.counts(), world.doubles.len()), (vec![0, 60], 0));
    world.kill("a");
    world.input("b", Input::Shutdown);
    world.run(Duration::from_secs(5));
    assert!(world.nodes[&name("b")].stopping);
    assert_eq!(world.counts(), vec![0]);
    assert_eq!(world.nodes[&name("b")].core.desired().table().keys().count(), 60);
}

#[test]
fn a_destination_that_is_silent_does_not_keep_a_node_from_leaving() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    // It hangs, and nobody has noticed yet.
    world.nodes.get_mut(&name("b")).unwrap().alive = false;
    world.input("a", Input::Shutdown);
    world.run(Duration::from_secs(60));
    assert_eq!(world.counts(), vec![0]);
    assert!(world.nodes[&name("a")].stopping);
}

#[test]
fn draining_another_node_is_a_request_to_it() {
    let mut world = World::new(&["a", "b"]);
    sixty(&mut world);
    let request = world.call("a", Call::Drain { node: name("b"), on: true });
    world.run(Duration::from_secs(10));
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    assert_eq!(world.counts(), vec![60, 0]);
    let request = world.call("a", Call::Drain { node: name("b"), on: false });
    world.run(Duration::from_secs(10));
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    assert!(world.counts()[1] > 8);
    let request = world.call("a", Call::Drain { node: name("z"), on: true });
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::NotFound)));
}

#[test]
fn a_pinned_child_waits_for_its_node() {
    let mut world = World::new(&["a", "b"]);
    let pinned = ChildSpec { placement: Placement::Pinned(name("b")), ..spec("x") };
    world.start("a", pinned);
    world.run(Duration::from_secs(1));
    assert_eq!(world.copies("x"), vec!["b"]);
    world.kill("b");
    world.run(Duration::from_secs(5));
    let row = world.nodes[&name("a")].core.row(&id("x")).unwrap();
    assert_eq!(
        (row.status, row.reason.as_deref()),
        (ChildStatus::Pending, Some("no eligible node: it is pinned to b, which is not up"),)
    );
}

#[test]
fn a_spec_of_an_unknown_node_does_not_start_without_its_facts() {
    let world = World::new(&["a"]);
    let rows = world.nodes[&name("a")].core.member_rows();
    assert_eq!((rows.len(), rows[0].kinds.clone()), (1, vec![Arc::from("work")]));
}
