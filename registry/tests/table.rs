//! The rules of the replicated table, one test each, and the schedules that broke them.

mod common;

use std::collections::BTreeSet;
use triomphe::Arc;

use common::*;
use crdts::CmRDT;
use ordu_registry::core::clock::{Clock, Context, Dot};
use ordu_registry::core::covers::Covers;
use ordu_registry::core::delta::{self, Interval};
use ordu_registry::core::retire::Retired;
use ordu_registry::core::table::LOG_REMOVALS_MAX;

fn retired(ids: &[ordu_transport::core::NodeId]) -> Retired {
    let mut retired = Retired::default();
    for id in ids {
        retired.insert(id);
    }
    retired
}

fn deliver(table: &mut T, events: &[&Event]) {
    for event in events {
        table.apply(Event::clone(event));
    }
}

/// The interval of everything that a table's own origin wrote.
fn all_of(table: &T) -> Interval {
    let to = table.context().clock().get(table.origin());
    Interval { origin: table.origin().clone(), from: 0, to }
}

/// Drops every removal that this replica could drop if everyone had acknowledged everything.
fn collect_all(table: &mut T) {
    table.collect(LOG_REMOVALS_MAX, |_| u64::MAX);
}

fn assert_alike(tables: &[&T]) {
    for pair in tables.windows(2) {
        assert_eq!(pair[0], pair[1]);
        assert_eq!(pair[0].digest(), pair[1].digest());
    }
}

// ---- superseding

#[test]
fn an_event_supersedes_what_it_covers_whichever_arrives_first() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let second = put(&mut b, KEY, 2);
    for order in [[&first, &second], [&second, &first]] {
        let mut c = shared("c");
        deliver(&mut c, &order);
        assert_eq!(live(&c, KEY), [2]);
    }
}

#[test]
fn covers_reach_through_events_that_were_never_seen() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let second = put(&mut b, KEY, 2);
    deliver(&mut c, &[&second]);
    let third = put(&mut c, KEY, 3);
    let mut late = shared("d");
    deliver(&mut late, &[&third, &first, &second]);
    assert_eq!(live(&late, KEY), [3]);
}

#[test]
fn concurrent_puts_both_live_and_an_add_survives_a_removal_that_had_not_seen_it() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let (removal, second) = (remove(&mut b, KEY), put(&mut a, KEY, 2));
    deliver(&mut a, &[&removal]);
    deliver(&mut b, &[&second]);
    assert_eq!((live(&a, KEY), live(&b, KEY)), (vec![2], vec![2]));
}

#[test]
fn in_an_owner_written_table_nobody_touches_the_entries_of_others() {
    let (mut a, mut b) = (owned("a"), owned("b"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    assert!(!b.remove(&KEY) && !b.withdraw(&KEY, &first.dot));
    let second = put(&mut b, KEY, 2);
    assert!(second.covers.is_empty());
    let covers = Covers::from(Dot::new(node("a"), 9));
    let hostile = Arc::new(delta::Event { dot: Dot::new(node("c"), 1), key: KEY, value: None, covers });
    for table in [&mut a, &mut b] {
        deliver(table, &[&first, &second, &hostile]);
        assert_eq!(live(table, KEY), [1, 2]);
    }
}

#[test]
fn a_withdrawal_takes_one_value_and_leaves_the_others() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let (first, second) = (put(&mut a, KEY, 1), put(&mut b, KEY, 2));
    deliver(&mut a, &[&second]);
    let withdrawal = withdraw(&mut a, KEY, &second.dot);
    deliver(&mut b, &[&first, &withdrawal]);
    assert_eq!((live(&a, KEY), live(&b, KEY)), (vec![1], vec![1]));
    assert!(!a.withdraw(&KEY, &second.dot), "it is gone already");
}

/// The withdrawal's dot says nothing about the entry of the same node that it left; a terminator that has only heard of
/// the withdrawal must not take that entry along.
#[test]
fn an_early_withdrawal_does_not_stand_for_its_writers_other_entries() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let (kept, other) = (put(&mut b, KEY, 1), put(&mut a, KEY, 2));
    deliver(&mut b, &[&other]);
    let withdrawal = withdraw(&mut b, KEY, &other.dot);
    let third = put(&mut a, KEY, 3);
    // The withdrawal overtakes the entry that its writer kept.
    deliver(&mut c, &[&withdrawal, &third]);
    let removal = remove(&mut c, KEY);
    deliver(&mut c, &[&kept]);
    assert_eq!(live(&c, KEY), [1], "the terminator had not seen this start");
    deliver(&mut b, &[&third, &removal]);
    assert_eq!(live(&b, KEY), [1]);
}

