//! What a registration costs stays what it was, roughly: it must not grow unnoticed.

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
