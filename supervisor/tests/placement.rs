//! Placement that depends on where other children are: the least loaded node, and apart from others.

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use ordu_supervisor::core::{
    Affinity, Apart, Call, CallError, ChildSpec, ChildStatus, Exit, Explanation, Over, Placement, Reply, Restart,
};
use ordu_transport::core::Status;

use self::world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn least(text: &str) -> ChildSpec {
    ChildSpec { placement: Placement::LeastLoaded, ..spec(text) }
}

fn pinned(text: &str, node: &str) -> ChildSpec {
    ChildSpec { placement: Placement::Pinned(name(node)), ..spec(text) }
}

/// A child of the group web that keeps away from it.
fn web(text: &str, over: Over, required: bool) -> ChildSpec {
    let group = ("app".to_owned(), "web".to_owned());
    let labels = BTreeMap::from([group.clone()]);
    ChildSpec { placement: Placement::Apart(Apart { group, over, required }), labels, ..spec(text) }
}

fn zoned(nodes: &[(&str, &str)]) -> World {
    let mut world = World::new(&[]);
    for (at, (node, zone)) in nodes.iter().enumerate() {
        world.boot_as(node, 1, |config| config.labels = BTreeMap::from([("zone".to_owned(), (*zone).to_owned())]));
        nodes[..at].iter().for_each(|(other, _)| world.meet(node, other));
    }
    world.run(secs(3));
    world
}

fn at(world: &World, child: &str) -> String {
    let copies = world.copies(child);
    assert_eq!(copies.len(), 1, "{child}: {copies:?}");
    copies.into_iter().next().expect("one")
}

/// The seat of a child that is placed by the hash alone.
fn seat_of(world: &mut World, text: &str) -> String {
    world.start("a", spec(text));
    world.run(secs(1));
    let seat = at(world, text);
    world.call("a", Call::Terminate(id(text)));
    world.run(secs(5));
    seat
}

/// A child of one node that has another as its seat.
fn id_seated(world: &mut World, seat: &str) -> String {
    let found = (0..100).map(|number| format!("x{number}")).find(|text| seat_of(world, text) == seat);
    world.starts.clear();
    found.expect("some have that seat")
}

fn explain(world: &World, at: &str, child: &str) -> Explanation {
    let core = &world.nodes[&name(at)].core;
    core.explain(world.now_of(&name(at)), &id(child)).expect("it is known")
}

fn assert_sound(world: &mut World) {
    world.run(secs(5));
    assert_eq!(world.doubles, Vec::<String>::new());
    for (name, node) in world.nodes.iter().filter(|(_, node)| node.alive) {
        assert!(node.core.counts_right(), "{name} counts wrong");
    }
    world.assert_alike();
}

#[test]
fn children_go_to_the_node_that_has_fewest() {
    let mut world = World::new(&["a", "b", "c"]);
    for number in 0..6 {
        world.start("a", pinned(&format!("p{number}"), "a"));
    }
    world.run(secs(1));
    for number in 0..12 {
        let request = world.start(["a", "b", "c"][number % 3], least(&format!("l{number}")));
        world.run(ms(300));
        assert!(world.started(request), "{number}: {:?}", world.replies.get(&request));
    }
    assert_eq!(world.counts(), [6, 6, 6]);
    assert!((0..12).all(|number| world.starts_of(&format!("l{number}")) == 1));
    assert_sound(&mut world);
}

#[test]
fn weights_count() {
    let mut world = World::new(&["a", "b"]);
    world.boot_as("c", 1, |config| config.weight = 2);
    world.meet("c", "a");
    world.meet("c", "b");
    world.run(secs(2));
    for number in 0..12 {
        world.start("a", least(&format!("l{number}")));
        world.run(ms(300));
    }
    assert_eq!(world.counts(), [3, 3, 6]);
    assert_sound(&mut world);
}

#[test]
fn one_call_for_many_is_spread_too() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    let calls =
        (0..400u64).map(|number| (10_000 + number, Call::Start { spec: least(&format!("l{number}")), ensure: false }));
    let (now, mut effects) = (world.now(), Vec::new());
    world.nodes.get_mut(&name("a")).unwrap().core.call_many(now, calls, secs(10), &mut effects);
    world.execute(&name("a"), effects);
    world.run(secs(3));
    let counts = world.counts();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    // Four seats decide at once, each without what the others do: each is off by one at most.
    let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
    assert!(most - fewest <= 4, "{counts:?}");
    assert!((10_000..10_400).all(|request| world.started(request)));
    assert_sound(&mut world);
}

