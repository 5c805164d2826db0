//! Groups: memberships without conflict, and names that know nothing of them.

use bytes::Bytes;
use ordu_registry::core::names::{Effect, Input};
use ordu_registry::core::{Gone, JoinError, Registry};
use ordu_transport::core::{NodeId, Pid, Status};

use crate::trio::{Trio, id, name};

fn join(trio: &mut Trio, node: usize, pid: &Pid, group: &str) -> Result<(), JoinError> {
    trio.with(node, |registry, now, effects| registry.join(now, pid, &name(group), Bytes::from("v"), effects))
}

fn members(registry: &Registry, group: &str) -> Vec<Pid> {
    let mut members: Vec<Pid> = registry.members(group).map(|member| member.pid().clone()).collect();
    members.sort();
    members
}

/// What each effect that shows a member says: who, whether it is shown, and why not.
fn told(effects: Vec<Effect>) -> Vec<(Pid, bool, Option<Gone>)> {
    let member = |effect| match effect {
        Effect::Member { entry, was, gone } => {
            let pid = entry.as_ref().or(was.as_ref()).map(|member| member.pid().clone());
            (pid.expect("one of both"), entry.is_some(), gone)
        }
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(member).collect()
}

#[test]
fn many_processes_are_in_one_group_and_nobody_is_told_to_exit() {
    let mut trio = Trio::of(3);
    let pids = [trio.activate(0), trio.activate(0), trio.activate(1)];
    (0..3).for_each(|node| drop(trio.take_effects(node)));
    for (pid, node) in pids.iter().zip([0, 0, 1]) {
        join(&mut trio, node, pid, "g").unwrap();
    }
    assert_eq!(join(&mut trio, 0, &pids[0], "g"), Err(JoinError::AlreadyMember));
    assert_eq!(join(&mut trio, 0, &pids[2], "g"), Err(JoinError::NoProcess));
    trio.deliver();
    for node in 0..3 {
        assert_eq!(members(&trio.nodes[node], "g"), pids);
        let mut told = told(trio.take_effects(node));
        told.sort();
        assert_eq!(told, pids.clone().map(|pid| (pid, true, None)));
        // Names know nothing of it.
        let registry = &trio.nodes[node];
        assert_eq!((registry.len(), registry.entries("").count(), registry.lookup(&name("g"))), (0, 0, None));
        assert_eq!((registry.names_of(&pids[0]).count(), registry.keys(&pids[2])), (0, vec![]));
        assert_eq!((registry.members("").count(), registry.members("g/1").count()), (0, 0));
    }
    let order = |node: usize| trio.nodes[node].members("g").map(|member| member.pid().clone()).collect::<Vec<_>>();
    assert_eq!((order(0), order(1)), (order(1), order(2)));
    assert_eq!(trio.nodes[0].groups_of(&pids[0]).collect::<Vec<_>>(), ["g"]);

    // A name of the same text is fought for by itself.
    trio.register(0, &pids[0], "g").unwrap();
    assert!(trio.register(0, &pids[1], "g").is_err());
    trio.deliver();
    assert!(trio.nodes[2].lookup(&name("g")).is_some_and(|entry| *entry.pid() == pids[0]));
    assert_eq!(members(&trio.nodes[2], "g"), pids);
}

#[test]
fn members_go_when_they_leave_or_end_and_hide_with_their_node() {
    let mut trio = Trio::of(2);
    let pids = [trio.activate(0), trio.activate(0), trio.activate(0)];
    pids.iter().for_each(|pid| join(&mut trio, 0, pid, "g").unwrap());
    trio.deliver();
    (0..2).for_each(|node| drop(trio.take_effects(node)));

    assert!(trio.with(0, |registry, now, effects| registry.leave(now, &pids[0], &name("g"), effects)));
    assert!(!trio.with(0, |registry, now, effects| registry.leave(now, &pids[0], &name("g"), effects)));
    trio.with(0, |registry, now, effects| registry.ended(now, &pids[1], effects));
    trio.deliver();
    let here = [(pids[0].clone(), false, Some(Gone::Released)), (pids[1].clone(), false, Some(Gone::Ended))];
    assert_eq!(told(trio.take_effects(0)), here);
    let there = here.map(|(pid, shown, _)| (pid, shown, Some(Gone::Dropped)));
    assert_eq!(told(trio.take_effects(1)), there);

    trio.sees(1, 0, Status::Down);
    assert_eq!(members(&trio.nodes[1], "g"), []);
    trio.sees(1, 0, Status::Up);
    assert_eq!(members(&trio.nodes[1], "g"), pids[2..]);
    trio.sees(1, 0, Status::Left);
    let last = |shown, gone| (pids[2].clone(), shown, gone);
    let expected = [last(false, Some(Gone::NodeDown)), last(true, None), last(false, Some(Gone::NodeLeft))];
    assert_eq!(told(trio.take_effects(1)), expected);
}

#[test]
fn a_value_changes_alone_and_a_rebirth_keeps_members() {
    let mut trio = Trio::of(2);
    let pid = trio.activate(0);
    join(&mut trio, 0, &pid, "g").unwrap();
    trio.deliver();
    let change = |registry: &mut Registry, now, effects: &mut Vec<Effect>| {
        registry.update_member(now, &pid, &name("g"), Bytes::from("w"), effects)
    };
    assert!(trio.with(0, change));
    trio.deliver();
    let value = |registry: &Registry| registry.members("g").map(|member| member.value().clone()).collect::<Vec<_>>();
    assert_eq!((value(&trio.nodes[0]), value(&trio.nodes[1])), (vec![Bytes::from("w")], vec![Bytes::from("w")]));

    let reborn = NodeId::new(id(0).name.clone(), 9, 9);
    trio.handle(0, Input::Reborn(reborn.clone()));
    let shown: Vec<_> =
        trio.nodes[0].members("g").map(|member| (member.node().clone(), member.pid().clone())).collect();
    assert_eq!(shown, [(reborn, pid)]);
}
