//! A node that holds as many children as it may takes no more, and keeps those that it has; and a cluster has no more than
//! it may.

mod world;

use std::time::Duration;

use ordu_supervisor::core::{
    Bounds, Call, CallError, ChildSpec, ChildStatus, Exit, Intensity, Placement, Reply, Restart,
};

use world::{World, id, name, spec};

const FULL: &str = "no eligible node: every node that could run it is full";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn join(world: &mut World, node: &str, boot: u64, bounds: Bounds) {
    let others: Vec<_> = world.alive_names().into_iter().filter(|other| other.as_str() != node).collect();
    world.boot_as(node, boot, |config| config.bounds = bounds);
    others.iter().for_each(|other| world.meet(node, other.as_str()));
}

/// Nodes that may hold so many children each.
fn bounded(nodes: &[(&str, Option<u32>)]) -> World {
    let mut world = World::new(&[]);
    nodes.iter().for_each(|(node, most)| join(&mut world, node, 1, Bounds { node: *most, cluster: None }));
    world.run(secs(3));
    world
}

fn start_many(world: &mut World, count: usize) -> Vec<u64> {
    let requests = world.start_all("a", (0..count).map(|number| spec(&format!("x{number}"))));
    world.run(secs(5));
    requests
}

fn on(world: &World, node: &str) -> Vec<String> {
    world.nodes[&name(node)].running.values().map(|spec| spec.id.to_string()).collect()
}

fn terminate(world: &mut World, child: &str) {
    let request = world.call("a", Call::Terminate(id(child)));
    world.run(secs(1));
    assert_eq!(world.replies[&request], Reply::Done(Ok(())));
}

fn full(world: &World, at: &str) -> Vec<bool> {
    world.nodes[&name(at)].core.member_rows().iter().map(|row| row.full).collect()
}

fn is_refused(world: &World, request: u64) -> bool {
    world.replies[&request] == Reply::Child(Err(CallError::NoEligibleNode(FULL.into())))
}

/// Nothing starts any more, nothing ever ran twice, and all see the same.
fn assert_at_rest(world: &mut World) {
    let before = (world.starts.len(), world.counts());
    world.run(secs(120));
    assert_eq!((world.starts.len(), world.counts()), before);
    assert!(world.doubles.is_empty(), "{:?}", world.doubles);
    world.assert_alike();
}

#[test]
fn many_starts_at_once_fill_every_node_and_no_more() {
    let mut world = bounded(&[("a", Some(50)), ("b", Some(5)), ("c", Some(7))]);
    let requests = world.start_all("a", (0..2000).map(|number| spec(&format!("x{number}"))));
    // Before anybody else has heard of it.
    assert_eq!(world.counts(), [50, 0, 0]);
    world.run(secs(5));
    assert_eq!((world.counts(), world.starts.len()), (vec![50, 5, 7], 62));
    assert_eq!(requests.iter().filter(|request| world.started(**request)).count(), 62);
    for at in ["a", "b", "c"] {
        assert_eq!(full(&world, at), [true, true, true]);
    }
    // Of the others nothing is kept.
    assert_eq!(requests.iter().filter(|request| is_refused(&world, **request)).count(), 2000 - 62);
    assert!(["a", "b", "c"].iter().all(|at| world.nodes[&name(at)].core.rows().len() == 62));

    let request = world.start("b", spec("new"));
    assert!(is_refused(&world, request));
    assert_eq!(world.nodes[&name("b")].core.spec(&id("new")), None);
    // Who asks again for one that is there is not asking for more.
    let child = on(&world, "c").remove(0);
    let request = world.call("b", Call::Start { spec: spec(&child), ensure: true });
    world.run(secs(1));
    assert!(world.started(request));

    assert_at_rest(&mut world);
}

#[test]
fn what_is_refused_where_all_are_full_may_be_asked_for_as_soon_as_one_has_ended() {
    let mut world = bounded(&[("a", Some(2)), ("b", Some(2))]);
    start_many(&mut world, 4);
    for round in 0..5 {
        let request = world.start("a", spec("new"));
        assert!(is_refused(&world, request), "{round}");
        let child = on(&world, "b").remove(0);
        terminate(&mut world, &child);
        let request = world.start("a", spec(&child));
        world.run(secs(2));
        assert!(world.started(request), "{round}");
    }
    assert_at_rest(&mut world);
}

