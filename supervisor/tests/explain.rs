//! What is said of why a child is where it is, and where it would go.

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use ordu_supervisor::core::explain::EXPLAINED_MAX;
use ordu_supervisor::core::{
    Affinity, Call, ChildSpec, ChildStatus, Considered, Exit, Explanation, Intensity, MemberStatus, Placement,
    Redistribution, Restart,
};
use ordu_transport::core::Status;

use world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn explain(world: &World, at: &str, child: &str) -> Explanation {
    let core = &world.nodes[&name(at)].core;
    core.explain(world.now_of(&name(at)), &id(child)).expect("it is known")
}

/// The same from everybody that is alive.
fn agreed(world: &World, child: &str) -> Explanation {
    let all: Vec<Explanation> = world.alive_names().iter().map(|at| explain(world, at.as_str(), child)).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    all.into_iter().next().expect("somebody is alive")
}

fn order(explanation: &Explanation) -> Vec<&str> {
    explanation.nodes.iter().filter(|node| node.order.is_some()).map(|node| node.node.as_str()).collect()
}

fn refusals(explanation: &Explanation) -> Vec<(&str, &str)> {
    let told = |node: &Considered| node.reason.is_some();
    let told = explanation.nodes.iter().filter(|node| told(node));
    told.map(|node| (node.node.as_str(), node.reason.as_deref().unwrap_or_default())).collect()
}

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).expect("a pair"))
        .collect()
}

/// Of these nodes each has what is said of it as labels.
fn labelled(nodes: &[(&str, &str)]) -> World {
    let mut world = World::new(&[]);
    for (at, (node, text)) in nodes.iter().enumerate() {
        world.boot_as(node, 1, |config| config.labels = labels(text));
        nodes[..at].iter().for_each(|(other, _)| world.meet(node, other));
    }
    world.run(secs(3));
    world
}

#[test]
fn a_child_at_its_seat_stays_and_would_go_to_the_next() {
    let mut world = World::new(&["a", "b", "c"]);
    world.start("a", spec("x"));
    world.run(secs(2));
    let told = agreed(&world, "x");
    let at = world.copies("x").remove(0);
    assert_eq!((told.row.status, told.row.node.as_ref().map(|node| node.as_str())), (ChildStatus::Running, Some(&*at)));
    assert_eq!((told.moves, told.why), (false, format!("{at} is where it belongs")));
    assert_eq!((told.eligible, told.ineligible, told.nodes.len()), (3, 0, 3));
    assert_eq!(told.seat, Some(name(&at)));
    let numbers: Vec<_> = told.nodes.iter().map(|node| (node.order, node.weight, node.preference)).collect();
    assert_eq!(numbers, [(Some(1), 1, Some(0)), (Some(2), 1, Some(0)), (Some(3), 1, Some(0))]);
    // It goes where it was said that it would.
    let next = told.next.expect("there are others");
    assert_eq!(next, told.nodes[1].node);
    world.kill(&at);
    world.run(secs(5));
    assert_eq!(world.copies("x"), [next.as_str()]);
    let told = agreed(&world, "x");
    assert_eq!((refusals(&told), told.ineligible), (vec![(&*at, "it is down")], 1));
    assert_eq!(told.nodes[2].status, MemberStatus::Down);
    let other = world.alive_names().remove(0);
    assert!(world.nodes[&other].core.explain(world.now(), &id("nobody")).is_none());
}

#[test]
fn labels_are_told_of_one_by_one() {
    let mut world = labelled(&[("a", "zone=east"), ("b", "zone=west"), ("c", "zone=west disk=ssd"), ("d", "")]);
    let affinity =
        Affinity { require: labels("zone=west"), avoid: labels("disk=hdd"), prefer: labels("disk=ssd rack=1") };
    world.start("a", ChildSpec { affinity, ..spec("x") });
    world.run(secs(2));
    let told = agreed(&world, "x");
    assert_eq!(order(&told), ["c", "b"]);
    assert_eq!(told.nodes.iter().map(|node| node.preferred).collect::<Vec<_>>(), [1, 0, 0, 0]);
    assert_eq!(refusals(&told), [("a", "it lacks the label zone=west"), ("d", "it lacks the label zone=west")]);
    let affinity = Affinity { avoid: labels("disk=ssd zone=east"), ..Affinity::default() };
    world.start("a", ChildSpec { affinity, ..spec("y") });
    world.run(secs(2));
    let avoids = |label: &str| format!("it has the label {label}, which the child avoids");
    assert_eq!(refusals(&agreed(&world, "y")), [("a", &*avoids("zone=east")), ("c", &*avoids("disk=ssd"))]);
}

