//! A child that fails too often is left alone, wherever its node goes, until somebody restarts or terminates it.

mod world;

use std::time::Duration;

use ordu_supervisor::core::spec::RESTARTS_MAX;
use ordu_supervisor::core::{Call, CallError, ChildSpec, ChildStatus, EventKind, Exit, Input, Intensity, Reply};
use ordu_transport::core::Status;

use world::{World, id, name, spec};

const WINDOW: Duration = Duration::from_secs(60);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn limited(text: &str, restarts: u32) -> ChildSpec {
    ChildSpec { intensity: Some(Intensity::new(restarts, WINDOW)), ..spec(text) }
}

fn boom() -> Exit {
    Exit::Abnormal("boom".into())
}

/// It fails, wherever it runs, and whatever follows from that happens.
fn fail(world: &mut World, child: &str) {
    let at = world.copies(child).pop().expect("it runs");
    world.finish(&at, child, boom());
    world.run(secs(2));
}

fn status(world: &World, at: &str, child: &str) -> (ChildStatus, String) {
    let row = world.nodes[&name(at)].core.row(&id(child)).expect("a row");
    (row.status, row.reason.unwrap_or_default())
}

/// A child in quarantine among three nodes, and the node that holds it.
fn quarantined(world: &mut World, child: &str) -> String {
    world.start("a", limited(child, 2));
    world.run(secs(2));
    fail(world, child);
    fail(world, child);
    let holder = world.copies(child).pop().expect("two restarts are allowed");
    fail(world, child);
    assert_eq!((world.copies(child).len(), world.starts_of(child)), (0, 3));
    holder
}

/// A child that a node holds in quarantine which is cut off, and by whose clock it is so much later, while the others run it.
fn quarantined_behind_a_cut(world: &mut World, ahead_ms: u64) -> String {
    let child = world.id_on("a");
    world.start("a", limited(&child, 2));
    world.run(secs(2));
    world.split(&["a"], Status::Down);
    world.run(secs(5));
    assert_eq!(world.copies(&child).len(), 2);
    world.ahead_ms.insert(name("a"), ahead_ms);
    for _ in 0..3 {
        world.finish("a", &child, boom());
        world.run(secs(2));
    }
    assert_eq!(status(world, "a", &child).0, ChildStatus::Quarantined);
    child
}

fn assert_quarantined(world: &World, child: &str) {
    for at in world.alive_names() {
        let (status, reason) = status(world, at.as_str(), child);
        assert_eq!(status, ChildStatus::Quarantined, "{at}");
        assert_eq!(reason, "boom; it may be restarted 2 times within 60s, and was", "{at}");
    }
}

/// Its node is told, once, and nobody else starts it: one bad child does not end one node after the other.
#[test]
fn a_crash_loop_that_escalates_is_told_to_its_node_alone() {
    let mut world = World::new(&["a", "b", "c"]);
    let limit = Some(Intensity { escalates: true, ..Intensity::new(2, WINDOW) });
    world.start("a", ChildSpec { intensity: limit, ..spec("x") });
    world.run(secs(2));
    let holder = world.copies("x").pop().expect("it runs");
    for failures in 0..3 {
        assert_eq!((world.escalations.len(), world.copies("x")), (0, vec![holder.clone()]), "{failures}");
        fail(&mut world, "x");
    }
    let [(at, escalation)] = &world.escalations[..] else { panic!("{:?}", world.escalations) };
    assert_eq!((at.as_str(), escalation.child.as_str()), (&*holder, "x"));
    assert!(escalation.reason.starts_with("boom; "), "{}", escalation.reason);
    // The node gives up, as whoever runs it may decide.
    world.input(&holder, Input::Shutdown);
    world.run(secs(5));
    world.kill(&holder);
    world.run(secs(5));
    assert_quarantined(&world, "x");
    assert_eq!((world.escalations.len(), world.starts_of("x")), (1, 3));
}

#[test]
fn a_crash_loop_ends_and_everybody_says_so() {
    let mut world = World::new(&["a", "b", "c"]);
    quarantined(&mut world, "x");
    assert_quarantined(&world, "x");
    world.run(secs(600));
    assert_quarantined(&world, "x");
    let told = |event: &EventKind| *event == EventKind::ChildQuarantined { child: id("x") };
    assert_eq!(world.events.iter().filter(|(_, event)| told(&event.what)).count(), 3);
    world.assert_alike();
}