#[test]
fn of_a_group_that_keeps_apart_no_two_are_on_one_node() {
    let mut world = World::new(&["a", "b", "c"]);
    for number in 0..3 {
        world.start("a", web(&format!("w{number}"), Over::Node, true));
    }
    world.run(secs(1));
    assert_eq!(world.counts(), [1, 1, 1]);
    let fourth = world.start("a", web("w3", Over::Node, true));
    world.run(secs(1));
    assert_eq!(world.status("b", "w3"), Some(ChildStatus::Pending));
    let reason = world.nodes[&name("b")].core.row(&id("w3")).unwrap().reason.unwrap();
    assert_eq!(reason, "no eligible node: on every node that could run it there is one with app=web already");
    world.run(secs(10));
    assert!(matches!(world.replies[&fourth], Reply::Child(Err(CallError::Timeout))));
    // As soon as there is room it runs.
    world.call("b", Call::Terminate(id("w1")));
    world.run(secs(2));
    assert_eq!(world.counts(), [1, 1, 1]);
    at(&world, "w3");
    world.start("c", web("w1", Over::Node, true));
    world.run(secs(2));
    assert_eq!(world.copies("w1"), Vec::<String>::new());
    world.join("d", 1);
    world.run(secs(5));
    assert_eq!(at(&world, "w1"), "d");
    assert_sound(&mut world);
}

#[test]
fn children_are_spread_over_zones_and_over_nodes_in_them() {
    let nodes = [("a", "east"), ("b", "east"), ("c", "east"), ("d", "west"), ("e", "west"), ("f", "north")];
    let mut world = zoned(&nodes);
    for number in 0..9 {
        world.start("a", web(&format!("w{number}"), Over::Label("zone".to_owned()), false));
        world.run(ms(300));
    }
    let mut counts = world.counts();
    counts[3..5].sort_unstable();
    assert_eq!(counts, [1, 1, 1, 1, 2, 3], "three a zone");
    assert_sound(&mut world);
}

/// The news of the assignment do not reach the node that was chosen, which lives.
#[test]
fn a_node_that_does_not_take_what_it_is_given_is_passed_over() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = id_seated(&mut world, "a");
    for number in 0..3 {
        world.start("a", pinned(&format!("a{number}"), "a"));
        world.start("a", pinned(&format!("c{number}"), "c"));
    }
    world.run(secs(1));
    for from in ["a", "c"] {
        world.cut.insert((from.into(), "b".into()));
    }
    let before = world.now_us;
    let request = world.start("a", least(&x));
    while world.copies(&x).is_empty() {
        world.run(ms(100));
        assert!(world.now_us < before + 3_000_000, "{:?}", world.status("a", &x));
    }
    assert_ne!(at(&world, &x), "b");
    world.cut.clear();
    world.run(secs(10));
    assert_eq!(world.starts_of(&x), 1);
    assert!(world.started(request));
    assert_sound(&mut world);
}

#[test]
fn a_child_whose_chosen_node_dies_goes_elsewhere() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = id_seated(&mut world, "a");
    for node in ["a", "a", "c", "c"] {
        let number = world.next_request;
        world.start("a", pinned(&format!("p{number}"), node));
    }
    world.run(secs(1));
    world.cut.insert(("a".into(), "b".into()));
    world.start("a", least(&x));
    world.run(ms(200));
    assert_eq!(world.status("c", &x), Some(ChildStatus::Moving));
    world.kill("b");
    world.run(ms(500));
    assert_ne!(at(&world, &x), "b");
    assert_sound(&mut world);
}

/// What it assigned is void with it.
#[test]
fn a_child_whose_seat_dies_is_assigned_anew() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = id_seated(&mut world, "a");
    for node in ["a", "a", "c", "c"] {
        let number = world.next_request;
        world.start("a", pinned(&format!("p{number}"), node));
    }
    world.run(secs(1));
    world.cut.insert(("a".into(), "b".into()));
    world.start("c", least(&x));
    world.run(ms(200));
    assert_eq!((world.copies(&x), world.status("c", &x)), (vec![], Some(ChildStatus::Moving)));
    world.kill("a");
    world.run(secs(3));
    at(&world, &x);
    assert_eq!(world.starts_of(&x), 1);
    assert_sound(&mut world);
}

