//! Waiting for acknowledgements: who must have given them, and when waiting is in vain.

use ordu_registry::core::RankPolicy;
use ordu_registry::core::visible::{Awaited, Scope, Vain};
use ordu_transport::core::Status;

use crate::trio::{Trio, id, name};

#[test]
fn a_claim_is_visible_once_those_in_question_have_acknowledged_it() {
    let mut trio = Trio::of(3);
    let pid = trio.activate(0);
    trio.with(0, |registry, _, _| registry.hurry());
    trio.register(0, &pid, "x").unwrap();
    let mut all = Awaited::new(pid.clone(), name("x"), Scope::All);
    let mut most = Awaited::new(pid.clone(), name("x"), Scope::Majority);
    assert_eq!((all.check(&trio.nodes[0]), most.check(&trio.nodes[0])), (Ok(false), Ok(false)));
    assert_eq!(all.missing(&trio.nodes[0]), [id(1), id(2)]);

    // Only b's copy arrives, and its answer.
    trio.wires.retain(|(_, to, _)| *to == 1);
    trio.deliver();
    assert_eq!((all.check(&trio.nodes[0]), most.check(&trio.nodes[0])), (Ok(false), Ok(true)));
    assert_eq!(all.missing(&trio.nodes[0]), [id(2)]);
    assert!(trio.nodes[1].lookup(&name("x")).is_some_and(|entry| *entry.pid() == pid));

    // Whoever is down is not waited for, but counts where a majority is wanted.
    trio.sees(0, 2, Status::Down);
    assert_eq!(all.check(&trio.nodes[0]), Ok(true));
    let other = trio.activate(0);
    trio.register(0, &other, "y").unwrap();
    trio.sees(0, 1, Status::Down);
    let mut all = Awaited::new(other.clone(), name("y"), Scope::All);
    let mut most = Awaited::new(other.clone(), name("y"), Scope::Majority);
    assert_eq!((all.check(&trio.nodes[0]), most.check(&trio.nodes[0])), (Ok(true), Ok(false)));
    assert_eq!(most.missing(&trio.nodes[0]), [id(1), id(2)]);
    // Who has left counts no more.
    trio.sees(0, 1, Status::Left);
    trio.sees(0, 2, Status::Left);
    assert_eq!(most.check(&trio.nodes[0]), Ok(true));
}

#[test]
fn a_claim_that_is_gone_is_not_waited_for() {
    let mut trio = Trio::of(2);
    let pid = trio.activate(0);
    trio.register(0, &pid, "x").unwrap();
    let mut awaited = Awaited::new(pid.clone(), name("x"), Scope::All);
    assert_eq!(awaited.check(&trio.nodes[0]), Ok(false));
    trio.with(0, |registry, now, effects| registry.unregister(now, &pid, &name("x"), effects));
    assert_eq!(awaited.check(&trio.nodes[0]), Err(Vain::Gone));
    assert_eq!(Awaited::new(pid, name("z"), Scope::All).check(&trio.nodes[0]), Err(Vain::Gone));
}

#[test]
fn a_quorum_is_none_beside_a_better_claim() {
    let mut trio = Trio::strangers(2, RankPolicy::LongestRunning);
    let (first, second) = (trio.activate(0), trio.activate(1));
    trio.register(0, &first, "x").unwrap();
    trio.register(1, &second, "x").unwrap();
    // Alone each is a majority by itself.
    let (mut older, mut younger) = [(first.clone(), 0), (second.clone(), 1)]
        .map(|(pid, node)| {
            let mut quorum = Awaited::quorum(pid, name("x"));
            assert_eq!(quorum.check(&trio.nodes[node]), Ok(true));
            quorum
        })
        .into();
    trio.meet();
    assert_eq!(older.check(&trio.nodes[0]), Ok(true));
    assert_eq!(younger.check(&trio.nodes[1]), Err(Vain::Lost { winner: first }));
}

/// What is seen and not believed yet (its node was not heard since it came up) stands in the way all the same.
#[test]
fn a_better_claim_that_is_only_remembered_stands_in_the_way() {
    let mut trio = Trio::of(3);
    let first = trio.activate(0);
    trio.register(0, &first, "x").unwrap();
    trio.deliver();
    trio.sees(1, 0, Status::Down);
    let second = trio.activate(1);
    trio.with(1, |registry, _, _| registry.hurry());
    trio.register(1, &second, "x").unwrap();
    trio.wires.retain(|(_, to, _)| *to == 2);
    trio.deliver();
    let mut most = Awaited::new(second.clone(), name("x"), Scope::Majority);
    let mut quorum = Awaited::quorum(second, name("x"));
    assert_eq!((most.check(&trio.nodes[1]), quorum.check(&trio.nodes[1])), (Ok(true), Ok(true)));
    trio.sees(1, 0, Status::Up);
    assert_eq!((most.check(&trio.nodes[1]), quorum.check(&trio.nodes[1])), (Ok(true), Ok(false)));
}
