//! Schedules that once broke a promise, one test each: who does what in which order.

mod world;

use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::{Call, CallError, ChildSpec, ChildStatus, Exit, Placement, Reply, Restart};
use ordu_transport::core::Status;

use self::world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn temporary(text: &str) -> ChildSpec {
    ChildSpec { restart: Restart::Temporary, ..spec(text) }
}

fn with_args(text: &str, args: &'static str) -> ChildSpec {
    ChildSpec { args: Bytes::from_static(args.as_bytes()), ..spec(text) }
}

/// b runs a temporary child and goes on under a new identity. a hears of that first, and of b's renewed claims later.
#[test]
fn a_temporary_child_outlives_the_rebirth_of_its_node() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", temporary(&x));
    world.run(secs(1));
    assert_eq!(world.copies(&x), ["b"]);
    world.rebirth("b", 5, ms(500));
    world.run(secs(10));
    assert_eq!((world.copies(&x), world.starts_of(&x)), (vec!["b".to_owned()], 1));
    assert_eq!(world.status("a", &x), Some(ChildStatus::Running));
    world.assert_alike();
    // And it is over when the new identity is.
    world.kill("b");
    world.run(secs(5));
    assert_eq!(world.status("a", &x), Some(ChildStatus::Suspended));
    world.join("b", 6);
    world.run(secs(5));
    assert_eq!((world.status("a", &x), world.status("b", &x)), (None, None));
}

/// Its init fails on b and the news does not reach the caller, who would take the start back.
#[test]
fn a_temporary_child_whose_init_fails_is_not_tried_again() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.failing = vec![x.clone()];
    world.cut.insert(("b".into(), "a".into()));
    world.start("a", temporary(&x));
    world.run(secs(9));
    assert_eq!((world.starts_of(&x), world.status("b", &x)), (1, Some(ChildStatus::Done)));
}

/// a and c start it at the same time; b runs a's start, then adopts c's, which wins; b dies.
#[test]
fn a_temporary_child_that_was_started_twice_runs_once() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", temporary(&x));
    world.start("c", temporary(&x));
    world.run(secs(1));
    assert_eq!(world.copies(&x), ["b"]);
    world.kill("b");
    world.run(secs(5));
    assert_eq!((world.starts_of(&x), world.status("a", &x)), (1, Some(ChildStatus::Suspended)));
}
