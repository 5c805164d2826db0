//! Policies of conflict between processes that really meet.

use ordu_registry::core::names::Effect;
use ordu_registry::core::{Activation, RankPolicy};
use ordu_transport::core::Pid;

use crate::trio::{Trio, name};

/// Two processes of strangers take the names, then meet; returns those that were told to exit.
fn losers(policy: RankPolicy, priorities: [i32; 2], names: [&[&str]; 2]) -> (Vec<Pid>, Vec<Pid>) {
    let mut trio = Trio::strangers(2, policy);
    let pids: Vec<Pid> = (0..2)
        .map(|node| {
            let activation = Activation { priority: priorities[node], ..Activation::default() };
            let pid = trio.with(node, |registry, now, _| registry.activate_with(now, activation));
            names[node].iter().for_each(|text| trio.register(node, &pid, text).unwrap());
            pid
        })
        .collect();
    trio.meet();
    let effects = trio.effects.iter().flatten();
    let told = effects.filter_map(|effect| match effect {
        Effect::Exit { pid, conflict } => {
            assert!(conflict.winner != *pid && conflict.winner_since.wall_ms() > 1_800_000_000_000);
            Some(pid.clone())
        }
        _ => None,
    });
    (pids, told.collect())
}

#[test]
fn the_higher_priority_stays_though_it_began_later() {
    let (pids, told) = losers(RankPolicy::Priority, [1, 2], [&["x"], &["x"]]);
    assert_eq!(told, pids[..1]);
    let (pids, told) = losers(RankPolicy::Priority, [2, 2], [&["x"], &["x"]]);
    assert_eq!(told, pids[1..]);
    // Elsewhere it counts for nothing.
    let (pids, told) = losers(RankPolicy::LongestRunning, [1, 2], [&["x"], &["x"]]);
    assert_eq!(told, pids[1..]);
}

#[test]
fn each_name_stays_at_its_home_and_a_process_has_just_one() {
    let texts: Vec<String> = (0..32).map(|number| format!("name/{number}")).collect();
    let lost_by = |text: &str| {
        let (pids, told) = losers(RankPolicy::HomeNode, [0, 0], [&[text], &[text]]);
        assert_eq!(told.len(), 1);
        pids.iter().position(|pid| *pid == told[0]).expect("one of both")
    };
    let lost: Vec<usize> = texts.iter().map(|text| lost_by(text)).collect();
    assert!(lost.contains(&0) && lost.contains(&1));
    // Whoever took a name of its home first keeps the others too, in whichever order the other took them.
    let home_of = |node: usize| texts[lost.iter().position(|lost| *lost != node).expect("some")].as_str();
    let (at_first, at_second) = (home_of(0), home_of(1));
    let (_, told) = losers(RankPolicy::HomeNode, [0, 0], [&[at_first, at_second], &[at_second, at_first]]);
    assert_eq!(told.len(), 1, "one of both keeps both names");
    assert!(name(at_first) != name(at_second));
}
