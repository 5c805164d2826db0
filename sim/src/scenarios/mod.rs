//! The stories: what goes wrong in systems of this kind, one named scenario each, with the schedule that provokes it and what
//! must hold. A story is no bug report; it is a promise that the same thing does not happen here.
//!
//! Each writes the whole script by itself, with times and nodes drawn from the seed, and says which known defects it
//! catches, and within how many seeds (`sim/tests/defects.rs`).

pub mod back_from_down;
pub mod blackout;
pub mod blinks;
pub mod brief_beside_lasting;
pub mod chain_of_conflicts;
pub mod checkpoints;
pub mod clock_skew;
pub mod conflict_budget;
pub mod crash_loop;
pub mod dead_relay;
pub mod early_handoff;
pub mod empty_handed;
pub mod ended_meanwhile;
pub mod failed_starts;
pub mod first_back;
pub mod foreign_superseder;
pub mod fresh_copies;
pub mod full_log;
pub mod full_nodes;
pub mod halves;
pub mod kept_apart;
pub mod killed_after_ok;
pub mod killed_or_starved;
pub mod least_loaded;
pub mod many_lives;
pub mod merged;
pub mod minority;
pub mod nameless_duplicate;
pub mod namesake;
pub mod old_disk;
pub mod older_fence;
pub mod omitted_superseder;
pub mod one_run;
pub mod one_way;
pub mod paused;
pub mod refusing_firewall;
pub mod removed_and_added;
pub mod restarted_twice;
pub mod short_runs;
pub mod slow_answer;
pub mod slow_init;
pub mod split_sync;
pub mod stale_snapshot;
pub mod start_first;
mod tale;
pub mod two_names;
pub mod typed_at;

use std::borrow::Cow;

use ordu_transport::core::defects::Defect;
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Layer, Scenario};
use crate::script::Script;

/// A defect that a story catches, and within how many seeds.
pub type Caught = (Defect, u64);

/// Every story's scenario, and what it catches.
pub const STORIES: &[(Scenario, &[Caught])] = &[
    (split_sync::SCENARIO, split_sync::CATCHES),
    (foreign_superseder::SCENARIO, foreign_superseder::CATCHES),
    (omitted_superseder::SCENARIO, omitted_superseder::CATCHES),
    (slow_answer::SCENARIO, slow_answer::CATCHES),
    (dead_relay::SCENARIO, dead_relay::CATCHES),
    (chain_of_conflicts::SCENARIO, chain_of_conflicts::CATCHES),
    (two_names::SCENARIO, two_names::CATCHES),
    (removed_and_added::SCENARIO, removed_and_added::CATCHES),
    (restarted_twice::SCENARIO, restarted_twice::CATCHES),
    (conflict_budget::SCENARIO, conflict_budget::CATCHES),
    (nameless_duplicate::SCENARIO, nameless_duplicate::CATCHES),
    (slow_init::SCENARIO, slow_init::CATCHES),
    (crash_loop::SCENARIO, crash_loop::CATCHES),
    (early_handoff::SCENARIO, early_handoff::CATCHES),
    (empty_handed::SCENARIO, empty_handed::CATCHES),
    (checkpoints::SCENARIO, checkpoints::CATCHES),
    (merged::SCENARIO, merged::CATCHES),
    (start_first::SCENARIO, start_first::CATCHES),
    (minority::SCENARIO, minority::CATCHES),
    (kept_apart::SCENARIO, kept_apart::CATCHES),
    (least_loaded::SCENARIO, least_loaded::CATCHES),
    (back_from_down::SCENARIO, back_from_down::CATCHES),
    (paused::SCENARIO, paused::CATCHES),
    (failed_starts::SCENARIO, failed_starts::CATCHES),
    (killed_after_ok::SCENARIO, killed_after_ok::CATCHES),
    (blackout::SCENARIO, blackout::CATCHES),
    (first_back::SCENARIO, first_back::CATCHES),
    (full_nodes::SCENARIO, full_nodes::CATCHES),
    (one_run::SCENARIO, one_run::CATCHES),
    (short_runs::SCENARIO, short_runs::CATCHES),
    (brief_beside_lasting::SCENARIO, brief_beside_lasting::CATCHES),
    (one_way::SCENARIO, one_way::CATCHES),
    (blinks::SCENARIO, blinks::CATCHES),
    (killed_or_starved::SCENARIO, killed_or_starved::CATCHES),
    (refusing_firewall::SCENARIO, refusing_firewall::CATCHES),
    (stale_snapshot::SCENARIO, stale_snapshot::CATCHES),
    (full_log::SCENARIO, full_log::CATCHES),
    (ended_meanwhile::SCENARIO, ended_meanwhile::CATCHES),
    (old_disk::SCENARIO, old_disk::CATCHES),
    (many_lives::SCENARIO, many_lives::CATCHES),
    (typed_at::SCENARIO, typed_at::CATCHES),
    (fresh_copies::SCENARIO, fresh_copies::CATCHES),
    (older_fence::SCENARIO, older_fence::CATCHES),
    (clock_skew::SCENARIO, clock_skew::CATCHES),
    (namesake::SCENARIO, namesake::CATCHES),
    (halves::SCENARIO, halves::CATCHES),
];

/// A story: nothing is drawn but what its stage draws.
const fn story(
    name: &'static str,
    about: &'static str,
    layer: Layer,
    stage: fn(&mut ChaCha8Rng, &mut Script),
) -> Scenario {
    Scenario {
        name: Cow::Borrowed(name),
        about: Cow::Borrowed(about),
        layer,
        faults: Cow::Borrowed(&[]),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(&[]),
        stage: Some(stage),
        fixed: None,
    }
}