/// `third` covers the removal by its dot, but was written where the removal had already left the log, so it does not
/// say what the removal had covered. It must not bury that knowledge with it.
#[test]
fn what_a_superseded_removal_covered_stays_covered() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let removal = remove(&mut b, KEY);
    collect_all(&mut b);
    let second = put(&mut b, KEY, 2);
    let third = put(&mut b, KEY, 3);
    for order in [[&removal, &second, &third, &first], [&third, &second, &removal, &first]] {
        let mut late = shared("late");
        deliver(&mut late, &order);
        assert_eq!(live(&late, KEY), [3], "{order:?}");
    }
}

// ---- early dots and closing

#[test]
fn only_the_closing_part_moves_the_clock() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let (_, second) = (put(&mut a, K(1), 1), put(&mut a, K(2), 2));
    deliver(&mut b, &[&second]);
    assert_eq!((b.context().clock().get(&node("a")), b.context().cloud_len()), (0, 1));
    assert!(by_delta(&a, &mut b));
    assert_alike(&[&a, &b]);
    assert_eq!(live(&b, K(1)), [1]);
}

#[test]
fn a_receiver_that_was_cut_off_has_lost_nothing_and_claims_nothing() {
    let mut a = shared("a");
    (0..6).for_each(|k| drop(put(&mut a, K(k), u32::from(k))));
    let (events, intervals) = a.delta_for(&Context::default()).unwrap();
    for cut in 0..events.len() {
        let mut b = shared("b");
        deliver(&mut b, &events[..cut].iter().rev().collect::<Vec<_>>());
        assert!(!b.context().contains_all(a.context()));
        assert!(by_delta(&a, &mut b));
        assert_alike(&[&a, &b]);
    }
    assert_eq!(intervals, [all_of(&a)]);
}

#[test]
fn nobody_tells_us_what_we_wrote() {
    let (mut a, mut b) = (owned("a"), owned("b"));
    put(&mut a, KEY, 1);
    let lie = Interval { origin: node("a"), from: 1, to: 99 };
    a.close(&[lie]);
    let forged = delta::Event { dot: Dot::new(node("a"), 50), key: KEY, value: Some(V(9)), covers: Covers::default() };
    assert!(!a.apply(Arc::new(forged)));
    b.close(&[Interval { origin: node("a"), from: 0, to: 99 }]);
    put(&mut b, K(1), 2);
    by_state(&b, &mut a, 1);
    assert_eq!((a.context().clock().get(&node("a")), live(&a, KEY)), (1, vec![1]));
}

#[test]
fn an_event_that_covers_what_we_have_not_written_yet_does_not_kill_it() {
    let mut a = shared("a");
    let covers = Covers::from(Dot::new(node("a"), u64::MAX));
    let hostile = Arc::new(delta::Event { dot: Dot::new(node("b"), 1), key: KEY, value: None, covers });
    deliver(&mut a, &[&hostile]);
    put(&mut a, KEY, 1);
    assert_eq!(live(&a, KEY), [1]);
}

/// A dot may be early and its event superseded; there is nothing to ship then, and the dot must travel all the same, or
/// the two differ for ever once its writer is gone.
#[test]
fn superseded_early_dots_travel_too() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let (_, second, third) = (put(&mut a, K(0), 0), put(&mut a, KEY, 1), put(&mut a, KEY, 2));
    deliver(&mut b, &[&second, &third]);
    assert_eq!(b.context().cloud_len(), 2);
    sync(&b, &mut c);
    assert_alike(&[&b, &c]);
}

