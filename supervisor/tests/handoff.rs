//! What a child leaves when it is asked to stop is what its next process begins with, wherever that is; what fails leaves
//! nothing.

mod world;

use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::handoff::STATE_BYTES_MAX;
use ordu_supervisor::core::{Call, ChildSpec, ChildStatus, Exit, Input, Placement};
use ordu_transport::core::Pid;

use self::world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The only process of a child.
fn process(world: &World, child: &str) -> Pid {
    let copies = world.copies(child);
    assert_eq!(copies.len(), 1, "{copies:?}");
    world.pid_of(&copies[0], child).expect("it is held where it runs")
}

/// What the process before this one left for it: each leaves its pid.
fn given(world: &World, pid: &Pid) -> Option<String> {
    world.given[pid].as_ref().map(|state| String::from_utf8_lossy(state).into_owned())
}

fn drain(world: &mut World, node: &str, on: bool) {
    world.call(node, Call::Drain { node: name(node), on });
}

/// Three nodes and a child on the second of them.
fn begin() -> (World, String, Pid) {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    assert_eq!(given(&world, &first), None);
    (world, x, first)
}

#[test]
fn it_goes_along_with_moves_and_restarts() {
    let (mut world, x, first) = begin();
    drain(&mut world, "b", true);
    world.run(secs(3));
    let second = process(&world, &x);
    assert_ne!(second.node, first.node);
    assert_eq!(given(&world, &second), Some(first.to_string()));
    drain(&mut world, "b", false);
    world.run(secs(20));
    let third = process(&world, &x);
    assert_eq!((&third.node, given(&world, &third)), (&first.node, Some(second.to_string())));
    world.call("c", Call::Restart(id(&x)));
    world.run(secs(1));
    let fourth = process(&world, &x);
    assert_eq!(given(&world, &fourth), Some(third.to_string()));
    assert!(world.doubles.is_empty());
}

#[test]
fn what_fails_or_ends_or_dies_leaves_nothing() {
    let (mut world, x, first) = begin();
    world.input("b", Input::HandedOff { pid: first.clone(), state: Bytes::from_static(b"too early") });
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    let second = process(&world, &x);
    assert_eq!(given(&world, &second), None, "who was not asked to stop may have failed by it");
    world.call("a", Call::Terminate(id(&x)));
    world.run(secs(1));
    world.start("c", spec(&x));
    world.run(secs(1));
    let third = process(&world, &x);
    assert_eq!(given(&world, &third), None, "another child of the same name");
    world.kill("b");
    world.run(secs(5));
    let fourth = process(&world, &x);
    assert_eq!(given(&world, &fourth), None, "its node is dead");
}

#[test]
fn too_long_a_state_is_not_taken() {
    let (mut world, x, first) = begin();
    world.slow.push(x.clone());
    drain(&mut world, "b", true);
    world.run(secs(1));
    for length in [STATE_BYTES_MAX, STATE_BYTES_MAX + 1] {
        world.input("b", Input::HandedOff { pid: first.clone(), state: vec![7; length].into() });
    }
    world.finish("b", &x, Exit::Normal);
    world.run(secs(2));
    let second = process(&world, &x);
    assert_eq!(world.given[&second].as_ref().map(Bytes::len), Some(STATE_BYTES_MAX));
}

/// The child waits for its state where it goes; after a while it is started again where it was, and there it is still.
#[test]
fn a_state_that_does_not_arrive_keeps_the_child_where_it_was() {
    let (mut world, x, first) = begin();
    world.loses_states = true;
    drain(&mut world, "b", true);
    world.run(ms(1_500));
    assert_eq!((world.copies(&x).len(), world.status("a", &x)), (0, Some(ChildStatus::Moving)));
    world.run(secs(2));
    let second = process(&world, &x);
    assert_eq!((&second.node, given(&world, &second)), (&first.node, Some(first.to_string())));
    // It is tried again, later.
    world.loses_states = false;
    world.run(secs(10));
    let third = process(&world, &x);
    assert_ne!(third.node, second.node);
    assert_eq!(given(&world, &third), Some(second.to_string()));
}

