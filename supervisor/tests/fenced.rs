//! A child whose write is refused says which fence the store has seen: its next activation's is higher, whatever the clocks
//! say, unless they differ by more than anybody follows.

mod world;

use std::time::Duration;

use ordu_registry::core::Fence;
use ordu_supervisor::core::{
    Call, CallError, ChildSpec, ChildStatus, Config, Effect, Event, EventKind, Exit, Expect, Input, Intensity,
    Preference, Reply, Restart, StartedInfo, Supervisor,
};
use ordu_transport::core::{Hlc, Instant, Member, NodeId, Now, Pid, SKEW_MAX, Status};

use world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The fence of an activation on a node that nobody here has heard of, by whose clock it is so much later than `now`.
fn stranger(now: Now, ahead: Duration) -> Fence {
    let at = Hlc::from_wall_ms(now.wall_ms + ahead.as_millis() as u64);
    Fence::new(at, &NodeId::new(name("stranger"), 1, 99))
}

/// The only process of a child, and its fence.
fn process(world: &World, child: &str) -> (Pid, Fence) {
    let copies = world.copies(child);
    let [at] = &copies[..] else { panic!("{copies:?}") };
    let row = world.nodes[&name(at)].core.row(&id(child)).expect("a row");
    (world.pid_of(at, child).expect("it is held where it runs"), row.fence.expect("it has a fence"))
}

fn reason(world: &World, at: &str, child: &str) -> String {
    world.nodes[&name(at)].core.row(&id(child)).expect("a row").reason.unwrap_or_default()
}

#[test]
fn the_core_starts_it_again_above_what_was_seen() {
    let me = NodeId::new(name("a"), 1, 7);
    let mut core = Supervisor::new(Config {
        id: me.clone(),
        policy: Default::default(),
        kinds: vec!["work".into()],
        version: "1".into(),
        weight: 1,
        labels: Default::default(),
        preference: Preference::default(),
        redistribution: Default::default(),
        keep_done: secs(60),
        disk: None,
        expect: Expect::default(),
        partition: Default::default(),
        copies: 2,
        bounds: Default::default(),
        seed: 1,
    });
    let mut now = Now { at: Instant::from_micros(1_000_000), wall_ms: 1_700_000_000_000 };
    let mut effects = Vec::new();
    core.handle(now, Input::Member(Member { id: me.clone(), addr: "x:1".into(), status: Status::Up }), &mut effects);
    core.call(now, 1, Call::Start { spec: spec("x"), ensure: false }, secs(10), &mut effects);
    let started = effects.iter().find_map(|effect| match effect {
        Effect::Start { pid, fence, .. } => Some((pid.clone(), *fence)),
        _ => None,
    });
    let (pid, first) = started.expect("it is started");
    core.handle(now, Input::Started { pid: pid.clone(), info: StartedInfo::default() }, &mut effects);

    let seen = stranger(now, secs(300));
    assert!(first < seen);
    effects.clear();
    core.handle(now, Input::Exited { pid: pid.clone(), exit: Exit::Fenced(seen) }, &mut effects);
    let how = format!("fenced: its write was refused under the later fence {seen}");
    let exited = EventKind::ChildExited { child: id("x"), reason: how.clone() };
    let told = |what| Effect::Event(Event { at_ms: now.wall_ms, node: name("a"), what });
    let x = ordu_registry::core::Name::new("x").unwrap();
    let gone = effects.iter().find_map(|effect| match effect {
        Effect::Visible { entry: None, gone, .. } => Some(*gone),
        _ => None,
    });
    let expected = [
        told(EventKind::NameReleased { name: x.clone(), pid }),
        Effect::Visible { name: x, entry: None, gone: gone.expect("the name is given up") },
        told(exited),
    ];
    assert_eq!(effects, expected);
    let row = core.row(&id("x")).unwrap();
    assert_eq!((row.status, row.restarts, row.reason), (ChildStatus::Backoff, 1, Some(how)));

    // After its pause.
    now.at = core.poll_timeout().expect("it waits");
    now.wall_ms += 100;
    while !effects.iter().any(|effect| matches!(effect, Effect::Start { .. })) {
        now.at = core.poll_timeout().expect("it waits").max(now.at);
        effects.clear();
        core.handle_timeout(now, &mut effects);
    }
    let started = effects.into_iter().find_map(|effect| match effect {
        Effect::Start { fence, .. } => Some(fence),
        _ => None,
    });
    assert!(started > Some(seen), "{started:?} is not above {seen}");
}

#[test]
fn it_is_an_abnormal_exit_of_its_policy() {
    let mut world = World::new(&["a"]);
    let policies = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    for (child, restart) in ["p", "t", "o"].into_iter().zip(policies) {
        world.start("a", ChildSpec { restart, ..spec(child) });
    }
    let limited = ChildSpec { intensity: Some(Intensity::new(1, secs(60))), ..spec("l") };
    world.start("a", limited);
    world.run(secs(1));
    for round in 0..2 {
        for child in ["p", "t", "o", "l"] {
            if round == 0 || child == "l" {
                let seen = stranger(world.now(), secs(1));
                world.finish("a", child, Exit::Fenced(seen));
            }
        }
        world.run(secs(2));
    }
    let expected = [ChildStatus::Running, ChildStatus::Running, ChildStatus::Done, ChildStatus::Quarantined];
    assert_eq!(["p", "t", "o", "l"].map(|child| world.status("a", child).unwrap()), expected);
    assert!(reason(&world, "a", "l").starts_with("fenced: "), "{}", reason(&world, "a", "l"));
}