// ---- what a delta omits

#[test]
fn a_delta_omits_superseded_events() {
    let mut a = shared("a");
    (0..50).for_each(|value| drop(put(&mut a, KEY, value)));
    let (events, intervals) = a.delta_for(&Context::default()).unwrap();
    assert_eq!((events.len(), intervals[0].to), (1, 50));
}

/// Cutting a push short by number would complete an interval over an event whose superseder comes later.
#[test]
fn a_push_never_completes_what_it_does_not_carry() {
    for kind in [shared as fn(&str) -> T, owned] {
        let mut a = kind("a");
        put(&mut a, KEY, 1);
        let mut b = kind("b");
        assert!(by_delta(&a, &mut b));
        put(&mut a, KEY, 2);
        (0..4).for_each(|k| drop(put(&mut a, K(k), 0)));
        put(&mut a, KEY, 3);
        let acked = b.context().clock().clone();
        for events_max in 0..8 {
            let Some((events, interval)) = a.own_delta(1, &acked, events_max, 9999) else { continue };
            let mut b = b.clone();
            deliver(&mut b, &events.iter().collect::<Vec<_>>());
            b.close(&[interval]);
            // Whoever has seen the second put does not show the first.
            let seen = b.context().contains(&node("a"), 2);
            assert!(!seen || live(&b, KEY) == [3], "{events_max}: {b:?}");
        }
        assert!(a.own_delta(1, &acked, 6, 9999).is_some(), "six fit");
    }
}

#[test]
fn a_push_in_a_shared_table_brings_the_foreign_superseders_of_our_own_events() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut c, &[&first]);
    deliver(&mut b, &[&first]);
    b.close(&[all_of(&a)]);
    let removal = remove(&mut b, KEY);
    deliver(&mut a, &[&removal]);
    // c took the first put as an early dot of a cut delta and is pushed to again.
    let (events, interval) = a.own_delta(0, &Clock::default(), 10, 9999).unwrap();
    assert_eq!(events, std::slice::from_ref(&removal));
    deliver(&mut c, &events.iter().collect::<Vec<_>>());
    c.close(&[interval]);
    assert_eq!(live(&c, KEY), [0; 0]);
}

// ---- the horizon and state reconciliation

#[test]
fn below_the_horizon_no_interval_is_served() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    put(&mut a, KEY, 1);
    assert!(by_delta(&a, &mut b));
    remove(&mut a, KEY);
    collect_all(&mut a);
    assert_eq!((a.removals_len(), a.horizon().get(&node("a"))), (0, 2));
    assert!(a.delta_for(b.context()).is_none());
    assert!(a.own_delta(1, b.context().clock(), 10, 9999).is_none());
    by_state(&a, &mut b, 1);
    assert_alike(&[&a, &b]);
    assert_eq!(live(&b, KEY), [0; 0]);
    assert_eq!(b.horizon().get(&node("a")), 2, "b cannot tell the removal to others either");
}

#[test]
fn a_removal_stays_until_it_and_what_it_covers_are_acknowledged() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    put(&mut a, KEY, 1);
    assert!(by_delta(&a, &mut b));
    remove(&mut b, KEY);
    // The others have the removal, but not yet what it removes.
    b.collect(LOG_REMOVALS_MAX, |origin| if *origin == node("b") { 1 } else { 0 });
    assert_eq!(b.removals_len(), 1);
    b.collect(LOG_REMOVALS_MAX, |origin| if *origin == node("a") { 1 } else { 0 });
    assert_eq!(b.removals_len(), 1);
    b.collect(LOG_REMOVALS_MAX, |_| 1);
    assert_eq!((b.removals_len(), b.horizon().get(&node("b")), b.horizon().get(&node("a"))), (0, 1, 1));
}

