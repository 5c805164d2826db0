//! Schedules that once broke a promise, one test each: who does what in which order.

mod world;

use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::{
    Call, CallError, ChildSpec, ChildStatus, Exit, Input, Placement, Reply, Restart, StartedInfo,
};
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

/// and the other side's copy takes its time to stop.
#[test]
fn a_child_that_was_replaced_at_a_heal_has_its_name() {
    let mut world = World::new(&["a", "b", "c"]);
    world.split(&["c"], Status::Down);
    world.start("a", with_args("x", "1"));
    world.run(secs(1));
    world.start("c", with_args("x", "2"));
    world.run(secs(1));
    world.slow = vec!["x".into()];
    world.split(&["c"], Status::Up);
    world.run(secs(1));
    for node in world.copies("x") {
        if node != "c" {
            world.finish(&node, "x", Exit::Normal);
        }
    }
    world.run(secs(2));
    if !world.copies("x").is_empty() {
        world.finish("c", "x", Exit::Normal);
    }
    world.slow.clear();
    world.run(secs(8));
    let copies = world.copies("x");
    assert_eq!(copies.len(), 1, "{copies:?}");
    let pid = world.pid_of(&copies[0], "x");
    assert_eq!(world.nodes[&name(&copies[0])].running[pid.as_ref().unwrap()].args, "2");
    for node in ["a", "b", "c"] {
        assert_eq!(world.lookup(node, "x"), pid, "{node}");
    }
    world.assert_alike();
}

/// While it waits to be started again, a process takes its name.
#[test]
fn a_child_does_not_run_beside_another_holder_of_its_name() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    let taker = world.activate("b");
    assert!(world.register("b", &taker, &x));
    world.run(secs(5));
    assert_eq!((world.copies(&x), world.status("a", &x)), (vec![], Some(ChildStatus::Pending)));
    world.input("b", ordu_supervisor::core::Input::Exited { pid: taker, exit: Exit::Normal });
    world.run(secs(5));
    assert_eq!(world.copies(&x), ["b"]);
    assert_eq!(world.lookup("a", &x), world.pid_of("b", &x));
}

/// Of two starts on two sides the one that wins pins the child to a node that is not there.
#[test]
fn a_child_that_becomes_pinned_does_not_run_elsewhere() {
    let mut world = World::new(&["a", "c", "z"]);
    world.split(&["c", "z"], Status::Down);
    world.start("a", spec("x"));
    world.run(secs(1));
    world.start("c", ChildSpec { placement: Placement::Pinned(name("z")), ..spec("x") });
    world.run(secs(1));
    world.kill("z");
    world.split(&["c"], Status::Up);
    world.run(secs(5));
    assert_eq!((world.copies("x"), world.status("a", "x")), (vec![], Some(ChildStatus::Pending)));
}

/// A node that joins hears from its first peer what runs before it hears of the members that run it.
#[test]
fn a_newcomer_does_not_start_what_members_that_it_has_not_met_run() {
    let mut world = World::new(&["a", "b"]);
    for number in 0..40 {
        world.start("a", spec(&format!("c{number}")));
    }
    world.run(secs(2));
    world.boot("c", 1, &["work"]);
    world.meet("c", "a");
    world.run(ms(700));
    world.meet("c", "b");
    world.run(secs(20));
    assert_eq!(world.doubles, Vec::<String>::new());
    assert_eq!(world.counts().iter().sum::<usize>(), 40);
    assert!(world.counts()[2] > 4);
}

/// b and c are seen by others only, and are suspected now and then, never at the same time.
#[test]
fn members_without_a_session_do_not_hold_up_a_start_for_ever() {
    let mut world = World::new(&["a"]);
    for node in ["b", "c"] {
        let member = |status| ordu_transport::core::Member {
            id: ordu_transport::core::NodeId::new(name(node), 1, 1),
            addr: "x:1".into(),
            status,
        };
        world.input("a", ordu_supervisor::core::Input::Member(member(Status::Up)));
        world.run(ms(900));
    }
    world.start("a", spec("x"));
    for turn in 0..12 {
        for node in ["b", "c"] {
            for status in [Status::Down, Status::Up] {
                let member = ordu_transport::core::Member {
                    id: ordu_transport::core::NodeId::new(name(node), 1, 1),
                    addr: "x:1".into(),
                    status: if turn < 6 && status == Status::Down { Status::Suspect } else { status },
                };
                world.input("a", ordu_supervisor::core::Input::Member(member));
            }
            world.run(ms(300));
        }
        if turn == 5 {
            assert_eq!(world.copies("x"), ["a"], "suspected");
            world.start("a", spec("y"));
        }
    }
    assert_eq!(world.copies("y"), ["a"], "down and up");
}