/// Whatever it was about to do, and whoever runs the next one.
#[test]
fn what_was_seen_counts_while_it_stops_too() {
    let mut world = World::new(&["a"]);
    world.start("a", spec("x"));
    world.run(secs(1));
    world.slow.push("x".into());
    world.call("a", Call::Restart(id("x")));
    world.run(secs(1));
    let seen = stranger(world.now(), secs(300));
    world.finish("a", "x", Exit::Fenced(seen));
    world.run(secs(1));
    assert!(process(&world, "x").1 > seen);
    // Its init was refused.
    world.hanging.push("x".into());
    world.call("a", Call::Restart(id("x")));
    world.finish("a", "x", Exit::Normal);
    world.run(secs(1));
    assert_eq!(world.status("a", "x"), Some(ChildStatus::Starting));
    let seen = stranger(world.now(), secs(400));
    world.hanging.clear();
    world.finish("a", "x", Exit::Fenced(seen));
    world.run(secs(2));
    assert!(process(&world, "x").1 > seen);
}

/// Its caller need not ask again, unless the clocks are wrong.
#[test]
fn a_start_that_is_refused_at_once_is_tried_again() {
    let mut world = World::new(&["a"]);
    for child in ["x", "y"] {
        world.hanging.push(child.into());
    }
    let requests = ["x", "y"].map(|child| world.start("a", spec(child)));
    world.run(secs(1));
    world.hanging.clear();
    let seen = [secs(300), SKEW_MAX + secs(60)].map(|ahead| stranger(world.now(), ahead));
    world.finish("a", "x", Exit::Fenced(seen[0]));
    world.finish("a", "y", Exit::Fenced(seen[1]));
    world.run(secs(2));
    assert!(world.started(requests[0]) && process(&world, "x").1 > seen[0]);
    let Reply::Child(Err(CallError::Failed(why))) = &world.replies[&requests[1]] else {
        panic!("{:?}", world.replies[&requests[1]])
    };
    assert!(why.contains("set the clocks right"), "{why}");
    assert_eq!(world.status("a", "y"), None, "nothing is kept");
}

#[test]
fn who_is_refused_under_an_older_fence_loses_nothing() {
    let mut world = World::new(&["a"]);
    world.start("a", spec("x"));
    world.run(secs(1));
    let (_, own) = process(&world, "x");
    for seen in [own, "0".repeat(32).parse().unwrap()] {
        world.finish("a", "x", Exit::Fenced(seen));
        world.run(secs(20));
        assert!(process(&world, "x").1 > own);
    }
    let stamp = world.nodes[&name("a")].core.registry().last_stamp().wall_ms();
    assert!(stamp <= world.now().wall_ms, "nothing drives the clock ahead");
}

#[test]
fn a_fence_of_the_far_future_is_refused_visibly() {
    let mut world = World::new(&["a"]);
    world.start("a", spec("x"));
    world.run(secs(1));
    let farthest: Fence = "f".repeat(32).parse().unwrap();
    for seen in [stranger(world.now(), SKEW_MAX + secs(60)), farthest] {
        let before = world.nodes[&name("a")].core.registry().skews_refused();
        world.finish("a", "x", Exit::Fenced(seen));
        let why = reason(&world, "a", "x");
        assert!(why.contains(&seen.to_string()) && why.contains("600s ahead of this node's clock"), "{why}");
        let told = world
            .events
            .iter()
            .filter(|(_, event)| matches!(&event.what, EventKind::ChildExited { reason, .. } if *reason == why));
        assert_eq!(told.count(), 1);
        assert_eq!(world.nodes[&name("a")].core.registry().skews_refused(), before + 1);
        world.run(secs(2));
        assert!(process(&world, "x").1 < seen, "it was not followed");
    }
    // At the bound it is.
    let seen = stranger(world.now(), SKEW_MAX);
    world.finish("a", "x", Exit::Fenced(seen));
    world.run(secs(2));
    assert!(process(&world, "x").1 > seen);
}

/// Both sides of a cut run it, and the clock of one is five minutes ahead: the other would be refused for so long.
#[test]
fn a_node_whose_clock_is_behind_is_not_locked_out() {
    let mut world = World::new(&["a", "b"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(2));
    world.ahead_ms.insert(name("a"), 300_000);
    world.split(&["a"], Status::Down);
    world.cut = [("a", "b"), ("b", "a")].map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    world.run(secs(5));
    assert_eq!(world.copies(&x), ["a", "b"]);
    let fence = |world: &World, at: &str| world.nodes[&name(at)].core.row(&id(&x)).unwrap().fence.unwrap();
    let ahead = fence(&world, "a");
    assert!(fence(&world, "b") < ahead);
    world.call("b", Call::Restart(id(&x)));
    world.run(secs(1));
    assert!(fence(&world, "b") < ahead, "they have not heard of one another");
    world.finish("b", &x, Exit::Fenced(ahead));
    world.run(secs(1));
    assert!(fence(&world, "b") > ahead);
}