#[test]
fn what_belongs_on_a_full_node_goes_to_the_next_and_may_come_back_once() {
    let mut world = bounded(&[("a", Some(2)), ("b", None), ("c", None)]);
    start_many(&mut world, 30);
    let counts = world.counts();
    assert_eq!((counts[0], counts.iter().sum::<usize>()), (2, 30));
    // Nobody moves anything that runs, wherever it would belong.
    assert_at_rest(&mut world);
    let theirs = world.id_on("b");
    world.start("a", spec(&theirs));
    world.run(secs(2));
    assert_eq!(world.copies(&theirs), ["b"]);

    // A place becomes free, and one child comes home. None of those that find it taken is lost.
    let gone = on(&world, "a").remove(0);
    terminate(&mut world, &gone);
    world.run(secs(90));
    let counts = world.counts();
    assert_eq!((counts[0], counts.iter().sum::<usize>()), (2, 30));
    assert_at_rest(&mut world);
}

#[test]
fn a_node_that_was_full_draws_no_child_to_it_before_an_eighth_is_free() {
    let mut world = bounded(&[("a", Some(16)), ("b", None)]);
    start_many(&mut world, 80);
    assert_eq!(world.counts(), [16, 64]);
    let home = on(&world, "a");
    terminate(&mut world, &home[0]);
    let starts = world.starts.len();
    world.run(secs(30));
    assert_eq!((world.counts(), world.starts.len()), (vec![15, 64], starts));
    let core = &world.nodes[&name("b")].core;
    let theirs = core.misplaced(100).remove(0).child;
    let told = core.explain(world.now(), &theirs).unwrap();
    assert!(!told.moves && told.why.contains("would belong on a, but that was full"), "{}", told.why);

    // What is started takes the place.
    world.start("a", ChildSpec { placement: Placement::Pinned(name("a")), ..spec("pinned") });
    world.run(secs(2));
    assert_eq!(world.copies("pinned"), ["a"]);
    // And what somebody asks for is moved.
    terminate(&mut world, &home[1]);
    let now = world.now();
    let mut effects = Vec::new();
    let asked = world.nodes.get_mut(&name("b")).unwrap().core.rebalance(now, 1, &mut effects);
    world.execute(&name("b"), effects);
    world.run(secs(3));
    assert_eq!((asked.len(), world.counts()), (1, vec![16, 63]));

    terminate(&mut world, &home[2]);
    terminate(&mut world, &home[3]);
    world.run(secs(20));
    assert_eq!(world.counts(), [16, 61]);
    assert_at_rest(&mut world);
}

#[test]
fn a_full_node_keeps_what_it_has_and_starts_it_again() {
    let mut world = bounded(&[("a", Some(3)), ("b", Some(3))]);
    start_many(&mut world, 6);
    let child = on(&world, "b").remove(0);
    world.finish("b", &child, Exit::Abnormal("boom".into()));
    // While it waits to be started again it keeps its place.
    let request = world.start("a", spec("new"));
    assert!(is_refused(&world, request));
    world.run(secs(3));
    assert_eq!((world.copies(&child), world.starts_of(&child)), (vec!["b".to_owned()], 2));
    let request = world.call("a", Call::Restart(id(&child)));
    world.run(secs(3));
    assert!(world.started(request));
    assert_eq!(world.copies(&child), ["b"]);
    let core = &world.nodes[&name("a")].core;
    assert!(core.misplaced(10).is_empty());
    let told = core.explain(world.now(), &id(&child)).unwrap();
    assert!(!told.moves && told.why.starts_with("b is full and keeps what it has"), "{}", told.why);
    assert!(told.nodes.iter().all(|node| node.reason.as_deref() == Some("it is full: it holds 3 children at most")));

    // Under another identity it is as full as before.
    world.rebirth("b", 2, secs(1));
    world.run(secs(5));
    assert_eq!((world.counts(), full(&world, "a")), (vec![3, 3], vec![true, true]));

    // Nobody has a place for what another one leaves behind; then it comes back.
    let theirs = on(&world, "b");
    world.kill("b");
    world.run(secs(10));
    assert_eq!(world.counts(), [3]);
    for child in &theirs {
        let row = world.nodes[&name("a")].core.row(&id(child)).unwrap();
        assert_eq!((row.status, row.reason.as_deref()), (ChildStatus::Pending, Some(FULL)));
    }
    let child = on(&world, "a").remove(0);
    terminate(&mut world, &child);
    world.run(secs(1));
    assert_eq!((world.counts(), theirs.iter().filter(|child| world.copies(child).len() == 1).count()), (vec![3], 1));
    join(&mut world, "b", 3, Bounds { node: Some(3), cluster: None });
    world.run(secs(5));
    assert_eq!(world.counts(), [3, 2]);
    assert_at_rest(&mut world);
}

