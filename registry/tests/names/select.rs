//! Listing: every name once, however many looks it takes; and what a process of another node claims.

use std::collections::BTreeSet;

use ordu_registry::core::select::SELECT_LOOK_MAX;
use ordu_transport::core::Status;

use crate::trio::{Trio, name};

#[test]
fn looks_find_what_stays_once_though_names_come_and_go_between_them() {
    let mut trio = Trio::strangers(1, Default::default());
    let pid = trio.activate(0);
    let count = 5 * SELECT_LOOK_MAX;
    for number in 0..count {
        trio.register(0, &pid, &format!("stays/{number}")).unwrap();
        trio.register(0, &pid, &format!("goes/{number}")).unwrap();
    }
    let (mut found, mut looks, mut place) = (BTreeSet::new(), 0, Some(0));
    while let Some(from) = place {
        let look = trio.nodes[0].look_from(from, "stays/");
        assert!(look.entries.len() <= SELECT_LOOK_MAX);
        assert!(look.entries.into_iter().all(|entry| found.insert(entry.name().clone())), "one was found twice");
        (place, looks) = (look.next, looks + 1);
        for number in looks * 600..(looks + 1) * 600 {
            let gone = name(&format!("goes/{number}"));
            trio.with(0, |registry, now, effects| registry.unregister(now, &pid, &gone, effects));
        }
    }
    assert_eq!((found.len(), looks >= 7), (count, true));
    assert_eq!(trio.nodes[0].look_from(0, "elsewhere/").entries, []);
}

#[test]
fn the_names_of_a_process_of_another_node_are_known() {
    let mut trio = Trio::of(2);
    let (pid, other) = (trio.activate(0), trio.activate(0));
    trio.register(0, &pid, "x/2").unwrap();
    trio.register(0, &pid, "x/1").unwrap();
    trio.register(0, &other, "y").unwrap();
    trio.deliver();
    for node in 0..2 {
        assert_eq!(trio.nodes[node].keys(&pid), [name("x/1"), name("x/2")]);
        assert_eq!(trio.nodes[node].keys(&other), [name("y")]);
    }
    trio.sees(1, 0, Status::Down);
    assert_eq!(trio.nodes[1].keys(&pid), []);
}