/// What was removed unseen, as it was only heard of, had replaced something: those who never see it go by what is left of it.
#[test]
fn what_a_value_replaced_stays_replaced_where_it_was_removed_unseen() {
    let (mut a, mut b, mut c, mut d) = (shared("a"), shared("b"), shared("c"), shared("d"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    deliver(&mut d, &[&first]);
    let second = put(&mut b, KEY, 2);
    assert!(c.remove_with(&KEY, std::slice::from_ref(&second.dot)));
    for to in [&mut b, &mut d] {
        assert!(by_delta(&c, to));
    }
    assert_eq!((live(&b, KEY), live(&d, KEY)), (vec![], vec![1]));
    for to in [&mut c, &mut d] {
        assert!(by_delta(&b, to));
        assert_alike(&[&b, to]);
    }
    // One that has the value and hears of the removal last is no different.
    let mut e = shared("e");
    deliver(&mut e, &[&first, &second]);
    e.close(&[all_of(&a), all_of(&b)]);
    assert!(by_delta(&d, &mut e));
    assert_alike(&[&d, &e]);
    for table in [&mut b, &mut d, &mut e] {
        collect_all(table);
        assert_eq!(table.removals_len(), 0, "what is left of it goes as removals do");
    }
}

#[test]
fn a_removal_that_is_ahead_of_what_it_covers_stays() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let removal = remove(&mut b, KEY);
    deliver(&mut c, &[&removal]);
    c.close(&[all_of(&b)]);
    collect_all(&mut c);
    deliver(&mut c, &[&first]);
    assert_eq!((live(&c, KEY), c.removals_len()), (vec![], 1));
}

#[test]
fn a_state_removes_what_its_sender_had_seen_and_does_not_hold() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    (0..10).for_each(|k| drop(put(&mut a, K(k), 0)));
    assert!(by_delta(&a, &mut b));
    (0..10).step_by(2).for_each(|k| drop(remove(&mut a, K(k))));
    collect_all(&mut a);
    let mine = put(&mut b, K(4), 9);
    for bytes_max in [1, 100, usize::MAX] {
        let mut b = b.clone();
        by_state(&a, &mut b, bytes_max);
        assert_eq!(b.keys().copied().collect::<Vec<_>>(), [1, 3, 4, 5, 7, 9].map(K));
        assert_eq!(live(&b, K(4)), [9]);
    }
    deliver(&mut a, &[&mine]);
}

/// A replica between two answers must not look as if it knew of removals that it cannot name: its context is all that
/// others go by.
#[test]
fn a_state_that_is_cut_off_takes_nothing_away() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    (0..4).for_each(|k| drop(put(&mut a, K(k), 0)));
    assert!(by_delta(&a, &mut b));
    let before = b.clone();
    (0..4).for_each(|k| drop(remove(&mut a, K(k))));
    collect_all(&mut a);
    (8..10).for_each(|k| drop(put(&mut a, K(k), 0)));
    let mut incoming = incoming(&b);
    assert!(next_turn(&a, &mut b, &mut incoming, 1));
    let lost: BTreeSet<_> = contents(&before).difference(&contents(&b)).cloned().collect();
    assert_eq!(lost, BTreeSet::new());
}

/// A value that its writer replaces behind the reader's back is shown until the new one comes, and what is replaced before
/// it was read is not missed.
#[test]
fn writes_between_the_answers_are_not_lost() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    (0..2).for_each(|k| drop(put(&mut a, K(k), 0)));
    assert!(by_delta(&a, &mut b));
    (2..6).for_each(|k| drop(put(&mut a, K(k), 0)));
    remove(&mut a, K(0));
    collect_all(&mut a);
    let mut incoming = incoming(&b);
    assert!(next_turn(&a, &mut b, &mut incoming, 1));
    let changes = [put(&mut a, K(1), 7), put(&mut a, K(2), 7), put(&mut a, K(4), 7), remove(&mut a, K(3))];
    while next_turn(&a, &mut b, &mut incoming, 1) {
        assert!((1..3).all(|k| live(&b, K(k)).len() == 1), "nothing that was there is missing meanwhile");
    }
    b.adopt(incoming);
    // What was removed meanwhile is not only gone: the removal came, so that b differs from c by its context too.
    assert!(b.context().contains(&node("a"), changes[3].dot.counter));
    assert_alike(&[&a, &b]);
    assert_eq!((live(&b, K(0)), live(&b, K(1)), live(&b, K(3)), live(&b, K(5))), (vec![], vec![7], vec![], vec![0]));
}

