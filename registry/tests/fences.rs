//! What fences promise where a view hides who wrote them.
#![allow(clippy::expect_used, reason = "a test")]

use bytes::Bytes;
use ordu_registry::core::names::{Effect, Input};
use ordu_registry::core::{Name, RankPolicy, Registry};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Status};

fn node(name: &str, nonce: u64) -> NodeId {
    NodeId::new(NodeName::new(name).expect("a name"), 1, nonce)
}

fn now(ms: u64) -> Now {
    Now { at: Instant::from_micros(ms * 1000), wall_ms: 1_800_000_000_000 + ms }
}

fn member(id: &NodeId, status: Status) -> Input {
    Input::Member(Member { id: id.clone(), addr: "10.0.0.1:1".into(), status })
}

#[test]
fn a_survivor_passes_the_fence_of_a_loser_that_is_hidden() {
    let (a, b, name) = (node("a", 1), node("b", 2), Name::new("x").expect("a name"));
    let mut older = Registry::new(a.clone(), RankPolicy::LongestRunning, 1);
    let mut younger = Registry::new(b.clone(), RankPolicy::LongestRunning, 2);
    let mut effects = Vec::new();
    let survivor = older.activate(now(0));
    older.register(now(0), &survivor, name.clone(), Bytes::new(), &mut effects).expect("free");
    older.handle(now(0), member(&b, Status::Up), &mut effects);
    older.handle(now(0), Input::Connected(b.clone()), &mut effects);
    older.handle(now(1), member(&b, Status::Down), &mut effects);

    younger.handle(now(0), Input::Connected(a.clone()), &mut effects);
    let loser = younger.activate(now(5));
    effects.clear();
    younger.register(now(5), &loser, name, Bytes::new(), &mut effects).expect("free there");
    let (_, fence) = younger.standing(&loser).expect("it lives");
    let pushed = effects.drain(..).find_map(|effect| match effect {
        Effect::Send { message, .. } => Some(*message),
        _ => None,
    });

    // By way of a third node, while the loser's own node is held as down.
    older.handle(now(6), Input::Message { from: b, message: pushed.expect("a push") }, &mut effects);
    let (_, raised) = older.standing(&survivor).expect("it lives");
    assert!(raised > fence, "{raised} is not above {fence}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fence { pid, .. } if *pid == survivor)));
}