#[test]
fn each_node_that_may_not_says_why() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    world.boot("e", 1, &["other"]);
    world.boot_as("f", 1, |config| config.weight = 0);
    for (at, node) in ["e", "f"].into_iter().enumerate() {
        ["a", "b", "c", "d", "e"][..4 + at].iter().for_each(|other| world.meet(node, other));
    }
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.call("a", Call::Cordon { node: name("c"), on: true });
    world.run(secs(2));
    world.start("a", spec("x"));
    world.run(secs(2));
    world.kill("d");
    world.run(secs(3));
    // A stranger that has not said anything yet.
    world.boot("g", 1, &["work"]);
    world.see("a", "g", Status::Up);
    let told = explain(&world, "a", "x");
    let expected = [
        ("c", "it is cordoned"),
        ("e", "it does not offer the kind \"work\""),
        ("f", "its weight is 0"),
        ("g", "it has not said yet what it can run"),
        ("b", "it is draining"),
        ("d", "it is down"),
    ];
    assert_eq!((order(&told), refusals(&told)), (vec!["a"], expected.to_vec()));
    assert_eq!(told.next, None);
}

#[test]
fn where_a_child_is_not_where_it_belongs_it_is_said_whether_it_goes() {
    let mut world = World::new(&["a"]);
    world.boot_as("b", 1, |config| config.redistribution = Redistribution::Passive);
    world.meet("a", "b");
    world.run(secs(3));
    for number in 0..20 {
        let restart = if number < 10 { Restart::Temporary } else { Restart::Permanent };
        world.start("a", ChildSpec { restart, ..spec(&format!("x{number}")) });
    }
    world.run(secs(3));
    world.join("c", 1);
    let off = |world: &World, from: &str, restart: Restart| {
        let children = (0..20).map(|number| format!("x{number}"));
        let mut told = children.map(|child| explain(world, "b", &child));
        told.find(|told| {
            let here =
                told.row.node == Some(name(from)) && told.spec.as_ref().is_some_and(|spec| spec.restart == restart);
            here && told.seat != told.row.node
        })
    };
    // It came this moment; those who are active have not given anything away.
    world.deliver();
    let goes = off(&world, "a", Restart::Permanent).expect("some belong on c now");
    assert!(goes.moves, "{goes:?}");
    assert_eq!(goes.why, "it belongs on c, and a gives it away as soon as that can take it, a few at a time");
    world.run(secs(20));
    assert_eq!(off(&world, "a", Restart::Permanent), None, "they have gone");
    let once = off(&world, "a", Restart::Temporary).expect("these have not");
    assert_eq!((once.moves, once.next.clone()), (false, None));
    assert_eq!(once.why, "it belongs on c, but it runs once at most and so is not moved");
    let stays = off(&world, "b", Restart::Permanent).expect("b is passive");
    let why =
        "it would belong on c, but b gives children away only when it drains, or is asked to (passive redistribution)";
    assert_eq!((stays.moves, &*stays.why), (false, why));
    assert_eq!(agreed(&world, stays.row.id.as_str()), stays);

    world.call("a", Call::Cordon { node: name("b"), on: true });
    world.run(secs(2));
    let stays = off(&world, "b", Restart::Permanent).expect("it keeps them");
    assert_eq!(
        (stays.moves, &*stays.why),
        (
            false,
            &*format!("it would belong on {}, but b is cordoned and keeps what it has", stays.seat.clone().unwrap())
        )
    );
    // A drain is told of while it lasts: with children that are slow to stop.
    world.slow = (0..20).map(|number| format!("x{number}")).collect();
    world.call("a", Call::Drain { node: name("b"), on: true });
    world.deliver();
    let goes = off(&world, "b", Restart::Permanent).expect("they are slow");
    assert!(goes.moves && goes.why.contains("and b gives it away, for it is draining"), "{goes:?}");
    world.run(secs(2));
    let goes = off(&world, "b", Restart::Permanent).expect("they are slow");
    assert_eq!((goes.moves, goes.row.status), (true, ChildStatus::Moving));
    assert!(goes.why.starts_with("it is on its way to "), "{goes:?}");
}