/// The pass over its origin is over when an entry comes from somebody who has not heard of its removal.
#[test]
fn what_comes_from_elsewhere_behind_an_answer_is_removed_with_the_last_one() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    (1..4).for_each(|k| drop(put(&mut a, K(k), 0)));
    let first = put(&mut a, K(0), 0);
    remove(&mut a, K(0));
    collect_all(&mut a);
    put(&mut a, K(5), 0);
    let mut incoming = incoming(&b);
    while next_turn(&a, &mut b, &mut incoming, 1) {
        deliver(&mut b, &[&first]);
    }
    b.adopt(incoming);
    assert_alike(&[&a, &b]);
    assert_eq!(live(&b, K(0)), [0; 0]);
}

/// What differs has been looked into when an entry comes from somebody who has not heard of its removal.
#[test]
fn what_comes_from_elsewhere_behind_the_comparison_is_removed_too() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let first = put(&mut a, K(0), 0);
    put(&mut a, K(1), 0);
    assert!(b.apply(put(&mut a, K(2), 0)));
    remove(&mut a, K(0));
    remove(&mut a, K(2));
    collect_all(&mut a);
    let mut incoming = incoming(&b);
    let mut turns = 0;
    while next_turn(&a, &mut b, &mut incoming, usize::MAX) {
        turns += 1;
        assert_eq!(b.apply(first.clone()), turns == 1, "it comes once");
    }
    assert!(turns > 1);
    b.adopt(incoming);
    assert_alike(&[&a, &b]);
    assert_eq!(live(&b, K(0)), [0; 0]);
}

/// The roots are of one moment and what is found in the spans of another; the sender may have found removals by a state of
/// its own in between, and cannot tell them. Who took them under the first context would have the contents of the second.
#[test]
fn what_the_sender_finds_gone_between_its_answers_is_taken_with_its_context() {
    let (mut origin, mut sender, mut b) = (shared("a"), shared("s"), shared("b"));
    (0..4).for_each(|k| drop(put(&mut origin, K(k), 0)));
    assert!(by_delta(&origin, &mut b));
    remove(&mut origin, K(0));
    collect_all(&mut origin);
    by_state(&origin, &mut sender, usize::MAX);
    let mut incoming = incoming(&b);
    assert!(next_turn(&sender, &mut b, &mut incoming, usize::MAX));
    remove(&mut origin, K(1));
    collect_all(&mut origin);
    by_state(&origin, &mut sender, usize::MAX);
    while next_turn(&sender, &mut b, &mut incoming, usize::MAX) {}
    b.adopt(incoming);
    assert_alike(&[&sender, &b]);
}

#[test]
fn a_removal_that_covers_what_the_state_has_not_seen_comes_along() {
    let (mut a, mut b, mut c) = (shared("a"), shared("b"), shared("c"));
    let first = put(&mut a, KEY, 1);
    deliver(&mut b, &[&first]);
    let removal = remove(&mut b, KEY);
    deliver(&mut c, &[&removal]);
    c.close(&[all_of(&b)]);
    let mut late = shared("late");
    by_state(&c, &mut late, 1);
    assert_alike(&[&c, &late]);
    deliver(&mut late, &[&first]);
    assert_eq!(live(&late, KEY), [0; 0]);
}

// ---- retirement and rebirth

#[test]
fn retirement_drops_an_owners_entries_slot_and_early_dots() {
    let (mut a, mut b) = (owned("a"), owned("b"));
    put(&mut a, K(1), 1);
    let third = {
        put(&mut a, K(2), 2);
        put(&mut a, K(3), 3)
    };
    deliver(&mut b, &[&third]);
    let gone = b.retire(&retired(&[node("a")]));
    assert_eq!(gone, std::slice::from_ref(&third));
    assert_eq!((b.context(), b.live_len(), b.sum()), (&Context::default(), 0, 0));
    assert!(!b.apply(third) && b.delta_for(a.context()).is_some());
    b.close(&[all_of(&a)]);
    assert_eq!(b.context(), &Context::default());
    by_state(&a, &mut b, 1);
    assert_eq!((b.context(), b.live_len()), (&Context::default(), 0));
}