/// The node that ran it had a clock five minutes ahead, and is gone when the one that takes over comes.
#[test]
fn a_fence_follows_that_of_a_node_that_is_down() {
    let mut world = World::new(&[]);
    world.ahead_ms.insert(name("a"), 300_000);
    world.boot("a", 1, &["work", "special"]);
    world.join("c", 1);
    world.run(secs(2));
    world.start("a", ChildSpec { kind: "special".into(), ..spec("x") });
    world.run(secs(20));
    world.finish("a", "x", Exit::Abnormal("boom".into()));
    world.run(secs(1));
    world.kill("a");
    world.run(secs(1));
    world.boot("b", 1, &["special"]);
    world.see("b", "a", Status::Down);
    world.meet("b", "c");
    world.run(secs(5));
    assert_eq!(world.copies("x"), ["b"]);
    assert!(world.starts[2].2 > world.starts[1].2, "{:?}", world.starts);
}

/// The wish to restart it is on its way when the child's fence rises, because it won a conflict.
#[test]
fn a_restart_is_done_though_the_fence_rose_meanwhile() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let before = world.pid_of("b", &x);
    world.split(&["c"], Status::Down);
    world.run(secs(2));
    assert_eq!(world.copies(&x).len(), 2);
    for (from, to) in [("a", "b"), ("a", "c")] {
        world.cut.insert((from.into(), to.into()));
    }
    let request = world.call("a", Call::Restart(id(&x)));
    world.run(ms(100));
    world.split(&["c"], Status::Up);
    world.run(ms(500));
    assert_eq!(world.pid_of("b", &x), before);
    world.cut.clear();
    world.run(secs(5));
    assert!(world.started(request), "{:?}", world.replies.get(&request));
    assert_ne!(world.pid_of("b", &x), before);
    assert_eq!(world.copies(&x), ["b"]);
}

/// A process that follows another's wish is no answer to one that its node has not heard of, whose stamp is the lower one.
#[test]
fn a_restart_is_not_done_by_what_followed_a_wish_with_a_later_stamp() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    world.ahead_ms.insert(name("c"), 60_000);
    let before = world.pid_of("b", &x);
    world.cut = [("a".into(), "b".into()), ("a".into(), "c".into())].into();
    let theirs = world.call("c", Call::Restart(id(&x)));
    let ours = world.call("a", Call::Restart(id(&x)));
    world.run(secs(5));
    assert!(world.started(theirs));
    let followed = world.pid_of("b", &x);
    assert_ne!(followed, before);
    assert_eq!(world.lookup("a", &x), followed, "who asks sees it");
    assert!(!world.started(ours), "nobody has heard of that wish");
    world.cut.clear();
    world.run(secs(5));
    assert!(world.started(ours));
    assert_ne!(world.pid_of("b", &x), followed);
}

/// It loses a name, not its own, to a process that is no copy of it.
#[test]
fn a_temporary_child_that_loses_another_name_is_not_run_again() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    let other = world.activate("a");
    world.run(secs(1));
    world.start("a", temporary(&x));
    world.run(secs(1));
    let pid = world.pid_of("b", &x).unwrap();
    world.split(&["b"], Status::Down);
    assert!(world.register("a", &other, "other") && world.register("b", &pid, "other"));
    world.split(&["b"], Status::Up);
    world.run(secs(5));
    assert_eq!((world.starts_of(&x), world.copies(&x)), (1, vec![]));
    assert_eq!(world.lookup("b", "other"), Some(other));
}

/// Its seat looks healthy and hears nothing of it.
#[test]
fn a_child_whose_seat_does_not_take_it_is_not_stopped_again_and_again() {
    let mut world = World::new(&["a"]);
    let children: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for child in &children {
        world.start("a", spec(child));
    }
    world.run(secs(1));
    world.join("b", 1);
    world.run(ms(500));
    world.cut.insert(("a".into(), "b".into()));
    world.run(secs(60));
    for child in &children {
        assert!(world.starts_of(child) <= 6, "{child} was started {} times", world.starts_of(child));
    }
}

