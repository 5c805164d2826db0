//! Where not all have sessions with all.

use super::*;

const MESH: Mesh = Mesh { direct_peers: 7, rings: 2 };
const NODES: usize = 40;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A world in which everybody has found everybody.
fn settled(seed: u64) -> World {
    let mut world = World::among(seed, NODES, 3, MESH);
    let all: Vec<usize> = (0..NODES).collect();
    let took = world.run_until(secs(10), |world| world.all_up(&all));
    assert!(took.is_some_and(|took| took < secs(2)), "all up after {took:?}");
    world.run(LINGER + secs(2));
    world.assert_all_up(&all);
    world
}

fn get_through(world: &World, nodes: &[usize]) -> usize {
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to && world.gets_through(*from, *to)).count()
}

#[test]
fn few_sessions_reach_everybody() {
    for seed in 0..3 {
        let mut world = settled(seed);
        let all: Vec<usize> = (0..NODES).collect();
        let most = all.iter().map(|node| world.sessions_of(*node)).max();
        assert!(most <= Some(2 * MESH.rings), "{most:?} sessions");
        assert_eq!(get_through(&world, &all), NODES * (NODES - 1));
        // At rest nobody is dialled, the seeds included.
        let dials = world.dials;
        world.run(secs(20));
        assert_eq!((world.dials - dials, all.iter().map(|node| world.downs(*node)).sum()), (0, 0));
    }
}

#[test]
fn the_silent_and_the_refused_are_down_for_all() {
    for (hosts_answer, at_most) in [(false, secs(5)), (true, Duration::from_millis(1200))] {
        let mut world = settled(7);
        world.hosts_answer = hosts_answer;
        world.kill(11);
        let others: Vec<usize> = (0..NODES).filter(|node| *node != 11).collect();
        let is_down = |world: &World| others.iter().all(|node| world.status(*node, 11) == Some(Status::Down));
        let took = world.run_until(secs(20), is_down);
        assert!(took.is_some_and(|took| took < at_most), "down after {took:?}");
        assert_eq!(others.iter().map(|node| world.downs(*node)).max(), Some(1), "nobody else is");
        world.run(secs(1));
        assert_eq!(get_through(&world, &others), (NODES - 1) * (NODES - 2));
        // It comes back where it was.
        let again = world.restart(11, 2);
        let is_up = |world: &World| others.iter().all(|node| world.status(*node, again) == Some(Status::Up));
        assert!(world.run_until(secs(5), is_up).is_some());
    }
}

#[test]
fn a_lossy_network_is_no_reason_to_hold_anybody_as_down() {
    let mut world = settled(5);
    world.loss_percent = 5;
    world.run(secs(60));
    let all: Vec<usize> = (0..NODES).collect();
    assert_eq!(all.iter().map(|node| world.downs(*node)).sum::<usize>(), 0);
}

#[test]
fn sides_that_were_cut_apart_meet_again() {
    for sides in [20, 3, 37] {
        let mut world = settled(9);
        let all: Vec<usize> = (0..NODES).collect();
        let (one, other) = all.split_at(sides);
        world.cut(one, other);
        world.run(secs(30));
        for side in [one, other] {
            world.assert_all_up(side);
            assert_eq!(get_through(&world, side), side.len() * (side.len() - 1));
        }
        for (node, far) in one.iter().flat_map(|node| other.iter().map(move |far| (*node, *far))) {
            assert_eq!(world.status(node, far), Some(Status::Down), "{sides}: n{node} of n{far}");
        }
        world.heal();
        let took = world.run_until(secs(20), |world| world.all_up(&all));
        assert!(took.is_some_and(|took| took < secs(5)), "whole after {took:?}");
        world.run(LINGER + secs(2));
        assert_eq!(get_through(&world, &all), NODES * (NODES - 1));
        assert!(all.iter().all(|node| world.sessions_of(*node) <= 2 * MESH.rings));
    }
}

#[test]
fn neighbours_that_are_cut_off_from_each_other_find_others() {
    let mut world = settled(3);
    let all: Vec<usize> = (0..NODES).collect();
    let beside: Vec<usize> = all.iter().copied().filter(|other| *other != 0 && world.has_session(0, *other)).collect();
    world.cut(&[0], &beside[..1]);
    world.run(secs(10));
    world.assert_all_up(&all);
    assert_eq!(get_through(&world, &all), NODES * (NODES - 1));
    assert!(world.sessions_of(0) >= beside.len(), "somebody stands in");
    world.heal();
    world.run(LINGER + secs(5));
    assert!(world.sessions_of(0) <= 2 * MESH.rings);
}

#[test]
fn who_was_held_as_down_and_lives_is_within_reach_again() {
    let mut world = settled(8);
    let all: Vec<usize> = (0..NODES).collect();
    world.pause(11, secs(4));
    let is_down = |world: &World| world.status(0, 11) == Some(Status::Down);
    assert!(world.run_until(secs(6), is_down).is_some());
    assert!(world.run_until(secs(10), |world| world.all_up(&all)).is_some());
    world.run(secs(1));
    assert_eq!(get_through(&world, &all), NODES * (NODES - 1));
}

#[test]
fn who_leaves_has_left_for_all() {
    let mut world = settled(4);
    world.leave(20);
    let others: Vec<usize> = (0..NODES).filter(|node| *node != 20).collect();
    let has_left = |world: &World| others.iter().all(|node| world.status(*node, 20) == Some(Status::Left));
    assert!(world.run_until(secs(3), has_left).is_some());
}

#[test]
fn a_second_holder_of_a_name_is_told_by_somebody_who_never_met_the_first() {
    let mut world = settled(6);
    let seed = (0..3).find(|seed| !world.has_session(*seed, 30)).expect("most are strangers");
    let double = world.start("n30", 5, "elsewhere:1", &[seed]);
    assert!(world.run_until(secs(10), |world| world.name_taken(double).is_some()).is_some());
    assert_eq!((world.name_taken(double), world.name_taken(30)), (Some("n30:1".into()), None));
}