#[test]
fn a_child_in_quarantine_takes_no_place_and_is_started_where_there_is_one() {
    let mut world = bounded(&[("a", Some(1)), ("b", Some(1))]);
    let child = world.id_on("b");
    let intensity = Some(Intensity { restarts: 0, within: secs(60), escalates: false });
    world.start("a", ChildSpec { intensity, ..spec(&child) });
    world.run(secs(1));
    world.finish("b", &child, Exit::Abnormal("boom".into()));
    world.run(secs(1));
    assert_eq!((world.status("a", &child), full(&world, "a")), (Some(ChildStatus::Quarantined), vec![false, false]));
    world.start("a", ChildSpec { placement: Placement::Pinned(name("b")), ..spec("pinned") });
    world.run(secs(2));
    assert_eq!((world.copies("pinned"), full(&world, "a")), (vec!["b".to_owned()], vec![false, true]));
    let request = world.call("a", Call::Restart(id(&child)));
    world.run(secs(5));
    assert!(world.started(request), "{:?}", world.replies.get(&request));
    assert_eq!((world.copies(&child), world.counts()), (vec!["a".to_owned()], vec![1, 1]));
    // And back, where it has none again.
    world.finish("a", &child, Exit::Abnormal("boom".into()));
    world.start("a", ChildSpec { restart: Restart::Transient, ..spec("other") });
    world.run(secs(2));
    assert_eq!(world.copies("other"), ["a"]);
    let request = world.call("b", Call::Restart(id(&child)));
    world.run(secs(3));
    assert!(!world.replies.contains_key(&request));
    assert_eq!((world.copies(&child).len(), world.status("b", &child)), (0, Some(ChildStatus::Pending)));
    world.finish("a", "other", Exit::Normal);
    world.run(secs(5));
    assert!(world.started(request));
    assert_eq!(world.copies(&child), ["a"]);
    assert_at_rest(&mut world);
}

#[test]
fn a_node_that_drains_gives_away_what_there_are_places_for() {
    let mut world = bounded(&[("a", None), ("b", Some(4)), ("c", Some(3))]);
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.call("a", Call::Drain { node: name("c"), on: true });
    world.run(secs(1));
    start_many(&mut world, 20);
    assert_eq!(world.counts(), [20, 0, 0]);
    for (node, on) in [("a", true), ("b", false), ("c", false)] {
        world.call("a", Call::Drain { node: name(node), on });
    }
    world.run(secs(30));
    assert_eq!(world.counts(), [13, 4, 3]);
    // One more place is one more child.
    let child = on(&world, "c").remove(0);
    terminate(&mut world, &child);
    world.run(secs(5));
    assert_eq!(world.counts(), [12, 4, 3]);
    assert_at_rest(&mut world);
}

#[test]
fn a_cluster_takes_as_many_as_it_may_and_what_is_there_goes_on() {
    let mut world = World::new(&[]);
    for node in ["a", "b"] {
        join(&mut world, node, 1, Bounds { node: None, cluster: Some(10) });
    }
    world.run(secs(3));
    let requests = start_many(&mut world, 25);
    assert_eq!(requests.iter().filter(|request| world.started(**request)).count(), 10);
    let refused = Reply::Child(Err(CallError::ClusterFull(10)));
    assert_eq!(requests.iter().filter(|request| world.replies[request] == refused).count(), 15);
    assert_eq!(world.counts().iter().sum::<usize>(), 10);
    let request = world.call("b", Call::Start { spec: spec("new"), ensure: true });
    assert_eq!(world.replies[&request], refused);
    assert_eq!(world.nodes[&name("b")].core.spec(&id("new")), None);
    for call in [Call::Start { spec: spec("x1"), ensure: true }, Call::Restart(id("x2"))] {
        let request = world.call("b", call);
        world.run(secs(2));
        assert!(world.started(request));
    }
    world.kill("b");
    world.run(secs(5));
    assert_eq!(world.counts(), [10]);
    terminate(&mut world, "x3");
    let request = world.start("a", spec("new"));
    world.run(secs(1));
    assert!(world.started(request));
    let request = world.start("a", spec("newer"));
    assert_eq!(world.replies[&request], refused);
}

#[test]
fn who_asks_again_takes_back_nothing_that_others_were_told_of() {
    let mut world = bounded(&[("a", None), ("b", Some(1))]);
    world.call("a", Call::Drain { node: name("a"), on: true });
    world.run(secs(1));
    let request = world.start("a", spec("child"));
    world.run(secs(1));
    assert!(world.started(request));
    // Its node comes back as another, is full, and nothing is left of the claim.
    world.kill("b");
    join(&mut world, "b", 2, Bounds { node: Some(0), cluster: None });
    world.run(secs(5));
    assert_eq!(world.status("a", "child"), Some(ChildStatus::Pending));
    world.next_request = request;
    world.replies.clear();
    world.start("a", spec("child"));
    world.run(secs(11));
    assert_eq!(world.replies[&request], Reply::Child(Err(CallError::Timeout)));
    assert!(world.nodes[&name("a")].core.spec(&id("child")).is_some());
}