#[test]
fn an_init_that_fails_where_it_was_assigned_is_told_to_the_caller() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = id_seated(&mut world, "a");
    world.start("a", pinned("pa", "a"));
    world.start("a", pinned("pc", "c"));
    world.run(secs(1));
    world.failing = vec![x.clone()];
    let request = world.start("c", least(&x));
    world.run(secs(2));
    assert!(matches!(&world.replies[&request], Reply::Child(Err(CallError::Failed(_)))), "{:?}", world.replies);
    assert_eq!((world.starts_of(&x), world.status("a", &x)), (1, None));
    assert_sound(&mut world);
}

/// It may have begun where it was assigned, for all that others know.
#[test]
fn what_runs_once_is_assigned_once() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = id_seated(&mut world, "a");
    world.start("a", pinned("pa", "a"));
    world.start("a", pinned("pc", "c"));
    world.run(secs(1));
    for (from, to) in [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")] {
        world.cut.insert((from.into(), to.into()));
    }
    world.start("a", ChildSpec { restart: Restart::Temporary, ..least(&x) });
    world.run(secs(10));
    assert_eq!((world.starts_of(&x), world.status("c", &x)), (0, Some(ChildStatus::Moving)));
    world.kill("b");
    world.run(secs(5));
    assert_eq!((world.starts_of(&x), world.status("c", &x)), (0, Some(ChildStatus::Suspended)));
    world.cut.clear();
    let y = ChildSpec { restart: Restart::Temporary, ..least("y") };
    world.start("a", y);
    world.run(secs(1));
    let had_it = at(&world, "y");
    world.kill(&had_it);
    world.run(secs(5));
    assert_eq!(world.starts_of("y"), 1);
}

#[test]
fn a_node_that_drains_gives_each_where_fewest_are_and_gets_none_back_by_itself() {
    let mut world = World::new(&["a", "b", "c"]);
    for number in 0..9 {
        world.start("a", least(&format!("l{number}")));
        world.run(ms(300));
    }
    assert_eq!(world.counts(), [3, 3, 3]);
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.run(secs(10));
    let counts = world.counts();
    assert!(counts == [5, 0, 4] || counts == [4, 0, 5], "{counts:?}");
    world.call("a", Call::Drain { node: name("b"), on: false });
    world.run(secs(10));
    assert_eq!(world.counts(), counts);
    let now = world.now();
    let planned = world.nodes[&name("c")].core.misplaced(100);
    assert_eq!(planned.len(), 3, "{planned:?}");
    assert!(planned.iter().all(|misplaced| misplaced.to == name("b")));
    let mut effects = Vec::new();
    world.nodes.get_mut(&name("c")).unwrap().core.rebalance(now, 100, &mut effects);
    world.execute(&name("c"), effects);
    world.run(secs(10));
    assert_eq!(world.counts(), [3, 3, 3]);
    assert_eq!(world.nodes[&name("a")].core.misplaced(100), []);
    assert_sound(&mut world);
}

#[test]
fn what_nobody_took_from_a_draining_node_is_offered_again() {
    let mut world = World::new(&["a", "b"]);
    world.start("a", least("x"));
    world.run(secs(1));
    let holder = at(&world, "x");
    let other = if holder == "a" { "b" } else { "a" };
    world.call(&holder, Call::Drain { node: name(&holder), on: true });
    world.cut.insert((holder.clone(), other.into()));
    world.run(secs(4));
    assert_eq!(at(&world, "x"), holder);
    assert_eq!(world.starts_of("x"), 2);
    world.cut.clear();
    world.run(secs(15));
    assert_eq!(at(&world, "x"), other);
    assert_sound(&mut world);
}

#[test]
fn a_child_that_fails_is_started_again_where_it_was() {
    let mut world = World::new(&["a", "b", "c"]);
    world.start("a", least("x"));
    world.run(secs(1));
    let first = at(&world, "x");
    world.start("a", pinned("p0", &first));
    world.start("a", pinned("p1", &first));
    world.run(secs(1));
    world.finish(&first, "x", Exit::Abnormal("boom".into()));
    world.run(secs(2));
    assert_eq!(at(&world, "x"), first);
    assert_sound(&mut world);
}

