//! A cordoned node takes no child, and keeps those that it has.

mod world;

use std::time::Duration;

use ordu_supervisor::core::{Call, CallError, ChildSpec, ChildStatus, Exit, Input, Placement, Reply, Restart};

use world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn cordon(world: &mut World, by: &str, node: &str, on: bool) -> u64 {
    let request = world.call(by, Call::Cordon { node: name(node), on });
    world.run(secs(2));
    request
}

fn cordon_all(world: &mut World, on: bool) {
    for node in world.alive_names() {
        let request = cordon(world, "a", node.as_str(), on);
        assert_eq!(world.replies[&request], Reply::Done(Ok(())), "{node}");
    }
}

fn start_many(world: &mut World, prefix: &str, count: usize) {
    for number in 0..count {
        world.start("a", spec(&format!("{prefix}{number}")));
    }
    world.run(secs(5));
}

fn reason(world: &World, at: &str, child: &str) -> String {
    world.nodes[&name(at)].core.row(&id(child)).and_then(|row| row.reason).unwrap_or_default()
}

#[test]
fn a_cordoned_node_gets_nothing_and_gives_nothing_away() {
    let mut world = World::new(&["a", "b", "c"]);
    start_many(&mut world, "old", 30);
    let before = world.counts();
    let request = cordon(&mut world, "a", "b", true);
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    start_many(&mut world, "new", 30);
    let after = world.counts();
    assert_eq!((after[1], after.iter().sum::<usize>()), (before[1], 60));
    // What it has is not where it belongs any more, and stays all the same.
    for at in ["a", "b", "c"] {
        let core = &world.nodes[&name(at)].core;
        let rows = core.member_rows();
        assert_eq!(rows.iter().map(|row| row.cordoned).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(core.misplaced(100), []);
    }
    assert_eq!(world.replies.values().filter(|reply| matches!(reply, Reply::Child(Err(_)))).count(), 0);

    // A loss elsewhere is made up for elsewhere.
    world.kill("c");
    world.run(secs(5));
    assert_eq!((world.counts()[1], world.counts().iter().sum::<usize>()), (before[1], 60));

    let request = cordon(&mut world, "a", "b", false);
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
    world.run(secs(20));
    assert!(world.counts()[1] > before[1] + 5, "{:?}", world.counts());
    assert!(world.doubles.is_empty());
    world.assert_alike();
    let request = cordon(&mut world, "a", "z", true);
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::NotFound)));
    let request = cordon(&mut world, "a", "c", true);
    assert_eq!(world.replies[&request], Reply::Done(Err(CallError::Unreachable)));
}

#[test]
fn nobody_moves_anything_to_a_node_that_is_cordoned() {
    let mut world = World::new(&["a", "b"]);
    start_many(&mut world, "x", 30);
    cordon(&mut world, "b", "b", true);
    let before = world.counts();
    // A third one gets its share of those of the other one only.
    world.join("c", 1);
    world.run(secs(20));
    let after = world.counts();
    assert!(after[2] > 3 && after[0] < before[0], "{before:?}, {after:?}");
    assert_eq!(after[1], before[1]);
    world.call("a", Call::Drain { node: name("a"), on: true });
    world.run(secs(20));
    assert_eq!(world.counts(), [0, before[1], 30 - before[1]]);
}

#[test]
fn what_ends_there_is_started_there_again() {
    let mut world = World::new(&["a", "b"]);
    let child = world.id_on("b");
    world.start("a", spec(&child));
    world.run(secs(2));
    cordon(&mut world, "a", "b", true);
    world.finish("b", &child, Exit::Abnormal("boom".into()));
    world.run(secs(3));
    assert_eq!((world.copies(&child), world.starts_of(&child)), (vec!["b".to_owned()], 2));
    let request = world.call("a", Call::Restart(id(&child)));
    world.run(secs(3));
    assert!(world.started(request));
    assert_eq!(world.copies(&child), ["b"]);
    // It goes, and somebody else has it; then it comes back, as another process that nobody has cordoned.
    world.kill("b");
    world.run(secs(3));
    assert_eq!(world.copies(&child), ["a"]);
    world.join("b", 2);
    world.run(secs(5));
    assert_eq!(world.copies(&child), ["b"]);
    assert!(!world.nodes[&name("a")].core.member_rows()[1].cordoned);
}

