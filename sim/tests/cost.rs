//! What a registration costs stays what it was, roughly: it must not grow unnoticed, and not with the cluster.

use ordu_sim::cost::{measure, table};

#[test]
fn a_registration_and_a_heal_cost_what_they_carry() {
    let cost = measure(3, 1, 0, &[100]);
    let text = table(std::slice::from_ref(&cost));
    // One delta to each of two peers, and an acknowledgement from each.
    assert!((3.0..6.0).contains(&cost.total.frames), "{text}");
    assert!((200.0..2_000.0).contains(&cost.total.bytes), "{text}");
    let heal = &cost.heals[0];
    assert!(heal.took_us.is_some(), "{text}");
    // Each name crosses to one node over one session, or over two at most.
    let over = heal.bytes - heal.bytes_of_none;
    assert!((100.0 * 50.0..100.0 * 800.0).contains(&over), "{text}");
}

#[test]
fn a_heal_costs_what_differs_and_not_what_is_held() {
    let few = measure(3, 1, 0, &[100]).heals.remove(0);
    let many = measure(3, 1, 5_000, &[100]).heals.remove(0);
    assert!(few.broken.is_none() && many.broken.is_none(), "{few:?}, {many:?}");
    assert!(few.took_us.is_some() && many.took_us.is_some(), "{few:?}, {many:?}");
    // The whole state of 5,000 names is half a megabyte.
    assert!(many.bytes < 1.2 * few.bytes + 5_000.0, "{few:?}, {many:?}");
}

/// Bytes and frames are counted by the simulator: this is the same on every machine.
#[test]
fn what_a_node_sends_does_not_grow_with_the_cluster() {
    let costs: Vec<_> = [3, 10, 40, 100].into_iter().map(|nodes| measure(nodes, 1, 0, &[])).collect();
    let text = table(&costs);
    for cost in &costs {
        let idle = cost.idle_per_s.bytes;
        assert!(idle < 1_000.0 && (idle / costs[0].idle_per_s.bytes - 1.0).abs() < 0.2, "{text}");
        // One delta to each of the others, and an acknowledgement from each.
        assert!((0.9..2.3).contains(&cost.mean.frames), "{text}");
    }
    // With relays it costs the nodes no more in a larger cluster, and even the node that is asked sends only to its
    // neighbours: few or all of them, as it stands in the tree.
    let (some, many) = (&costs[2], &costs[3]);
    assert!((many.mean.bytes / some.mean.bytes - 1.0).abs() < 0.2, "{text}");
    for cost in [some, many] {
        assert!(cost.asked.frames < 12.0 && cost.asked.bytes < 1_000.0, "{text}");
    }
}