#[test]
fn a_new_session_brings_it_once_more() {
    let (mut world, x, first) = begin();
    world.loses_states = true;
    drain(&mut world, "b", true);
    world.run(ms(1_000));
    assert_eq!(world.copies(&x), [""; 0]);
    world.loses_states = false;
    for other in ["a", "c"] {
        world.input("b", Input::Disconnected(world.id_of(other)));
        world.input(other, Input::Disconnected(world.id_of("b")));
        world.meet("b", other);
    }
    world.run(ms(200));
    let second = process(&world, &x);
    assert_ne!(second.node, first.node);
    assert_eq!(given(&world, &second), Some(first.to_string()));
}

#[test]
fn an_init_that_fails_leaves_it_to_the_next() {
    let (mut world, x, first) = begin();
    world.failing.push(x.clone());
    drain(&mut world, "b", true);
    world.run(secs(3));
    assert_eq!(world.copies(&x), [""; 0]);
    world.failing.clear();
    world.run(secs(5));
    let second = process(&world, &x);
    assert_ne!(second.node, first.node);
    assert_eq!(given(&world, &second), Some(first.to_string()));
}

/// What was given is for who has not begun yet; what is left by one that has not begun is nothing.
#[test]
fn a_state_is_used_once() {
    let (mut world, x, first) = begin();
    world.call("a", Call::Restart(id(&x)));
    world.hanging.push(x.clone());
    world.run(secs(1));
    let second = process(&world, &x);
    assert_eq!(given(&world, &second), Some(first.to_string()));
    // It hands off before it is through its init, and is asked to restart: its own is there still.
    world.slow.push(x.clone());
    world.input("b", Input::HandedOff { pid: second.clone(), state: Bytes::from_static(b"half") });
    world.call("a", Call::Restart(id(&x)));
    world.run(ms(100));
    world.finish("b", &x, Exit::Normal);
    world.run(secs(1));
    let third = process(&world, &x);
    assert_eq!(given(&world, &third), Some(first.to_string()));
    // It gets through while it is being stopped: it has used it, and leaves nothing.
    world.call("a", Call::Restart(id(&x)));
    world.run(ms(100));
    world.input("b", Input::Started { pid: third.clone(), info: Default::default() });
    world.finish("b", &x, Exit::Normal);
    world.run(secs(1));
    let fourth = process(&world, &x);
    assert_eq!(given(&world, &fourth), None);
}

#[test]
fn another_kind_gets_nothing_of_it() {
    let mut world = World::new(&["a"]);
    world.boot("b", 1, &["work", "play"]);
    world.meet("a", "b");
    world.run(secs(5));
    let on_b = |kind: &str| ChildSpec { placement: Placement::Pinned(name("b")), kind: kind.into(), ..spec("x") };
    world.start("a", on_b("work"));
    world.run(secs(1));
    // Both are heard of at once.
    world.cut = [("a".into(), "b".into())].into();
    world.call("a", Call::Terminate(id("x")));
    world.start("a", on_b("play"));
    world.cut.clear();
    world.run(secs(10));
    let second = process(&world, "x");
    assert_eq!((world.starts_of("x"), given(&world, &second)), (2, None));
}

/// The node that it goes to dies with it: the one that let it go has it still, unless it has seen the other's claim.
#[test]
fn it_is_kept_until_the_other_has_claimed_the_child() {
    let (mut world, x, first) = begin();
    let others = [("a", "b"), ("c", "b")];
    world.cut = others.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    drain(&mut world, "b", true);
    world.run(ms(1_000));
    let taken = world.copies(&x);
    let [taker] = &taken[..] else { panic!("{taken:?}") };
    world.kill(taker);
    world.run(secs(5));
    world.cut.clear();
    world.run(secs(10));
    let last = process(&world, &x);
    assert!(given(&world, &last).is_some(), "what {first} left, or a later process");
}
