//! What a running child leaves with other nodes is what its next process begins with after a crash, and is gone with it.

mod world;

use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::handoff::STATE_BYTES_MAX;
use ordu_supervisor::core::{Call, ChildSpec, Exit, Input, Intensity, Restart};
use ordu_transport::core::Pid;

use self::world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The only process of a child.
fn process(world: &World, child: &str) -> Pid {
    let copies = world.copies(child);
    assert_eq!(copies.len(), 1, "{copies:?}");
    world.pid_of(&copies[0], child).expect("it is held where it runs")
}

fn given(world: &World, pid: &Pid) -> Option<String> {
    world.given[pid].as_ref().map(|state| String::from_utf8_lossy(state).into_owned())
}

fn checkpoint(world: &mut World, pid: &Pid, number: u64, state: &'static str) {
    let node = pid.node.name.to_string();
    world.input(&node, Input::Checkpoint { pid: pid.clone(), number, state: Bytes::from_static(state.as_bytes()) });
}

/// Four nodes and a child on the second of them.
fn begin_as(change: impl Fn(ChildSpec) -> ChildSpec) -> (World, String, Pid) {
    let mut world = World::new(&["a", "b", "c", "d"]);
    let x = world.id_on("b");
    world.start("a", change(spec(&x)));
    world.run(secs(1));
    let first = process(&world, &x);
    assert_eq!(given(&world, &first), None);
    (world, x, first)
}

fn begin() -> (World, String, Pid) {
    begin_as(|spec| spec)
}

#[test]
fn it_is_kept_by_two_others_and_found_after_its_node_died() {
    let (mut world, x, first) = begin();
    checkpoint(&mut world, &first, 1, "one");
    checkpoint(&mut world, &first, 2, "two");
    world.run(secs(1));
    assert_eq!(world.checkpointed.last(), Some(&(first.clone(), 2, 2)));
    world.kill("b");
    world.run(secs(5));
    let second = process(&world, &x);
    assert_eq!(given(&world, &second).as_deref(), Some("two"));
    // The one after that is not there yet, but what that one had is kept again.
    let node = second.node.name.to_string();
    world.kill(&node);
    world.run(secs(5));
    let third = process(&world, &x);
    assert_eq!(given(&world, &third).as_deref(), Some("two"));
}

#[test]
fn it_is_found_after_a_failure_in_place_and_goes_along_with_moves() {
    let (mut world, x, first) = begin();
    checkpoint(&mut world, &first, 1, "one");
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    let second = process(&world, &x);
    assert_eq!(given(&world, &second).as_deref(), Some("one"));
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.run(secs(3));
    let third = process(&world, &x);
    assert_ne!(third.node, second.node);
    assert_eq!(given(&world, &third), Some(second.to_string()), "what is handed off is later");
    // It failed before it made any of its own: what it was handed is its checkpoint.
    let node = third.node.name.to_string();
    world.run(secs(1));
    world.kill(&node);
    world.run(secs(5));
    let fourth = process(&world, &x);
    assert_eq!(given(&world, &fourth), Some(second.to_string()));
}

#[test]
fn it_goes_with_its_child() {
    let (mut world, x, first) = begin();
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    world.call("a", Call::Terminate(id(&x)));
    world.run(secs(1));
    for node in ["a", "b", "c", "d"] {
        assert_eq!(world.nodes[&name(node)].core.copies_len(), 0, "{node} keeps what nobody needs");
    }
    world.start("c", spec(&x));
    world.run(secs(1));
    let second = process(&world, &x);
    assert_eq!(given(&world, &second), None, "another child of the same name");
    world.kill(second.node.name.as_str());
    world.run(secs(5));
    assert_eq!(given(&world, &process(&world, &x)), None);
}

#[test]
fn who_misses_the_latest_asks_for_it() {
    for deaf in ["a", "c", "d"] {
        let (mut world, x, first) = begin();
        checkpoint(&mut world, &first, 1, "one");
        world.run(secs(1));
        world.cut.insert(("b".into(), deaf.into()));
        checkpoint(&mut world, &first, 2, "two");
        world.kill("b");
        world.cut.clear();
        world.run(secs(6));
        assert_eq!(given(&world, &process(&world, &x)).as_deref(), Some("two"), "{deaf} had not got it");
    }
}

#[test]
fn what_runs_once_or_is_too_long_or_too_early_or_of_another_process_is_not_taken() {
    let (mut world, _, first) = begin_as(|spec| ChildSpec { restart: Restart::Temporary, ..spec });
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    assert_eq!(world.checkpointed, []);
    let (mut world, x, first) = begin();
    world.input("b", Input::Checkpoint { pid: first.clone(), number: 1, state: vec![0; STATE_BYTES_MAX + 1].into() });
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    assert_eq!(given(&world, &process(&world, &x)), None);
    checkpoint(&mut world, &first, 2, "late");
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    assert_eq!(given(&world, &process(&world, &x)), None);
}

/// It may not be what it fails by: who resumes it wants it back as it was.
#[test]
fn it_outlives_quarantine() {
    let allowed = Some(Intensity { restarts: 0, within: secs(10), escalates: false });
    let (mut world, x, first) = begin_as(|spec| ChildSpec { intensity: allowed, ..spec });
    checkpoint(&mut world, &first, 1, "one");
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    world.call("c", Call::Restart(id(&x)));
    world.run(secs(1));
    assert_eq!(given(&world, &process(&world, &x)).as_deref(), Some("one"));
}

/// Who keeps it leaves: another does.
#[test]
fn there_are_two_copies_again_after_a_keeper_died() {
    let (mut world, x, first) = begin();
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    let copies = |world: &World| -> Vec<&str> {
        let keeps = |node: &&str| world.nodes[&name(node)].core.copies_len() > 0;
        ["a", "c", "d"].into_iter().filter(keeps).collect()
    };
    let before = copies(&world);
    assert_eq!(before.len(), 2);
    world.kill(before[0]);
    world.run(secs(5));
    let other = ["a", "c", "d"].into_iter().find(|node| !before.contains(node)).unwrap();
    assert_eq!(world.nodes[&name(other)].core.copies_len(), 1);
    assert_eq!(process(&world, &x), first);
}
