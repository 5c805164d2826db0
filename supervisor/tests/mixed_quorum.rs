//! A node that was started without a quorum, among members that need one: nobody gives it children, and it takes none.

mod world;

use std::time::Duration;

use ordu_supervisor::core::{Partition, Quorum};

use self::world::{World, id, name, spec};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Three nodes of which two are a quorum, and one more that was told of none.
fn begin() -> World {
    let mut world = World::new(&[]);
    for node in ["a", "b", "c"] {
        world.boot_as(node, 1, |config| config.partition = Partition::Quorum(Quorum::of(2)));
    }
    world.boot("d", 1, &["work"]);
    for (one, other) in [("a", "b"), ("a", "c"), ("b", "c")] {
        world.meet(one, other);
    }
    world.run(secs(25));
    world
}

#[test]
fn a_node_without_a_quorum_runs_nothing_among_members_that_need_one() {
    let mut world = begin();
    for number in 0..12 {
        world.start("a", spec(&format!("c{number}")));
    }
    world.run(secs(3));
    for node in ["a", "b", "c"] {
        world.meet("d", node);
    }
    world.run(secs(10));
    // It would be the seat of some, and takes none of them over either, though a node dies.
    world.kill("b");
    world.run(secs(60));
    for number in 0..12 {
        let child = format!("c{number}");
        let copies = world.copies(&child);
        assert_eq!(copies.len(), 1, "{child} runs at {copies:?}");
        assert_ne!(copies[0], "d", "{child} runs where no quorum is asked");
        assert!(world.nodes[&name("a")].core.spec(&id(&child)).is_some());
    }
    assert!(world.doubles.is_empty(), "{:?}", world.doubles);
}
