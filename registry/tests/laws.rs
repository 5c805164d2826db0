//! The laws of the replicated table over random histories: whatever is lost, doubled, reordered or cut, every replica
//! shows exactly what its context says, and replicas that have exchanged everything are equal.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the cores; how many cases are tried comes from outside"
)]

mod common;

use common::world::{Action, World};
use ordu_registry::core::table::Kind;
use proptest::prelude::*;

const REPLICAS: u8 = 4;

fn action() -> impl Strategy<Value = Action> {
    let replica = 0..REPLICAS;
    let pair = (replica.clone(), replica.clone());
    let key = 0..3u8;
    prop_oneof![
        4 => (replica.clone(), key.clone()).prop_map(|(by, key)| Action::Put { by, key }),
        3 => (replica.clone(), key.clone()).prop_map(|(by, key)| Action::Remove { by, key }),
        2 => (replica.clone(), key, 0..3u8).prop_map(|(by, key, which)| Action::Withdraw { by, key, which }),
        4 => (pair.clone(), 0..6u8).prop_map(|((from, to), which)| Action::Early { from, to, which }),
        4 => pair.clone().prop_map(|(from, to)| Action::Delta { from, to }),
        4 => (pair.clone(), any::<bool>()).prop_map(|((from, to), acked)| Action::Push { from, to, acked }),
        2 => pair.clone().prop_map(|(from, to)| Action::Send { from, to }),
        3 => (0..4u8, 0..6u8, 0..6u8).prop_map(|(which, events, turn)| Action::Receive { which, events, turn }),
        6 => pair.clone().prop_map(|(from, to)| Action::Range { from, to }),
        1 => pair.clone().prop_map(|(from, to)| Action::Cut { from, to }),
        3 => replica.clone().prop_map(|by| Action::Collect { by }),
        1 => pair.prop_map(|(by, whom)| Action::Retire { by, whom }),
        2 => replica.prop_map(|by| Action::Reborn { by }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Action>> {
    proptest::collection::vec(action(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(500), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shared_tables_converge(history in history()) {
        run(Kind::Shared, &history);
    }

    #[test]
    fn owner_written_tables_converge(history in history()) {
        run(Kind::OwnerWritten, &history);
    }
}

/// How many histories; `PROPTEST_CASES` says otherwise.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

fn run(kind: Kind, history: &[Action]) {
    let mut world = World::new(kind, REPLICAS.into(), 3);
    for &action in history {
        world.act(action);
    }
    world.quiesce();
}
