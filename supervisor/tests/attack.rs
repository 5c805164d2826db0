//! Schedules against checkpoints, merges and moves that start first, each of which breaks a promise.

mod world;

use std::time::Duration;

use bytes::Bytes;
use ordu_supervisor::core::{Call, Control, Exit, Input, Message};
use ordu_transport::core::{Pid, Status};

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

fn given(world: &World, pid: &Pid) -> Option<String> {
    world.given[pid].as_ref().map(|state| String::from_utf8_lossy(state).into_owned())
}

fn checkpoint(world: &mut World, pid: &Pid, number: u64, state: &'static str) {
    let node = pid.node.name.to_string();
    world.input(&node, Input::Checkpoint { pid: pid.clone(), number, state: Bytes::from_static(state.as_bytes()) });
}

/// A child fails and is terminated and started again while its node waits with the next process: it begins with what the
/// terminated one left.
#[test]
fn a_terminated_child_in_backoff_leaves_nothing_to_the_next_of_its_name() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    world.finish("b", &x, Exit::Abnormal("boom".into()));
    // Both are on their way at once: the node takes the messages that have come together, or one delta says both.
    world.takes_all = true;
    world.call("a", Call::Terminate(id(&x)));
    world.start("a", spec(&x));
    world.run(secs(3));
    assert_eq!(given(&world, &process(&world, &x)), None, "what belonged to the start that was terminated");
}

/// The loser of a conflict is slow to stop; meanwhile its child is terminated and started again: the new one merges what the
/// old one left.
#[test]
fn the_loser_of_a_terminated_start_leaves_nothing_to_the_next_of_its_name() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    world.split(&["b"], Status::Down);
    world.run(secs(5));
    assert_eq!(world.copies(&x).len(), 2, "one on each side");
    world.slow.push(x.clone());
    world.split(&["b"], Status::Up);
    world.run(secs(1));
    let (winner, loser) = ("b", world.copies(&x).into_iter().find(|node| node != "b").unwrap());
    let lost = world.pid_of(&loser, &x).unwrap();
    assert!(world.merged.is_empty());
    world.call("a", Call::Terminate(id(&x)));
    world.run(ms(200));
    world.finish(winner, &x, Exit::Normal);
    world.run(ms(200));
    world.start(winner, spec(&x));
    world.run(ms(200));
    assert!(world.merged.is_empty());
    world.input(&loser, Input::HandedOff { pid: lost.clone(), state: Bytes::from_static(b"old") });
    world.finish(&loser, &x, Exit::Normal);
    world.run(secs(6));
    let given = world.given[&process(&world, &x)].clone();
    assert_eq!((given, &world.merged), (None, &vec![]), "what belonged to the start that was terminated");
}

/// A fetch is begun, and the holder turns out to live. It goes on, and dies a few seconds later: what was found before is
/// taken for the latest.
#[test]
fn a_fetch_that_was_given_up_is_not_believed_later() {
    // A child whose seats are b, then d.
    let mut probe = World::new(&["a", "b", "c", "d"]);
    let x = (0..100)
        .map(|number| format!("y{number}"))
        .find(|x| {
            probe.start("a", spec(x));
            probe.run(ms(500));
            if probe.copies(x) != ["b"] {
                return false;
            }
            let mut after = World::new(&["a", "c", "d"]);
            after.start("a", spec(x));
            after.run(ms(500));
            after.copies(x) == ["d"]
        })
        .expect("some child has these");
    let mut world = World::new(&["a", "b", "c"]);
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    assert_eq!(first.node.name.as_str(), "b");
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    world.join("d", 1);
    world.run(secs(5));
    assert_eq!(process(&world, &x), first, "its seat is the same; a and c keep it");
    // For half a second d takes b for down, and hears of one of both keepers only.
    world.cut.insert(("a".into(), "d".into()));
    world.see("d", "b", Status::Down);
    world.run(ms(500));
    world.see("d", "b", Status::Up);
    world.cut.clear();
    world.meet("a", "d");
    world.run(secs(1));
    checkpoint(&mut world, &first, 2, "two");
    world.run(secs(2));
    assert_eq!(world.checkpointed.last(), Some(&(first.clone(), 2, 2)));
    world.kill("b");
    world.run(secs(5));
    let second = process(&world, &x);
    assert_eq!(second.node.name.as_str(), "d");
    assert_eq!(given(&world, &second).as_deref(), Some("two"), "two living nodes have it");
}

/// A child makes checkpoints faster than they get to others and back: it is never told that any is kept.
#[test]
fn who_makes_checkpoints_fast_is_told_that_they_are_kept() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    for number in 1..=500 {
        checkpoint(&mut world, &first, number, "more");
        // What was said takes a while: two messages come before the next is made.
        for _ in 0..2 {
            let Some((from, to, message)) = world.messages.pop_front() else { break };
            world.input(to.name.as_str(), Input::Message { from, message });
        }
    }
    assert!(!world.checkpointed.is_empty(), "500 made, the keepers have hundreds of them, and nothing was told");
}