/// Each side of a cut has its own; at the heal two are on one node.
#[test]
fn those_that_meet_after_a_cut_part() {
    let nodes = [("a", "east"), ("b", "east"), ("c", "west"), ("d", "north")];
    let mut world = zoned(&nodes);
    let apart = |text: &str| web(text, Over::Label("zone".to_owned()), true);
    world.split(&["a"], Status::Down);
    world.start("a", apart("w0"));
    world.run(secs(1));
    world.call("b", Call::Cordon { node: name("c"), on: true });
    world.call("b", Call::Cordon { node: name("d"), on: true });
    world.run(secs(1));
    world.start("b", apart("w1"));
    world.run(secs(1));
    assert_eq!((at(&world, "w0"), at(&world, "w1")), ("a".to_owned(), "b".to_owned()));
    world.call("b", Call::Cordon { node: name("c"), on: false });
    world.split(&["a"], Status::Up);
    world.run(secs(10));
    assert_eq!((at(&world, "w0"), at(&world, "w1")), ("a".to_owned(), "c".to_owned()));
    assert_sound(&mut world);
}

/// Of two that meet the lesser one stays, unless the other could not go anywhere.
#[test]
fn of_two_that_meet_the_one_goes_that_can() {
    for (bound, free) in [("w0", "w1"), ("w1", "w0")] {
        let mut world = zoned(&[("a", "east"), ("b", "east"), ("c", "west")]);
        let apart = |text: &str| web(text, Over::Label("zone".to_owned()), true);
        world.split(&["a"], Status::Down);
        world.start("a", apart(free));
        let require = BTreeMap::from([("zone".to_owned(), "east".to_owned())]);
        world.start("b", ChildSpec { affinity: Affinity { require, ..Affinity::default() }, ..apart(bound) });
        world.run(secs(1));
        assert_eq!((at(&world, bound), at(&world, free)), ("b".to_owned(), "a".to_owned()));
        world.split(&["a"], Status::Up);
        world.run(secs(10));
        assert_eq!((at(&world, bound), at(&world, free)), ("b".to_owned(), "c".to_owned()), "{bound} is bound");
        assert_sound(&mut world);
    }
}

#[test]
fn what_is_chosen_is_explained() {
    let nodes = [("a", "east"), ("b", "west"), ("c", "north")];
    let mut world = zoned(&nodes);
    for number in 0..4 {
        world.start("a", pinned(&format!("p{number}"), "a"));
    }
    world.start("a", least("x"));
    world.run(secs(1));
    let told = explain(&world, "a", "x");
    let has_it = at(&world, "x");
    assert_eq!(told.why, format!("{has_it} was chosen for it, and keeps it as long as it may run it"));
    assert_eq!((told.seat.as_ref(), told.moves), (Some(&name(&has_it)), false));
    assert!(told.decider.is_some());
    let children: Vec<_> = told.nodes.iter().map(|node| (node.node.to_string(), node.children)).collect();
    assert_eq!(children[2], ("a".to_owned(), Some(4)));
    assert_eq!((children[0].1, children[1].1), (Some(0), Some(0)));
    for number in 0..3 {
        world.start("a", pinned(&format!("q{number}"), &has_it));
    }
    world.run(secs(1));
    let told = explain(&world, "c", "x");
    let better = told.nodes[0].node.to_string();
    assert!(told.why.ends_with(&format!("; a rebalance would move it to {better}")), "{}", told.why);
    for number in 0..4 {
        world.start("a", web(&format!("w{number}"), Over::Label("zone".to_owned()), true));
    }
    world.run(secs(1));
    let waits = (0..4).map(|number| format!("w{number}")).find(|text| world.copies(text).is_empty()).unwrap();
    let told = explain(&world, "b", &waits);
    assert_eq!((told.eligible, told.ineligible, told.seat), (0, 3, None));
    assert!(told.nodes.iter().all(|node| {
        node.apart == Some((1, 1)) && node.reason.as_deref() == Some("it would not be apart from 1 with app=web")
    }));
    assert!(told.why.contains("on every value of the nodes' label zone that could run it"), "{}", told.why);
}