#[test]
fn retirement_leaves_a_shared_table_as_it_is() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    put(&mut a, KEY, 1);
    assert!(by_delta(&a, &mut b));
    assert_eq!(b.retire(&retired(&[node("a")])), []);
    assert_eq!(live(&b, KEY), [1]);
}

#[test]
fn reborn_claims_again_under_the_new_identity() {
    let mut a = owned("a");
    put(&mut a, K(1), 1);
    put(&mut a, K(2), 2);
    remove(&mut a, K(2));
    assert_eq!(a.reborn(boot("a", 5)), [K(1)]);
    let expected = (K(1), boot("a", 5), 1, V(1));
    assert_eq!(contents(&a), BTreeSet::from([expected]));
    assert_eq!(a.context().clock().get(&node("a")), 0);
    let mut b = owned("b");
    sync(&a, &mut b);
    assert_alike(&[&a, &b]);
}

/// Others retired us first, and that is how we learned of it.
#[test]
fn reborn_after_being_retired_claims_again_too() {
    let mut a = owned("a");
    put(&mut a, K(1), 1);
    assert_eq!(a.retire(&retired(&[boot("a", 3)])), [], "we are not dropped under our own feet");
    assert_eq!(live(&a, K(1)), [1]);
    a.reborn(boot("a", 4));
    assert_eq!(contents(&a), BTreeSet::from([(K(1), boot("a", 4), 1, V(1))]));
    let mut b = owned("b");
    b.retire(&retired(&[boot("a", 3)]));
    sync(&a, &mut b);
    assert_alike(&[&a, &b]);
}

#[test]
fn reborn_in_a_shared_table_rewrites_nothing() {
    let (mut a, mut b) = (shared("a"), shared("b"));
    let first = put(&mut a, K(1), 1);
    a.reborn(boot("a", 2));
    put(&mut a, K(2), 2);
    let expected = BTreeSet::from([(K(1), node("a"), 1, V(1)), (K(2), boot("a", 2), 1, V(2))]);
    assert_eq!(contents(&a), expected);
    deliver(&mut b, &[&first]);
    let removal = remove(&mut b, K(1));
    deliver(&mut a, &[&removal]);
    assert_eq!(live(&a, K(1)), [0; 0]);
}

// ---- the digest

#[test]
fn the_digest_tells_clock_cloud_retirements_and_live_dots_apart() {
    let mut a = shared("a");
    (0..3).for_each(|k| drop(put(&mut a, K(k), 0)));
    let mut digests = vec![a.digest(), shared("a").digest()];
    let mut other = shared("x");
    assert!(by_delta(&a, &mut other));
    assert_eq!(other.digest(), digests[0], "who holds it does not matter");
    let mut lacking = shared("x");
    lacking.close(&[all_of(&a)]);
    digests.push(lacking.digest());
    let mut early = shared("x");
    deliver(&mut early, &[&event(&a, &Dot::new(node("a"), 2))]);
    digests.push(early.digest());
    let mut over = other.clone();
    over.retire(&retired(&[node("z")]));
    digests.push(over.digest());
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
}

#[test]
fn counters_at_the_end_of_their_range_are_harmless() {
    let a = node("a");
    let mut context = Context::default();
    context.apply(Dot::new(a.clone(), u64::MAX));
    context.apply(Dot::new(a.clone(), u64::MAX - 1));
    assert!(context.close(&a, 0, u64::MAX - 2));
    assert_eq!((context.clock().get(&a), context.cloud_len()), (u64::MAX, 0));
    context.apply(Dot::new(a.clone(), u64::MAX));
    let mut other = Context::default();
    other.apply(Dot::new(a.clone(), u64::MAX));
    assert!(other.close(&a, 0, u64::MAX), "the last counter may be early when the interval closes over it");
    assert!(other.contains_all(&context) && context.contains_all(&other));
}