#[test]
fn what_does_not_run_is_told_in_the_words_of_its_row() {
    let mut world = World::new(&["a", "b"]);
    let pinned = ChildSpec { placement: Placement::Pinned(name("b")), ..spec("pinned") };
    world.start("a", pinned);
    world
        .start("a", ChildSpec { restart: Restart::Temporary, placement: Placement::Pinned(name("b")), ..spec("once") });
    let intensity = Some(Intensity::new(0, secs(60)));
    world.start("a", ChildSpec { intensity, placement: Placement::Pinned(name("a")), ..spec("limited") });
    world.start("a", ChildSpec { placement: Placement::Pinned(name("a")), ..spec("ends") });
    world
        .start("a", ChildSpec { restart: Restart::Transient, placement: Placement::Pinned(name("a")), ..spec("done") });
    world.run(secs(2));
    let told = agreed(&world, "pinned");
    assert_eq!((order(&told), refusals(&told)), (vec!["b"], vec![("a", "the child is pinned to b")]));
    assert_eq!((told.moves, &*told.why, told.next), (false, "b is where it belongs", None));

    world.finish("a", "limited", Exit::Abnormal("boom".into()));
    world.finish("a", "done", Exit::Normal);
    for _ in 0..6 {
        world.finish("a", "ends", Exit::Abnormal("bang".into()));
        if world.copies("ends").is_empty() && explain(&world, "a", "ends").row.status == ChildStatus::Backoff {
            break;
        }
    }
    world.deliver();
    let told = agreed(&world, "ends");
    assert_eq!(told.why, "it is started again after a pause, on a: bang");
    let told = agreed(&world, "limited");
    let why = "it is left alone until somebody restarts or terminates it: boom; it may be restarted 0 times within 60s, and was";
    assert_eq!((&*told.why, told.row.status), (why, ChildStatus::Quarantined));
    let told = agreed(&world, "done");
    assert_eq!((&*told.why, told.spec, told.nodes), ("it has ended for good: exited normally", None, vec![]));

    world.kill("b");
    world.run(secs(5));
    let told = agreed(&world, "pinned");
    assert_eq!((told.seat, told.next, told.moves), (None, None, false));
    assert_eq!(told.why, "no eligible node: it is pinned to b, which is not up");
    // The node that it waits for is told of before those that are out of the question.
    let down = ("b", "it is down");
    assert_eq!(told.nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(refusals(&agreed(&world, "once")), [down, ("a", "the child is pinned to b")]);
    assert_eq!(agreed(&world, "once").why, "the node that ran it is down, and it runs once at most");
    assert_eq!(agreed(&world, "once").row.status, ChildStatus::Suspended);
}

/// Of each kind it tells of so many, whatever the cluster's size, and always of the one that has it.
#[test]
fn among_many_nodes_most_are_left_out_and_counted() {
    let mut world = World::new(&[]);
    world.boot_as("a", 1, |config| config.redistribution = Redistribution::Passive);
    world.run(secs(3));
    for child in 0..20 {
        world.start("a", spec(&format!("x{child}")));
    }
    world.start("a", ChildSpec { placement: Placement::Pinned(name("a")), ..spec("pinned") });
    world.run(secs(2));
    let nodes: Vec<String> = (0..150).map(|number| format!("n{number}")).collect();
    for node in &nodes {
        world.boot(node, 1, &["work"]);
        world.meet("a", node);
    }
    world.run(secs(3));
    for child in 0..20 {
        let told = explain(&world, "a", &format!("x{child}"));
        assert_eq!((told.eligible, told.ineligible, told.row.node.clone()), (151, 0, Some(name("a"))));
        let own = told.nodes.iter().position(|node| node.node == name("a")).expect("the one that has it");
        let place = told.nodes[own].order.expect("it may");
        assert_eq!(told.nodes.len(), EXPLAINED_MAX + usize::from(place > EXPLAINED_MAX), "{place}");
        assert!(if place > EXPLAINED_MAX { own == EXPLAINED_MAX } else { own + 1 == place });
        assert_eq!(told.left_out() + told.nodes.len(), 151);
    }
    let told = explain(&world, "a", "pinned");
    assert_eq!((told.eligible, told.ineligible, told.nodes.len()), (1, 150, 1 + EXPLAINED_MAX));
    assert_eq!(told.left_out(), 150 - EXPLAINED_MAX);
}