#[test]
fn where_all_are_cordoned_a_start_is_refused_and_a_loss_waits() {
    let mut world = World::new(&["a", "b"]);
    let (theirs, pinned) = (world.id_on("b"), "pinned");
    let run = |placement: Placement, child: &str| ChildSpec { placement, ..spec(child) };
    world.start("a", spec(&theirs));
    world.run(secs(2));
    cordon_all(&mut world, true);
    let why = "no eligible node: every node that could run it is cordoned";
    let refused = Reply::Child(Err(CallError::NoEligibleNode(why.into())));
    let request = world.start("a", spec("new"));
    assert_eq!(world.replies[&request], refused);
    let request = world.start("a", run(Placement::Pinned(name("b")), pinned));
    assert_eq!(world.replies[&request], refused);
    assert_eq!(world.copies(&theirs), ["b"]);

    world.kill("b");
    world.run(secs(30));
    assert_eq!((world.copies(&theirs).len(), world.status("a", &theirs)), (0, Some(ChildStatus::Pending)));
    assert_eq!(reason(&world, "a", &theirs), why);
    cordon_all(&mut world, false);
    assert_eq!(world.copies(&theirs), ["a"]);
    assert!(world.doubles.is_empty());
}

#[test]
fn a_cordon_and_a_drain_are_two_things() {
    let mut world = World::new(&["a", "b"]);
    start_many(&mut world, "x", 20);
    cordon(&mut world, "a", "b", true);
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.run(secs(20));
    assert_eq!(world.counts(), [20, 0]);
    // Both say no; neither hides the other.
    cordon(&mut world, "a", "a", true);
    let request = world.start("a", spec("new"));
    let why = "no eligible node: every node that could run it is draining or cordoned";
    assert_eq!(world.replies[&request], Reply::Child(Err(CallError::NoEligibleNode(why.into()))));
    cordon(&mut world, "a", "a", false);
    world.call("a", Call::Drain { node: name("b"), on: false });
    world.run(secs(20));
    assert_eq!(world.counts(), [20, 0]);
    let row = world.nodes[&name("a")].core.member_rows().remove(1);
    assert!(row.cordoned && row.status == ordu_supervisor::core::MemberStatus::Up);
    cordon(&mut world, "a", "b", false);
    world.run(secs(20));
    assert!(world.counts()[1] > 3, "{:?}", world.counts());
}

#[test]
fn a_node_may_leave_though_the_others_are_cordoned() {
    let mut world = World::new(&["a", "b"]);
    start_many(&mut world, "x", 20);
    cordon(&mut world, "a", "b", true);
    let theirs = world.counts()[1];
    world.input("a", Input::Shutdown);
    world.run(secs(10));
    assert!(world.nodes[&name("a")].stopping);
    assert_eq!(world.counts(), [0, theirs]);
    world.kill("a");
    cordon(&mut world, "b", "b", false);
    world.run(secs(5));
    assert_eq!(world.counts(), [20]);
}

#[test]
fn what_goes_on_as_another_process_is_cordoned_still() {
    let mut world = World::new(&["a", "b"]);
    let child = world.id_on("b");
    world.start("a", ChildSpec { restart: Restart::Transient, ..spec(&child) });
    world.run(secs(2));
    cordon(&mut world, "a", "b", true);
    // The same process, under a new identity.
    world.rebirth("b", 2, secs(1));
    world.run(secs(5));
    assert!(world.nodes[&name("a")].core.member_rows()[1].cordoned);
    assert_eq!(world.copies(&child), ["b"]);
    start_many(&mut world, "x", 10);
    assert_eq!(world.counts(), [10, 1]);
}