/// What it would have said is not waited for: it is stopped, and has failed, even if it gets through meanwhile.
#[test]
fn an_init_that_takes_too_long_has_failed() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    let hurried = |init_timeout| ChildSpec { init_timeout, ..spec(&x) };
    let request = world.start("a", hurried(Duration::ZERO));
    assert!(matches!(world.replies.get(&request), Some(Reply::Child(Err(CallError::Invalid(_))))));
    world.hanging.push(x.clone());
    for slow in [false, true] {
        let request = world.start("a", hurried(secs(2)));
        world.run(ms(1_900));
        assert_eq!(world.status("a", &x), Some(ChildStatus::Starting));
        if slow {
            world.slow.push(x.clone());
        }
        world.run(ms(200));
        if slow {
            assert_eq!(world.status("a", &x), Some(ChildStatus::Stopping));
            let pid = world.pid_of("b", &x).expect("it is not gone");
            world.input("b", Input::Started { pid, info: StartedInfo::default() });
            world.run(ms(10));
            assert!(!world.started(request));
            world.finish("b", &x, Exit::Normal);
            world.run(ms(10));
        }
        let why = CallError::Failed("its init took longer than 2s".into());
        assert_eq!(world.replies.get(&request), Some(&Reply::Child(Err(why))));
        world.run(secs(1));
        assert_eq!((world.starts_of(&x), world.status("a", &x)), (1 + usize::from(slow), None));
    }
}

/// Its membership went on under a later identity before the supervisor began, which began with that one and is told of it.
#[test]
fn a_node_that_is_told_of_the_identity_that_it_has_goes_on() {
    let mut world = World::new(&["a", "b"]);
    world.boot("c", 4, &["work"]);
    world.input("c", Input::Reborn(world.id_of("c")));
    world.see("c", "c", Status::Up);
    world.meet("a", "c");
    world.meet("b", "c");
    world.run(secs(3));
    for number in 0..12 {
        world.start("a", spec(&format!("x{number}")));
    }
    world.run(secs(10));
    let counts = world.counts();
    assert!(counts.iter().all(|count| *count > 0) && counts.iter().sum::<usize>() == 12, "{counts:?}");
    assert!(world.doubles.is_empty(), "{:?}", world.doubles);
    world.assert_alike();
}

/// Its start is gone, and whether the next one may run is not known yet, since who asked for that is down.
#[test]
fn an_init_that_takes_too_long_is_stopped_whatever_follows() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.hanging.push(x.clone());
    world.start("a", ChildSpec { init_timeout: secs(8), ..spec(&x) });
    world.run(secs(1));
    world.cut.insert(("c".into(), "b".into()));
    world.call("c", Call::Terminate(id(&x)));
    world.start("c", ChildSpec { restart: Restart::Temporary, ..with_args(&x, "other") });
    world.run(ms(10));
    world.kill("c");
    world.run(secs(4));
    let first = world.pid_of("b", &x).expect("it is looked at once who asked is known");
    world.run(secs(8));
    let copies = world.copies(&x);
    assert!(copies.len() <= 1 && world.pid_of("b", &x) != Some(first), "{copies:?}");
}

/// Nobody waits for it any more: it is tried again, with pauses, until it gets through.
#[test]
fn a_restart_whose_init_takes_too_long_is_tried_again() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", ChildSpec { init_timeout: secs(2), ..spec(&x) });
    world.run(secs(1));
    world.hanging.push(x.clone());
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(10));
    assert!((4..6).contains(&world.starts_of(&x)), "{}", world.starts_of(&x));
    let row = world.nodes[&name("a")].core.row(&id(&x)).expect("it should run");
    assert_eq!(row.reason.as_deref(), Some("its init took longer than 2s"));
    world.hanging.clear();
    world.run(secs(5));
    assert_eq!(world.status("a", &x), Some(ChildStatus::Running));
    // It was wished for anew while it was being stopped: that is no failure.
    world.hanging.push(x.clone());
    world.slow.push(x.clone());
    let starts = world.starts_of(&x);
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(6));
    assert_eq!((world.starts_of(&x), world.status("a", &x)), (starts + 1, Some(ChildStatus::Stopping)));
    let request = world.call("a", Call::Restart(id(&x)));
    world.run(ms(100));
    world.hanging.clear();
    world.finish("b", &x, Exit::Normal);
    world.run(ms(50));
    assert!(world.started(request));
}