/// Who keeps the checkpoint is changed while one of the new keepers has not got it: those who have it drop it at once.
#[test]
fn keepers_have_it_until_others_do() {
    let mut world = World::new(&["a", "b", "c", "d", "e"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    checkpoint(&mut world, &first, 1, "one");
    world.run(secs(1));
    assert_eq!(world.checkpointed.last(), Some(&(first.clone(), 1, 2)));
    let keeps = |world: &World, node: &str| world.nodes[&name(node)].core.copies_len() > 0;
    let old: Vec<&str> = ["a", "c", "d", "e"].into_iter().filter(|node| keeps(&world, node)).collect();
    let new: Vec<&str> = ["a", "c", "d", "e"].into_iter().filter(|node| !old.contains(node)).collect();
    // The node of the child has stood still, and takes both for down for a moment; what it sends in bulk waits behind more.
    world.see("b", old[0], Status::Down);
    world.see("b", old[1], Status::Down);
    let is_keep = |message: &Message| matches!(message, Message::Control(Control::Checkpoint(_)));
    world.messages.retain(|(_, to, message)| !(is_keep(message) && new.contains(&to.name.as_str())));
    world.run(ms(500));
    let kept: Vec<&str> = ["a", "c", "d", "e"].into_iter().filter(|node| keeps(&world, node)).collect();
    assert!(!kept.is_empty(), "nobody has what two nodes had a moment ago, and one failure of {} loses it", first.node);
}

/// A node that is cut off one way starts a copy, which loses by rank and does not hear of it before the winner dies: it runs
/// on, and is told that its checkpoints are kept. They are not: those who say so keep an older one of the dead winner.
#[test]
fn what_is_said_to_be_kept_is_kept() {
    let mut world = World::new(&["a", "b", "c", "d", "e"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    let first = process(&world, &x);
    checkpoint(&mut world, &first, 1, "old");
    world.run(secs(1));
    let mut other = None;
    for node in ["a", "c", "d", "e"] {
        // It hears nothing that b writes any more; b hears it.
        for from in ["a", "b", "c", "d", "e"] {
            world.cut.insert((from.into(), node.into()));
        }
        world.see(node, "b", Status::Down);
        world.run(ms(1500));
        if world.copies(&x).len() == 2 {
            other = Some(node);
            break;
        }
        world.cut.clear();
        world.see(node, "b", Status::Up);
        world.run(secs(3));
    }
    let other = other.expect("somebody takes it over");
    let second = world.pid_of(other, &x).unwrap();
    assert_eq!(world.copies(&x).len(), 2);
    checkpoint(&mut world, &first, 2, "old too");
    world.run(ms(500));
    world.kill("b");
    world.cut.clear();
    for node in ["a", "c", "d", "e"].into_iter().filter(|node| *node != other) {
        world.meet(node, other);
    }
    world.run(secs(3));
    if world.copies(&x) != [other] {
        eprintln!("the second did not outlive the first: {:?}", world.copies(&x));
        return;
    }
    for number in 1..=20 {
        checkpoint(&mut world, &second, number, "new");
        world.run(secs(1));
    }
    let told = world.checkpointed.iter().rev().find(|(pid, ..)| *pid == second);
    assert_eq!(told, Some(&(second.clone(), 20, 2)), "it was told that two nodes have it");
    world.kill(other);
    world.run(secs(5));
    assert_eq!(given(&world, &process(&world, &x)).as_deref(), Some("new"), "two living nodes said that they have it");
}

/// The winner's node takes what the loser left, and its answer is lost; the winner moves on, and the loser's node sends the
/// same to where it is now: that node does not know that it was merged already.
#[test]
fn what_a_loser_left_is_merged_once_though_the_winner_moves_on() {
    let mut world = World::new(&["a", "b", "c"]);
    let x = world.id_on("b");
    world.start("a", spec(&x));
    world.run(secs(1));
    world.split(&["b"], Status::Down);
    world.run(secs(5));
    world.slow.push(x.clone());
    world.split(&["b"], Status::Up);
    world.run(secs(2));
    let loser = world.copies(&x).into_iter().find(|node| node != "b").unwrap();
    let other = ["a", "c"].into_iter().find(|node| *node != loser).unwrap();
    let lost = world.pid_of(&loser, &x).unwrap();
    world.cut.insert(("b".into(), loser.clone()));
    world.input(&loser, Input::HandedOff { pid: lost.clone(), state: Bytes::from_static(b"left") });
    world.finish(&loser, &x, Exit::Normal);
    world.run(ms(200));
    let winner = world.pid_of("b", &x).unwrap();
    assert_eq!(world.merged, [(winner, lost.clone(), Bytes::from_static(b"left"))]);
    world.slow.clear();
    world.call(&loser, Call::Cordon { node: name(&loser), on: true });
    world.call(other, Call::Drain { node: name("b"), on: true });
    world.run(secs(20));
    assert_eq!(world.copies(&x), [other], "it has moved on, with what it has merged");
    let times = world.merged.iter().filter(|(_, of, _)| *of == lost).count();
    assert_eq!(times, 1, "{:?}", world.merged);
}