#[test]
fn failures_far_apart_are_no_crash_loop() {
    let mut world = World::new(&["a", "b", "c"]);
    world.start("a", limited("x", 2));
    world.run(secs(2));
    for _ in 0..10 {
        fail(&mut world, "x");
        world.run(secs(30));
    }
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn a_wish_to_restart_it_ends_it_and_the_count_begins_anew() {
    let mut world = World::new(&["a", "b", "c"]);
    quarantined(&mut world, "x");
    let request = world.call("c", Call::Restart(id("x")));
    world.run(secs(3));
    assert!(matches!(&world.replies[&request], Reply::Child(Ok(row)) if row.status == ChildStatus::Running));
    fail(&mut world, "x");
    fail(&mut world, "x");
    assert_eq!(world.copies("x").len(), 1);
    fail(&mut world, "x");
    assert_quarantined(&world, "x");

    // Its init fails now, again and again.
    world.failing.push("x".to_owned());
    let request = world.call("b", Call::Restart(id("x")));
    world.run(secs(9));
    assert!(
        matches!(&world.replies[&request], Reply::Child(Err(CallError::Failed(why))) if why.contains("no such thing"))
    );
}

#[test]
fn it_outlives_its_node_and_can_be_ended_after_that() {
    for leaves in [false, true] {
        let mut world = World::new(&["a", "b", "c"]);
        let holder = quarantined(&mut world, "x");
        if leaves {
            world.call(&holder, Call::Drain { node: name(&holder), on: true });
        } else {
            world.kill(&holder);
        }
        world.run(secs(60));
        assert_quarantined(&world, "x");
        assert_eq!(world.starts_of("x"), 3);
        let at = world.alive_names().iter().map(|name| name.to_string()).find(|name| *name != holder).unwrap();
        let request = world.call(&at, Call::Restart(id("x")));
        world.run(secs(5));
        assert!(matches!(&world.replies[&request], Reply::Child(Ok(_))), "{:?}", world.replies[&request]);
        assert_eq!((world.copies("x").len(), world.copies("x") == [holder]), (1, false));
    }
}

#[test]
fn it_can_be_terminated_and_started_anew() {
    let mut world = World::new(&["a", "b", "c"]);
    quarantined(&mut world, "x");
    let again = world.start("b", limited("x", 2));
    world.run(secs(1));
    assert!(matches!(&world.replies[&again], Reply::Child(Err(CallError::AlreadyStarted(row)))
        if row.status == ChildStatus::Quarantined));
    let ensured = world.call("b", Call::Start { spec: limited("x", 2), ensure: true });
    world.run(secs(1));
    assert!(matches!(&world.replies[&ensured], Reply::Child(Ok(row)) if row.status == ChildStatus::Quarantined));
    let ended = world.call("c", Call::Terminate(id("x")));
    world.run(secs(3));
    assert!(matches!(&world.replies[&ended], Reply::Done(Ok(()))));
    assert!(world.nodes[&name("a")].core.row(&id("x")).is_none());
    world.start("a", limited("x", 2));
    world.run(secs(3));
    assert_eq!(world.copies("x").len(), 1);
}

#[test]
fn who_starts_it_anew_is_not_told_what_its_holder_still_says_of_the_former() {
    let mut world = World::new(&["a", "b", "c"]);
    let holder = quarantined(&mut world, "x");
    let at = ["a", "b"].into_iter().find(|at| *at != holder).unwrap();
    for ensure in [false, true] {
        let ended = world.call(at, Call::Terminate(id("x")));
        let again = world.call(at, Call::Start { spec: limited("x", 2), ensure });
        world.run(secs(3));
        assert_eq!(world.replies[&ended], Reply::Done(Ok(())));
        assert!(matches!(&world.replies[&again], Reply::Child(Ok(row)) if row.status == ChildStatus::Running));
        (0..3).for_each(|_| fail(&mut world, "x"));
    }
}

#[test]
fn a_copy_on_the_other_side_of_a_cut_goes_on() {
    let mut world = World::new(&["a", "b", "c"]);
    let child = quarantined_behind_a_cut(&mut world, 0);
    world.split(&["a"], Status::Up);
    world.run(secs(10));
    assert_eq!(world.copies(&child).len(), 1);
    assert_eq!(status(&world, "a", &child).0, ChildStatus::Running);
    // What was said on the other side does not hold when it is taken over.
    let holder = world.copies(&child).pop().unwrap();
    world.kill(&holder);
    world.run(secs(10));
    assert_eq!(world.copies(&child).len(), 1);
}

#[test]
fn what_a_fast_clock_said_does_not_outlast_the_cut() {
    for ahead_ms in [60_000, 3_600_000] {
        let mut world = World::new(&["a", "b", "c"]);
        let child = quarantined_behind_a_cut(&mut world, ahead_ms);
        world.split(&["a"], Status::Up);
        world.run(secs(10));
        for at in ["a", "b", "c"] {
            assert_eq!((status(&world, at, &child).0, world.copies(&child).len()), (ChildStatus::Running, 1), "{at}");
        }
        // What others say after a wish by that clock counts too.
        world.call("a", Call::Restart(id(&child)));
        world.run(secs(3));
        world.kill("a");
        world.run(secs(10));
        for _ in 0..3 {
            fail(&mut world, &child);
        }
        let row = world.nodes[&name("b")].core.row(&id(&child)).expect("a row");
        assert_eq!(row.status, ChildStatus::Quarantined);
        world.kill(row.node.expect("somebody holds it").as_str());
        world.run(secs(30));
        assert_eq!(world.copies(&child).len(), 0, "{ahead_ms}");
    }
}

#[test]
fn who_waits_to_start_it_again_goes_on_after_a_cut() {
    let mut world = World::new(&["a", "b", "c"]);
    let child = quarantined_behind_a_cut(&mut world, 0);
    let other = world.copies(&child).pop().expect("the other side runs it");
    world.finish(&other, &child, boom());
    world.split(&["a"], Status::Up);
    world.run(secs(10));
    assert_eq!(world.copies(&child).len(), 1);
    assert_eq!(status(&world, "a", &child).0, ChildStatus::Running);
}

#[test]
fn an_intensity_beyond_measure_is_refused() {
    let mut world = World::new(&["a"]);
    for (restarts, within) in [(RESTARTS_MAX + 1, WINDOW), (1, Duration::ZERO), (1, Duration::from_secs(90_000))] {
        let intensity = Some(Intensity::new(restarts, within));
        let request = world.start("a", ChildSpec { intensity, ..spec("x") });
        world.run(secs(1));
        assert!(matches!(&world.replies[&request], Reply::Child(Err(CallError::Invalid(_)))));
        assert!(world.nodes[&name("a")].core.row(&id("x")).is_none());
    }
}
