//! Every interleaving of a few writes and exchanges on one key, breadth first.
//!
//! `ORDU_EXPLORE_DEPTH` goes deeper than the usual run.
#![allow(clippy::disallowed_methods, reason = "the bans are for the cores; how deep is looked comes from outside")]

mod common;

use std::collections::BTreeSet;

use common::world::{Action, World};
use ordu_registry::core::table::Kind;

/// Everything that three replicas may do with one key. Of those that write, each writes in its own way, or the worlds
/// would differ only in names.
fn actions(kind: Kind) -> Vec<Action> {
    let mut actions = vec![
        Action::Put { by: 0, key: 0 },
        Action::Put { by: 1, key: 0 },
        Action::Remove { by: 0, key: 0 },
        Action::Remove { by: 1, key: 0 },
        Action::Receive { which: 0, events: 1, turn: 0 },
        Action::Receive { which: 0, events: 9, turn: 1 },
    ];
    match kind {
        Kind::Shared => actions.push(Action::Withdraw { by: 1, key: 0, which: 0 }),
        Kind::OwnerWritten => {
            actions.extend([Action::Retire { by: 1, whom: 0 }, Action::Reborn { by: 0 }]);
        }
    }
    for by in 0..3 {
        actions.push(Action::Collect { by });
    }
    let pairs = [(0, 1), (1, 0), (0, 2), (1, 2), (2, 0), (2, 1)];
    for (from, to) in pairs {
        actions.extend([
            Action::Early { from, to, which: 0 },
            Action::Early { from, to, which: 1 },
            Action::Delta { from, to },
            Action::Push { from, to, acked: true },
            Action::Range { from, to },
        ]);
    }
    actions.push(Action::Send { from: 0, to: 2 });
    actions.push(Action::Send { from: 1, to: 2 });
    actions
}

/// Visits every world that is reached in `depth` actions, and lets each come to rest.
fn explore(kind: Kind, depth: usize) -> usize {
    let actions = actions(kind);
    let first = World::new(kind, 3, 1);
    let mut seen = BTreeSet::from([first.fingerprint()]);
    let mut layer = vec![first];
    for _ in 0..depth {
        let mut next = Vec::new();
        for world in &layer {
            for &action in &actions {
                let mut world = world.clone();
                if world.act(action) && seen.insert(world.fingerprint()) {
                    next.push(world);
                }
            }
        }
        layer = next;
        layer.iter().cloned().for_each(World::quiesce);
    }
    println!("{kind:?}: {} distinct worlds within {depth} actions", seen.len());
    seen.len()
}

fn depth(usual: usize) -> usize {
    std::env::var("ORDU_EXPLORE_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(usual)
}

#[test]
fn every_short_history_of_a_shared_key_converges() {
    assert!(explore(Kind::Shared, depth(6)) > 20_000);
}

#[test]
fn every_short_history_of_an_owner_written_key_converges() {
    assert!(explore(Kind::OwnerWritten, depth(6)) > 20_000);
}