/// A start of an id that was used before, and had been restarted then.
#[test]
fn a_failing_init_is_told_though_an_earlier_child_of_the_id_was_restarted() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", ChildSpec { restart: Restart::Transient, ..spec(&x) });
    world.run(secs(1));
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    world.finish("b", &x, Exit::Normal);
    world.run(secs(1));
    world.kill("b");
    world.failing = vec![x.clone()];
    let request = world.start("a", spec(&x));
    world.run(secs(5));
    assert_eq!(world.replies[&request], Reply::Child(Err(CallError::Failed("no such thing".into()))));
}

/// Its node dies, and the one that takes it over fails to start it at first: nobody waits to be told.
#[test]
fn a_failing_init_after_a_takeover_is_soon_tried_again() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    world.failing = vec![x.clone()];
    world.kill("b");
    world.run(ms(50));
    world.failing.clear();
    world.run(secs(1));
    assert_eq!(world.copies(&x), ["a"]);
}

/// Somebody starts it again before its end, which was asked for, has come: that is another run.
#[test]
fn a_temporary_child_that_is_started_again_while_it_stops_runs_again() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", temporary(&x));
    world.run(secs(1));
    world.slow = vec![x.clone()];
    world.call("a", Call::Terminate(id(&x)));
    world.run(ms(100));
    let started = world.start("b", temporary(&x));
    world.run(ms(100));
    assert_eq!(world.replies.get(&started), None);
    world.finish("b", &x, Exit::Normal);
    world.run(secs(1));
    assert!(world.started(started));
    assert_eq!((world.copies(&x), world.starts_of(&x)), (vec!["b".to_owned()], 2));
}

/// What replicas must send fits into a frame.
#[test]
fn a_spec_or_a_reason_beyond_measure_is_refused_or_cut() {
    let mut world = World::new(&["a"]);
    let huge = "x".repeat(5 << 20);
    for spec in [
        ChildSpec { labels: [("k".to_owned(), huge.clone())].into(), ..spec("l") },
        ChildSpec { kind: huge.as_str().into(), ..spec("k") },
    ] {
        let request = world.start("a", spec);
        assert!(matches!(&world.replies[&request], Reply::Child(Err(CallError::Invalid(_)))));
    }
    world.start("a", spec("x"));
    world.run(secs(1));
    world.finish("a", "x", Exit::Abnormal("\u{e4}".repeat(3 << 20)));
    let reason = world.nodes[&name("a")].core.row(&id("x")).unwrap().reason.unwrap();
    assert!(reason.len() < 5000 && reason.starts_with('\u{e4}'), "{}", reason.len());
}

/// A node on its way out is asked to take children again.
#[test]
fn a_node_that_shuts_down_does_not_undrain() {
    let mut world = World::new(&["a", "b"]);
    world.start("a", spec("x"));
    world.run(secs(1));
    world.input("a", ordu_supervisor::core::Input::Shutdown);
    let request = world.call("a", Call::Drain { node: name("a"), on: false });
    world.run(secs(20));
    assert!(matches!(&world.replies[&request], Reply::Done(Err(_))));
    assert!(world.nodes[&name("a")].stopping);
    assert_eq!(world.copies("x"), ["b"]);
}

/// The node that was asked is the child's seat, and is killed as soon as it has said "done".
#[test]
fn an_answer_is_not_undone_by_the_death_of_the_node_that_gave_it() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("a");
    let started = world.start("a", spec(&x));
    assert_eq!((world.copies(&x).len(), world.replies.get(&started)), (1, None));
    world.run(ms(10));
    assert!(world.started(started));
    let stopped = world.call("a", Call::Terminate(id(&x)));
    assert_eq!((world.copies(&x).len(), world.replies.get(&stopped)), (0, None));
    world.run(ms(10));
    assert_eq!(world.replies.get(&stopped), Some(&Reply::Done(Ok(()))));
}
